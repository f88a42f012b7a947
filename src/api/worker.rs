//! `ngx.worker`, `ngx.config`, `ngx.get_phase`: the process and what it was built with.

use std::ffi::c_int;

use nginx_sys::*;

use super::{current, spacer_str};
use crate::nginx;

#[no_mangle]
pub extern "C" fn spacer_phase(out: &mut spacer_str) {
    out.set(current().phase.name().as_bytes());
}

/// Whether the phase can wait, make a response, and so on: the bits of the current phase.
#[no_mangle]
pub extern "C" fn spacer_phase_bits() -> u32 {
    current().phase as u32
}

#[no_mangle]
pub extern "C" fn spacer_worker_pid() -> c_int {
    // SAFETY: nginx's own variable.
    unsafe { ngx_pid }
}

/// The worker's number from 0; -1 outside a worker.
#[no_mangle]
pub extern "C" fn spacer_worker_id() -> c_int {
    // SAFETY: nginx's own variables.
    unsafe {
        if ngx_process != NGX_PROCESS_WORKER as ngx_uint_t
            && ngx_process != NGX_PROCESS_SINGLE as ngx_uint_t
        {
            return -1;
        }
        ngx_worker as c_int
    }
}

#[no_mangle]
pub extern "C" fn spacer_worker_count() -> c_int {
    // SAFETY: the core module's configuration is the first of the cycle's.
    unsafe {
        let conf = *(*ngx_cycle).conf_ctx.add((*std::ptr::addr_of!(ngx_core_module)).index);
        (*conf.cast::<ngx_core_conf_t>()).worker_processes as c_int
    }
}

#[no_mangle]
pub extern "C" fn spacer_worker_exiting() -> bool {
    // SAFETY: nginx's own flag.
    unsafe { ngx_exiting != 0 }
}

#[no_mangle]
pub extern "C" fn spacer_prefix(out: &mut spacer_str) {
    // SAFETY: the cycle's prefix lives as long as it.
    out.set(unsafe { nginx::bytes((*ngx_cycle).prefix) });
}

#[no_mangle]
pub extern "C" fn spacer_nginx_version() -> c_int {
    nginx_version as c_int
}

#[no_mangle]
pub extern "C" fn spacer_nginx_configure(out: &mut spacer_str) {
    out.set(NGX_CONFIGURE.to_bytes());
}

#[no_mangle]
pub extern "C" fn spacer_nginx_debug() -> bool {
    cfg!(ngx_feature = "debug")
}
