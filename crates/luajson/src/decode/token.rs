//! Syntax errors: naming what stands where something else was expected.

use std::ffi::{c_int, CStr};

use super::{Decoder, Failed};
use crate::number;
use crate::stack::ErrorText;

impl Decoder<'_> {
    /// Says what was expected, and what is here instead.
    #[cold]
    #[inline(never)]
    pub(super) fn fail<T>(&mut self, expected: &'static CStr) -> Result<T, Failed> {
        let (found, at) = self.token();
        let format = c"Expected %s but found %s at character %d";
        self.error = ErrorText::StringsNumber(format, expected, found, (at + 1) as c_int);
        Err(Failed)
    }

    /// The name of the token here, or the problem with it, and where that is.
    fn token(&mut self) -> (&'static CStr, usize) {
        let name = match self.byte(self.at) {
            _ if self.unclosed_comment => c"unclosed multi-line comment",
            b'{' => c"T_OBJ_BEGIN",
            b'}' => c"T_OBJ_END",
            b'[' => c"T_ARR_BEGIN",
            b']' => c"T_ARR_END",
            b':' => c"T_COLON",
            b',' => c"T_COMMA",
            0 => c"T_END",
            b'"' => {
                let start = self.at;
                match self.scan_string() {
                    Ok(_) => return (c"T_STRING", start),
                    Err(bad) => return (bad.problem, bad.at),
                }
            }
            b'-' | b'0'..=b'9' => {
                if self.config.decode_invalid_numbers.get() == 0 && self.is_invalid_number() {
                    c"invalid number"
                } else {
                    self.number_token()
                }
            }
            b't' if self.starts_with(b"true") => c"T_BOOLEAN",
            b'f' if self.starts_with(b"false") => c"T_BOOLEAN",
            b'n' if self.starts_with(b"null") => c"T_NULL",
            b'i' | b'I' | b'n' | b'N' | b'+'
                if self.config.decode_invalid_numbers.get() != 0 && self.is_invalid_number() =>
            {
                self.number_token()
            }
            _ => c"invalid token",
        };
        (name, self.at)
    }

    /// An integer is a number without a point or an exponent.
    fn number_token(&self) -> &'static CStr {
        if number::parse_unusual(self.data, self.at).is_none() {
            return c"invalid number";
        }
        let sign = usize::from(matches!(self.byte(self.at), b'+' | b'-'));
        let digits = self.data.get(self.at + sign..).unwrap_or_default();
        match digits.iter().position(|byte| !byte.is_ascii_digit()) {
            Some(0) | None => c"T_NUMBER",
            Some(end) if matches!(digits.get(end), Some(b'.' | b'e' | b'E' | b'x')) => c"T_NUMBER",
            Some(_) => c"T_INTEGER",
        }
    }
}
