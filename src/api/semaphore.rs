//! `ngx.semaphore`. Lua has a handle for each, whose finalizer gives the semaphore back. While a VM closes, other finalizers may still use a
//! handle whose own has run: it is empty then.

use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::ptr;
use std::rc::Rc;

use super::{boundary, error, wait, with_context, without_status, FAIL, OK, RAISE};
use crate::conf::phase::WAITING;
use crate::request::ctx::Ctx;
use crate::semaphore::Semaphore;

/// A semaphore, of which Lua has one reference.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct spacer_semaphore {
    of: *const u8,
}

impl spacer_semaphore {
    /// The semaphore, of which the handle keeps its reference.
    fn borrow(&self) -> Option<ManuallyDrop<Rc<Semaphore>>> {
        if self.of.is_null() {
            return None;
        }
        // SAFETY: `spacer_semaphore_init` has put it there, and it isn't given back.
        Some(ManuallyDrop::new(unsafe { Rc::from_raw(self.of.cast::<Semaphore>()) }))
    }
}

#[cold]
fn is_gone() -> c_int {
    error(RAISE, format_args!("the Lua VM is closing"))
}

/// Makes a semaphore for an empty handle.
#[no_mangle]
pub extern "C" fn spacer_semaphore_init(semaphore: &mut spacer_semaphore, resources: u32) {
    without_status((), || semaphore.of = Rc::into_raw(Semaphore::new(resources)).cast());
}

/// Gives Lua's reference back.
#[no_mangle]
pub extern "C" fn spacer_semaphore_free(semaphore: &mut spacer_semaphore) {
    without_status((), || {
        drop(semaphore.borrow().map(ManuallyDrop::into_inner));
        semaphore.of = ptr::null();
    });
}

#[no_mangle]
pub extern "C" fn spacer_semaphore_post(semaphore: &spacer_semaphore, n: u32) {
    boundary(|| {
        let Some(semaphore) = semaphore.borrow() else { return is_gone() };
        semaphore.post(n);
        OK
    });
}

#[no_mangle]
pub extern "C" fn spacer_semaphore_count(semaphore: &spacer_semaphore) -> f64 {
    semaphore.borrow().map_or(0, |semaphore| semaphore.count()) as f64
}

/// Takes a resource, or waits for one; `FAIL` when the time is over.
#[no_mangle]
pub extern "C" fn spacer_semaphore_wait(semaphore: &spacer_semaphore, msec: f64) -> c_int {
    with_context(|_: &Ctx| {
        let Some(semaphore) = semaphore.borrow() else { return is_gone() };
        if semaphore.try_take() {
            return OK;
        }
        if msec < 1.0 {
            return timeout();
        }
        if !super::current().phase.is_in(WAITING) {
            return {
                super::disabled();
                FAIL
            };
        }
        let taking = semaphore.wait(msec as u64);
        wait(Box::pin(async move {
            match taking.await {
                true => OK,
                false => timeout(),
            }
        }))
    })
}

fn timeout() -> c_int {
    error(FAIL, format_args!("timeout"))
}
