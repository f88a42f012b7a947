//! Compiled patterns.

use std::borrow::Cow;
use std::ffi::c_int;
use std::ptr::{self, NonNull};
use std::slice;

use pcre2_sys::*;

use crate::error::CompileError;
use crate::flags::Flags;
use crate::repair::{self, repair};

/// How a pattern is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Jit,
    Interpreter,
    Dfa,
}

/// A compiled pattern.
#[derive(Debug)]
pub struct Regex {
    code: NonNull<pcre2_code_8>,
    pub(crate) engine: Engine,
    /// Whether a text has to be looked through for what is no UTF-8 before it is matched.
    pub(crate) checks_utf: bool,
    pub(crate) utf: bool,
    groups: u32,
    wants_jit: bool,
}

impl Regex {
    pub fn compile(pattern: &[u8], flags: Flags) -> Result<Regex, CompileError> {
        let options = flags.compile_options();
        let mut text = Cow::Borrowed(pattern);
        let (mut repairs, mut moved) = (0, 0);
        loop {
            let (error, offset) = match compile(&text, options) {
                Ok(code) => return Ok(Regex::new(code, flags)),
                Err(fault) => fault,
            };
            match repair(&text, error, offset) {
                Some((repaired, by)) if repairs < repair::MAX => {
                    text = Cow::Owned(repaired);
                    repairs += 1;
                    moved += by;
                }
                _ => {
                    let offset = offset.saturating_add_signed(-moved);
                    return Err(CompileError::new(pattern, error, offset));
                }
            }
        }
    }

    fn new(code: NonNull<pcre2_code_8>, flags: Flags) -> Regex {
        let mut regex = Regex {
            code,
            engine: Engine::Interpreter,
            checks_utf: false,
            utf: false,
            groups: 0,
            wants_jit: flags.has(Flags::JIT) && !flags.has(Flags::DFA),
        };
        // The options that the pattern begins with, `(*UTF)`, count as well.
        let options = regex.info(PCRE2_INFO_ALLOPTIONS);
        regex.utf = options & PCRE2_UTF != 0;
        regex.checks_utf = regex.utf && options & PCRE2_MATCH_INVALID_UTF == 0;
        if flags.has(Flags::DFA) {
            // It finds no groups.
            regex.engine = Engine::Dfa;
            return regex;
        }
        regex.groups = regex.info(PCRE2_INFO_CAPTURECOUNT);
        if regex.wants_jit {
            // SAFETY: the code is ours. What PCRE2 can't make machine code of is interpreted.
            if unsafe { pcre2_jit_compile_8(regex.as_ptr(), PCRE2_JIT_COMPLETE) } == 0 {
                regex.engine = Engine::Jit;
            }
        }
        regex
    }

    pub(crate) fn as_ptr(&self) -> *mut pcre2_code_8 {
        self.code.as_ptr()
    }

    /// Whether the pattern became machine code; `None` when it wasn't asked for.
    pub fn is_jit_compiled(&self) -> Option<bool> {
        self.wants_jit.then_some(self.engine == Engine::Jit)
    }

    /// How many groups a match has, besides the whole; none with the DFA.
    pub fn groups(&self) -> usize {
        self.groups as usize
    }

    /// The names of groups with their numbers, by name, then by number.
    pub fn names(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let (table, size) = self.name_table();
        table.chunks_exact(size.max(3)).map(|entry| {
            let number = usize::from(u16::from_be_bytes([entry[0], entry[1]]));
            let name = &entry[2..];
            (number, &name[..memchr::memchr(0, name).unwrap_or(name.len())])
        })
    }

    /// Where a match may begin after an empty one at `at`: a byte further, or a character. Past the end there is none.
    pub fn after_empty(&self, text: &[u8], at: usize) -> usize {
        let mut next = at + 1;
        while self.utf && text.get(next).is_some_and(|byte| byte & 0xc0 == 0x80) {
            next += 1;
        }
        next
    }

    fn info(&self, what: u32) -> u32 {
        let mut value = 0u32;
        // SAFETY: what is asked for by this function is a `u32`.
        unsafe { pcre2_pattern_info_8(self.as_ptr(), what, ptr::from_mut(&mut value).cast()) };
        value
    }

    /// The names as PCRE2 has them, and how many bytes each entry has: a number in two, the high byte first, a name, and
    /// zeros.
    pub fn name_table(&self) -> (&[u8], usize) {
        let entry = self.info(PCRE2_INFO_NAMEENTRYSIZE) as usize;
        let size = entry * self.info(PCRE2_INFO_NAMECOUNT) as usize;
        let mut table: *const u8 = ptr::null();
        // SAFETY: the table is a pointer to that many bytes, which are there as long as the code is.
        unsafe {
            let out = ptr::from_mut(&mut table).cast();
            pcre2_pattern_info_8(self.as_ptr(), PCRE2_INFO_NAMETABLE, out);
            let table =
                if size == 0 || table.is_null() { &[] } else { slice::from_raw_parts(table, size) };
            (table, entry)
        }
    }
}

/// The code, or PCRE2's number of the fault and its place.
fn compile(pattern: &[u8], options: u32) -> Result<NonNull<pcre2_code_8>, (c_int, usize)> {
    let (mut error, mut offset) = (0, 0);
    let (text, len) = (pattern.as_ptr(), pattern.len());
    // SAFETY: the pattern has that length, and PCRE2 writes the two numbers.
    let code =
        unsafe { pcre2_compile_8(text, len, options, &mut error, &mut offset, ptr::null_mut()) };
    NonNull::new(code).ok_or((error, offset))
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: the code is ours.
        unsafe { pcre2_code_free_8(self.as_ptr()) }
    }
}
