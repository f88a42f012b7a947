//! The Lua C API as far as the codec uses it, as methods of a [`Stack`].
//!
//! Every method may raise a Lua error that skips the Rust frames above it (out of memory at the
//! least), so callers keep no value with a destructor alive across a call. A method that pushes
//! counts on room that [`Stack::reserve`] made, or on the slots that each C function starts with.

use std::ffi::{c_char, c_int, c_void, CStr};

use mlua::ffi::{self, lua_CFunction, lua_State};

/// The stack of a running Lua function.
#[derive(Clone, Copy)]
pub(crate) struct Stack(*mut lua_State);

/// The types of Lua value that the codec tells apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Type(pub c_int);

impl Type {
    pub const NIL: Self = Self(ffi::LUA_TNIL);
    pub const BOOLEAN: Self = Self(ffi::LUA_TBOOLEAN);
    pub const LIGHT_USERDATA: Self = Self(ffi::LUA_TLIGHTUSERDATA);
    pub const NUMBER: Self = Self(ffi::LUA_TNUMBER);
    pub const STRING: Self = Self(ffi::LUA_TSTRING);
    pub const TABLE: Self = Self(ffi::LUA_TTABLE);
}

/// Calls an API function on this stack's state.
macro_rules! lua {
    ($function:ident($stack:expr $(, $argument:expr)*)) => {
        // SAFETY: `Stack::new` was promised a live state that belongs to this thread; the callers
        // below pass indices of values that they know to be there.
        unsafe { ffi::$function($stack.0 $(, $argument)*) }
    };
}

impl Stack {
    pub const REGISTRY: c_int = ffi::LUA_REGISTRYINDEX;

    /// # Safety
    ///
    /// `state` is the state that Lua called a C function with, and the function still runs.
    #[inline]
    pub unsafe fn new(state: *mut lua_State) -> Self {
        Self(state)
    }

    /// The index of a C closure's upvalue, counted from 1.
    pub const fn upvalue(number: c_int) -> c_int {
        ffi::lua_upvalueindex(number)
    }

    #[inline]
    pub fn top(self) -> c_int {
        lua!(lua_gettop(self))
    }

    #[inline]
    pub fn set_top(self, index: c_int) {
        lua!(lua_settop(self, index))
    }

    #[inline]
    pub fn pop(self, count: c_int) {
        self.set_top(-count - 1);
    }

    /// Makes room for `slots` more values; false if Lua's limit is reached.
    #[inline]
    pub fn reserve(self, slots: c_int) -> bool {
        lua!(lua_checkstack(self, slots)) != 0
    }

    #[inline]
    pub fn insert(self, index: c_int) {
        lua!(lua_insert(self, index))
    }

    #[inline]
    pub fn replace(self, index: c_int) {
        lua!(lua_replace(self, index))
    }

    #[inline]
    pub fn type_of(self, index: c_int) -> Type {
        Type(lua!(lua_type(self, index)))
    }

    #[inline]
    pub fn number(self, index: c_int) -> f64 {
        lua!(lua_tonumber(self, index))
    }

    #[inline]
    pub fn boolean(self, index: c_int) -> bool {
        lua!(lua_toboolean(self, index)) != 0
    }

    /// The address of a table, or of a light userdata, or of a full userdata's memory.
    #[inline]
    pub fn pointer(self, index: c_int) -> *const c_void {
        lua!(lua_topointer(self, index))
    }

    #[inline]
    pub fn userdata(self, index: c_int) -> *mut c_void {
        lua!(lua_touserdata(self, index))
    }

    /// The bytes of the string at `index`, which must be a string.
    ///
    /// The lifetime is the caller's word that the string stays on the stack, or in a table, for as
    /// long as the bytes are used.
    #[inline]
    pub fn string<'a>(self, index: c_int) -> &'a [u8] {
        let mut length = 0;
        let start = lua!(lua_tolstring(self, index, &mut length));
        if start.is_null() {
            return &[];
        }
        // SAFETY: Lua strings don't move or change, and this one is anchored by the caller.
        unsafe { std::slice::from_raw_parts(start.cast(), length) }
    }

    #[inline]
    pub fn length(self, index: c_int) -> usize {
        lua!(lua_objlen(self, index))
    }

    #[inline]
    pub fn push_nil(self) {
        lua!(lua_pushnil(self))
    }

    #[inline]
    pub fn push_number(self, number: f64) {
        lua!(lua_pushnumber(self, number))
    }

    #[inline]
    pub fn push_boolean(self, boolean: bool) {
        lua!(lua_pushboolean(self, c_int::from(boolean)))
    }

    #[inline]
    pub fn push_bytes(self, bytes: &[u8]) {
        lua!(lua_pushlstring_(self, bytes.as_ptr().cast(), bytes.len()))
    }

    #[inline]
    pub fn push_light_userdata(self, address: *const c_void) {
        lua!(lua_pushlightuserdata(self, address.cast_mut()))
    }

    #[inline]
    pub fn push_value(self, index: c_int) {
        lua!(lua_pushvalue(self, index))
    }

    /// Pops `upvalues` values and pushes a closure over them.
    pub fn push_closure(self, function: lua_CFunction, upvalues: c_int) {
        lua!(lua_pushcclosure(self, function, upvalues))
    }

    #[inline]
    pub fn create_table(self, elements: c_int, fields: c_int) {
        lua!(lua_createtable(self, elements, fields))
    }

    pub fn new_userdata(self, size: usize) -> *mut c_void {
        lua!(lua_newuserdata(self, size))
    }

    #[inline]
    pub fn next(self, table: c_int) -> bool {
        lua!(lua_next(self, table)) != 0
    }

