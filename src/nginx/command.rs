//! Rows of nginx's tables of directives.

use std::ffi::{c_char, c_void, CStr};
use std::ptr;

use nginx_sys::*;

use super::{fault, guard, CONF_ERROR};

pub const MAIN: usize = NGX_HTTP_MAIN_CONF as usize;
pub const SRV: usize = NGX_HTTP_SRV_CONF as usize;
pub const SIF: usize = NGX_HTTP_SIF_CONF as usize;
pub const LOC: usize = NGX_HTTP_LOC_CONF as usize;
pub const LIF: usize = NGX_HTTP_LIF_CONF as usize;
pub const NOARGS: usize = NGX_CONF_NOARGS as usize;
pub const TAKE1: usize = NGX_CONF_TAKE1 as usize;
pub const TAKE2: usize = NGX_CONF_TAKE2 as usize;
pub const FLAG: usize = NGX_CONF_FLAG as usize;
/// A `{ block }` that the directive's handler reads, without arguments in front.
pub const BLOCK: usize = (NGX_CONF_BLOCK | NGX_CONF_NOARGS) as usize;
/// One argument in front of it.
pub const BLOCK1: usize = (NGX_CONF_BLOCK | NGX_CONF_TAKE1) as usize;
pub const ANYWHERE: usize = MAIN | SRV | LOC | LIF;

/// Which configuration a directive's handler is given.
pub const AT_MAIN: usize = NGX_HTTP_MAIN_CONF_OFFSET;
pub const AT_LOC: usize = NGX_HTTP_LOC_CONF_OFFSET;

/// nginx's own kind of handler.
type Setter = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

/// One of the module's.
pub type Handler = unsafe fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

/// A directive of the module's own handler, which finds its value's place by `offset`. A panic in it refuses the configuration.
pub const fn command(
    name: &'static CStr,
    type_: usize,
    set: Handler,
    conf: usize,
    offset: usize,
) -> ngx_command_t {
    let mut row = slot(name, type_, guarded, conf, offset);
    row.post = set as *mut c_void;
    row
}

unsafe extern "C" fn guarded(
    cf: *mut ngx_conf_t,
    cmd: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes a row of `command`'s, whose handler is in `post`.
    unsafe {
        guard((*cf).log, CONF_ERROR, || {
            fault::point("directive");
            let set: Handler = std::mem::transmute((*cmd).post);
            set(cf, cmd, conf)
        })
    }
}

/// A directive whose value nginx itself reads.
pub const fn slot(
    name: &'static CStr,
    type_: usize,
    set: Setter,
    conf: usize,
    offset: usize,
) -> ngx_command_t {
    ngx_command_t {
        // The name's length leaves the NUL out, but nginx wants it there.
        name: ngx_str_t { len: name.count_bytes(), data: name.as_ptr() as *mut u_char },
        type_,
        set: Some(set),
        conf,
        offset,
        post: ptr::null_mut(),
    }
}

/// `name on|off;` anywhere.
pub const fn flag(name: &'static CStr, offset: usize) -> ngx_command_t {
    slot(name, ANYWHERE | FLAG, ngx_conf_set_flag_slot, AT_LOC, offset)
}

/// `name STRING;` in `http`.
pub const fn main_str(name: &'static CStr, offset: usize) -> ngx_command_t {
    slot(name, MAIN | TAKE1, ngx_conf_set_str_slot, AT_MAIN, offset)
}

/// `name NUMBER;` in `http`.
pub const fn main_num(name: &'static CStr, offset: usize) -> ngx_command_t {
    slot(name, MAIN | TAKE1, ngx_conf_set_num_slot, AT_MAIN, offset)
}

/// `name on|off;` in `http`.
pub const fn main_flag(name: &'static CStr, offset: usize) -> ngx_command_t {
    slot(name, MAIN | FLAG, ngx_conf_set_flag_slot, AT_MAIN, offset)
}

/// What ends a table.
pub const END: ngx_command_t = ngx_command_t::empty();

/// The tables one after the other, with what ends them: `N` is one more than their lengths.
pub const fn join<const N: usize>(tables: &[&[ngx_command_t]]) -> [ngx_command_t; N] {
    let mut all = [END; N];
    let (mut n, mut t) = (0, 0);
    while t < tables.len() {
        let mut i = 0;
        while i < tables[t].len() {
            all[n] = tables[t][i];
            n += 1;
            i += 1;
        }
        t += 1;
    }
    assert!(n + 1 == N, "a table of directives is one longer than its rows");
    all
}
