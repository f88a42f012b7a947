//! Reading the body of a request. There is one way to do it, with one account of nginx's count of references.
//!
//! nginx adds a reference when it begins to read, and gives it back itself when that fails: at once, or, when the client's later
//! packets are bad, by finalizing the request from its own event handler. What it then doesn't know of is the reference of the Lua
//! that waits. So, while a body is read, that event handler is ours: it calls nginx's, and looks afterwards what came of it.
//!
//! A frame of HTTP/2 that fills nginx's buffer goes past that handler: where it shows that the body is too large, or not as long as was
//! declared, nginx finalizes the request right away. This is found out as soon as the request is looked at again: when the header of
//! the error page is sent, when the page's own Lua begins, or when something that the request's Lua waited for has come.
//!
//! The Lua that asked for the body may end before it is there: its light thread is killed, or another exits. nginx would then hold the
//! request for ever, with nobody left to finalize it, so the reading is set aside until somebody asks for the body again.

use std::cell::{Cell, RefCell};
use std::task::{Poll, Waker};

use nginx_sys::*;

use super::ctx::{self, Ctx};
use crate::nginx::cell::Worker;
use crate::nginx::{self, fault, guard_or, log_debug, Request};

/// Where the reading of a request's body stands.
#[derive(Default)]
pub struct BodyRead {
    state: Cell<State>,
    waiting: RefCell<Vec<Waker>>,
    /// nginx's own handler of read events, while it reads.
    handler: Cell<ngx_http_event_handler_pt>,
    /// Who handled them before, and does so afterwards.
    before: Cell<ngx_http_event_handler_pt>,
    /// Whoever called nginx looks himself at what came of it.
    attended: Cell<bool>,
    /// Called when the body that the phase itself waits for is there.
    then: Cell<Option<unsafe fn(&Ctx)>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    NotRead,
    Reading,
    /// Nobody waits for the rest, and nginx holds the request no more.
    SetAside,
    Read,
}

impl BodyRead {
    pub fn recycle(&mut self) {
        if self.state.get() != State::NotRead {
            *self = BodyRead::default();
        }
    }

    pub fn is_reading(&self) -> bool {
        self.state.get() == State::Reading
    }

    /// Whether some of the body has been read, and the rest is there for who asks for it.
    pub fn is_unfinished(&self) -> bool {
        matches!(self.state.get(), State::Reading | State::SetAside)
    }

    fn take_wakers(&self) -> Vec<Waker> {
        self.waiting.take()
    }
}

/// How a request ends whose body can't be read.
static ON_FAILURE: Worker<unsafe fn(&Ctx, bool)> = Worker::new(|_, _| {});

/// Says what happens to the tasks, and to the reference of the phase, of a request that nginx has finalized since it could not read the
/// body. The flag says that nginx has taken that reference, or frees the request whoever refers to it.
pub fn set_on_failure(then: unsafe fn(&Ctx, bool)) {
    // SAFETY: one thread.
    unsafe { *ON_FAILURE.get() = then }
}

/// Reads the body: ready when it is there, or with the status of the answer when it can't be read.
///
/// # Safety
/// The request is live, and no Lua runs for it.
pub unsafe fn poll_read(ctx: &Ctx, waker: &Waker) -> Poll<Result<(), ngx_int_t>> {
    // SAFETY: the caller's promise.
    match unsafe { begin(ctx) } {
        Poll::Pending => {
            ctx.body.waiting.borrow_mut().push(waker.clone());
            Poll::Pending
        }
        ready => ready,
    }
}

/// As [`poll_read`], for a phase that has not begun: `then` is called when the body is there after all.
///
/// # Safety
/// As for [`poll_read`].
pub unsafe fn read_first(ctx: &Ctx, then: unsafe fn(&Ctx)) -> Poll<Result<(), ngx_int_t>> {
    // SAFETY: the caller's promise.
    let read = unsafe { begin(ctx) };
    if read.is_pending() {
        ctx.body.then.set(Some(then));
    }
    read
}

