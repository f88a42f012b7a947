//! The module's tables, and what happens when nginx reads a configuration and starts a worker.

use std::ffi::{c_char, CStr};
use std::ptr;

use nginx_sys::*;

use crate::chunked::ngx_http_spacer_chunked_filter_module;
use crate::conf::directives::COMMANDS;
use crate::conf::{self, MainConf};
use crate::ngx::{self, log_error, Request};
use crate::phase::{self, guard, Phase};
use crate::topics;
use crate::topics::project::Projects;
use crate::vm::Vm;

/// What a location that answers with Lua has as its handler.
pub const CONTENT_HANDLER: unsafe extern "C" fn(Request) -> ngx_int_t = phase::content::handler;

static CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(conf::create_main_conf),
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(conf::create_loc_conf),
    merge_loc_conf: Some(conf::merge_loc_conf),
};

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static mut ngx_http_spacer_module: ngx_module_t = ngx_module_t {
    ctx: ptr::addr_of!(CONTEXT).cast_mut().cast(),
    commands: ptr::addr_of_mut!(COMMANDS).cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_module: Some(init_module),
    init_process: Some(init_process),
    exit_process: Some(exit_process),
    ..ngx_module_t::default()
};

/// A pointer in one of the tables that nginx looks up in a dynamic module.
#[repr(transparent)]
pub struct Entry<T>(*const T);

// SAFETY: the tables are constant.
unsafe impl<T> Sync for Entry<T> {}

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static ngx_modules: [Entry<ngx_module_t>; 3] = [
    Entry(ptr::addr_of!(ngx_http_spacer_module)),
    Entry(ptr::addr_of!(ngx_http_spacer_chunked_filter_module)),
    Entry(ptr::null()),
];

const NAME: &CStr = c"ngx_http_spacer_module";
const CHUNKED_NAME: &CStr = c"ngx_http_spacer_chunked_filter_module";

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static ngx_module_names: [Entry<c_char>; 3] =
    [Entry(NAME.as_ptr()), Entry(CHUNKED_NAME.as_ptr()), Entry(ptr::null())];

/// The filters belong behind nginx's copy filter, which puts files into memory for who asks, and those for chunks
/// right before nginx's own, the last that changes a body. (A module is put before those that follow it here, and
/// nginx calls filters from the last to the first.)
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static ngx_module_order: [Entry<c_char>; 5] = [
    Entry(CHUNKED_NAME.as_ptr()),
    Entry(c"ngx_http_range_header_filter_module".as_ptr()),
    Entry(NAME.as_ptr()),
    Entry(c"ngx_http_copy_filter_module".as_ptr()),
    Entry(ptr::null()),
];

pub fn module() -> &'static ngx_module_t {
    // SAFETY: nginx fills in the indexes when it loads the module; afterwards it is constant.
    unsafe { &*ptr::addr_of!(ngx_http_spacer_module) }
}

pub fn module_ptr() -> *mut ngx_module_t {
    ptr::addr_of_mut!(ngx_http_spacer_module)
}

/// Marks the buffers that are the module's own.
pub fn tag() -> ngx_buf_tag_t {
    module_ptr().cast()
}

/// The module's `http` configuration of a request.
///
/// # Safety
/// `r` is live.
pub unsafe fn main_conf<'a>(r: Request) -> &'a MainConf {
    // SAFETY: the caller's promise.
    unsafe { ngx::module_conf((*r).main_conf, module()) }
}

/// Refuses to run beside the module whose directives these are too.
unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: the cycle's modules are a list that ends in null, and each has a name.
    unsafe {
        let mut modules = (*(*cf).cycle).modules;
        while let Some(other) = (*modules).as_ref() {
            if CStr::from_ptr(other.name) == c"ngx_http_lua_module" {
                conf::conf_error(
                    cf,
                    "ngx_http_spacer_module takes the place of ngx_http_lua_module: remove the load_module of one of \
                     the two",
                );
                return ngx::ERROR;
            }
            modules = modules.add(1);
        }
        if !crate::function::variables::add(cf) {
            return ngx::ERROR;
        }
    }
    ngx::OK
}

/// Puts handlers and filters in place, makes the VM and runs `init_by_lua*`.
unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls this with a live configuration.
    unsafe {
        guard((*cf).log, ngx::ERROR, || {
            let core: &mut ngx_http_core_main_conf_t = {
                let ctx = &*(*cf).ctx.cast::<ngx_http_conf_ctx_t>();
                ngx::module_conf(ctx.main_conf, &*ptr::addr_of!(ngx_http_core_module))
            };
            let handlers = [
                (
                    Phase::Rewrite,
                    ngx_http_phases_NGX_HTTP_REWRITE_PHASE,
                    phase::rewrite::handler as Handler,
                ),
                (Phase::Access, ngx_http_phases_NGX_HTTP_ACCESS_PHASE, phase::access::handler),
                (Phase::Log, ngx_http_phases_NGX_HTTP_LOG_PHASE, phase::log::handler),
            ];
            let used = conf::main_conf(cf).phases;
            for (phase, slot, handler) in handlers {
                if phase as u32 & used != 0
                    && !push_first(&mut core.phases[slot as usize].handlers, handler)
                {
                    return ngx::ERROR;
                }
            }
            if used != 0 {
                phase::filter::install();
            }

            if !load_projects(cf) {
                return ngx::ERROR;
            }
            let conf = conf::main_conf(cf);
            match init_vm(conf) {
                Ok(vm) => conf.vm = ngx::pool_box((*cf).pool, vm),
                Err(message) => {
                    ngx::log_parts(NGX_LOG_ERR, (*cf).log, &[&message]);
                    return ngx::ERROR;
                }
            }
            if conf.vm.is_null() {
                return ngx::ERROR;
            }
            ngx::OK
        })
    }
}

