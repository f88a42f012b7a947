//! `ngx.semaphore`: tasks of any requests of a VM that wait for each other.
//!
//! What is posted while somebody waits is given to the first who does, and is his from then on, though he goes on only later in this turn of the
//! event loop. When he is gone by then it is the next one's.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::run::wait;

#[derive(Default)]
pub struct Semaphore {
    resources: Cell<u32>,
    /// In order; some are gone meanwhile.
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
    gone: Cell<usize>,
}

#[derive(Default)]
struct Waiter {
    given: Cell<bool>,
    gone: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Semaphore {
    pub fn new(resources: u32) -> Rc<Semaphore> {
        Rc::new(Semaphore { resources: Cell::new(resources), ..Semaphore::default() })
    }

    /// How many resources are there or, negative, how many wait for one.
    pub fn count(&self) -> i64 {
        let waiting = self.waiting.borrow().len() - self.gone.get();
        i64::from(self.resources.get()) - waiting as i64
    }

    /// Adds resources, and wakes as many of those who wait.
    pub fn post(&self, n: u32) {
        self.resources.set(self.resources.get().saturating_add(n));
        self.give();
    }

    /// Takes a resource, if there is one.
    pub fn try_take(&self) -> bool {
        let there = self.resources.get() > 0;
        if there {
            self.resources.set(self.resources.get() - 1);
        }
        there
    }

    fn give(&self) {
        while self.resources.get() > 0 {
            let Some(first) = self.waiting.borrow_mut().pop_front() else { return };
            if first.gone.get() {
                self.gone.set(self.gone.get() - 1);
                continue;
            }
            self.resources.set(self.resources.get() - 1);
            first.given.set(true);
            let waker = first.waker.take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// The waiter is gone. Those who are are taken out when they are half of all, so that each costs little however many wait.
    fn leave(&self, waiter: &Waiter) {
        waiter.gone.set(true);
        self.gone.set(self.gone.get() + 1);
        let mut waiting = self.waiting.borrow_mut();
        if 2 * self.gone.get() >= waiting.len() {
            waiting.retain(|waiter| !waiter.gone.get());
            self.gone.set(0);
        }
    }

    /// Waits for a resource for so many milliseconds: whether there was one.
    pub fn wait(self: &Rc<Self>, msec: u64) -> Taking {
        let waiter = Rc::new(Waiter::default());
        self.waiting.borrow_mut().push_back(waiter.clone());
        Taking { semaphore: self.clone(), waiter, timeout: Some(Box::pin(wait::sleep(msec))) }
    }
}

/// Somebody who waits. Dropping it gives up the place, or what was given and not yet taken.
pub struct Taking {
    semaphore: Rc<Semaphore>,
    waiter: Rc<Waiter>,
    /// None when it is over.
    timeout: Option<Pin<Box<wait::Event>>>,
}

impl Future for Taking {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        if self.waiter.given.get() {
            self.timeout = None;
            return Poll::Ready(true);
        }
        *self.waiter.waker.borrow_mut() = Some(context.waker().clone());
        let Some(timeout) = &mut self.timeout else { return Poll::Ready(false) };
        if pin!(timeout.as_mut()).poll(context).is_pending() {
            return Poll::Pending;
        }
        self.timeout = None;
        self.semaphore.leave(&self.waiter);
        Poll::Ready(false)
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        if self.timeout.is_none() {
            return;
        }
        if self.waiter.given.get() {
            self.semaphore.post(1);
        } else {
            self.semaphore.leave(&self.waiter);
        }
    }
}
