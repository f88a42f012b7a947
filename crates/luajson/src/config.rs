//! The settings of one `cjson` instance, and the Lua functions that read and change them.
//!
//! They live in a userdata that all of an instance's functions have as their first upvalue. They are
//! cells, because a metamethod that `encode` calls may change them underway.

use std::cell::Cell;
use std::ffi::{c_int, c_void, CStr};

use mlua::ffi::{lua_CFunction, lua_State};

use crate::number::SHORTEST;
use crate::stack::{Name, Stack, Type};

/// The closure's upvalue that holds the settings.
const UPVALUE: c_int = Stack::upvalue(1);

/// What to do with NaN and the infinities: the position in [`INVALID_NUMBERS`].
pub(crate) mod invalid_numbers {
    use std::ffi::c_int;

    pub const REFUSED: c_int = 0;
    pub const WRITTEN: c_int = 1;
}

static ON_OFF: [Name; 3] = [Name::new(c"off"), Name::new(c"on"), Name::END];
static INVALID_NUMBERS: [Name; 4] =
    [Name::new(c"off"), Name::new(c"on"), Name::new(c"null"), Name::END];

/// Which defaults an instance has.
#[derive(Clone, Copy)]
pub(crate) enum Flavour {
    /// Those of lua-cjson.
    Cjson,
    /// Numbers that read back as the same doubles, and slashes as they are.
    Exact,
}

/// Settings by the names of the functions that change them.
pub(crate) struct Config {
    pub encode_sparse_convert: Cell<c_int>,
    pub encode_sparse_ratio: Cell<c_int>,
    pub encode_sparse_safe: Cell<c_int>,
    pub encode_max_depth: Cell<c_int>,
    /// Significant digits, or [`SHORTEST`].
    pub encode_number_precision: Cell<c_int>,
    pub encode_invalid_numbers: Cell<c_int>,
    pub encode_keep_buffer: Cell<c_int>,
    pub encode_empty_table_as_object: Cell<c_int>,
    pub encode_escape_forward_slash: Cell<c_int>,
    pub encode_skip_unsupported_value_types: Cell<c_int>,
    /// Bytes of a Lua string that the userdata's environment holds.
    encode_indent: Cell<&'static [u8]>,
    pub decode_invalid_numbers: Cell<c_int>,
    pub decode_max_depth: Cell<c_int>,
    pub decode_array_with_array_mt: Cell<c_int>,
    pub decode_allow_comment: Cell<c_int>,
    /// The addresses of the two marking metatables, which the registry holds.
    pub array_mt: *const c_void,
    pub empty_array_mt: *const c_void,
}

impl Config {
    /// Pushes a userdata with the defaults.
    pub fn push(
        stack: Stack,
        flavour: Flavour,
        array_mt: *const c_void,
        empty_array_mt: *const c_void,
    ) {
        let memory = stack.new_userdata(size_of::<Self>()).cast::<Self>();
        let (precision, escape_slash) = match flavour {
            Flavour::Cjson => (14, 1),
            Flavour::Exact => (SHORTEST as c_int, 0),
        };
        let defaults = Self {
            encode_sparse_convert: Cell::new(0),
            encode_sparse_ratio: Cell::new(2),
            encode_sparse_safe: Cell::new(10),
            encode_max_depth: Cell::new(1000),
            encode_number_precision: Cell::new(precision),
            encode_invalid_numbers: Cell::new(invalid_numbers::REFUSED),
            encode_keep_buffer: Cell::new(1),
            encode_empty_table_as_object: Cell::new(1),
            encode_escape_forward_slash: Cell::new(escape_slash),
            encode_skip_unsupported_value_types: Cell::new(0),
            encode_indent: Cell::new(&[]),
            decode_invalid_numbers: Cell::new(1),
            decode_max_depth: Cell::new(1000),
            decode_array_with_array_mt: Cell::new(0),
            decode_allow_comment: Cell::new(0),
            array_mt,
            empty_array_mt,
        };
        // SAFETY: Lua gave this many bytes, aligned to 8, for us alone.
        unsafe { memory.write(defaults) };
    }

    /// The settings of the running function's instance.
    #[inline]
    pub fn of<'a>(stack: Stack) -> &'a Self {
        // SAFETY: every function of the module is made with such a userdata as its first upvalue,
        // which lives while the function runs; it has no destructor.
        unsafe { &*stack.userdata(UPVALUE).cast::<Self>() }
    }

    /// What `encode` puts before each element, once for each level; empty for compact text.
    ///
    /// It is good until Lua runs again, which may replace and collect it.
    pub fn encode_indent(&self) -> &[u8] {
        self.encode_indent.get()
    }
}