unsafe fn begin(ctx: &Ctx) -> Poll<Result<(), ngx_int_t>> {
    // SAFETY: the request is live; nginx calls `read` when the body is there.
    unsafe {
        match ctx.body.state.get() {
            State::Read => return Poll::Ready(Ok(())),
            State::Reading => return Poll::Pending,
            State::SetAside => {
                take_up(ctx);
                return Poll::Pending;
            }
            State::NotRead => {}
        }
        let r = ctx.r;
        if !(*r).request_body.is_null() && inherit(ctx) {
            return Poll::Pending;
        }
        (*r).set_request_body_in_single_buf(1);
        (*r).set_request_body_in_persistent_file(1);
        (*r).set_request_body_in_clean_file(1);
        ctx.body.state.set(State::Reading);
        ctx.body.before.set((*r).read_event_handler);
        ctx.body.attended.set(true);
        let rc = ngx_http_read_client_request_body(r, Some(read));
        ctx.body.attended.set(false);
        if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            log_debug!(r, "http read client request body returned error code {rc}, exitting now");
            ctx.body.state.set(State::NotRead);
            return Poll::Ready(Err(rc));
        }
        if ctx.body.state.get() == State::Read {
            return Poll::Ready(Ok(()));
        }
        log_debug!(r, "lua read buffered request body requires I/O interruptions");
        ctx.body.handler.set((*r).read_event_handler);
        (*r).read_event_handler = Some(on_event);
        Poll::Pending
    }
}

/// Whether a body is on its way, which belongs to who reads it: a part of it is nobody's.
///
/// # Safety
/// The request is live.
pub unsafe fn is_under_way(r: Request) -> bool {
    // SAFETY: the caller's promise. A context that the pool doesn't know of yet is the current one.
    unsafe { ctx::get(r).into_iter().chain(ctx::every(r)).any(|ctx| ctx.body.is_unfinished()) }
}

/// Goes on with what the Lua of another location began to read and set aside, before an error page say: nginx would take the part that is
/// there for the whole.
unsafe fn inherit(ctx: &Ctx) -> bool {
    // SAFETY: the caller's request is live.
    unsafe {
        let is_set_aside = |other: &&Ctx| other.body.state.get() == State::SetAside;
        let Some(other) = ctx::every(ctx.r).find(is_set_aside) else { return false };
        other.body.state.set(State::NotRead);
        ctx.body.handler.set(other.body.handler.take());
        ctx.body.before.set(other.body.before.take());
        take_up(ctx);
        true
    }
}

/// Ends the Lua of a request whose body nginx has given up without calling a handler. The request may be gone afterwards, unless nginx
/// is busy with it.
///
/// # Safety
/// The request is live, and none of its Lua runs.
#[inline]
pub unsafe fn end_refused(r: Request) {
    // SAFETY: the caller's promise.
    unsafe {
        if is_given_up(r) {
            end_reading(r);
        }
    }
}

/// Whether nginx takes no more of the body that comes over HTTP/2.
///
/// # Safety
/// The request is live.
#[inline]
pub unsafe fn is_given_up(r: Request) -> bool {
    // SAFETY: the caller's promise.
    #[cfg(ngx_feature = "http_v2")]
    unsafe {
        (*r).stream.as_ref().is_some_and(|stream| stream.skip_data() != 0)
            && !(*r).request_body.is_null()
            && (*r).main == r
    }
    #[cfg(not(ngx_feature = "http_v2"))]
    {
        let _ = r;
        false
    }
}

#[cold]
unsafe fn end_reading(r: Request) {
    // SAFETY: the caller's request is live. At most one context reads the body; nothing is looked at after it.
    unsafe {
        let unfinished = |ctx: &&Ctx| ctx.body.is_unfinished() && !ctx.body.attended.get();
        let Some(ctx) = ctx::every(r).find(unfinished) else { return };
        log_debug!(r, "lua request body refused, c:{}", (*r).count());
        // What was set aside holds no reference.
        let state = ctx.body.state.replace(State::NotRead);
        (*ON_FAILURE.get())(ctx, state == State::SetAside);
    }
}

/// Reads on although nobody waits for it any more, and calls `then` when the body is there; false when none is being read.
///
/// # Safety
/// The request is live, and waits.
pub unsafe fn finish(ctx: &Ctx, then: unsafe fn(&Ctx)) -> bool {
    if !ctx.body.is_reading() {
        return false;
    }
    // SAFETY: the caller's promise.
    unsafe { log_debug!(ctx.r, "lua reads the rest of the request body before it goes on") };
    ctx.body.take_wakers();
    ctx.body.then.set(Some(then));
    true
}

/// The Lua of a phase has come to its end: whatever is left of the body is not waited for.
///
/// # Safety
/// The request is live, and somebody else holds it.
pub unsafe fn set_aside(ctx: &Ctx) {
    if !ctx.body.is_reading() {
        return;
    }
    // SAFETY: the caller's promise. Over HTTP/1, that a body is being read keeps nginx from taking its rest for the connection's next
    // request; over HTTP/2, it would have nginx throw away what comes.
    unsafe {
        let r = ctx.r;
        log_debug!(r, "lua sets the reading of the request body aside");
        let event = (*(*r).connection).read;
        if (*event).timer_set() != 0 {
            ngx_del_timer(event);
        }
        (*r).read_event_handler = Some(ngx_http_block_reading);
        (*r).set_reading_body((*r).stream.is_null() as _);
        nginx::release(r);
        ctx.body.then.set(None);
        ctx.body.take_wakers();
        ctx.body.state.set(State::SetAside);
    }
}

