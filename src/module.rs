//! The module's tables, and what happens when nginx reads a configuration and starts a worker.

use std::ffi::{c_char, CStr};
use std::mem::offset_of;
use std::ptr;

use nginx_sys::*;

use crate::api;
use crate::conf::phase::Phase;
use crate::conf::{self, LocConf, MainConf};
use crate::lua;
use crate::nginx::command::*;
use crate::nginx::{self, guard, log_error};
use crate::phase::{self, directives, set};
use crate::platform::module::ngx_http_spacer_platform_module;
use crate::regex;
use crate::request::chunked::ngx_http_spacer_chunked_filter_module;
use crate::request::main_state;
use crate::shared;

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

const SETTINGS: [ngx_command_t; 16] = [
    main_str(c"lua_package_path", offset_of!(MainConf, package_path)),
    main_str(c"lua_package_cpath", offset_of!(MainConf, package_cpath)),
    command(
        c"lua_code_cache",
        ANYWHERE | FLAG,
        directives::set_code_cache,
        AT_LOC,
        offset_of!(LocConf, code_cache),
    ),
    main_num(c"lua_thread_cache_max_entries", offset_of!(MainConf, thread_cache_max)),
    main_num(c"lua_max_pending_timers", offset_of!(MainConf, max_pending_timers)),
    main_num(c"lua_max_running_timers", offset_of!(MainConf, max_running_timers)),
    main_num(c"lua_regex_cache_max_entries", offset_of!(MainConf, regex_cache_max)),
    main_num(c"lua_regex_match_limit", offset_of!(MainConf, regex_match_limit)),
    main_flag(c"rewrite_by_lua_no_postpone", offset_of!(MainConf, rewrite_no_postpone)),
    main_flag(c"access_by_lua_no_postpone", offset_of!(MainConf, access_no_postpone)),
    main_flag(c"precontent_by_lua_no_postpone", offset_of!(MainConf, precontent_no_postpone)),
    flag(c"lua_check_client_abort", offset_of!(LocConf, check_client_abort)),
    flag(c"lua_need_request_body", offset_of!(LocConf, need_request_body)),
    flag(c"lua_http10_buffering", offset_of!(LocConf, http10_buffering)),
    flag(c"lua_use_default_type", offset_of!(LocConf, use_default_type)),
    flag(
        c"lua_transform_underscores_in_response_headers",
        offset_of!(LocConf, transform_underscores),
    ),
];

const COUNT: usize =
    SETTINGS.len() + shared::COMMANDS.len() + directives::COMMANDS.len() + set::COMMANDS.len();

static mut COMMANDS: [ngx_command_t; COUNT + 1] =
    join(&[&SETTINGS, &shared::COMMANDS, &directives::COMMANDS, &set::COMMANDS]);

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static mut ngx_http_spacer_module: ngx_module_t = ngx_module_t {
    ctx: ptr::addr_of!(CONTEXT).cast_mut().cast(),
    commands: ptr::addr_of_mut!(COMMANDS).cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
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
pub static ngx_modules: [Entry<ngx_module_t>; 4] = [
    Entry(ptr::addr_of!(ngx_http_spacer_module)),
    Entry(ptr::addr_of!(ngx_http_spacer_platform_module)),
    Entry(ptr::addr_of!(ngx_http_spacer_chunked_filter_module)),
    Entry(ptr::null()),
];

const NAME: &CStr = c"ngx_http_spacer_module";
const PLATFORM_NAME: &CStr = c"ngx_http_spacer_platform_module";
const CHUNKED_NAME: &CStr = c"ngx_http_spacer_chunked_filter_module";

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static ngx_module_names: [Entry<c_char>; 4] = [
    Entry(NAME.as_ptr()),
    Entry(PLATFORM_NAME.as_ptr()),
    Entry(CHUNKED_NAME.as_ptr()),
    Entry(ptr::null()),
];

/// The filters belong behind nginx's copy filter, which puts files into memory for who asks, and those for chunks
/// right before nginx's own, the last that changes a body. (A module is put before those that follow it here, and
/// nginx calls filters from the last to the first.)
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static ngx_module_order: [Entry<c_char>; 6] = [
    Entry(CHUNKED_NAME.as_ptr()),
    Entry(c"ngx_http_range_header_filter_module".as_ptr()),
    Entry(NAME.as_ptr()),
    Entry(PLATFORM_NAME.as_ptr()),
    Entry(c"ngx_http_copy_filter_module".as_ptr()),
    Entry(ptr::null()),
];

/// Refuses to run beside the module whose directives these are too.
unsafe extern "C" fn preconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: the cycle's modules are a list that ends in null, and each has a name.
    unsafe {
        let mut modules = (*(*cf).cycle).modules;
        while let Some(other) = (*modules).as_ref() {
            if CStr::from_ptr(other.name) == c"ngx_http_lua_module" {
                nginx::conf_error(
                    cf,
                    "ngx_http_spacer_module takes the place of ngx_http_lua_module: remove the load_module of one of \
                     the two",
                );
                return nginx::ERROR;
            }
            modules = modules.add(1);
        }
    }
    nginx::OK
}

