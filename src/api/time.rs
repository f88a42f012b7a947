//! `ngx.time`, `ngx.now` and their kin on nginx's cached time, and `ngx.sleep`.

use std::ffi::c_int;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use nginx_sys::*;

use super::{scratch, spacer_str, wait, with_request_in};
use crate::conf::phase::WAITING;
use crate::nginx::{self, log_debug, Request};
use crate::run::wait::{next_turn, sleep, Event};

/// Seconds since the epoch, with milliseconds.
#[no_mangle]
pub extern "C" fn spacer_now() -> f64 {
    let (seconds, msec) = nginx::cached_time();
    seconds as f64 + msec as f64 / 1000.0
}

#[no_mangle]
pub extern "C" fn spacer_time() -> i64 {
    nginx::cached_time().0
}

#[no_mangle]
pub extern "C" fn spacer_update_time() {
    // SAFETY: nginx's own.
    unsafe { ngx_time_update() }
}

/// The local time (or UTC) as `yyyy-mm-dd hh:mm:ss`, or only its date.
#[no_mangle]
pub extern "C" fn spacer_format_time(utc: bool, date_only: bool, out: &mut spacer_str) {
    // SAFETY: nginx fills the structure; the result is read before the next call.
    unsafe {
        let now = nginx::cached_time().0;
        let offset = if utc { 0 } else { (*ngx_cached_time).gmtoff * 60 };
        let mut tm: ngx_tm_t = std::mem::zeroed();
        ngx_gmtime(now + offset as time_t, &mut tm);
        let text = scratch();
        use std::io::Write as _;
        let _ = write!(text, "{:04}-{:02}-{:02}", tm.tm_year, tm.tm_mon, tm.tm_mday);
        if !date_only {
            let _ = write!(text, " {:02}:{:02}:{:02}", tm.tm_hour, tm.tm_min, tm.tm_sec);
        }
        out.set(text);
    }
}

/// What `ngx.sleep` waits for. A struct rather than an `async` block, which would keep the event twice: there may be many thousands.
struct Sleep {
    event: Event,
    /// Null when the time is over.
    r: Request,
}

impl Future for Sleep {
    type Output = c_int;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<c_int> {
        // SAFETY: the event stays where it is; the request is live while its tasks are.
        unsafe {
            let this = self.get_unchecked_mut();
            let polled = Pin::new_unchecked(&mut this.event).poll(context);
            if polled.is_ready() {
                let r = std::mem::replace(&mut this.r, std::ptr::null_mut());
                log_debug!(
                    r,
                    "lua sleep timer expired: \"{}?{}\"",
                    nginx::text((*r).uri),
                    nginx::text((*r).args)
                );
            }
            polled
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if !self.r.is_null() {
            // SAFETY: futures are dropped while their request is live.
            unsafe { log_debug!(self.r, "lua clean up the timer for pending ngx.sleep") };
        }
    }
}

#[no_mangle]
pub extern "C" fn spacer_sleep(seconds: f64) -> c_int {
    with_request_in(WAITING, |ctx| {
        let msec = (seconds * 1000.0) as u64;
        let r = ctx.r;
        // SAFETY: the request is live.
        unsafe { log_debug!(r, "lua ready to sleep for {msec} ms") };
        let event = if msec == 0 { next_turn() } else { sleep(msec) };
        wait(Box::pin(Sleep { event, r }))
    })
}
