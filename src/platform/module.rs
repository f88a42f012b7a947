//! What the platform is to nginx: a module with directives, configuration, variables and filters of its own.

use std::ffi::CStr;
use std::mem::offset_of;
use std::ptr;

use nginx_sys::*;

use super::access::{self, listener, token};
use super::conf::{self, LocConf, MainConf};
use super::function::{error_page, variables};
use super::gateway::directives::*;
use super::gateway::locations;
use super::topics;
use super::topics::project::Projects;
use crate::nginx::command::*;
use crate::nginx::{self, guard, log_error};

static CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: Some(preconfiguration),
    postconfiguration: Some(postconfiguration),
    create_main_conf: Some(conf::create_main_conf),
    init_main_conf: Some(conf::init_main_conf),
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: Some(conf::create_loc_conf),
    merge_loc_conf: Some(conf::merge_loc_conf),
};

static mut COMMANDS: [ngx_command_t; 11] = [
    command(c"spacer_project", MAIN | SRV | TAKE1, set_project, AT_LOC, 0),
    slot(
        c"spacer_env",
        MAIN | SRV | TAKE1,
        ngx_conf_set_str_slot,
        AT_LOC,
        offset_of!(LocConf, env),
    ),
    slot(
        c"spacer_triggers",
        MAIN | FLAG,
        ngx_conf_set_flag_slot,
        AT_MAIN,
        offset_of!(MainConf, triggers),
    ),
    slot(
        c"spacer_slow_function",
        MAIN | SRV | LOC | TAKE1,
        ngx_conf_set_msec_slot,
        AT_LOC,
        offset_of!(LocConf, slow_function),
    ),
    slot(
        c"spacer_max_args",
        MAIN | SRV | LOC | TAKE1,
        ngx_conf_set_num_slot,
        AT_LOC,
        offset_of!(LocConf, max_args),
    ),
    command(c"spacer_gateway", SRV | TAKE1, set_gateway, AT_LOC, 0),
    command(c"spacer_function", LOC | TAKE1, set_function, AT_LOC, 0),
    command(c"spacer_append", LOC | NOARGS, set_append, AT_LOC, 0),
    command(c"spacer_trigger", LOC | NOARGS, set_trigger, AT_LOC, 0),
    command(c"spacer_private", SRV | NOARGS, listener::set_private, AT_LOC, 0),
    END,
];

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static mut ngx_http_spacer_platform_module: ngx_module_t = ngx_module_t {
    ctx: ptr::addr_of!(CONTEXT).cast_mut().cast(),
    commands: ptr::addr_of_mut!(COMMANDS).cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    init_module: Some(init_module),
    init_process: Some(init_process),
    exit_process: Some(exit_process),
    ..ngx_module_t::default()
};

pub fn module() -> &'static ngx_module_t {
    // SAFETY: nginx fills in the indexes when it loads the module; afterwards it is constant.
    unsafe { &*ptr::addr_of!(ngx_http_spacer_platform_module) }
}

unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls this with a live configuration.
    unsafe {
        guard((*cf).log, nginx::ERROR, || if variables::add(cf) { nginx::OK } else { nginx::ERROR })
    }
}

unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls this with a live configuration.
    unsafe {
        guard((*cf).log, nginx::ERROR, || {
            let conf = conf::main_conf(cf);
            if let Some(names) = conf.names.as_mut().map(std::mem::take) {
                if !locations::plant((*cf).pool, names) {
                    return nginx::ERROR;
                }
            }
            if conf.folders.is_null() {
                return nginx::OK;
            }
            error_page::install();
            if let Err(message) = token::read() {
                log_error!(NGX_LOG_EMERG, (*cf).log, "{message}");
                return nginx::ERROR;
            }
            if access::keep_names(cf) && listener::check(cf) && load_projects(cf) {
                nginx::OK
            } else {
                nginx::ERROR
            }
        })
    }
}

