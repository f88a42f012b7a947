//! The platform's typed configuration at nginx's levels.

use std::ffi::{c_char, c_void};
use std::path::PathBuf;

use nginx_sys::*;
use ngx::http::{HttpModule, HttpModuleConfExt, HttpModuleLocationConf, HttpModuleMainConf};

use super::function::slow;
use super::gateway::locations::{self, Names};
use super::gateway::Endpoint;
use super::module::module;
use super::topics::project::Projects;
use crate::nginx::{self, guard, Request, CONF_ERROR, CONF_OK};

/// As many as `ngx.req.get_uri_args` and `ngx.req.get_post_args` take.
const DEFAULT_MAX_ARGS: ngx_int_t = 100;

/// A time that no directive has set.
const UNSET_MSEC: ngx_msec_t = ngx_msec_t::MAX;

/// `http` level.
#[repr(C)]
pub struct MainConf {
    /// The folders that `spacer_project` names, each once; null when there are none.
    pub folders: *mut Vec<PathBuf>,
    /// What is served, to be looked at when all of the configuration has been read; null when nothing is.
    pub served: *mut Vec<Served>,
    /// Whether this nginx runs the projects' triggers.
    pub triggers: ngx_flag_t,
    /// What the projects in them are configured by, read at the end of the configuration.
    pub projects: *mut Projects,
    /// The names of the gateways' locations, until nginx's trees have them; null when there are none.
    pub names: *mut Vec<Names>,
}

/// What a directive has made a server or a location serve.
pub struct Served {
    /// Where the directive stands.
    pub conf: *const LocConf,
    pub project: PathBuf,
    /// The functions that it names.
    pub functions: Vec<String>,
}

impl MainConf {
    /// Notes what is served; false when there is no memory for that.
    ///
    /// # Safety
    /// The pool is the configuration's.
    pub unsafe fn add_served(&mut self, pool: *mut ngx_pool_t, served: Served) -> bool {
        // SAFETY: what is in the pool lives as long as the configuration.
        unsafe {
            if self.served.is_null() {
                self.served = nginx::pool_box(pool, Vec::new());
            }
            let Some(list) = self.served.as_mut() else { return false };
            list.push(served);
            true
        }
    }

    /// Notes names for locations; false when there is no memory for that.
    ///
    /// # Safety
    /// The pool is the configuration's.
    pub unsafe fn add_names(&mut self, pool: *mut ngx_pool_t, names: Names) -> bool {
        // SAFETY: what is in the pool lives as long as the configuration.
        unsafe {
            if self.names.is_null() {
                self.names = nginx::pool_box(pool, Vec::new());
            }
            let Some(all) = self.names.as_mut() else { return false };
            all.push(names);
            true
        }
    }

    /// Notes a project's folder; false when there is no memory for that.
    ///
    /// # Safety
    /// The pool is the configuration's.
    pub unsafe fn add_project(&mut self, pool: *mut ngx_pool_t, folder: PathBuf) -> bool {
        // SAFETY: what is in the pool lives as long as the configuration.
        unsafe {
            if self.folders.is_null() {
                self.folders = nginx::pool_box(pool, Vec::new());
            }
            let Some(folders) = self.folders.as_mut() else { return false };
            if !folders.contains(&folder) {
                folders.push(folder);
            }
            true
        }
    }
}

/// `http`, `server` and `location` level. What each request looks at comes first.
#[repr(C)]
pub struct LocConf {
    /// What the platform serves at this location.
    pub endpoint: *mut Endpoint,
    /// The project's folder, absolute.
    pub project: ngx_str_t,
    /// Empty for [`DEFAULT_ENVIRONMENT`].
    pub env: ngx_str_t,
    /// How many arguments a function takes from a query, and how many from a form; 0 for any number.
    pub max_args: ngx_int_t,
    /// The server has its `spacer_gateway`.
    pub has_gateway: bool,
    /// Whoever reaches the server may run any function: `spacer_private`.
    pub private_listener: bool,
    /// The server's names; null but at its own level.
    pub server_names: *mut Vec<ngx_str_t>,
    /// How long a function may run in one go before the log names it; 0 for ever.
    pub slow_function: ngx_msec_t,
}

/// What holds where no `spacer_env` does.
pub const DEFAULT_ENVIRONMENT: &str = "production";