/// Reads what the projects are configured by; false when that is wrong, which is logged.
unsafe fn load_projects(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: the caller's `cf` is live; at this level `ctx` holds the configurations of `http`.
    unsafe {
        let conf = conf::main_conf(cf);
        let Some(folders) = conf.folders.as_ref() else { return true };
        let http = &*(*cf).ctx.cast::<ngx_http_conf_ctx_t>();
        let env = ngx::bytes(ngx::module_conf::<conf::LocConf>(http.loc_conf, module()).env);
        let env = if env.is_empty() { b"production" } else { env };
        match Projects::load(folders, &ngx::Text(env).to_string()) {
            Ok(projects) => {
                conf.projects = ngx::pool_box((*cf).pool, projects);
                !conf.projects.is_null()
            }
            Err(message) => {
                log_error!(NGX_LOG_EMERG, (*cf).log, "{message}");
                false
            }
        }
    }
}

type Handler = unsafe extern "C" fn(Request) -> ngx_int_t;

/// Adds a phase's handler so that it runs after all others: nginx runs them from the last to the first.
unsafe fn push_first(handlers: &mut ngx_array_t, handler: Handler) -> bool {
    // SAFETY: the array holds handlers, and a slot was just pushed.
    unsafe {
        if ngx_array_push(handlers).is_null() {
            return false;
        }
        let slots: *mut ngx_http_handler_pt = handlers.elts.cast();
        ptr::copy(slots, slots.add(1), handlers.nelts - 1);
        *slots = Some(handler);
        true
    }
}

unsafe fn init_vm(conf: &MainConf) -> Result<Vm, Vec<u8>> {
    // SAFETY: the configuration is live.
    unsafe {
        let mut vm = new_vm(conf).map_err(String::into_bytes)?;
        if let Some(code) = conf.init.as_ref() {
            phase::init::run(&mut vm, Phase::Init, code)
                .map_err(|message| [b"init_by_lua error: ", &message[..]].concat())?;
        }
        Ok(vm)
    }
}

/// A VM as the configuration wants it, before `init_by_lua*`.
///
/// # Safety
/// The configuration is live.
pub unsafe fn new_vm(conf: &MainConf) -> Result<Vm, String> {
    // SAFETY: the caller's promise; nginx has a cycle, if only a first one, before it reads a configuration.
    unsafe {
        Vm::new(
            ngx::bytes(conf.package_path),
            ngx::bytes(conf.package_cpath),
            ngx::bytes((*ngx_cycle).prefix),
        )
    }
}

/// The module's `http` configuration of a cycle, if it has any.
unsafe fn conf_of<'a>(cycle: *mut ngx_cycle_t) -> Option<&'a MainConf> {
    // SAFETY: the caller's cycle is live, and its entry for `http` holds the arrays of configurations.
    unsafe {
        let http = *(*cycle).conf_ctx.add((*ptr::addr_of!(ngx_http_module)).index);
        let http = (http as *mut ngx_http_conf_ctx_t).as_ref()?;
        Some(ngx::module_conf(http.main_conf, module()))
    }
}

/// The master has read a configuration: makes the folders of embedded event logs, which workers may not be allowed to.
unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx calls this with the cycle that it is about to run on.
    unsafe {
        guard((*cycle).log, ngx::ERROR, || {
            let projects = conf_of(cycle).and_then(|conf| conf.projects.as_ref());
            let (Some(Projects(projects)), 0) = (projects, ngx_test_config) else {
                return ngx::OK;
            };
            let index = (*ptr::addr_of!(ngx_core_module)).index;
            let core = &*(*(*cycle).conf_ctx.add(index)).cast::<ngx_core_conf_t>();
            let user = (libc::geteuid() == 0 && core.user != ngx_uid_t::MAX)
                .then_some((core.user, core.group));
            for project in projects {
                if let Err(message) = project.make_folder(user) {
                    log_error!(NGX_LOG_EMERG, (*cycle).log, "{message}");
                    return ngx::ERROR;
                }
            }
            ngx::OK
        })
    }
}

/// A worker starts: opens the event logs of its projects, and runs `init_worker_by_lua*`.
unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx calls this with the worker's cycle.
    unsafe {
        guard((*cycle).log, ngx::ERROR, || {
            let Some(conf) = conf_of(cycle) else { return ngx::OK };
            let serves = [NGX_PROCESS_WORKER, NGX_PROCESS_SINGLE];
            if serves.iter().any(|&kind| ngx_process == kind as ngx_uint_t) {
                if let Some(Projects(projects)) = conf.projects.as_ref() {
                    topics::start(projects, conf.triggers != 0, (*cycle).log);
                }
            }
            let (Some(vm), Some(code)) = (conf.vm.as_mut(), conf.init_worker.as_ref()) else {
                return ngx::OK;
            };
            if let Err(message) = phase::init::run(vm, Phase::InitWorker, code) {
                phase::init::report((*cycle).log, "init_worker_by_lua", &message);
            }
            ngx::OK
        })
    }
}

unsafe extern "C" fn exit_process(cycle: *mut ngx_cycle_t) {
    // SAFETY: the cycle is live until the process ends.
    unsafe {
        guard((*cycle).log, (), || topics::stop((*cycle).log));
        log_error!(NGX_LOG_DEBUG, (*cycle).log, "spacer: worker process exits");
    }
}
