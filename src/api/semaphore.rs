//! `ngx.semaphore`. A semaphore is a pointer that Lua's collector gives back.

use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::rc::Rc;

use super::{boundary, error, wait, with_context, FAIL, OK};
use crate::conf::phase::WAITING;
use crate::request::ctx::Ctx;
use crate::semaphore::Semaphore;

/// A semaphore, of which Lua has one reference.
#[allow(non_camel_case_types)]
pub struct spacer_semaphore(());

/// The semaphore that Lua passes, which keeps its reference.
///
/// # Safety
/// Lua passes what [`spacer_semaphore_new`] gave it, and has not given it back.
unsafe fn borrow(semaphore: *const spacer_semaphore) -> ManuallyDrop<Rc<Semaphore>> {
    // SAFETY: the caller's promise.
    ManuallyDrop::new(unsafe { Rc::from_raw(semaphore.cast::<Semaphore>()) })
}

#[no_mangle]
pub extern "C" fn spacer_semaphore_new(resources: u32) -> *const spacer_semaphore {
    Rc::into_raw(Semaphore::new(resources)).cast()
}

/// Gives Lua's reference back.
#[no_mangle]
pub unsafe extern "C" fn spacer_semaphore_free(semaphore: *const spacer_semaphore) {
    // SAFETY: the collector gives back once what it had from `new`.
    drop(unsafe { Rc::from_raw(semaphore.cast::<Semaphore>()) });
}

#[no_mangle]
pub unsafe extern "C" fn spacer_semaphore_post(semaphore: *const spacer_semaphore, n: u32) {
    boundary(|| {
        // SAFETY: as `borrow` asks for.
        unsafe { borrow(semaphore) }.post(n);
        OK
    });
}

#[no_mangle]
pub unsafe extern "C" fn spacer_semaphore_count(semaphore: *const spacer_semaphore) -> f64 {
    // SAFETY: as `borrow` asks for.
    unsafe { borrow(semaphore) }.count() as f64
}

/// Takes a resource, or waits for one; `FAIL` when the time is over.
#[no_mangle]
pub unsafe extern "C" fn spacer_semaphore_wait(
    semaphore: *const spacer_semaphore,
    msec: f64,
) -> c_int {
    with_context(|_: &Ctx| {
        // SAFETY: as `borrow` asks for.
        let semaphore = unsafe { borrow(semaphore) };
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