/// The functions that change settings.
pub(crate) const FUNCTIONS: [(&CStr, lua_CFunction); 13] = [
    (c"encode_empty_table_as_object", encode_empty_table_as_object),
    (c"decode_array_with_array_mt", decode_array_with_array_mt),
    (c"decode_allow_comment", decode_allow_comment),
    (c"encode_sparse_array", encode_sparse_array),
    (c"encode_max_depth", encode_max_depth),
    (c"decode_max_depth", decode_max_depth),
    (c"encode_number_precision", encode_number_precision),
    (c"encode_keep_buffer", encode_keep_buffer),
    (c"encode_invalid_numbers", encode_invalid_numbers),
    (c"decode_invalid_numbers", decode_invalid_numbers),
    (c"encode_escape_forward_slash", encode_escape_forward_slash),
    (c"encode_skip_unsupported_value_types", encode_skip_unsupported_value_types),
    (c"encode_indent", encode_indent),
];

/// Pads the arguments with nils to `count`; raises if there are more.
fn start<'a>(state: *mut lua_State, count: c_int) -> (Stack, &'a Config) {
    // SAFETY: only the functions below call this, with the state that Lua called them with.
    let stack = unsafe { Stack::new(state) };
    stack.check_argument(stack.top() <= count, count + 1, c"found too many arguments");
    stack.set_top(count);
    (stack, Config::of(stack))
}

/// Sets an integer if the argument isn't nil, and pushes what is set.
fn integer(stack: Stack, index: c_int, setting: &Cell<c_int>, min: c_int, max: c_int) {
    if stack.type_of(index) != Type::NIL {
        let value = stack.check_integer(index) as c_int;
        if !(min..=max).contains(&value) {
            let format = c"expected integer between %d and %d";
            let problem = stack.push_formatted(format, min, max);
            stack.check_argument(false, 1, problem);
        }
        setting.set(value);
    }
    stack.push_number(f64::from(setting.get()));
}

/// Sets a choice, given as a boolean or by name, if the argument isn't nil, and pushes what is set.
fn choice(stack: Stack, index: c_int, setting: &Cell<c_int>, names: &'static [Name]) {
    match stack.type_of(index) {
        Type::NIL => {}
        Type::BOOLEAN => setting.set(c_int::from(stack.boolean(index))),
        _ => setting.set(stack.check_option(index, names) as c_int),
    }
    match setting.get() {
        0 => stack.push_boolean(false),
        1 => stack.push_boolean(true),
        other => {
            let name = usize::try_from(other).ok().and_then(|other| names.get(other));
            stack.push_bytes(name.map_or(&[], |name| name.bytes()));
        }
    }
}

/// Defines a Lua function that sets one setting.
macro_rules! setting {
    ($name:ident, $kind:ident($($argument:expr),*)) => {
        unsafe extern "C-unwind" fn $name(state: *mut lua_State) -> c_int {
            let (stack, config) = start(state, 1);
            $kind(stack, 1, &config.$name, $($argument),*);
            1
        }
    };
}

setting!(encode_max_depth, integer(1, c_int::MAX));
setting!(decode_max_depth, integer(1, c_int::MAX));
setting!(encode_number_precision, integer(1, 16));
setting!(encode_empty_table_as_object, choice(&ON_OFF));
setting!(decode_array_with_array_mt, choice(&ON_OFF));
setting!(decode_allow_comment, choice(&ON_OFF));
setting!(encode_keep_buffer, choice(&ON_OFF));
setting!(encode_invalid_numbers, choice(&INVALID_NUMBERS));
setting!(decode_invalid_numbers, choice(&ON_OFF));
setting!(encode_escape_forward_slash, choice(&ON_OFF));
setting!(encode_skip_unsupported_value_types, choice(&ON_OFF));

/// `(convert, ratio, safe)`: whether excessively sparse arrays become objects instead of an error,
/// and which ones are: their highest index is above `safe` and above `ratio` times their items.
unsafe extern "C-unwind" fn encode_sparse_array(state: *mut lua_State) -> c_int {
    let (stack, config) = start(state, 3);
    choice(stack, 1, &config.encode_sparse_convert, &ON_OFF);
    integer(stack, 2, &config.encode_sparse_ratio, 0, c_int::MAX);
    integer(stack, 3, &config.encode_sparse_safe, 0, c_int::MAX);
    3
}

unsafe extern "C-unwind" fn encode_indent(state: *mut lua_State) -> c_int {
    let (stack, config) = start(state, 1);
    if stack.type_of(1) != Type::NIL {
        let given = stack.check_string(1);
        let length = given.iter().position(|&byte| byte == 0).unwrap_or(0);
        stack.create_table(1, 0);
        stack.push_value(1);
        stack.raw_set_element(-2, 1);
        stack.push_value(UPVALUE);
        stack.insert(-2);
        stack.set_environment(-2);
        config.encode_indent.set(given.get(..length).unwrap_or_default());
    }
    stack.push_bytes(config.encode_indent());
    1
}
