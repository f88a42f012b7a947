//! `decode`: from bytes straight to Lua values, in one pass.
//!
//! Members are collected on the Lua stack until their number is known, so that a table is made
//! once at its size. Large or deeply nested ones are filled directly instead, to keep the stack small.

mod keys;
mod token;

use std::ffi::{c_int, CStr};

use mlua::ffi::lua_State;

use crate::config::Config;
use crate::number;
use crate::scan::string_stop;
use crate::scratch::Scratch;
use crate::stack::{ErrorText, Stack};
use keys::Keys;

/// Members that are collected before a table is made.
const COLLECTED_ELEMENTS: c_int = 64;
const COLLECTED_FIELDS: c_int = 32;
/// Containers nested deeper than this aren't collected.
const COLLECTING_DEPTH: c_int = 16;
/// Collected members between two checks for room on the stack.
const RESERVE_EVERY: c_int = 16;

/// The table for more than the collected members has room for so many times as many.
const GROWTH: c_int = 4;

/// The Lua function `decode`.
pub(crate) unsafe extern "C-unwind" fn decode(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this.
    let stack = unsafe { Stack::new(state) };
    stack.check_argument(stack.top() == 1, 1, c"expected 1 argument");
    let config = Config::of(stack);
    let data = stack.check_string(1);
    if let [first, second, _, ..] = data {
        if *first == 0 || *second == 0 {
            return stack.raise(ErrorText::Plain(c"JSON parser does not support UTF-16 or UTF-32"));
        }
    }
    let scratch = Scratch::acquire(stack);
    let mut decoder = Decoder {
        stack,
        config,
        data,
        at: 0,
        depth: 0,
        unclosed_comment: false,
        unescaped: scratch.buffer(),
        error: ErrorText::Plain(c""),
    };
    let decoded = decoder.document();
    let error = decoder.error;
    scratch.release(true);
    match decoded {
        Ok(()) => 1,
        Err(Failed) => stack.raise(error),
    }
}

/// The decoder's `error` says what is wrong.
struct Failed;
type Decoded = Result<(), Failed>;

/// A string's bytes, or where and why it isn't one.
enum Text<'a> {
    Plain(&'a [u8]),
    Unescaped,
}
struct BadString {
    at: usize,
    problem: &'static CStr,
}

struct Decoder<'a> {
    stack: Stack,
    config: &'a Config,
    /// The text and the NUL that ends it. A NUL before that ends it as well.
    data: &'a [u8],
    at: usize,
    depth: c_int,
    unclosed_comment: bool,
    unescaped: &'a mut Vec<u8>,
    error: ErrorText,
}

