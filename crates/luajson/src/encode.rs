//! `encode`: from Lua values to bytes.
//!
//! Which tables are arrays is only known once all their keys were seen. A table whose keys come as 1, 2, 3
//! is written as an array while they are read; when that turns out wrong, or meets a value that might
//! not be encodable, the keys are measured first.

use std::ffi::{c_int, CStr};

use mlua::ffi::lua_State;

use crate::config::{invalid_numbers, Config};
use crate::number;
use crate::scan::append_quoted;
use crate::scratch::Scratch;
use crate::stack::{ErrorText, Stack, Type};

/// The Lua function `encode`.
pub(crate) unsafe extern "C-unwind" fn encode(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this.
    let stack = unsafe { Stack::new(state) };
    stack.check_argument(stack.top() == 1, 1, c"expected 1 argument");
    let config = Config::of(stack);
    let scratch = Scratch::acquire(stack);
    let out = scratch.buffer();
    out.clear();
    let mut encoder = Encoder { stack, config, out, error: ErrorText::Plain(c"") };
    let encoded = encoder.value(0);
    let error = encoder.error;
    if encoded.is_ok() {
        stack.push_bytes(encoder.out);
    }
    scratch.release(config.encode_keep_buffer.get() != 0);
    match encoded {
        Ok(_) => 1,
        Err(Failed) => stack.raise(error),
    }
}

/// The encoder's `error` says what is wrong.
struct Failed;
type Encoded<T> = Result<T, Failed>;

/// What became of a value.
#[derive(PartialEq, Eq)]
enum Written {
    Yes,
    /// Its type has no JSON form, and such values are to be left out.
    Skipped,
}

enum Shape {
    Array(c_int),
    Object,
}

struct Encoder<'a> {
    stack: Stack,
    config: &'a Config,
    out: &'a mut Vec<u8>,
    error: ErrorText,
}

