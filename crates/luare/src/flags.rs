//! The letters of `ngx.re`'s options.

use std::fmt;

use pcre2_sys::*;

/// Options of a pattern, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

/// A letter that is no option.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownFlag {
    pub letter: u8,
}

impl Flags {
    pub const ANCHORED: Flags = Flags(1);
    /// `d`: the DFA algorithm, which finds the longest match, and no groups.
    pub const DFA: Flags = Flags(1 << 1);
    /// `D`: several groups may have one name.
    pub const DUPLICATE_NAMES: Flags = Flags(1 << 2);
    pub const CASELESS: Flags = Flags(1 << 3);
    /// `j`: compiled to machine code, where PCRE2 can.
    pub const JIT: Flags = Flags(1 << 4);
    /// `J`: as JavaScript has `\U`, `\u`, `\x`, empty classes and references to groups that matched nothing.
    pub const JAVASCRIPT: Flags = Flags(1 << 5);
    pub const MULTILINE: Flags = Flags(1 << 6);
    /// `o`: the pattern stays compiled. Whoever keeps it reads this.
    pub const ONCE: Flags = Flags(1 << 7);
    pub const DOTALL: Flags = Flags(1 << 8);
    /// `u`: text is UTF-8, and what isn't is an error.
    pub const UTF: Flags = Flags(1 << 9);
    /// `U`: text is UTF-8, and what isn't matches nothing.
    pub const UTF_LENIENT: Flags = Flags(1 << 10);
    pub const EXTENDED: Flags = Flags(1 << 11);

    /// The set of the letters in `text`, in any order and number.
    pub fn parse(text: &[u8]) -> Result<Flags, UnknownFlag> {
        let mut flags = Flags::default();
        for &letter in text {
            flags = flags.with(match letter {
                b'a' => Flags::ANCHORED,
                b'd' => Flags::DFA,
                b'D' => Flags::DUPLICATE_NAMES,
                b'i' => Flags::CASELESS,
                b'j' => Flags::JIT,
                b'J' => Flags::JAVASCRIPT,
                b'm' => Flags::MULTILINE,
                b'o' => Flags::ONCE,
                b's' => Flags::DOTALL,
                b'u' => Flags::UTF,
                b'U' => Flags::UTF_LENIENT,
                b'x' => Flags::EXTENDED,
                letter => return Err(UnknownFlag { letter }),
            });
        }
        Ok(flags)
    }

    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    #[must_use]
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// Whether all of `other` are in the set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set as a number, and back: what is no flag is dropped.
    pub const fn bits(self) -> u32 {
        self.0
    }

    pub const fn from_bits(bits: u32) -> Flags {
        Flags(bits & 0xfff)
    }

    /// What `pcre2_compile` is told.
    pub(crate) fn compile_options(self) -> u32 {
        let mut options = 0;
        for (flag, option) in [
            (Flags::ANCHORED, PCRE2_ANCHORED),
            (Flags::DUPLICATE_NAMES, PCRE2_DUPNAMES),
            (Flags::CASELESS, PCRE2_CASELESS),
            (
                Flags::JAVASCRIPT,
                PCRE2_ALLOW_EMPTY_CLASS | PCRE2_ALT_BSUX | PCRE2_MATCH_UNSET_BACKREF,
            ),
            (Flags::MULTILINE, PCRE2_MULTILINE),
            (Flags::DOTALL, PCRE2_DOTALL),
            (Flags::UTF, PCRE2_UTF),
            (Flags::UTF_LENIENT, PCRE2_UTF),
            (Flags::EXTENDED, PCRE2_EXTENDED),
        ] {
            if self.has(flag) {
                options |= option;
            }
        }
        // Text that isn't checked may not be trusted either: with this PCRE2 steps over what is no UTF-8, where it would
        // otherwise read whatever lies behind the text. Its DFA has no such mode, so there the text is checked.
        if self.has(Flags::UTF_LENIENT) && !self.has(Flags::DFA) {
            options |= PCRE2_MATCH_INVALID_UTF;
        }
        options
    }
}

impl fmt::Display for UnknownFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown flag \"{}\"", self.letter.escape_ascii())
    }
}

impl std::error::Error for UnknownFlag {}
