//! Hearing of it when nginx begins to shut a worker down.
//!
//! nginx then calls the handlers of idle connections. So there is one that stands for nobody, on a descriptor that nothing ever
//! comes from.

use std::ptr;

use nginx_sys::*;

use crate::nginx::cell::Worker;
use crate::nginx::guard;

static CONNECTION: Worker<*mut ngx_connection_t> = Worker::new(ptr::null_mut());
static LISTENERS: Worker<Vec<unsafe fn()>> = Worker::new(Vec::new());

/// Has `listener` called when the worker begins to shut down; false when nginx has no connection left for that. Naming one again is nothing,
/// and so is naming one when the worker is leaving already.
///
/// # Safety
/// On the worker's own thread.
pub unsafe fn listen(listener: unsafe fn()) -> bool {
    // SAFETY: one thread; the connection is nginx's.
    unsafe {
        // The idle connections have been called. One that comes now would stay open until the worker is gone.
        if ngx_exiting != 0 {
            return true;
        }
        let listeners = &mut *LISTENERS.get();
        if listeners.iter().any(|known| ptr::fn_addr_eq(*known, listener)) {
            return true;
        }
        if (*CONNECTION.get()).is_null() {
            let fd = libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
            if fd < 0 {
                return false;
            }
            let connection = ngx_get_connection(fd, (*ngx_cycle).log);
            let Some(c) = connection.as_mut() else {
                libc::close(fd);
                return false;
            };
            (*c.read).handler = Some(closing);
            (*c.read).log = (*ngx_cycle).log;
            c.set_idle(1);
            *CONNECTION.get() = connection;
        }
        listeners.push(listener);
        true
    }
}

unsafe extern "C" fn closing(event: *mut ngx_event_t) {
    // SAFETY: nginx passes the event of the connection above.
    unsafe {
        guard((*event).log, (), || {
            let c = (*event).data.cast::<ngx_connection_t>();
            if (*c).close() == 0 {
                return;
            }
            let connection = ptr::replace(CONNECTION.get(), ptr::null_mut());
            if !connection.is_null() {
                let fd = (*connection).fd;
                ngx_free_connection(connection);
                (*connection).fd = -1;
                libc::close(fd);
            }
            for listener in std::mem::take(&mut *LISTENERS.get()) {
                listener();
            }
        });
    }
}
