//! Tracebacks for the error log, in the form that users of the reference implementation know and search for.

use std::ffi::{c_int, CStr};

use mlua::ffi as lua;

/// How many frames of a coroutine are shown.
const DEPTH: c_int = 22;

/// Appends a line for each frame of `l`, from `level` on: `\n\tfile:line: in function 'name'`.
///
/// # Safety
/// `l` is suspended, has failed, or is running a message handler.
pub unsafe fn frames(out: &mut Vec<u8>, l: *mut lua::lua_State, mut level: c_int) {
    // SAFETY: the calls fill in the structure, whose strings belong to the functions on the stack; none raises.
    unsafe {
        let mut frame: lua::lua_Debug = std::mem::zeroed();
        let mut below: lua::lua_Debug = std::mem::zeroed();
        let first = level;
        while lua::lua_getstack(l, level, &mut frame) != 0 {
            level += 1;
            if level - first > DEPTH {
                out.extend_from_slice(b"\n\t...");
                return;
            }
            lua::lua_getinfo(l, c"Snl".as_ptr(), &mut frame);
            out.extend_from_slice(b"\n\t");
            out.extend_from_slice(CStr::from_ptr(frame.short_src.as_ptr()).to_bytes());
            out.push(b':');
            if frame.currentline > 0 {
                out.extend_from_slice(format!("{}:", frame.currentline).as_bytes());
            }
            let what = text(frame.what);
            if !text(frame.namewhat).is_empty() {
                out.extend_from_slice(b" in function '");
                out.extend_from_slice(text(frame.name));
                out.push(b'\'');
            } else if what == b"main"
                || (what == b"Lua" && lua::lua_getstack(l, level, &mut below) == 0)
            {
                // A directive's code is the lowest function, compiled as a plain one.
                out.extend_from_slice(b" in main chunk");
            } else if what == b"C" || what == b"tail" {
                out.extend_from_slice(b" ?");
            } else {
                out.extend_from_slice(b" in function <");
                out.extend_from_slice(CStr::from_ptr(frame.short_src.as_ptr()).to_bytes());
                out.extend_from_slice(format!(":{}>", frame.linedefined).as_bytes());
            }
        }
    }
}

unsafe fn text<'a>(s: *const std::ffi::c_char) -> &'a [u8] {
    if s.is_null() {
        return b"";
    }
    // SAFETY: a string of Lua's, which ends with a NUL.
    unsafe { CStr::from_ptr(s) }.to_bytes()
}
