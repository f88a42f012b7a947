//! Futures that do something to the scheduler.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use coro::Wait;

use super::machine::SLEPT;

/// Ready at once, after having done that.
pub fn does(action: impl FnOnce() + 'static) -> Wait {
    Box::pin(async {
        action();
        SLEPT
    })
}

/// Does that at its first poll, and is never ready.
pub fn does_and_waits(action: impl FnOnce() + 'static) -> Wait {
    Box::pin(async {
        action();
        std::future::pending().await
    })
}

/// Ready as soon as the closure is.
pub fn polls(poll: impl FnMut(&mut Context) -> Poll<()> + 'static) -> Wait {
    let mut poll = poll;
    Box::pin(std::future::poll_fn(move |context| poll(context).map(|()| SLEPT)))
}

/// Does something when it is dropped.
pub fn on_drop(wait: Wait, action: impl FnOnce() + 'static) -> Wait {
    Box::pin(OnDrop { wait, action: Some(Box::new(action)) })
}

struct OnDrop {
    wait: Wait,
    action: Option<Box<dyn FnOnce()>>,
}

impl Future for OnDrop {
    type Output = i32;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<i32> {
        self.wait.as_mut().poll(context)
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(action) = self.action.take() {
            action();
        }
    }
}
