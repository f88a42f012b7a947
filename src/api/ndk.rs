//! `ndk.set_var`: calls what other modules' directives compute, by the Nginx Development Kit. That is a module of its own, which may not be
//! loaded, so its symbol is looked for when a VM is made.

use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;

use nginx_sys::*;

use super::{arg, boundary, error, spacer_str, with_context, FAIL, NONE, OK};
use crate::nginx::Request;

/// What such a directive's row points at, by the kit's header.
#[repr(C)]
struct SetVar {
    kind: ngx_uint_t,
    function: *const c_void,
    size: usize,
    data: *const c_void,
}

/// Computes a value of one argument, in the request's pool.
type Function =
    unsafe extern "C" fn(Request, *mut ngx_str_t, *mut ngx_http_variable_value_t) -> ngx_int_t;

/// The handler of the directives that take one argument and set a variable; null when the kit isn't loaded.
fn set_var_value() -> *mut c_void {
    // SAFETY: nginx loads modules so that their symbols are found by all.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"ndk_set_var_value".as_ptr()) }
}

/// Whether the kit is loaded.
#[no_mangle]
pub extern "C" fn spacer_ndk_is_loaded() -> bool {
    !set_var_value().is_null()
}

/// What the directive of that name computes with, for [`spacer_ndk_call`].
#[no_mangle]
pub extern "C" fn spacer_ndk_find(
    name: *const u8,
    len: usize,
    function: &mut *const c_void,
) -> c_int {
    boundary(|| {
        // SAFETY: Lua's string. The cycle's modules are a list that ends in null, their directives one that ends with a row without a name;
        // what a row of the kit's handler points at is the kit's structure.
        unsafe {
            let (name, handler) = (arg(name, len), set_var_value());
            let mut modules = (*ngx_cycle).modules;
            while let Some(module) = (*modules).as_ref() {
                modules = modules.add(1);
                if module.type_ != NGX_HTTP_MODULE as ngx_uint_t || module.commands.is_null() {
                    continue;
                }
                let mut command = module.commands;
                while (*command).name.len > 0 {
                    let row = &*command;
                    let is_of_kit = row.set.is_some_and(|set| ptr::eq(set as *mut c_void, handler));
                    if is_of_kit && crate::nginx::bytes(row.name) == name {
                        let found = row.post.cast::<SetVar>().as_ref().map(|row| row.function);
                        *function = found.unwrap_or(ptr::null());
                        return if function.is_null() { NONE } else { OK };
                    }
                    command = command.add(1);
                }
            }
            NONE
        }
    })
}

/// Calls a function that [`spacer_ndk_find`] has found; what it refuses with is the error's text.
#[no_mangle]
pub extern "C" fn spacer_ndk_call(
    function: *const c_void,
    data: *const u8,
    len: usize,
    out: &mut spacer_str,
) -> c_int {
    with_context(|ctx| {
        // SAFETY: the function is one of the kit's; Lua's string lives as long as the call, and the result longer: it is that string, or in the
        // pool of the live request.
        unsafe {
            let function = mem::transmute::<*const c_void, Function>(function);
            let mut argument: ngx_http_variable_value_t = mem::zeroed();
            argument.set_valid(1);
            argument.set_len(len as _);
            argument.data = data.cast_mut();
            let mut result = crate::nginx::NULL_STR;
            let rc = function(ctx.r, &mut result, &mut argument);
            if rc != crate::nginx::OK {
                return error(FAIL, format_args!("{rc}"));
            }
            out.set(crate::nginx::bytes(result));
            OK
        }
    })
}
