//! The futures that only need nginx's event loop: a timer, and the loop's next turn. Dropping one takes its event
//! away.

use std::ffi::c_int;
use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use nginx_sys::*;

use crate::nginx::guard;

enum Kind {
    Timer(ngx_msec_t),
    NextTurn,
}

/// An nginx event as a future. The event is pinned inside, so that waiting allocates once.
pub struct Event {
    event: ngx_event_t,
    kind: Kind,
    armed: bool,
    fired: bool,
    waker: Option<Waker>,
    _pinned: PhantomPinned,
}

/// Ready after so many milliseconds.
pub fn sleep(msec: u64) -> Event {
    new(Kind::Timer(msec as ngx_msec_t))
}

/// Ready in the event loop's next turn.
pub fn next_turn() -> Event {
    new(Kind::NextTurn)
}

fn new(kind: Kind) -> Event {
    // SAFETY: all-zero is an event that isn't armed.
    let event = unsafe { std::mem::zeroed() };
    Event { event, kind, armed: false, fired: false, waker: None, _pinned: PhantomPinned }
}

unsafe extern "C" fn fire(event: *mut ngx_event_t) {
    // SAFETY: `data` is the pinned future that armed the event. It is copied out of before waking, which may drop it.
    unsafe {
        let this = (*event).data.cast::<Event>();
        guard((*event).log, (), || {
            (*this).fired = true;
            if let Some(waker) = (*this).waker.take() {
                waker.wake();
            }
        });
    }
}

impl Future for Event {
    type Output = c_int;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<c_int> {
        // SAFETY: nothing is moved out of the pinned future, and nginx's event calls get its stable address.
        unsafe {
            let this = self.get_unchecked_mut();
            if this.fired {
                return Poll::Ready(0);
            }
            this.waker = Some(context.waker().clone());
            if !this.armed {
                this.armed = true;
                this.event.handler = Some(fire);
                this.event.log = (*ngx_cycle).log;
                this.event.data = std::ptr::from_mut(this).cast();
                match this.kind {
                    Kind::Timer(msec) => ngx_add_timer(&mut this.event, msec),
                    Kind::NextTurn => {
                        ngx_post_event(&mut this.event, &raw mut ngx_posted_next_events)
                    }
                }
            }
            Poll::Pending
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: an event that was armed is taken out of nginx's tree or queue before its memory goes away.
        unsafe {
            if self.event.timer_set() != 0 {
                ngx_del_timer(&mut self.event);
            }
            if self.event.posted() != 0 {
                ngx_delete_posted_event(&mut self.event);
            }
        }
    }
}
