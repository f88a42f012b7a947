//! A request and the count of reasons why it is alive.

use nginx_sys::*;

pub type Request = *mut ngx_http_request_t;

/// The count of reasons why the main request is alive.
unsafe fn count(r: Request) -> *mut u16 {
    // SAFETY: a live request has a live main request, whose first bit field of 16 bits is the count.
    unsafe { (&raw mut (*(*r).main)._bitfield_1).cast() }
}

/// Adds a reason why the main request is alive.
///
/// # Safety
/// `r` is a live request.
pub unsafe fn hold(r: Request) {
    // SAFETY: the caller's promise.
    unsafe { *count(r) += 1 }
}

/// Takes a reason away, one that is not the last.
///
/// # Safety
/// As for [`hold`].
pub unsafe fn release(r: Request) {
    // SAFETY: the caller's promise.
    unsafe { *count(r) -= 1 }
}