    #[inline]
    pub fn raw_get(self, table: c_int) {
        lua!(lua_rawget_(self, table))
    }

    #[inline]
    pub fn raw_get_element(self, table: c_int, element: c_int) {
        lua!(lua_rawgeti_(self, table, element))
    }

    #[inline]
    pub fn raw_set(self, table: c_int) {
        lua!(lua_rawset(self, table))
    }

    #[inline]
    pub fn raw_set_element(self, table: c_int, element: c_int) {
        lua!(lua_rawseti_(self, table, element))
    }

    /// `table[key]` with metamethods, the key on the top.
    pub fn get(self, table: c_int) {
        lua!(lua_gettable_(self, table))
    }

    pub fn get_field(self, table: c_int, name: &CStr) {
        lua!(lua_getfield_(self, table, name.as_ptr()))
    }

    pub fn set_field(self, table: c_int, name: &CStr) {
        lua!(lua_setfield(self, table, name.as_ptr()))
    }

    #[inline]
    pub fn get_metatable(self, index: c_int) -> bool {
        lua!(lua_getmetatable(self, index)) != 0
    }

    #[inline]
    pub fn set_metatable(self, index: c_int) {
        lua!(lua_setmetatable(self, index));
    }

    /// Pushes the field of the value's metatable; pushes nothing and answers false without one.
    pub fn get_metafield(self, index: c_int, name: &CStr) -> bool {
        lua!(luaL_getmetafield_(self, index, name.as_ptr())) != 0
    }

    /// Pops a table and makes it the environment of the userdata at `index`.
    pub fn set_environment(self, index: c_int) {
        lua!(lua_setfenv(self, index));
    }

    pub fn call(self, arguments: c_int, results: c_int) {
        lua!(lua_call(self, arguments, results))
    }

    pub fn protected_call(self, arguments: c_int, results: c_int) -> c_int {
        lua!(lua_pcall(self, arguments, results, 0))
    }

    pub fn type_name<'a>(self, kind: Type) -> &'a CStr {
        let name = lua!(lua_typename(self, kind.0));
        // SAFETY: Lua answers with one of its static, terminated names.
        unsafe { CStr::from_ptr(name) }
    }

    /// The string argument at `index` together with the NUL that ends it; raises if it is neither a
    /// string nor a number. The lifetime is as for [`Stack::string`].
    pub fn check_string<'a>(self, index: c_int) -> &'a [u8] {
        let mut length = 0;
        let start = lua!(luaL_checklstring(self, index, &mut length));
        // SAFETY: a Lua string has a NUL after its last byte, and it stays at `index`.
        unsafe { std::slice::from_raw_parts(start.cast(), length + 1) }
    }

    pub fn check_integer(self, index: c_int) -> ffi::lua_Integer {
        lua!(luaL_checkinteger(self, index))
    }

    /// The position in `names` (which ends with a null pointer) of the string argument.
    pub fn check_option(self, index: c_int, names: &'static [Name]) -> usize {
        debug_assert!(names.last().is_some_and(|name| name.0.is_null()));
        let found = lua!(luaL_checkoption(self, index, std::ptr::null(), names.as_ptr().cast()));
        usize::try_from(found).unwrap_or(0)
    }

    /// Raises "bad argument" unless `good`.
    #[inline]
    pub fn check_argument(self, good: bool, index: c_int, problem: &CStr) {
        if !good {
            lua!(luaL_argerror(self, index, problem.as_ptr()));
        }
    }

    /// Pushes `format` filled with two integers, and gives it.
    pub fn push_formatted<'a>(
        self,
        format: &'static CStr,
        first: c_int,
        second: c_int,
    ) -> &'a CStr {
        let text = lua!(lua_pushfstring(self, format.as_ptr(), first, second));
        // SAFETY: the string stays on the stack until the C function ends.
        unsafe { CStr::from_ptr(text) }
    }

    /// Raises `format` with what is passed, which must be what its `%s` and `%d` ask for.
    pub fn raise(self, text: ErrorText) -> c_int {
        match text {
            ErrorText::Plain(text) => lua!(luaL_error(self, c"%s".as_ptr(), text.as_ptr())),
            ErrorText::Number(format, number) => lua!(luaL_error(self, format.as_ptr(), number)),
            ErrorText::Numbers(format, first, second) => {
                lua!(luaL_error(self, format.as_ptr(), first, second))
            }
            ErrorText::Strings(format, first, second) => {
                lua!(luaL_error(self, format.as_ptr(), first.as_ptr(), second.as_ptr()))
            }
            ErrorText::StringsNumber(format, first, second, number) => {
                lua!(luaL_error(self, format.as_ptr(), first.as_ptr(), second.as_ptr(), number))
            }
        }
    }
}

/// An error text and what fills it in.
#[derive(Clone, Copy)]
pub(crate) enum ErrorText {
    Plain(&'static CStr),
    Number(&'static CStr, c_int),
    Numbers(&'static CStr, c_int, c_int),
    Strings(&'static CStr, &'static CStr, &'static CStr),
    StringsNumber(&'static CStr, &'static CStr, &'static CStr, c_int),
}

/// A pointer to a static C string, in the arrays that `luaL_checkoption` takes.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Name(*const c_char);

impl Name {
    pub const END: Self = Self(std::ptr::null());

    pub const fn new(text: &'static CStr) -> Self {
        Self(text.as_ptr())
    }

    /// The text; empty for [`Name::END`].
    pub fn bytes(self) -> &'static [u8] {
        if self.0.is_null() {
            return &[];
        }
        // SAFETY: `new` took the pointer from a static C string.
        unsafe { CStr::from_ptr(self.0) }.to_bytes()
    }
}

// SAFETY: it points at immutable static text.
unsafe impl Sync for Name {}
