//! Tracebacks for the error log, in the form that users of the reference implementation know and search for.

use std::ffi::{c_int, CStr};

use mlua::ffi as lua;

use crate::nginx::cell::Worker;

/// How many frames of a coroutine are shown.
const DEPTH: c_int = 22;

/// Appends a line for each frame of `l`, from `level` on: `\n\tfile:line: in function 'name'`. `of_directive` says that the lowest
/// function is a directive's code, which is compiled as a plain function but shown as the chunk that it is.
///
/// # Safety
/// `l` is suspended, has failed, or is running a message handler.
pub unsafe fn frames(
    out: &mut Vec<u8>,
    l: *mut lua::lua_State,
    mut level: c_int,
    of_directive: bool,
) {
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
                || (of_directive && what == b"Lua" && lua::lua_getstack(l, level, &mut below) == 0)
            {
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

/// A coroutine that `coroutine.wrap` has seen fail.
struct Failed {
    message: Vec<u8>,
    frames: Vec<u8>,
    /// Who resumed it, and has the error from it. Only compared.
    resumer: *const lua::lua_State,
}

/// Those that the last error came through, innermost first.
static WRAPPED: Worker<Vec<Failed>> = Worker::new(Vec::new());

/// Whether the error with which `l` has failed is the one that came through those.
fn came_through(wrapped: &[Failed], l: *const lua::lua_State, message: &[u8]) -> bool {
    wrapped.last().is_some_and(|last| last.resumer == l && last.message == message)
}

/// Notes that `l` has failed with that message, which its resumer raises again.
///
/// # Safety
/// `l` has failed.
pub unsafe fn note_failed(l: *mut lua::lua_State, resumer: *const lua::lua_State, message: &[u8]) {
    // SAFETY: one thread, and no reference is kept.
    let wrapped = unsafe { &mut *WRAPPED.get() };
    if !came_through(wrapped, l, message) {
        // Who had those from their coroutines has caught them.
        wrapped.clear();
    }
    let mut text = Vec::new();
    // SAFETY: the caller's promise.
    unsafe { frames(&mut text, l, 0, false) };
    wrapped.push(Failed { message: message.to_vec(), frames: text, resumer });
}

/// The traceback of a task's coroutine that failed, behind those of the wrapped ones that it had the error from.
///
/// # Safety
/// `l` has failed.
pub unsafe fn of_failed(l: *mut lua::lua_State, message: &[u8], is_entry: bool) -> Vec<u8> {
    let mut text = b"stack traceback:".to_vec();
    // SAFETY: one thread.
    let mut wrapped = unsafe { std::mem::take(&mut *WRAPPED.get()) };
    if !came_through(&wrapped, l, message) {
        wrapped.clear();
    }
    for (n, inner) in wrapped.iter().enumerate() {
        text.extend_from_slice(format!("\ncoroutine {n}:").as_bytes());
        text.extend_from_slice(&inner.frames);
    }
    text.extend_from_slice(format!("\ncoroutine {}:", wrapped.len()).as_bytes());
    // SAFETY: the caller's promise.
    unsafe { frames(&mut text, l, 0, is_entry) };
    text
}
