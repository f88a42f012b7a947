//! nginx's view of the configuration: the directives (one table, [`directives`]), the typed configurations of the
//! three levels, and the reader of Lua blocks.

pub mod block;
pub mod code;
pub mod directives;
pub mod scan;

use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::ptr;

use nginx_sys::*;

use crate::function::slow;
use crate::ngx::{self, Request};
use crate::topics::project::Projects;
use crate::vm::Vm;
use code::Code;

/// What a directive's handler returns on an error that is already logged.
pub const CONF_ERROR: *mut c_char = usize::MAX as *mut c_char;
pub const CONF_OK: *mut c_char = ptr::null_mut();

/// A time that no directive has set.
const UNSET_MSEC: ngx_msec_t = ngx_msec_t::MAX;

/// `http` level.
#[repr(C)]
pub struct MainConf {
    pub package_path: ngx_str_t,
    pub package_cpath: ngx_str_t,
    pub init: *mut Code,
    pub init_worker: *mut Code,
    /// The phases that some location runs Lua in, as the bits of [`Phase`].
    pub phases: u32,
    /// The VM of `lua_code_cache on`, made at the end of the configuration.
    pub vm: *mut Vm,
    /// The folders that `spacer_project` names, each once; null when there are none.
    pub folders: *mut Vec<PathBuf>,
    /// Whether this nginx runs the projects' triggers.
    pub triggers: ngx_flag_t,
    /// What the projects in them are configured by, read at the end of the configuration.
    pub projects: *mut Projects,
}

impl MainConf {
    /// Notes a project's folder; false when there is no memory for that.
    ///
    /// # Safety
    /// The pool is the configuration's.
    pub unsafe fn add_project(&mut self, pool: *mut ngx_pool_t, folder: PathBuf) -> bool {
        // SAFETY: what is in the pool lives as long as the configuration.
        unsafe {
            if self.folders.is_null() {
                self.folders = ngx::pool_box(pool, Vec::new());
            }
            let Some(folders) = self.folders.as_mut() else { return false };
            if !folders.contains(&folder) {
                folders.push(folder);
            }
            true
        }
    }
}

/// `http`, `server` and `location` level. What each request looks at comes first, so that it is together in the caches.
#[repr(C)]
pub struct LocConf {
    /// What the platform serves at this location.
    pub endpoint: *mut crate::gateway::Endpoint,
    pub code_cache: ngx_flag_t,
    pub need_request_body: ngx_flag_t,
    pub http10_buffering: ngx_flag_t,
    pub use_default_type: ngx_flag_t,
    pub content: *mut Code,
    pub header_filter: *mut Code,
    pub body_filter: *mut Code,
    pub log: *mut Code,
    pub rewrite: *mut Code,
    pub access: *mut Code,
    pub transform_underscores: ngx_flag_t,
    pub check_client_abort: ngx_flag_t,
    /// The project's folder, absolute.
    pub project: ngx_str_t,
    pub env: ngx_str_t,
    /// The server has its `spacer_gateway`.
    pub has_gateway: bool,
    /// How long a function may run in one go before the log names it; 0 for ever.
    pub slow_function: ngx_msec_t,
}

pub unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: all-zero is a valid `MainConf`, and its flag is then marked as not set.
    unsafe {
        let conf: *mut MainConf = ngx::pool_new((*cf).pool);
        if let Some(conf) = conf.as_mut() {
            conf.triggers = NGX_CONF_UNSET as ngx_flag_t;
        }
        conf.cast()
    }
}

pub unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: all-zero is a valid `LocConf`, and its flags are then marked as not set.
    unsafe {
        let conf: *mut LocConf = ngx::pool_new((*cf).pool);
        if let Some(conf) = conf.as_mut() {
            for flag in conf.flags() {
                *flag.0 = NGX_CONF_UNSET as ngx_flag_t;
            }
            conf.slow_function = UNSET_MSEC;
        }
        conf.cast()
    }
}

impl LocConf {
    /// Every flag and its default.
    fn flags(&mut self) -> [(&mut ngx_flag_t, ngx_flag_t); 6] {
        [
            (&mut self.code_cache, 1),
            (&mut self.need_request_body, 0),
            (&mut self.http10_buffering, 1),
            (&mut self.use_default_type, 1),
            (&mut self.transform_underscores, 1),
            (&mut self.check_client_abort, 0),
        ]
    }

    fn inherited_code(&mut self) -> [&mut *mut Code; 6] {
        [
            &mut self.rewrite,
            &mut self.access,
            // For an `if` in a location: elsewhere nginx doesn't inherit the handler that runs it.
            &mut self.content,
            &mut self.header_filter,
            &mut self.body_filter,
            &mut self.log,
        ]
    }
}

pub unsafe extern "C" fn merge_loc_conf(
    _cf: *mut ngx_conf_t,
    parent: *mut c_void,
    child: *mut c_void,
) -> *mut c_char {
    // SAFETY: nginx passes what `create_loc_conf` made.
    let (parent, child) =
        unsafe { (&mut *parent.cast::<LocConf>(), &mut *child.cast::<LocConf>()) };
    for ((flag, default), (outer, _)) in child.flags().into_iter().zip(parent.flags()) {
        if *flag == NGX_CONF_UNSET as ngx_flag_t {
            *flag = if *outer == NGX_CONF_UNSET as ngx_flag_t { default } else { *outer };
        }
    }
    for (code, outer) in child.inherited_code().into_iter().zip(parent.inherited_code()) {
        if code.is_null() {
            *code = *outer;
        }
    }
    if child.slow_function == UNSET_MSEC {
        let outer = parent.slow_function;
        child.slow_function = if outer == UNSET_MSEC { slow::DEFAULT_MSEC } else { outer };
    }
    if child.endpoint.is_null() {
        child.endpoint = parent.endpoint;
    }
    for (value, outer) in [(&mut child.project, parent.project), (&mut child.env, parent.env)] {
        if value.data.is_null() {
            *value = outer;
        }
    }
    CONF_OK
}

/// The module's `http` configuration while the configuration is read.
///
/// # Safety
/// `cf` is live and inside `http`.
pub unsafe fn main_conf<'a>(cf: *mut ngx_conf_t) -> &'a mut MainConf {
    // SAFETY: inside `http`, `ctx` holds the arrays of configurations.
    unsafe {
        let ctx = &*(*cf).ctx.cast::<ngx_http_conf_ctx_t>();
        ngx::module_conf(ctx.main_conf, crate::module::module())
    }
}

/// The configuration of the location that serves the request.
///
/// # Safety
/// `r` is live.
pub unsafe fn loc_conf<'a>(r: Request) -> &'a LocConf {
    // SAFETY: a live request has its configurations.
    unsafe { ngx::module_conf((*r).loc_conf, crate::module::module()) }
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
