//! The runtime's typed configuration at nginx's levels, and the table of [`phase`]s that its code belongs to.

pub mod phase;

use std::ffi::{c_char, c_void};
use std::ptr;

use nginx_sys::*;

use crate::lua::code::Code;
use crate::lua::Vm;
use crate::nginx::own::module;
use crate::nginx::{self, conf_ctx, module_conf, Request, CONF_OK};
use phase::Phase;

/// `http` level.
#[repr(C)]
pub struct MainConf {
    pub package_path: ngx_str_t,
    pub package_cpath: ngx_str_t,
    /// By [`Phase::index`].
    pub code: [*mut Code; phase::COUNT],
    /// The phases that some location runs Lua in, as the bits of [`Phase`].
    pub phases: u32,
    /// The VM of `lua_code_cache on`, made at the end of the configuration.
    pub vm: *mut Vm,
}

/// `http`, `server` and `location` level. What each request looks at comes first, so that it is together in the caches.
#[repr(C)]
pub struct LocConf {
    pub code_cache: ngx_flag_t,
    pub need_request_body: ngx_flag_t,
    pub http10_buffering: ngx_flag_t,
    pub use_default_type: ngx_flag_t,
    /// By [`Phase::index`].
    code: [*mut Code; phase::COUNT],
    pub transform_underscores: ngx_flag_t,
    pub check_client_abort: ngx_flag_t,
}

pub unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: all-zero is a valid `MainConf`.
    unsafe { nginx::pool_new::<MainConf>((*cf).pool).cast() }
}

pub unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: all-zero is a valid `LocConf`, and its flags are then marked as not set.
    unsafe {
        let conf: *mut LocConf = nginx::pool_new((*cf).pool);
        if let Some(conf) = conf.as_mut() {
            for flag in conf.flags() {
                *flag.0 = NGX_CONF_UNSET as ngx_flag_t;
            }
        }
        conf.cast()
    }
}

impl LocConf {
    /// The code of a phase here, if there is any.
    #[inline]
    pub fn code(&self, phase: Phase) -> Option<&Code> {
        // SAFETY: a directive has put the code there, which lives as long as the configuration.
        unsafe { self.code[phase.index()].as_ref() }
    }

    /// Whether the response goes through Lua.
    #[inline]
    pub fn has_filters(&self) -> bool {
        self.code(Phase::HeaderFilter).is_some() || self.code(Phase::BodyFilter).is_some()
    }

    /// Where a directive puts a phase's code.
    pub fn code_slot(&mut self, phase: Phase) -> &mut *mut Code {
        &mut self.code[phase.index()]
    }

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
    // That of the content phase is for an `if` in a location: elsewhere nginx doesn't inherit the handler that runs it.
    for (code, outer) in child.code.iter_mut().zip(parent.code) {
        if code.is_null() {
            *code = outer;
        }
    }
    CONF_OK
}

/// The runtime's `http` configuration while the configuration is read.
///
/// # Safety
/// `cf` is live and inside `http`.
pub unsafe fn main_conf<'a>(cf: *mut ngx_conf_t) -> &'a mut MainConf {
    // SAFETY: the caller's promise.
    unsafe { module_conf(conf_ctx(cf).main_conf, module()) }
}

/// The runtime's `http` configuration of a request.
///
/// # Safety
/// `r` is live.
pub unsafe fn main_conf_of<'a>(r: Request) -> &'a MainConf {
    // SAFETY: the caller's promise.
    unsafe { module_conf((*r).main_conf, module()) }
}

/// The configuration of the location that serves the request.
///
/// # Safety
/// `r` is live.
#[inline]
pub unsafe fn loc_conf<'a>(r: Request) -> &'a LocConf {
    // SAFETY: a live request has its configurations.
    unsafe { module_conf((*r).loc_conf, module()) }
}

/// nginx's own configuration of the location that serves the request.
///
/// # Safety
/// `r` is live.
pub unsafe fn core_loc_conf<'a>(r: Request) -> &'a ngx_http_core_loc_conf_t {
    // SAFETY: a live request has its core configuration.
    unsafe { module_conf((*r).loc_conf, &*ptr::addr_of!(ngx_http_core_module)) }
}

/// A VM as the configuration wants it, before `init_by_lua*`.
///
/// # Safety
/// The configuration is live.
pub unsafe fn new_vm(conf: &MainConf) -> Result<Vm, String> {
    // SAFETY: the caller's promise; nginx has a cycle, if only a first one, before it reads a configuration.
    unsafe {
        Vm::new(
            nginx::bytes(conf.package_path),
            nginx::bytes(conf.package_cpath),
            nginx::bytes((*ngx_cycle).prefix),
        )
    }
}