/// Goes on with what was set aside, in the event loop's next steps.
unsafe fn take_up(ctx: &Ctx) {
    // SAFETY: the caller's request is live.
    unsafe {
        let r = ctx.r;
        nginx::hold(r);
        (*r).set_reading_body(0);
        (*r).read_event_handler = Some(on_event);
        ctx.body.state.set(State::Reading);
        // Frames that came meanwhile have started nginx's timer again.
        (*(*(*r).connection).read).set_timedout(0);
        ngx_post_event((*(*r).connection).read, &raw mut ngx_posted_events);
    }
}

/// nginx has read the body, and holds the request once more.
unsafe extern "C" fn read(r: Request) {
    // SAFETY: nginx calls this with a live request.
    unsafe {
        log_debug!(r, "lua req body post read, c:{}", (*(*r).main).count());
        nginx::release(r);
        let Some(ctx) = ctx::get(r) else { return };
        ctx.body.state.set(State::Read);
        let before = ctx.body.before.take();
        if before.is_some() {
            (*r).read_event_handler = before;
        }
        if !ctx.body.attended.get() {
            // Over HTTP/2 a frame may bring the rest by itself.
            guard_or((*(*r).connection).log, || go_on(ctx), || give_up(ctx));
        }
    }
}

/// More of the body has come, or the client has left or is too slow.
unsafe extern "C" fn on_event(r: Request) {
    // SAFETY: nginx calls this with a live request. Finalizing takes one reference, and that of the Lua that waits is left.
    unsafe {
        let Some(ctx) = ctx::get(r) else { return };
        let step = || {
            let Some(handler) = ctx.body.handler.get() else { return };
            fault::point("body_event");
            let error = std::mem::replace(&mut (*r).err_status, 0);
            let (write, changes) = ((*r).write_event_handler, (*r).uri_changes());
            // nginx would answer a bad body with a second header: on a broken connection it sends nothing. (A stream that is broken isn't read.)
            let connection = (*r).connection;
            let broken = (*connection).error();
            if ctx.header_sent() && (*r).http_version < NGX_HTTP_VERSION_20 as ngx_uint_t {
                (*connection).set_error(1);
            }
            ctx.body.attended.set(true);
            handler(r);
            ctx.body.attended.set(false);
            // An `error_page` of the user's may have another status, or none, but leads elsewhere.
            let answered = (*r).err_status != 0 || (*r).uri_changes() != changes;
            if ctx.body.state.get() == State::Read {
                (*r).err_status = error;
                (*connection).set_error(broken);
                go_on(ctx);
            } else if answered || !same(write, (*r).write_event_handler) {
                ctx.body.state.set(State::NotRead);
                (*ON_FAILURE.get())(ctx, !answered);
            } else {
                (*r).err_status = error;
                (*connection).set_error(broken);
            }
        };
        guard_or((*(*r).connection).log, step, || give_up(ctx));
    }
}

/// After a panic: the request ends with an error. What can panic comes before anything that could have ended it.
unsafe fn give_up(ctx: &Ctx) {
    let was_reading = ctx.body.is_reading();
    ctx.body.state.set(State::NotRead);
    ctx.body.then.set(None);
    ctx.body.attended.set(false);
    ctx.stop_tasks();
    // SAFETY: the request is live, and held by the phase that waits; by nginx too while that reads, which stands for finalizing it.
    unsafe {
        let status = if ctx.header_sent() {
            nginx::ERROR
        } else {
            NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_int_t
        };
        let terminated = ctx.header_sent();
        ngx_http_finalize_request(ctx.r, status);
        if was_reading {
            (*ON_FAILURE.get())(ctx, terminated);
        }
    }
}

fn same(a: ngx_http_event_handler_pt, b: ngx_http_event_handler_pt) -> bool {
    a.map(|f| f as usize) == b.map(|f| f as usize)
}

unsafe fn go_on(ctx: &Ctx) {
    fault::point("body_read");
    let wakers = ctx.body.take_wakers();
    // The request may be gone with the first that is woken; the others are then nobody's.
    match ctx.body.then.take() {
        // SAFETY: the caller's context is in use.
        Some(then) => unsafe { then(ctx) },
        None => wakers.into_iter().for_each(Waker::wake),
    }
}
