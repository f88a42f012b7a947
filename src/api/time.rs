//! `ngx.time`, `ngx.now` and their kin on nginx's cached time, and `ngx.sleep`.

use std::ffi::c_int;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use coro::TaskId;
use mlua::ffi as lua;
use mlua::ffi::lua_State;
use nginx_sys::*;

use super::cfunction::{context, disabled, guarded, yield_and_wait};
use super::{current, giving, scratch, spacer_str};
use crate::conf::phase::WAITING;
use crate::nginx::{self, log_debug, Request};
use crate::request::tasks::{scheduler, Requests};
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
    giving(out, |out| unsafe {
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
    });
}

/// A sleep, noted in the debug log.
struct Sleep {
    event: Event,
    r: Request,
    expired: bool,
}

impl Future for Sleep {
    type Output = c_int;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<c_int> {
        // SAFETY: the event is pinned as the sleep is; the request is live when its coroutine's future is polled.
        unsafe {
            let this = self.get_unchecked_mut();
            let polled = Pin::new_unchecked(&mut this.event).poll(context);
            if polled.is_ready() {
                this.expired = true;
                let (uri, args) = (nginx::text((*this.r).uri), nginx::text((*this.r).args));
                log_debug!(this.r, "lua sleep timer expired: \"{uri}?{args}\"");
            }
            polled
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if !self.expired {
            // SAFETY: futures are dropped while their request is live.
            unsafe { log_debug!(self.r, "lua clean up the timer for pending ngx.sleep") };
        }
    }
}

/// The loader: returns `ngx.sleep`.
pub unsafe extern "C-unwind" fn push_sleep(l: *mut lua_State) -> c_int {
    // SAFETY: pushes a function on a stack that has room for it.
    unsafe {
        lua::lua_pushcfunction(l, ngx_sleep);
        1
    }
}

/// How many milliseconds one may sleep for: nginx's timers count with a sign.
const SLEEP_MAX: f64 = (1u64 << 62) as f64;

/// `ngx.sleep(seconds)`.
unsafe extern "C-unwind" fn ngx_sleep(l: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with its arguments on the stack. Nothing with a destructor is alive where it raises.
    unsafe {
        let n = lua::lua_gettop(l);
        if n != 1 {
            lua::luaL_error(l, c"attempt to pass %d arguments, but accepted 1".as_ptr(), n);
        }
        let msec = lua::luaL_checknumber(l, 1) * 1000.0;
        if !(0.0..=SLEEP_MAX).contains(&msec) {
            lua::luaL_error(l, c"invalid sleep duration \"%f\"".as_ptr(), msec);
        }
        let ctx = context(l, WAITING);
        let Some(task) = current().task else { disabled(l) };
        guarded(l, || ask_to_sleep(ctx.r, task, msec as u64));
        yield_and_wait(l)
    }
}

unsafe fn ask_to_sleep(r: Request, task: TaskId, msec: u64) {
    // SAFETY: the request is live.
    unsafe { log_debug!(r, "lua ready to sleep for {msec} ms") };
    let event = if msec == 0 { next_turn() } else { sleep(msec) };
    let wait = Box::pin(Sleep { event, r, expired: false });
    scheduler().pause_for(&mut Requests, task, wait);
}
