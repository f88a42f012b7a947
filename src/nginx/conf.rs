//! Configurations, and messages while one is read.

use std::ffi::c_char;

use nginx_sys::*;
use ngx::http::{HttpModuleConfExt, NgxHttpCoreModule};

pub use ngx::core::{NGX_CONF_ERROR as CONF_ERROR, NGX_CONF_OK as CONF_OK};
use ngx::http::{HttpModuleLocationConf as _, HttpModuleMainConf as _, HttpModuleServerConf as _};

/// nginx's own configuration of `http`: of a request, of what is being read, of a server's arrays.
pub fn core_main_conf(of: &impl HttpModuleConfExt) -> &'static mut ngx_http_core_main_conf_t {
    NgxHttpCoreModule::main_conf_mut(of).expect("http has a core configuration")
}

/// nginx's own configuration of a server.
pub fn core_server_conf(of: &impl HttpModuleConfExt) -> &'static mut ngx_http_core_srv_conf_t {
    NgxHttpCoreModule::server_conf_mut(of).expect("a server has a core configuration")
}

/// nginx's own configuration of a location.
pub fn core_location_conf(of: &impl HttpModuleConfExt) -> &'static mut ngx_http_core_loc_conf_t {
    NgxHttpCoreModule::location_conf_mut(of).expect("a location has a core configuration")
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
