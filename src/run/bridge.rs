//! From background threads to nginx's loop: what a thread has finished completes a future on the loop.
//!
//! Threads leave tasks in a queue and ring an eventfd, which nginx watches like a connection; its handler runs the
//! tasks on the worker's own thread. A [`promise`] is a pair over that: the [`Promise`] goes to the thread, the
//! [`Answer`] is awaited by a coroutine. Either may be dropped at any time.

use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::os::fd::FromRawFd as _;
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use nginx_sys::*;

use crate::nginx::cell::Worker;
use crate::nginx::guard;

/// What a background thread wants done on the worker's own thread.
type Task = Box<dyn FnOnce() + Send>;

struct Queue {
    tasks: Mutex<Vec<Task>>,
    bell: File,
}

/// Made once in a worker, after `fork`.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// The eventfd's place in nginx's loop; null before [`open`] and after [`close`].
static CONNECTION: Worker<*mut ngx_connection_t> = Worker::new(ptr::null_mut());

/// What is called when nginx asks its connections to close: the worker shuts down, and `true` says that its
/// `worker_shutdown_timeout` is over.
static ON_SHUTDOWN: Worker<Option<fn(bool)>> = Worker::new(None);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can leave a value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to listen. Called once, when the worker starts.
///
/// # Safety
/// nginx's event module is initialized.
pub unsafe fn open(on_shutdown: fn(bool)) -> std::io::Result<()> {
    // SAFETY: the descriptor is new and owned by the file; nginx's structures are set up as it wants them.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        let bell = File::from_raw_fd(fd);
        let connection = ngx_get_connection(fd, (*ngx_cycle).log);
        let Some(c) = connection.as_mut() else {
            return Err(std::io::Error::other("worker_connections are not enough"));
        };
        let read = &mut *c.read;
        read.handler = Some(ring);
        read.log = (*ngx_cycle).log;
        // nginx calls the handlers of idle connections when it begins to shut down.
        c.set_idle(1);
        if ngx_handle_read_event(read, 0) != NGX_OK as ngx_int_t {
            ngx_free_connection(c);
            return Err(std::io::Error::other("nginx's event method doesn't take an eventfd"));
        }
        *CONNECTION.get() = connection;
        *ON_SHUTDOWN.get() = Some(on_shutdown);
        // A worker starts once.
        drop(QUEUE.set(Queue { tasks: Mutex::new(Vec::new()), bell }));
    }
    Ok(())
}

/// Stops listening; called when the worker exits. Threads may go on ringing.
///
/// # Safety
/// On the worker's own thread.
pub unsafe fn close() {
    // SAFETY: the connection is nginx's, and no event is handled any more. The descriptor is closed with the process.
    unsafe {
        let connection = ptr::replace(CONNECTION.get(), ptr::null_mut());
        if let Some(c) = connection.as_mut() {
            ngx_free_connection(c);
            c.fd = -1;
        }
    }
}

unsafe extern "C" fn ring(event: *mut ngx_event_t) {
    // SAFETY: nginx passes the event of the connection above.
    unsafe {
        guard((*event).log, (), || {
            let c = (*event).data.cast::<ngx_connection_t>();
            let (closing, over) = ((*c).close() != 0, (*c).error() != 0);
            run_tasks();
            if closing {
                if let Some(on_shutdown) = *ON_SHUTDOWN.get() {
                    on_shutdown(over);
                }
            }
        });
    }
}

fn run_tasks() {
    let Some(queue) = QUEUE.get() else { return };
    // The counter is read before the tasks are taken, so that none is left behind silently.
    let mut counter = [0; 8];
    // Nothing to read is as good: nginx rang for another reason.
    let _ = (&queue.bell).read(&mut counter);
    let tasks = std::mem::take(&mut *locked(&queue.tasks));
    for task in tasks {
        task();
    }
}

/// Has the task run on the worker's own thread, in the event loop's next turn.
pub fn post(task: Task) {
    let Some(queue) = QUEUE.get() else { return };
    let mut tasks = locked(&queue.tasks);
    tasks.push(task);
    if tasks.len() == 1 {
        // A write fails only when the counter is full, and then the bell rings already.
        let _ = (&queue.bell).write(&1u64.to_ne_bytes());
    }
}

/// Whether background threads can reach the worker.
pub fn is_open() -> bool {
    QUEUE.get().is_some()
}

struct Slot<T> {
    value: Mutex<Option<T>>,
    /// The promise is gone, whether kept or not.
    done: AtomicBool,
    ticket: u64,
}

/// The thread's end: completes the [`Answer`].
pub struct Promise<T: Send + 'static>(Arc<Slot<T>>);

/// The coroutine's end: ready with the value, or `None` when the promise was dropped unkept.
pub struct Answer<T>(Arc<Slot<T>>);

/// The wakers of the answers that are waited for. A waker must not leave its thread; its ticket may.
static WAKERS: Worker<Option<HashMap<u64, Waker>>> = Worker::new(None);

fn wakers() -> &'static mut HashMap<u64, Waker> {
    // SAFETY: only the worker's own thread comes here, and no reference outlives a statement of its callers.
    unsafe { (*WAKERS.get()).get_or_insert_default() }
}

/// A value that a background thread will have, and who waits for it.
pub fn promise<T: Send + 'static>() -> (Promise<T>, Answer<T>) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let ticket = NEXT.fetch_add(1, Ordering::Relaxed);
    let slot = Arc::new(Slot { value: Mutex::new(None), done: AtomicBool::new(false), ticket });
    (Promise(slot.clone()), Answer(slot))
}

impl<T: Send + 'static> Promise<T> {
    /// Whether anybody still waits for the answer.
    pub fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Completes the answer. Dropping the promise is what wakes its waiter.
    pub fn keep(self, value: T) {
        *locked(&self.0.value) = Some(value);
    }
}

impl<T: Send + 'static> Drop for Promise<T> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Release);
        let ticket = self.0.ticket;
        post(Box::new(move || {
            let waker = wakers().remove(&ticket);
            if let Some(waker) = waker {
                waker.wake();
            }
        }));
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if self.0.done.load(Ordering::Acquire) {
            return Poll::Ready(locked(&self.0.value).take());
        }
        wakers().insert(self.0.ticket, context.waker().clone());
        // A promise that was dropped meanwhile has posted its task after this, or will find the waker: tasks run on
        // this thread, which is here.
        Poll::Pending
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        wakers().remove(&self.0.ticket);
    }
}
