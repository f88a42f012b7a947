//! nginx's arrays of configurations, and messages while one is read.

use std::ffi::c_char;
use std::ptr;

use nginx_sys::*;

/// What a directive's handler returns on an error that is already logged.
pub const CONF_ERROR: *mut c_char = usize::MAX as *mut c_char;
pub const CONF_OK: *mut c_char = ptr::null_mut();

/// The module's configuration in one of nginx's arrays of them.
///
/// # Safety
/// `confs` is such an array, and the module's entry in it is a `T`.
pub unsafe fn module_conf<'a, T>(
    confs: *mut *mut std::ffi::c_void,
    module: &ngx_module_t,
) -> &'a mut T {
    // SAFETY: the caller's promise; nginx made the entry with the module's own `create_*_conf`.
    unsafe { &mut *(*confs.add(module.ctx_index)).cast::<T>() }
}

/// Logs `message` at `emerg` with the file and line of the directive.
///
/// # Safety
/// Called while `cf` is being read.
pub unsafe fn conf_error(cf: *mut ngx_conf_t, message: &str) -> *mut c_char {
    // SAFETY: the caller's promise.
    unsafe { conf_log(cf, NGX_LOG_EMERG, message) };
    CONF_ERROR
}

/// As [`conf_error`], at another level.
///
/// # Safety
/// Called while `cf` is being read.
pub unsafe fn conf_log(cf: *mut ngx_conf_t, level: u32, message: &str) {
    // SAFETY: the format takes a length and a pointer to that many bytes.
    unsafe {
        ngx_conf_log_error(
            level as ngx_uint_t,
            cf,
            0,
            c"%*s".as_ptr(),
            message.len(),
            message.as_ptr(),
        );
    }
}

/// The configurations of the level that is being read, `http` or below.
///
/// # Safety
/// `cf` is live and inside `http`.
pub unsafe fn conf_ctx<'a>(cf: *mut ngx_conf_t) -> &'a ngx_http_conf_ctx_t {
    // SAFETY: inside `http`, `ctx` holds the arrays of configurations.
    unsafe { &*(*cf).ctx.cast::<ngx_http_conf_ctx_t>() }
}
