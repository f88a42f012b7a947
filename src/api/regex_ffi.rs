//! The functions under which libraries know regular expressions that call them by themselves: compiling, matching, and a
//! structure with the groups' places.

use std::ffi::{c_char, c_int, c_void};
use std::{ptr, slice};

use luare::{Flags, Regex};

use super::{arg, boundary, without_status, FAIL, OK};
use crate::regex::engine;

/// What `pcre_exec` says of no match.
const NO_MATCH: c_int = -1;

/// Bits of `flags`.
const DFA: c_int = 0x02;
const JIT: c_int = 0x04;
const NO_UTF8_CHECK: c_int = 0x10;

/// Bits of `pcre_opts`, PCRE's own.
const PCRE_OPTIONS: [(c_int, Flags); 8] = [
    (0x1, Flags::CASELESS),
    (0x2, Flags::MULTILINE),
    (0x4, Flags::DOTALL),
    (0x8, Flags::EXTENDED),
    (0x10, Flags::ANCHORED),
    (0x800, Flags::UTF),
    (0x80000, Flags::DUPLICATE_NAMES),
    (0x200_0000, Flags::JAVASCRIPT),
];

/// A compiled pattern, with the fields that libraries read.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct ngx_http_lua_regex_t {
    pub pool: *mut c_void,
    /// Entries of `name_entry_size` bytes: a number in two, high byte first, and a name that ends in a zero.
    pub name_table: *const u8,
    pub name_count: c_int,
    pub name_entry_size: c_int,
    /// Groups, and where they begin and end.
    pub ncaptures: c_int,
    pub captures: *mut c_int,
    /// Ours: what was compiled.
    pub regex: *mut c_void,
    pub regex_sd: *mut c_void,
    pub replace: *mut c_void,
    pub pattern: *const c_char,
}

/// Writes a text that ends in a zero, as much of it as there is room for.
///
/// # Safety
/// `out` has room for `size` bytes.
unsafe fn write_text(text: &[u8], out: *mut u8, size: usize) {
    if size > 0 {
        let len = text.len().min(size - 1);
        // SAFETY: the caller's promise.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr(), out, len);
            *out.add(len) = 0;
        }
    }
}

#[no_mangle]
pub unsafe extern "C" fn ngx_http_lua_ffi_compile_regex(
    pat: *const u8,
    pat_len: usize,
    flags: c_int,
    pcre_opts: c_int,
    errstr: *mut u8,
    errstr_size: usize,
) -> *mut ngx_http_lua_regex_t {
    let mut compiled = ptr::null_mut();
    boundary(|| {
        let mut wanted = Flags::default();
        for (option, flag) in PCRE_OPTIONS {
            if pcre_opts & option != 0 {
                wanted = wanted.with(flag);
            }
        }
        if flags & DFA != 0 {
            wanted = wanted.with(Flags::DFA);
        }
        if flags & JIT != 0 {
            wanted = wanted.with(Flags::JIT);
        }
        if flags & NO_UTF8_CHECK != 0 {
            wanted = wanted.without(Flags::UTF).with(Flags::UTF_LENIENT);
        }
        // SAFETY: the caller's string and buffer.
        match Regex::compile(unsafe { arg(pat, pat_len) }, wanted) {
            Ok(regex) => compiled = describe(regex),
            // SAFETY: the caller's buffer has that size.
            Err(reason) => unsafe { write_text(&reason.message(), errstr, errstr_size) },
        }
        OK
    });
    compiled
}

fn describe(regex: Regex) -> *mut ngx_http_lua_regex_t {
    let regex = Box::new(regex);
    let (table, entry_size) = regex.name_table();
    let captures = vec![0 as c_int; 2 * (regex.groups() + 1)].into_boxed_slice();
    let described = ngx_http_lua_regex_t {
        pool: ptr::null_mut(),
        name_table: table.as_ptr(),
        name_count: (table.len() / entry_size.max(1)) as c_int,
        name_entry_size: entry_size as c_int,
        ncaptures: regex.groups() as c_int,
        captures: Box::into_raw(captures).cast(),
        // The table above belongs to the code, which doesn't move with its box.
        regex: Box::into_raw(regex).cast(),
        regex_sd: ptr::null_mut(),
        replace: ptr::null_mut(),
        pattern: ptr::null(),
    };
    Box::into_raw(Box::new(described))
}

/// How many groups are set, or a negative number of PCRE's, -1 for no match. `flags` are those that were compiled with.
#[no_mangle]
pub unsafe extern "C" fn ngx_http_lua_ffi_exec_regex(
    re: *mut ngx_http_lua_regex_t,
    _flags: c_int,
    s: *const u8,
    len: usize,
    pos: c_int,
) -> c_int {
    let mut count = FAIL;
    boundary(|| {
        // SAFETY: what `describe` made, and the caller's string; the engine's reference ends here.
        unsafe {
            let regex = &*(*re).regex.cast::<Regex>();
            let matcher = &mut engine().matcher;
            let pos = usize::try_from(pos).unwrap_or(usize::MAX);
            count = match matcher.find(regex, arg(s, len), pos) {
                Ok(0) => NO_MATCH,
                Ok(found) => found as c_int,
                Err(reason) => reason.0,
            };
            if count > 0 {
                let captures = slice::from_raw_parts_mut((*re).captures, 2 * (regex.groups() + 1));
                captures.copy_from_slice(&matcher.captures()[..captures.len()]);
            }
        }
        OK
    });
    count
}

#[no_mangle]
pub unsafe extern "C" fn ngx_http_lua_ffi_destroy_regex(re: *mut ngx_http_lua_regex_t) {
    // SAFETY: what `describe` made, given back once.
    without_status((), || unsafe {
        if re.is_null() {
            return;
        }
        let described = Box::from_raw(re);
        let regex = Box::from_raw(described.regex.cast::<Regex>());
        let captures = ptr::slice_from_raw_parts_mut(described.captures, 2 * (regex.groups() + 1));
        drop(Box::from_raw(captures));
    });
}
