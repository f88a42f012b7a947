//! `ngx.worker`, `ngx.process`, `ngx.config`, `ngx.get_phase`: the process and what it was built with.

use std::ffi::c_int;

use nginx_sys::*;

use super::{current, spacer_str, without_status};
use crate::nginx;

#[no_mangle]
pub extern "C" fn spacer_phase(out: &mut spacer_str) {
    out.set(current().phase.name().as_bytes());
}

/// The bit of the current phase, one of `spacer_phase_bit`.
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

/// Puts the ids of this process and of the others that the master has started and that haven't ended into `pids`, which has room for so many; how
/// many there are.
#[no_mangle]
pub unsafe extern "C" fn spacer_worker_pids(pids: *mut c_int, room: usize) -> usize {
    // SAFETY: nginx's table of processes, which only this thread uses; Lua's array has the room.
    without_status(0, || unsafe {
        let pids = std::slice::from_raw_parts_mut(pids, room);
        let table = &*std::ptr::addr_of!(ngx_processes);
        let running = table.iter().enumerate().filter_map(|(slot, process)| {
            // A process doesn't find itself there but as whom the master had in its place before.
            if slot == ngx_process_slot as usize {
                return Some(ngx_pid);
            }
            // When another ends, the master has its channel closed, and leaves its number.
            (process.pid > 0 && process.channel[0] != -1).then_some(process.pid)
        });
        let mut count = 0;
        for (place, pid) in pids.iter_mut().zip(running) {
            *place = pid;
            count += 1;
        }
        count
    })
}

/// What nginx calls the process: a number of its own. While the configuration is read it is already the one that it will be.
#[no_mangle]
pub extern "C" fn spacer_process_type() -> c_int {
    // SAFETY: nginx's own variables; the core module's configuration is the first of the cycle's.
    unsafe {
        if ngx_process == NGX_PROCESS_SINGLE as ngx_uint_t && core_conf().master != 0 {
            return NGX_PROCESS_MASTER as c_int;
        }
        ngx_process as c_int
    }
}

#[no_mangle]
pub extern "C" fn spacer_master_pid() -> c_int {
    // SAFETY: nginx's own variables.
    unsafe {
        match ngx_process as u32 {
            NGX_PROCESS_SINGLE => ngx_pid,
            _ => ngx_parent,
        }
    }
}

/// The process ends when it is done with what it is at.
#[no_mangle]
pub extern "C" fn spacer_process_quit() {
    // SAFETY: the flag that nginx's own handler of SIGQUIT sets.
    unsafe { ngx_quit = 1 }
}

/// # Safety
/// nginx has a cycle, whose configuration is being read or was.
unsafe fn core_conf<'a>() -> &'a ngx_core_conf_t {
    // SAFETY: the core module's configuration is the first of the cycle's.
    unsafe {
        let conf = *(*ngx_cycle).conf_ctx.add((*std::ptr::addr_of!(ngx_core_module)).index);
        &*conf.cast::<ngx_core_conf_t>()
    }
}

#[no_mangle]
pub extern "C" fn spacer_worker_count() -> c_int {
    // SAFETY: Lua runs with a cycle.
    unsafe { core_conf().worker_processes as c_int }
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