impl Encoder<'_> {
    fn fail<T>(&mut self, kind: Type, reason: &'static CStr) -> Encoded<T> {
        let name = self.stack.type_name(kind);
        self.error = ErrorText::Strings(c"Cannot serialise %s: %s", name, reason);
        Err(Failed)
    }

    /// Appends the topmost value, which is inside of `depth` tables.
    #[inline(always)]
    fn value(&mut self, depth: c_int) -> Encoded<Written> {
        match self.stack.type_of(-1) {
            Type::STRING => self.string(-1),
            Type::NUMBER => self.number(-1)?,
            Type::TABLE => self.table(depth)?,
            Type::BOOLEAN => self.boolean(),
            Type::NIL => self.out.extend_from_slice(b"null"),
            Type::LIGHT_USERDATA if self.stack.userdata(-1).is_null() => {
                self.out.extend_from_slice(b"null");
            }
            Type::LIGHT_USERDATA
                if self.stack.userdata(-1).cast_const() == crate::empty_array() =>
            {
                self.out.extend_from_slice(b"[]");
            }
            _ if self.config.encode_skip_unsupported_value_types.get() != 0 => {
                return Ok(Written::Skipped);
            }
            other => return self.fail(other, c"type not supported"),
        }
        Ok(Written::Yes)
    }

    #[inline]
    fn string(&mut self, index: c_int) {
        let escape_slash = self.config.encode_escape_forward_slash.get() != 0;
        append_quoted(self.out, self.stack.string(index), escape_slash);
    }

    #[inline]
    fn boolean(&mut self) {
        let text: &[u8] = if self.stack.boolean(-1) { b"true" } else { b"false" };
        self.out.extend_from_slice(text);
    }

    #[inline]
    fn number(&mut self, index: c_int) -> Encoded<()> {
        let number = self.stack.number(index);
        if number.is_finite() {
            let precision = self.config.encode_number_precision.get() as usize;
            number::append(self.out, number, precision);
            return Ok(());
        }
        let text: &[u8] = match self.config.encode_invalid_numbers.get() {
            invalid_numbers::REFUSED => {
                return self.fail(Type::NUMBER, c"must not be NaN or Infinity");
            }
            invalid_numbers::WRITTEN if number.is_nan() => b"NaN",
            invalid_numbers::WRITTEN if number > 0.0 => b"Infinity",
            invalid_numbers::WRITTEN => b"-Infinity",
            _ => b"null",
        };
        self.out.extend_from_slice(text);
        Ok(())
    }

    /// Appends the topmost value if it is one that can't fail, which tables can.
    #[inline]
    fn scalar(&mut self) -> bool {
        match self.stack.type_of(-1) {
            Type::STRING => self.string(-1),
            Type::NUMBER => {
                let number = self.stack.number(-1);
                if !number.is_finite() {
                    return false;
                }
                let precision = self.config.encode_number_precision.get() as usize;
                number::append(self.out, number, precision);
            }
            Type::BOOLEAN => self.boolean(),
            _ => return false,
        }
        true
    }

    #[inline(never)]
    fn table(&mut self, depth: c_int) -> Encoded<()> {
        let depth = depth.saturating_add(1);
        if depth > self.config.encode_max_depth.get() || !self.stack.reserve(3) {
            self.error = ErrorText::Number(c"Cannot serialise, excessive nesting (%d)", depth);
            return Err(Failed);
        }
        if self.stack.get_metatable(-1) {
            return self.table_with_metatable(depth);
        }
        self.stack.push_nil();
        if !self.stack.next(-2) {
            let as_object = self.config.encode_empty_table_as_object.get() != 0;
            self.out.extend_from_slice(if as_object { b"{}" } else { b"[]" });
            return Ok(());
        }
        match self.stack.type_of(-2) {
            Type::NUMBER => self.table_from_number(depth),
            Type::STRING => self.fields(depth),
            _ => {
                self.stack.pop(2);
                self.object(depth)
            }
        }
    }

    /// Appends a table whose first pair is on the stack, with a number as its key.
    fn table_from_number(&mut self, depth: c_int) -> Encoded<()> {
        let start = self.out.len();
        self.out.push(b'[');
        let mut count = 0;
        loop {
            // Table, key, value.
            let expected = f64::from(count) + 1.0;
            if self.stack.type_of(-2) != Type::NUMBER || self.stack.number(-2) != expected {
                break;
            }
            let before = self.out.len();
            self.separate(count > 0, depth);
            if !self.scalar() {
                self.out.truncate(before);
                break;
            }
            count += 1;
            self.stack.pop(1);
            if !self.stack.next(-2) {
                self.close(b']', true, depth);
                return Ok(());
            }
        }
        match self.measure(count)? {
            Shape::Array(length) => self.elements(depth, count, length, true),
            Shape::Object => {
                self.out.truncate(start);
                self.object(depth)
            }
        }
    }

    /// Decides what a table is from the rest of its keys, starting with the pair on the stack, where
    /// those before it were 1 to `count`. Leaves the table on the top.
    fn measure(&mut self, count: c_int) -> Encoded<Shape> {
        let (mut highest, mut items) = (count, i64::from(count));
        loop {
            if self.stack.type_of(-2) != Type::NUMBER {
                self.stack.pop(2);
                return Ok(Shape::Object);
            }
            let key = self.stack.number(-2);
            if key.floor() != key || key < 1.0 {
                self.stack.pop(2);
                return Ok(Shape::Object);
            }
            if key > f64::from(highest) {
                // An array can't be that long: an object, unless a still higher key says otherwise.
                highest = if key > f64::from(c_int::MAX) { c_int::MIN } else { key as c_int };
            }
            items += 1;
            self.stack.pop(1);
            if !self.stack.next(-2) {
                break;
            }
        }
        let ratio = i64::from(self.config.encode_sparse_ratio.get());
        if ratio > 0
            && i64::from(highest) > items * ratio
            && highest > self.config.encode_sparse_safe.get()
        {
            if self.config.encode_sparse_convert.get() == 0 {
                return self.fail(Type::TABLE, c"excessively sparse array");
            }
            return Ok(Shape::Object);
        }
        Ok(if highest < 0 { Shape::Object } else { Shape::Array(highest) })
    }

    /// Appends the table under its metatable: marked as an array, with `__len`, or with `__index`.
    fn table_with_metatable(&mut self, depth: c_int) -> Encoded<()> {
        let metatable = self.stack.pointer(-1);
        self.stack.pop(1);
        if metatable == self.config.array_mt {
            return self.array(depth, self.stack.length(-1) as c_int, true);
        }
        if self.stack.get_metafield(-1, c"__len") {
            self.stack.push_value(-2);
            self.stack.call(1, 1);
            let length = self.stack.number(-1) as c_int;
            self.stack.pop(1);
            return self.array(depth, length, false);
        }
        self.stack.push_nil();
        let shape = if self.stack.next(-2) { self.measure(0)? } else { Shape::Array(0) };
        let empty_as_object = self.config.encode_empty_table_as_object.get() != 0;
        match shape {
            Shape::Array(length) if length > 0 || !empty_as_object => {
                self.array(depth, length, false)
            }
            _ if metatable == self.config.empty_array_mt => {
                self.array(depth, self.stack.length(-1) as c_int, true)
            }
            _ => self.object(depth),
        }
    }

    fn array(&mut self, depth: c_int, length: c_int, raw: bool) -> Encoded<()> {
        self.out.push(b'[');
        self.elements(depth, 0, length, raw)
    }

    /// Appends the elements after the first `done`, which are written, and closes the array.
    fn elements(&mut self, depth: c_int, done: c_int, length: c_int, raw: bool) -> Encoded<()> {
        let mut any_written = done > 0;
        for element in done..length {
            let before = self.out.len();
            self.separate(any_written, depth);
            if raw {
                self.stack.raw_get_element(-1, element + 1);
            } else {
                self.stack.push_number(f64::from(element + 1));
                self.stack.get(-2);
            }
            if self.value(depth)? == Written::Skipped {
                self.out.truncate(before);
            } else {
                any_written = true;
            }
            self.stack.pop(1);
        }
        self.close(b']', length > 0, depth);
        Ok(())
    }

    fn object(&mut self, depth: c_int) -> Encoded<()> {
        self.stack.push_nil();
        if self.stack.next(-2) {
            return self.fields(depth);
        }
        self.out.extend_from_slice(b"{}");
        Ok(())
    }

    /// Appends a table as an object, its first pair on the stack.
    fn fields(&mut self, depth: c_int) -> Encoded<()> {
        self.out.push(b'{');
        let mut any_written = false;
        loop {
            let before = self.out.len();
            self.separate(any_written, depth);
            match self.stack.type_of(-2) {
                Type::STRING => self.string(-2),
                Type::NUMBER => {
                    self.out.push(b'"');
                    self.number(-2)?;
                    self.out.push(b'"');
                }
                other => return self.fail(other, c"table key must be a number or string"),
            }
            self.out.push(b':');
            if !self.config.encode_indent().is_empty() {
                self.out.push(b' ');
            }
            if self.value(depth)? == Written::Skipped {
                self.out.truncate(before);
            } else {
                any_written = true;
            }
            self.stack.pop(1);
            if !self.stack.next(-2) {
                break;
            }
        }
        self.close(b'}', true, depth);
        Ok(())
    }

    /// Appends what stands before an element.
    #[inline]
    fn separate(&mut self, comma: bool, depth: c_int) {
        if comma {
            self.out.push(b',');
        }
        self.new_line(depth);
    }

    #[inline]
    fn close(&mut self, bracket: u8, has_items: bool, depth: c_int) {
        if has_items {
            self.new_line(depth - 1);
        }
        self.out.push(bracket);
    }

    #[inline]
    fn new_line(&mut self, depth: c_int) {
        let indent = self.config.encode_indent();
        if !indent.is_empty() {
            self.out.push(b'\n');
            for _ in 0..depth {
                self.out.extend_from_slice(indent);
            }
        }
    }
}