/// Reads what the projects are configured by, and checks what is served; false when something is wrong, which is logged.
unsafe fn load_projects(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: the caller's `cf` is live; at this level `ctx` holds the configurations of `http`. All that a directive
    // has noted lives as long as the configuration.
    unsafe {
        let conf = conf::main_conf(cf);
        let Some(folders) = conf.folders.as_ref() else { return true };
        let env = conf::loc_conf_of(&*cf).environment();
        let loaded = Projects::load(folders, &env).and_then(|projects| {
            let served = conf.served.as_ref().map(Vec::as_slice).unwrap_or_default();
            served.iter().try_for_each(|served| projects.check(served)).map(|()| projects)
        });
        match loaded {
            Ok(projects) => {
                conf.projects = nginx::pool_box((*cf).pool, projects);
                !conf.projects.is_null()
            }
            Err(message) => {
                log_error!(NGX_LOG_EMERG, (*cf).log, "{message}");
                false
            }
        }
    }
}

/// The master has read a configuration: embedded event logs are made ready for the user that workers run as. Where they
/// can't be, nginx doesn't start, and `nginx -t` fails; in development, where one looks at the log, it only says so. On
/// a reload an error here would end nginx.
unsafe extern "C" fn init_module(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx calls this with the cycle that it is about to run on, and the one before it.
    unsafe {
        guard((*cycle).log, nginx::ERROR, || {
            let Some(projects) = conf::conf_of(cycle).and_then(|conf| conf.projects.as_ref())
            else {
                return nginx::OK;
            };
            let only_checks = ngx_test_config != 0;
            let reloads = !only_checks && !(*(*cycle).old_cycle).conf_ctx.is_null();
            for project in &projects.0 {
                let Some(files) = project.files() else { continue };
                let ready = workers_user(cycle).and_then(|user| match only_checks {
                    true => files.check(user.as_ref()),
                    false => files.prepare(user.as_ref()),
                });
                let Err(message) = ready else { continue };
                if !project.development && !reloads {
                    log_error!(NGX_LOG_EMERG, (*cycle).log, "{message}");
                    return nginx::ERROR;
                }
                if !only_checks {
                    log_error!(NGX_LOG_ERR, (*cycle).log, "{message}");
                }
            }
            nginx::OK
        })
    }
}

/// The user that the workers of a cycle run as, where that is another than this process's. Without a master, nginx stays
/// what it was started as.
unsafe fn workers_user(cycle: *mut ngx_cycle_t) -> Result<Option<eventlog::User>, String> {
    // SAFETY: the caller's cycle has the configuration of nginx's core; the user's name ends with a NUL.
    unsafe {
        let index = (*ptr::addr_of!(ngx_core_module)).index;
        let core = &*(*(*cycle).conf_ctx.add(index)).cast::<ngx_core_conf_t>();
        let changes = core.master != 0 && core.user != ngx_uid_t::MAX && core.user != 0;
        if libc::geteuid() != 0 || !changes {
            return Ok(None);
        }
        let name = CStr::from_ptr(core.username).to_string_lossy();
        eventlog::User::new(&name, core.user, core.group)
            .map(Some)
            .map_err(|error| format!("the groups of user {name}: {error}"))
    }
}

/// A worker starts: opens the event logs of its projects.
unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx calls this with the worker's cycle.
    unsafe {
        guard((*cycle).log, nginx::ERROR, || {
            let serves = [NGX_PROCESS_WORKER, NGX_PROCESS_SINGLE];
            let serves = serves.iter().any(|&kind| ngx_process == kind as ngx_uint_t);
            if let Some(conf) = conf::conf_of(cycle).filter(|_| serves) {
                if let Some(Projects(projects)) = conf.projects.as_ref() {
                    topics::start(projects, conf.triggers != 0, (*cycle).log);
                }
            }
            nginx::OK
        })
    }
}

unsafe extern "C" fn exit_process(cycle: *mut ngx_cycle_t) {
    // SAFETY: the cycle is live until the process ends.
    unsafe { guard((*cycle).log, (), || topics::stop((*cycle).log)) }
}
