//! Patterns that PCRE's first line takes and PCRE2 refuses, written so that they mean to it what they meant.
//!
//! Both are common in what people have written for years: a letter escaped for no reason (`\_`, `\i`), which stands for
//! itself, and a hyphen behind a class in brackets (`[\w-.]`), which does too.

use pcre2_sys::*;

/// More faults than this aren't mended one by one.
pub const MAX: usize = 100;

/// The pattern without the fault that PCRE2 found at `offset`, and by how many bytes that moved what follows.
pub fn repair(pattern: &[u8], code: i32, offset: usize) -> Option<(Vec<u8>, isize)> {
    match u32::try_from(code).ok()? {
        PCRE2_ERROR_UNKNOWN_ESCAPE => {
            let (before, after) = pattern.split_at_checked(offset)?;
            Some(([before.strip_suffix(b"\\")?, after].concat(), -1))
        }
        PCRE2_ERROR_CLASS_INVALID_RANGE => {
            let (before, after) = pattern.split_at_checked(offset)?;
            (after.first() == Some(&b'-')).then(|| ([before, b"\\", after].concat(), 1))
        }
        _ => None,
    }
}