impl LocConf {
    pub fn environment(&self) -> String {
        // SAFETY: nginx's string is the configuration's own.
        match unsafe { nginx::bytes(self.env) } {
            b"" => DEFAULT_ENVIRONMENT.into(),
            name => nginx::NgxStr::from_bytes(name).to_string(),
        }
    }
}

pub unsafe extern "C" fn create_main_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: all-zero is a valid `MainConf`, and its flag is then marked as not set.
    unsafe {
        let conf: *mut MainConf = nginx::pool_new((*cf).pool);
        if let Some(conf) = conf.as_mut() {
            conf.triggers = NGX_CONF_UNSET as ngx_flag_t;
        }
        conf.cast()
    }
}

/// `http` has been read, and nothing been made of its locations yet.
pub unsafe extern "C" fn init_main_conf(cf: *mut ngx_conf_t, conf: *mut c_void) -> *mut c_char {
    // SAFETY: nginx passes what `create_main_conf` made.
    unsafe {
        guard((*cf).log, CONF_ERROR, || {
            let names = (*conf.cast::<MainConf>()).names.as_ref();
            if names.is_none_or(|names| locations::are_distinct((*cf).log, names)) {
                CONF_OK
            } else {
                CONF_ERROR
            }
        })
    }
}

pub unsafe extern "C" fn create_loc_conf(cf: *mut ngx_conf_t) -> *mut c_void {
    // SAFETY: all-zero is a valid `LocConf`, and its numbers are then marked as not set.
    unsafe {
        let conf: *mut LocConf = nginx::pool_new((*cf).pool);
        if let Some(conf) = conf.as_mut() {
            conf.slow_function = UNSET_MSEC;
            conf.max_args = NGX_CONF_UNSET as ngx_int_t;
        }
        conf.cast()
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
    if child.slow_function == UNSET_MSEC {
        let outer = parent.slow_function;
        child.slow_function = if outer == UNSET_MSEC { slow::DEFAULT_MSEC } else { outer };
    }
    if child.max_args == NGX_CONF_UNSET as ngx_int_t {
        let outer = parent.max_args;
        child.max_args =
            if outer == NGX_CONF_UNSET as ngx_int_t { DEFAULT_MAX_ARGS } else { outer };
    }
    if child.endpoint.is_null() {
        child.endpoint = parent.endpoint;
    }
    child.private_listener |= parent.private_listener;
    for (value, outer) in [(&mut child.project, parent.project), (&mut child.env, parent.env)] {
        if value.data.is_null() {
            *value = outer;
        }
    }
    CONF_OK
}

/// The module, as the accessors of the crate `ngx` know it by its configurations.
struct Platform;

impl HttpModule for Platform {
    fn module() -> &'static ngx_module_t {
        module()
    }
}

// SAFETY: `create_main_conf` makes one for `http`.
unsafe impl HttpModuleMainConf for Platform {
    type MainConf = MainConf;
}

// SAFETY: `create_loc_conf` makes one for each level.
unsafe impl HttpModuleLocationConf for Platform {
    type LocationConf = LocConf;
}

/// The platform's `http` configuration while the configuration is read.
///
/// # Safety
/// `cf` is live and inside `http`.
pub unsafe fn main_conf<'a>(cf: *mut ngx_conf_t) -> &'a mut MainConf {
    // SAFETY: the caller's promise.
    unsafe { Platform::main_conf_mut(&*cf) }.expect("http has the platform's configuration")
}

/// The platform's configuration of the location that serves the request.
///
/// # Safety
/// `r` is live.
pub unsafe fn loc_conf<'a>(r: Request) -> &'a LocConf {
    // SAFETY: a live request has its configurations.
    unsafe { loc_conf_of(&*r) }
}

/// The platform's configuration of a location, a server or `http`.
pub fn loc_conf_of(of: &impl HttpModuleConfExt) -> &'static mut LocConf {
    Platform::location_conf_mut(of).expect("each level has the platform's configuration")
}

/// The platform's `http` configuration of a cycle, if it has any.
///
/// # Safety
/// The cycle is live.
pub unsafe fn conf_of<'a>(cycle: *mut ngx_cycle_t) -> Option<&'a MainConf> {
    // SAFETY: the caller's cycle is live.
    unsafe { Platform::main_conf(&*cycle) }
}
