//! What PCRE2 refuses, in the texts and numbers of PCRE's first line.

use std::fmt;

use pcre2_sys::*;

/// Texts for the numbers of `pcre2_compile` whose own differ. The others are the same in both.
const TEXTS: [(u32, &str); 24] = [
    (PCRE2_ERROR_ESCAPE_INVALID_IN_CLASS, "invalid escape sequence in character class"),
    (PCRE2_ERROR_QUANTIFIER_INVALID, "nothing to repeat"),
    (PCRE2_ERROR_MISSING_CLOSING_PARENTHESIS, "missing )"),
    (PCRE2_ERROR_MISSING_COMMENT_CLOSING, "missing ) after comment"),
    (PCRE2_ERROR_PATTERN_TOO_LARGE, "regular expression is too large"),
    (PCRE2_ERROR_HEAP_FAILED, "failed to get memory"),
    (PCRE2_ERROR_UNMATCHED_CLOSING_PARENTHESIS, "unmatched parentheses"),
    (PCRE2_ERROR_MISSING_CONDITION_CLOSING, "malformed number or name after (?("),
    (PCRE2_ERROR_ZERO_RELATIVE_REFERENCE, "a numbered reference must not be zero"),
    (PCRE2_ERROR_BAD_RELATIVE_REFERENCE, "digit expected after (?+"),
    (PCRE2_ERROR_CODE_POINT_TOO_BIG, "character value in \\x{} or \\o{} is too large"),
    (
        PCRE2_ERROR_UNSUPPORTED_ESCAPE_SEQUENCE,
        "PCRE does not support \\L, \\l, \\N{name}, \\U, or \\u",
    ),
    (PCRE2_ERROR_CALLOUT_NUMBER_TOO_BIG, "number after (?C is > 255"),
    (PCRE2_ERROR_MISSING_CALLOUT_CLOSING, "closing ) for (?C expected"),
    (PCRE2_ERROR_MISSING_NAME_TERMINATOR, "syntax error in subpattern name (missing terminator)"),
    (PCRE2_ERROR_DUPLICATE_SUBPATTERN_NAME, "two named subpatterns have the same name"),
    (PCRE2_ERROR_INVALID_SUBPATTERN_NAME, "group name must start with a non-digit"),
    (PCRE2_ERROR_UNKNOWN_UNICODE_PROPERTY, "unknown property name after \\P or \\p"),
    (PCRE2_ERROR_SUBPATTERN_NAME_TOO_LONG, "subpattern name is too long (maximum 32 characters)"),
    (PCRE2_ERROR_DEFINE_TOO_MANY_BRANCHES, "DEFINE group contains more than one branch"),
    (PCRE2_ERROR_PARENS_QUERY_R_MISSING_CLOSING, "(?R or (?[+-]digits must be followed by )"),
    (PCRE2_ERROR_SUBPATTERN_NUMBER_TOO_BIG, "number is too big"),
    (PCRE2_ERROR_BACKSLASH_C_SYNTAX, "\\c must be followed by an ASCII character"),
    (PCRE2_ERROR_MISSING_OCTAL_OR_HEX_DIGITS, "digits missing in \\x{} or \\o{}"),
];

/// Why a pattern can't be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    pattern: Vec<u8>,
    /// PCRE2's number; a negative one is about the pattern's UTF-8.
    pub(crate) code: i32,
    /// Where in the pattern.
    pub(crate) offset: usize,
}

impl CompileError {
    pub(crate) fn new(pattern: &[u8], code: i32, offset: usize) -> CompileError {
        CompileError { pattern: pattern.to_vec(), code, offset: offset.min(pattern.len()) }
    }

    /// `pcre_compile() failed: missing ) in "(a"`, and what follows the fault when it isn't at the end. Bytes, since the
    /// pattern's are in it.
    pub fn message(&self) -> Vec<u8> {
        let mut text = b"pcre_compile() failed: ".to_vec();
        match TEXTS.iter().find(|(code, _)| i64::from(*code) == i64::from(self.code)) {
            Some((_, known)) => text.extend_from_slice(known.as_bytes()),
            None if self.code < 0 => text.extend_from_slice(b"invalid UTF-8 string"),
            None => text.extend_from_slice(&own_text(self.code)),
        }
        text.extend_from_slice(b" in \"");
        text.extend_from_slice(&self.pattern);
        text.push(b'"');
        if self.offset < self.pattern.len() {
            text.extend_from_slice(b" at \"");
            text.extend_from_slice(&self.pattern[self.offset..]);
            text.push(b'"');
        }
        text
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.message()))
    }
}

impl std::error::Error for CompileError {}

/// PCRE2's own text.
fn own_text(code: i32) -> Vec<u8> {
    let mut text = [0u8; 256];
    // SAFETY: PCRE2 writes no more than it is told, with a zero at the end.
    let len = unsafe { pcre2_get_error_message_8(code, text.as_mut_ptr(), text.len()) };
    text[..usize::try_from(len).unwrap_or(0)].to_vec()
}

/// Why a match was given up, as PCRE's first line numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchError(pub i32);

impl MatchError {
    pub const NO_MEMORY: MatchError = MatchError(-6);
    /// `lua_regex_match_limit`, or PCRE2's own limit.
    pub const MATCH_LIMIT: MatchError = MatchError(-8);
    pub const BAD_UTF8: MatchError = MatchError(-10);
    /// The match was to begin inside of a character.
    pub const BAD_UTF8_OFFSET: MatchError = MatchError(-11);
    pub const INTERNAL: MatchError = MatchError(-14);
    /// The memory of a match that isn't compiled to machine code; it was the depth of its recursion.
    pub const RECURSION_LIMIT: MatchError = MatchError(-21);
    pub const BAD_OFFSET: MatchError = MatchError(-24);
    pub const JIT_STACK_LIMIT: MatchError = MatchError(-27);

    /// The error for a number of PCRE2's that isn't `PCRE2_ERROR_NOMATCH`.
    pub(crate) fn from_pcre2(code: i32) -> MatchError {
        if (PCRE2_ERROR_UTF8_ERR21..=PCRE2_ERROR_UTF8_ERR1).contains(&code) {
            return MatchError::BAD_UTF8;
        }
        match code {
            PCRE2_ERROR_MATCHLIMIT => MatchError::MATCH_LIMIT,
            PCRE2_ERROR_BADUTFOFFSET => MatchError::BAD_UTF8_OFFSET,
            PCRE2_ERROR_BADOFFSET => MatchError::BAD_OFFSET,
            PCRE2_ERROR_JIT_STACKLIMIT => MatchError::JIT_STACK_LIMIT,
            PCRE2_ERROR_DEPTHLIMIT | PCRE2_ERROR_HEAPLIMIT => MatchError::RECURSION_LIMIT,
            PCRE2_ERROR_NOMEMORY => MatchError::NO_MEMORY,
            PCRE2_ERROR_BADOPTION => MatchError(-3),
            PCRE2_ERROR_DFA_UITEM => MatchError(-16),
            PCRE2_ERROR_DFA_UCOND => MatchError(-17),
            PCRE2_ERROR_DFA_WSSIZE => MatchError(-19),
            PCRE2_ERROR_DFA_RECURSE => MatchError(-20),
            PCRE2_ERROR_RECURSELOOP => MatchError(-26),
            _ => MatchError::INTERNAL,
        }
    }
}

impl fmt::Display for MatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pcre_exec() failed: {}", self.0)
    }
}

impl std::error::Error for MatchError {}
