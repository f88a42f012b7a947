//! The byte buffer that `encode` writes to and `decode` unescapes into.
//!
//! It belongs to a Lua userdata, an upvalue of the function, so that a Lua error in the midst of the
//! work leaves nothing behind. While a call works in it, it is marked busy; a call that finds it busy
//! (it was called from a metamethod or finalizer, or the last call ended by an error from Lua)
//! makes itself a fresh one, which takes the old one's place.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;

use mlua::ffi::lua_State;

use crate::stack::Stack;

/// The closure's upvalue that holds the buffer.
const UPVALUE: c_int = Stack::upvalue(2);

pub(crate) struct Scratch {
    busy: Cell<bool>,
    buffer: UnsafeCell<Vec<u8>>,
}

impl Scratch {
    /// Pushes a new buffer as a userdata.
    pub fn push(stack: Stack) {
        let memory = stack.new_userdata(size_of::<Self>()).cast::<Self>();
        // SAFETY: Lua gave this many bytes, aligned to 8, for us alone.
        unsafe {
            memory.write(Self { busy: Cell::new(false), buffer: UnsafeCell::new(Vec::new()) });
        }
        stack.create_table(0, 1);
        stack.push_closure(collect, 0);
        stack.set_field(-2, c"__gc");
        stack.set_metatable(-2);
    }

    /// Takes the running function's buffer, emptied, and puts the userdata below the arguments.
    pub fn acquire<'a>(stack: Stack) -> &'a Self {
        let mut scratch = Self::at(stack, UPVALUE);
        if scratch.busy.get() {
            Self::push(stack);
            stack.replace(UPVALUE);
            scratch = Self::at(stack, UPVALUE);
        }
        stack.push_value(UPVALUE);
        stack.insert(1);
        scratch.busy.set(true);
        scratch
    }

    /// Ends the call's use of the buffer, and frees its memory unless it is to be kept.
    pub fn release(&self, keep: bool) {
        if !keep {
            // SAFETY: the caller is done with what `buffer` gave it.
            unsafe { *self.buffer.get() = Vec::new() };
        }
        self.busy.set(false);
    }

    /// The bytes, for the call that acquired them.
    #[expect(clippy::mut_from_ref, reason = "the busy mark keeps every other call out")]
    pub fn buffer(&self) -> &mut Vec<u8> {
        // SAFETY: `acquire` hands each buffer to one call at a time, and each asks for it once.
        unsafe { &mut *self.buffer.get() }
    }

    fn at<'a>(stack: Stack, index: c_int) -> &'a Self {
        // SAFETY: only `push` makes the upvalue's userdata; `acquire` anchors it on the stack.
        unsafe { &*stack.userdata(index).cast::<Self>() }
    }
}

/// `__gc`: frees the bytes, and leaves an empty buffer for finalizers that may yet call.
unsafe extern "C-unwind" fn collect(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with the userdata as its argument.
    let stack = unsafe { Stack::new(state) };
    let scratch = stack.userdata(1).cast::<Scratch>();
    if !scratch.is_null() {
        // SAFETY: the metatable is on our userdata only, and no call anchors it any more.
        unsafe { *(*scratch).buffer.get() = Vec::new() };
    }
    0
}