/// Puts handlers and filters in place, makes the VM and, unless that has to wait for shared dictionaries, runs `init_by_lua*`.
unsafe extern "C" fn postconfiguration(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls this with a live configuration.
    unsafe {
        guard((*cf).log, nginx::ERROR, || {
            if !phase::install(cf) {
                return nginx::ERROR;
            }
            lua::provide(&api::MODULES);
            let conf = conf::main_conf(cf);
            regex::configure(conf);
            let vm = nginx::with_cycle((*cf).cycle, || match conf.zones() {
                [] => main_state::new_vm(conf, true),
                _ => conf::new_vm(conf, true).map_err(String::into_bytes),
            });
            match vm {
                Ok(vm) => conf.vm = nginx::pool_box((*cf).pool, vm),
                Err(message) => {
                    nginx::log_parts(NGX_LOG_ERR, (*cf).log, &[&message]);
                    return nginx::ERROR;
                }
            }
            if conf.vm.is_null() {
                return nginx::ERROR;
            }
            nginx::OK
        })
    }
}

/// A worker starts: runs `init_worker_by_lua*`.
unsafe extern "C" fn init_process(cycle: *mut ngx_cycle_t) -> ngx_int_t {
    // SAFETY: nginx calls this with the worker's cycle.
    unsafe {
        guard((*cycle).log, (), || {
            if let Some(conf) = conf::conf_of(cycle) {
                regex::adopt(conf);
            }
        });
        // As with an error of Lua's, the worker serves: without it the master would start the next one, again and again.
        guard((*cycle).log, (), || run_in_worker(cycle, Phase::InitWorker));
        nginx::OK
    }
}

/// A worker ends: runs `exit_worker_by_lua*`.
unsafe extern "C" fn exit_process(cycle: *mut ngx_cycle_t) {
    // SAFETY: the cycle is live until the process ends.
    unsafe {
        guard((*cycle).log, (), || run_in_worker(cycle, Phase::ExitWorker));
        log_error!(NGX_LOG_DEBUG, (*cycle).log, "spacer: worker process exits");
    }
}

/// Runs the code of a phase that belongs to a worker. An error is logged.
unsafe fn run_in_worker(cycle: *mut ngx_cycle_t, phase: Phase) {
    // SAFETY: the caller's cycle is live.
    unsafe {
        let Some(conf) = conf::conf_of(cycle) else { return };
        let (Some(vm), Some(code)) = (conf.vm(), conf.code(phase)) else { return };
        if let Err(message) = main_state::run_without_request(vm, phase, code) {
            let tag = phase.row().tag().as_bytes();
            nginx::log_parts(NGX_LOG_ERR, (*cycle).log, &[tag, b" error: ", &message]);
        }
    }
}