impl<'a> Decoder<'a> {
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.data.get(at).copied().unwrap_or(0)
    }

    /// Skips blanks, and gives the first byte of what follows, without taking it.
    #[inline]
    fn peek(&mut self) -> u8 {
        loop {
            match self.byte(self.at) {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'/' if self.config.decode_allow_comment.get() != 0 => {
                    if !self.skip_comment() {
                        return b'/';
                    }
                }
                byte => return byte,
            }
        }
    }

    /// Skips a comment; false if there is none, or no end of it.
    #[cold]
    fn skip_comment(&mut self) -> bool {
        let rest = self.data.get(self.at + 1..).unwrap_or_default();
        let end = match rest.first() {
            Some(b'/') => rest.iter().position(|byte| matches!(byte, b'\n' | 0)),
            Some(b'*') => {
                let body = rest.get(1..).unwrap_or_default();
                let nul = body.iter().position(|&byte| byte == 0).unwrap_or(body.len());
                let body = body.get(..nul).unwrap_or_default();
                let close = body.windows(2).position(|pair| pair == b"*/");
                self.unclosed_comment = close.is_none();
                Some(close.map_or(1 + nul, |close| 1 + close + 2))
            }
            _ => None,
        };
        self.at += end.map_or(0, |end| end + 1);
        end.is_some() && !self.unclosed_comment
    }

    fn document(&mut self) -> Decoded {
        let first = self.peek();
        self.value(first)?;
        if self.peek() != 0 {
            return self.fail(c"the end");
        }
        Ok(())
    }

    /// Pushes the value that starts with the byte `first`, at the current position.
    #[inline(always)]
    fn value(&mut self, first: u8) -> Decoded {
        match first {
            b'"' => self.string(),
            b'{' => self.object(),
            b'[' => self.array(),
            b'-' | b'0'..=b'9' => self.number(),
            b't' if self.starts_with(b"true") => {
                self.at += 4;
                self.stack.push_boolean(true);
                Ok(())
            }
            b'f' if self.starts_with(b"false") => {
                self.at += 5;
                self.stack.push_boolean(false);
                Ok(())
            }
            b'n' if self.starts_with(b"null") => {
                self.at += 4;
                self.stack.push_light_userdata(std::ptr::null());
                Ok(())
            }
            b'i' | b'I' | b'n' | b'N' | b'+' => self.invalid_number(),
            _ => self.fail(c"value"),
        }
    }

    fn starts_with(&self, word: &[u8]) -> bool {
        self.data.get(self.at..).is_some_and(|rest| rest.starts_with(word))
    }

    #[inline]
    fn number(&mut self) -> Decoded {
        if self.config.decode_invalid_numbers.get() == 0 && self.is_invalid_number() {
            return self.fail(c"value");
        }
        match number::parse(self.data, self.at) {
            Some((number, end)) => {
                self.at = end;
                self.stack.push_number(number);
                Ok(())
            }
            None => self.fail(c"value"),
        }
    }

    /// A number that JSON doesn't have and that doesn't look like one.
    #[cold]
    fn invalid_number(&mut self) -> Decoded {
        if self.config.decode_invalid_numbers.get() != 0 && self.is_invalid_number() {
            if let Some((number, end)) = number::parse_unusual(self.data, self.at) {
                self.at = end;
                self.stack.push_number(number);
                return Ok(());
            }
        }
        self.fail(c"value")
    }

    /// Whether a number starts here in a way that only `strtod` takes: with a plus, a leading zero,
    /// in hexadecimal, or as the name of an infinity or NaN.
    fn is_invalid_number(&self) -> bool {
        let at = self.at + usize::from(self.byte(self.at) == b'-');
        match self.byte(at) {
            b'+' => at == self.at,
            b'0' => matches!(self.byte(at + 1), b'x' | b'X' | b'0'..=b'9'),
            b'i' | b'I' | b'n' | b'N' => self.data.get(at..at + 3).is_some_and(|word| {
                word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan")
            }),
            _ => false,
        }
    }

    /// Pushes the string that starts here.
    #[inline]
    fn string(&mut self) -> Decoded {
        match self.scan_string() {
            Ok(Text::Plain(text)) => {
                self.stack.push_bytes(text);
                Ok(())
            }
            Ok(Text::Unescaped) => {
                self.stack.push_bytes(self.unescaped);
                Ok(())
            }
            Err(_) => self.fail(c"value"),
        }
    }

    /// Passes a string; the position stays at its start if it is broken.
    #[inline(always)]
    fn scan_string(&mut self) -> Result<Text<'a>, BadString> {
        let start = self.at + 1;
        let end = string_stop(self.data, start);
        if self.byte(end) == b'"' {
            self.at = end + 1;
            return Ok(Text::Plain(self.data.get(start..end).unwrap_or_default()));
        }
        self.unescape(start, end)
    }

    /// Passes a string that has its first backslash, or the end of the text, at `stop`.
    #[inline(never)]
    fn unescape(&mut self, start: usize, mut stop: usize) -> Result<Text<'a>, BadString> {
        let mut start = start;
        self.unescaped.clear();
        loop {
            self.unescaped.extend_from_slice(self.data.get(start..stop).unwrap_or_default());
            match self.byte(stop) {
                b'"' => {
                    self.at = stop + 1;
                    return Ok(Text::Unescaped);
                }
                b'\\' => {}
                _ => return Err(BadString { at: stop, problem: c"unexpected end of string" }),
            }
            let byte = match self.byte(stop + 1) {
                byte @ (b'"' | b'\\' | b'/') => byte,
                b'b' => 0x08,
                b't' => b'\t',
                b'n' => b'\n',
                b'f' => 0x0c,
                b'r' => b'\r',
                b'u' => {
                    let Some((character, length)) = self.unicode_escape(stop) else {
                        let problem = c"invalid unicode escape code";
                        return Err(BadString { at: stop, problem });
                    };
                    let mut utf8 = [0; 4];
                    let utf8 = character.encode_utf8(&mut utf8);
                    self.unescaped.extend_from_slice(utf8.as_bytes());
                    start = stop + length;
                    stop = string_stop(self.data, start);
                    continue;
                }
                _ => return Err(BadString { at: stop, problem: c"invalid escape code" }),
            };
            self.unescaped.push(byte);
            start = stop + 2;
            stop = string_stop(self.data, start);
        }
    }

    /// The character of the `\uXXXX`, or pair of them, at `at`, and its length in the text.
    fn unicode_escape(&self, at: usize) -> Option<(char, usize)> {
        let unit = |at: usize| {
            let digits = self.data.get(at..at + 6)?.strip_prefix(b"\\u")?;
            digits
                .iter()
                .try_fold(0, |unit, &digit| Some(unit * 16 + (digit as char).to_digit(16)?))
        };
        match unit(at)? {
            high @ 0xd800..=0xdbff => match unit(at + 6)? {
                low @ 0xdc00..=0xdfff => {
                    let character = 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff);
                    Some((char::from_u32(character)?, 12))
                }
                _ => None,
            },
            character => Some((char::from_u32(character)?, 6)),
        }
    }

    /// Enters a container, whose opening bracket is the current byte.
    #[inline]
    fn descend(&mut self, slots: c_int) -> Decoded {
        self.at += 1;
        self.depth = self.depth.saturating_add(1);
        if self.depth > self.config.decode_max_depth.get() || !self.stack.reserve(slots) {
            let format = c"Found too many nested data structures (%d) at character %d";
            self.error = ErrorText::Numbers(format, self.depth, self.at as c_int);
            return Err(Failed);
        }
        Ok(())
    }

    #[inline(never)]
    fn array(&mut self) -> Decoded {
        self.descend(RESERVE_EVERY)?;
        let mut next = self.peek();
        if next == b']' {
            self.stack.create_table(0, 0);
            return self.ascend_array();
        }
        let collected = if self.depth <= COLLECTING_DEPTH { COLLECTED_ELEMENTS } else { 0 };
        let mut count = 0;
        while count < collected {
            self.value(next)?;
            count += 1;
            match self.peek() {
                b',' => self.at += 1,
                b']' => {
                    self.settle_array(count, count);
                    return self.ascend_array();
                }
                _ => return self.fail(c"comma or array end"),
            }
            next = self.peek();
            if count % (RESERVE_EVERY / 2) == 0 && !self.stack.reserve(RESERVE_EVERY) {
                break;
            }
        }
        self.settle_array(count, count * GROWTH);
        loop {
            self.value(next)?;
            count = count.saturating_add(1);
            self.stack.raw_set_element(-2, count);
            match self.peek() {
                b',' => self.at += 1,
                b']' => return self.ascend_array(),
                _ => return self.fail(c"comma or array end"),
            }
            next = self.peek();
        }
    }

    /// Moves the `count` topmost values into a table with room for `size`.
    #[inline]
    fn settle_array(&mut self, count: c_int, size: c_int) {
        self.stack.create_table(size, 0);
        self.stack.insert(-count - 1);
        for element in (1..=count).rev() {
            self.stack.raw_set_element(-element - 1, element);
        }
    }

    /// Leaves an array, whose table is on the top and whose bracket is the current byte.
    #[inline]
    fn ascend_array(&mut self) -> Decoded {
        self.at += 1;
        self.depth -= 1;
        if self.config.decode_array_with_array_mt.get() != 0 {
            crate::push_array_mt(self.stack);
            self.stack.set_metatable(-2);
        }
        Ok(())
    }

    #[inline(never)]
    fn object(&mut self) -> Decoded {
        self.descend(RESERVE_EVERY)?;
        let mut next = self.peek();
        if next == b'}' {
            self.stack.create_table(0, 0);
            return self.ascend_object();
        }
        let collected = if self.depth <= COLLECTING_DEPTH { COLLECTED_FIELDS } else { 0 };
        let mut count = 0;
        let mut keys = Keys::default();
        while count < collected {
            let key = self.key(next)?;
            keys.add(key);
            self.field_value()?;
            count += 1;
            match self.peek() {
                b',' => self.at += 1,
                b'}' => {
                    if keys.distinct {
                        self.settle_distinct(count);
                    } else {
                        self.settle_object(count, count);
                    }
                    return self.ascend_object();
                }
                _ => return self.fail(c"comma or object end"),
            }
            next = self.peek();
            if count % (RESERVE_EVERY / 4) == 0 && !self.stack.reserve(RESERVE_EVERY) {
                break;
            }
        }
        self.settle_object(count, count * GROWTH);
        loop {
            self.key(next)?;
            self.field_value()?;
            self.stack.raw_set(-3);
            match self.peek() {
                b',' => self.at += 1,
                b'}' => return self.ascend_object(),
                _ => return self.fail(c"comma or object end"),
            }
            next = self.peek();
        }
    }

    /// Pushes a key, and gives its bytes if they have no escapes.
    #[inline]
    fn key(&mut self, first: u8) -> Result<Option<&'a [u8]>, Failed> {
        if first == b'"' {
            match self.scan_string() {
                Ok(Text::Plain(key)) => {
                    self.stack.push_bytes(key);
                    return Ok(Some(key));
                }
                Ok(Text::Unescaped) => {
                    self.stack.push_bytes(self.unescaped);
                    return Ok(None);
                }
                Err(_) => {}
            }
        }
        self.fail(c"object key string")
    }

    /// Pushes the value after a key.
    #[inline]
    fn field_value(&mut self) -> Decoded {
        if self.peek() != b':' {
            return self.fail(c"colon");
        }
        self.at += 1;
        let first = self.peek();
        self.value(first)
    }

    /// Moves the `count` topmost pairs into a table with room for `size`; of two with the same key the
    /// later one stays.
    #[inline]
    fn settle_object(&mut self, count: c_int, size: c_int) {
        self.stack.create_table(0, size);
        if count == 0 {
            return;
        }
        for pair in (1..=count).rev() {
            let key = -2 * pair - 1;
            self.stack.push_value(key);
            // What was just pushed moved the value to where the key was.
            self.stack.push_value(key);
            self.stack.raw_set(-3);
        }
        self.stack.replace(-2 * count - 1);
        self.stack.pop(2 * count - 1);
    }

    /// The same for keys that all differ, so that the order in which they are set makes no difference.
    #[inline]
    fn settle_distinct(&mut self, count: c_int) {
        self.stack.create_table(0, count);
        self.stack.insert(-2 * count - 1);
        for pair in (1..=count).rev() {
            self.stack.raw_set(-2 * pair - 1);
        }
    }

    #[inline]
    fn ascend_object(&mut self) -> Decoded {
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }
}
