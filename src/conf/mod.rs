//! The runtime's typed configuration at nginx's levels, and the table of [`phase`]s that its code belongs to.

pub mod phase;

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::ptr;
use std::rc::Rc;

use nginx_sys::*;
use ngx::http::{HttpModule, HttpModuleLocationConf, HttpModuleMainConf};

use crate::lua::code::Code;
use crate::lua::{Settings, Vm};
use crate::nginx::cell::Worker;
use crate::nginx::own::module;
use crate::nginx::{self, Request, CONF_OK};
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
    pub vm: *mut Rc<Vm>,
    /// The zones of shared dictionaries, in the order of their directives.
    zones: *mut Vec<*mut ngx_shm_zone_t>,
    /// How many idle coroutines a VM keeps.
    pub thread_cache_max: ngx_int_t,
    /// How many timers may wait, and run, in a worker.
    pub max_pending_timers: ngx_int_t,
    pub max_running_timers: ngx_int_t,
    /// How many patterns a VM keeps compiled, and how much may be tried for one match; 0 for PCRE2's own limit.
    pub regex_cache_max: ngx_int_t,
    pub regex_match_limit: ngx_int_t,
    pub rewrite_no_postpone: ngx_flag_t,
    pub access_no_postpone: ngx_flag_t,
    pub precontent_no_postpone: ngx_flag_t,
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
    // SAFETY: all-zero is a valid `MainConf`, and its numbers are then marked as not set.
    unsafe {
        let conf: *mut MainConf = nginx::pool_new((*cf).pool);
        if let Some(conf) = conf.as_mut() {
            for (number, _) in conf.numbers() {
                *number = NGX_CONF_UNSET as ngx_int_t;
            }
        }
        conf.cast()
    }
}

pub unsafe extern "C" fn init_main_conf(_cf: *mut ngx_conf_t, conf: *mut c_void) -> *mut c_char {
    // SAFETY: nginx passes what `create_main_conf` made.
    for (number, default) in unsafe { (*conf.cast::<MainConf>()).numbers() } {
        if *number == NGX_CONF_UNSET as ngx_int_t {
            *number = default;
        }
    }
    CONF_OK
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

/// The module, as the accessors of the crate `ngx` know it by its configurations.
pub struct Runtime;

impl HttpModule for Runtime {
    fn module() -> &'static ngx_module_t {
        module()
    }
}

// SAFETY: `create_main_conf` makes one for `http`.
unsafe impl HttpModuleMainConf for Runtime {
    type MainConf = MainConf;
}

// SAFETY: `create_loc_conf` makes one for each level.
unsafe impl HttpModuleLocationConf for Runtime {
    type LocationConf = LocConf;
}

/// The runtime's `http` configuration while the configuration is read.
///
/// # Safety
/// `cf` is live and inside `http`.
pub unsafe fn main_conf<'a>(cf: *mut ngx_conf_t) -> &'a mut MainConf {
    // SAFETY: the caller's promise.
    unsafe { Runtime::main_conf_mut(&*cf) }.expect("http has the runtime's configuration")
}

/// The runtime's `http` configuration of a request.
///
/// # Safety
/// `r` is live.
pub unsafe fn main_conf_of<'a>(r: Request) -> &'a MainConf {
    // SAFETY: the caller's promise.
    unsafe { Runtime::main_conf(&*r) }.expect("a request has the runtime's configuration")
}

/// The configuration of the location that serves the request.
///
/// # Safety
/// `r` is live.
#[inline]
pub unsafe fn loc_conf<'a>(r: Request) -> &'a LocConf {
    // SAFETY: a live request has its configurations.
    unsafe { Runtime::location_conf(&*r) }.expect("a request has the runtime's configuration")
}

/// nginx's own configuration of the location that serves the request.
///
/// # Safety
/// `r` is live.
pub unsafe fn core_loc_conf<'a>(r: Request) -> &'a ngx_http_core_loc_conf_t {
    // SAFETY: a live request has its core configuration.
    unsafe { nginx::core_location_conf(&*r) }
}

/// The configuration that a VM is being made for.
static OF_NEW_VM: Worker<Cell<*const MainConf>> = Worker::new(Cell::new(ptr::null()));

/// The configuration of the VM that is being made, for what its Lua asks of it.
pub fn of_new_vm<'a>() -> Option<&'a MainConf> {
    // SAFETY: one thread; it is there only as long as `new_vm` runs.
    unsafe { (*OF_NEW_VM.get()).get().as_ref() }
}

/// A VM as the configuration wants it, before `init_by_lua*`. `caches` says whether what it compiles is kept.
///
/// # Safety
/// The configuration is live.
pub unsafe fn new_vm(conf: &MainConf, caches: bool) -> Result<Rc<Vm>, String> {
    // SAFETY: the caller's promise; nginx has a cycle, if only a first one, before it reads a configuration.
    unsafe {
        (*OF_NEW_VM.get()).set(conf);
        let vm = Vm::new(&Settings {
            package_path: nginx::bytes(conf.package_path),
            package_cpath: nginx::bytes(conf.package_cpath),
            prefix: nginx::bytes((*ngx_cycle).prefix),
            caches,
            idle_max: if caches { conf.thread_cache_max as usize } else { 0 },
        });
        (*OF_NEW_VM.get()).set(ptr::null());
        vm
    }
}

impl MainConf {
    /// Every number and its default.
    fn numbers(&mut self) -> [(&mut ngx_int_t, ngx_int_t); 8] {
        [
            (&mut self.thread_cache_max, 1024),
            (&mut self.max_pending_timers, 1024),
            (&mut self.max_running_timers, 256),
            (&mut self.regex_cache_max, 1024),
            (&mut self.regex_match_limit, 0),
            (&mut self.rewrite_no_postpone, 0),
            (&mut self.access_no_postpone, 0),
            (&mut self.precontent_no_postpone, 0),
        ]
    }

    /// The zones of shared dictionaries, in the order of their directives.
    pub fn zones(&self) -> &[*mut ngx_shm_zone_t] {
        // SAFETY: null, or put into the configuration's pool.
        unsafe { self.zones.as_ref() }.map_or(&[], |zones| zones)
    }

    /// Adds a zone; false when there is no memory.
    ///
    /// # Safety
    /// `pool` is the configuration's.
    pub unsafe fn add_zone(&mut self, pool: *mut ngx_pool_t, zone: *mut ngx_shm_zone_t) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            if self.zones.is_null() {
                self.zones = nginx::pool_box(pool, Vec::new());
            }
            let Some(zones) = self.zones.as_mut() else { return false };
            zones.push(zone);
            true
        }
    }

    /// Whether the phase's handler runs after those of nginx's own modules, whatever their order.
    pub fn comes_last(&self, phase: Phase) -> bool {
        match phase {
            Phase::Rewrite => self.rewrite_no_postpone != 1,
            Phase::Access => self.access_no_postpone != 1,
            Phase::Precontent => self.precontent_no_postpone != 1,
            phase => phase == Phase::Log,
        }
    }

    /// The code of a phase that belongs to no location, if there is any.
    pub fn code(&self, phase: Phase) -> Option<&Code> {
        // SAFETY: a directive has put the code there, which lives as long as the configuration.
        unsafe { self.code[phase.index()].as_ref() }
    }

    /// The VM of `lua_code_cache on`.
    pub fn vm(&self) -> Option<&Rc<Vm>> {
        // SAFETY: it was put into the configuration's pool.
        unsafe { self.vm.as_ref() }
    }
}

/// The runtime's `http` configuration of a cycle, if it has any.
///
/// # Safety
/// The cycle is live.
pub unsafe fn conf_of<'a>(cycle: *mut ngx_cycle_t) -> Option<&'a MainConf> {
    // SAFETY: the caller's cycle is live.
    unsafe { Runtime::main_conf(&*cycle) }
}
