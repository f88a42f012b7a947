//! What the module knows of a request: its VM, its coroutines, its output, how its Lua ended.
//!
//! A `Ctx` is made when Lua first runs for a request and lives until the request's pool is destroyed. `Ctx`es are
//! recycled, so that a request in the steady state allocates nothing here.

use std::cell::{RefCell, UnsafeCell};
use std::ffi::c_int;
use std::ptr;
use std::rc::Rc;

use nginx_sys::*;

use crate::api::body_filter::BodyFilter;
use crate::api::output::Output;
use crate::api::subrequest::Batch;
use crate::api::request_body::{BodyBuilder, BodyRead};
use crate::conf;
use crate::function::error_page::ErrorPage;
use crate::function::trace::Trace;
use crate::module;
use crate::ngx::{self, Request};
use crate::phase::Phase;
use crate::sched::Thread;
use crate::vm::Vm;

/// How a request's Lua ended other than by returning.
pub enum End {
    /// `ngx.exit(status)`, or what amounts to it.
    Exit(ngx_int_t),
    /// `ngx.exec`: an internal redirect to a location.
    Exec { uri: ngx_str_t, args: ngx_str_t },
    /// `ngx.req.set_uri(uri, true)`: the locations are searched anew.
    Jump,
}

pub struct Ctx {
    pub r: Request,
    pub vm: *mut Vm,
    /// The VM belongs to this request alone: `lua_code_cache off`.
    owns_vm: bool,
    pub phase: Phase,
    /// The coroutine that runs the phase's code.
    pub entry: Option<Box<Thread>>,
    /// Threads whose wait is over, to be resumed by the request's write handler.
    pub ready: Vec<*mut Thread>,
    pub end: Option<End>,
    /// The status that `ngx.exit` was called with last.
    pub exit_status: Option<ngx_int_t>,
    /// What a Lua body filter has been given, and whether it has seen the end.
    pub body_filter: BodyFilter,
    pub output: Output,
    /// The number of the request's `ngx.ctx` table; 0 when there is none.
    pub ctx_slot: c_int,
    /// The `Content-Type` has been set, or must not be defaulted.
    pub mime_set: bool,
    /// Lua has set a response header: `Content-Length` and the like are left alone.
    pub headers_set: bool,
    /// The content phase's Lua was started.
    pub entered_content: bool,
    /// The subrequests that `ngx.location.capture` is setting up, or whose responses it reads.
    pub batch: Option<Rc<RefCell<Batch>>>,
    /// Subrequests that are under way: `ngx.exit` is refused.
    pub pending_subrequests: usize,
    pub body: BodyRead,
    pub body_builder: Option<BodyBuilder>,
    /// `lua_need_request_body`: the body has been read.
    pub body_read: bool,
    /// The rewrite or access code has ended with this status, which the phase engine is about to ask for.
    pub resumed: Option<ngx_int_t>,
    /// The function that the platform runs for the request.
    pub function: String,
    /// The ids of its call, once they were asked for.
    pub trace: Option<Trace>,
    pub error_page: ErrorPage,
    /// The coroutine is set up and the phase waits for the request body.
    pub waiting_body: bool,
}

/// A cell for what only the worker's single thread touches.
pub struct Worker<T>(UnsafeCell<T>);

// SAFETY: nginx runs the module on one thread of each process; background threads never touch these cells.
unsafe impl<T> Sync for Worker<T> {}

impl<T> Worker<T> {
    pub const fn new(value: T) -> Self {
        Worker(UnsafeCell::new(value))
    }

    pub fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// `Ctx`es waiting for their next request.
static IDLE: Worker<Vec<Box<Ctx>>> = Worker::new(Vec::new());
const IDLE_MAX: usize = 1024;

/// The request's `Ctx`, if it has one.
///
/// # Safety
/// `r` is live.
pub unsafe fn get<'a>(r: Request) -> Option<&'a mut Ctx> {
    // SAFETY: the slot holds null or what `create` put there, which outlives the request.
    unsafe { (*(*r).ctx.add(module::module().ctx_index)).cast::<Ctx>().as_mut() }
}

/// The request's `Ctx`, made when there is none.
///
/// # Safety
/// `r` is live.
pub unsafe fn get_or_create<'a>(r: Request) -> Option<&'a mut Ctx> {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(ctx) = get(r) {
            return Some(ctx);
        }
        let ctx = create(r)?;
        *(*r).ctx.add(module::module().ctx_index) = ptr::from_mut(ctx).cast();
        Some(ctx)
    }
}

/// Makes a `Ctx` that lives as long as the request, without making it the request's own.
unsafe fn create<'a>(r: Request) -> Option<&'a mut Ctx> {
    // SAFETY: the clean-up runs before the request's memory goes away.
    unsafe {
        let (vm, owns_vm) = vm_for(r)?;
        // The pool's clean-up rather than the request's: the log phase comes between the two.
        let cleanup = ngx_pool_cleanup_add((*r).pool, 0);
        if cleanup.is_null() {
            return None;
        }
        let mut ctx = (*IDLE.get()).pop().unwrap_or_else(|| Box::new(Ctx::empty()));
        ctx.r = r;
        ctx.vm = vm;
        ctx.owns_vm = owns_vm;
        let ctx = Box::into_raw(ctx);
        (*cleanup).handler = Some(release);
        (*cleanup).data = ctx.cast();
        ctx.as_mut()
    }
}

unsafe fn vm_for(r: Request) -> Option<(*mut Vm, bool)> {
    // SAFETY: `r` is live, and the main configuration lives as long as the cycle.
    unsafe {
        if conf::loc_conf(r).code_cache != 0 {
            return Some((module::main_conf(r).vm, false));
        }
        // A subrequest, and a request redirected internally, go on in the VM they came from.
        if let Some(parent) = (*r).parent.as_mut().and_then(|parent| get(parent)) {
            return Some((parent.vm, false));
        }
        match module::new_vm(module::main_conf(r)) {
            Ok(vm) => Some((Box::into_raw(Box::new(vm)), true)),
            Err(message) => {
                ngx::log_error!(NGX_LOG_ERR, (*(*r).connection).log, "{message}");
                None
            }
        }
    }
}

unsafe extern "C" fn release(data: *mut std::ffi::c_void) {
    // SAFETY: `data` is the box leaked in `create`, and the clean-up runs once.
    unsafe {
        let mut ctx = Box::from_raw(data.cast::<Ctx>());
        ctx.reset();
        let idle = &mut *IDLE.get();
        if idle.len() < IDLE_MAX {
            idle.push(ctx);
        }
    }
}

impl Ctx {
    fn empty() -> Self {
        Ctx {
            r: ptr::null_mut(),
            vm: ptr::null_mut(),
            owns_vm: false,
            phase: Phase::None,
            entry: None,
            ready: Vec::new(),
            end: None,
            exit_status: None,
            body_filter: BodyFilter::new(),
            output: Output::new(),
            ctx_slot: 0,
            mime_set: false,
            headers_set: false,
            entered_content: false,
            batch: None,
            pending_subrequests: 0,
            body: BodyRead::default(),
            body_builder: None,
            body_read: false,
            resumed: None,
            function: String::new(),
            trace: None,
            error_page: ErrorPage::None,
            waiting_body: false,
        }
    }

    /// Ends whatever still runs and forgets the request.
    fn reset(&mut self) {
        self.stop_threads();
        self.drop_ctx_table();
        if self.owns_vm {
            // SAFETY: the box was leaked in `vm_for` for this request, whose Lua has ended.
            drop(unsafe { Box::from_raw(self.vm) });
        }
        let mut output = std::mem::replace(&mut self.output, Output::new());
        output.recycle();
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        let mut function = std::mem::take(&mut self.function);
        function.clear();
        *self = Ctx { output, ready, function, ..Ctx::empty() };
    }

    /// Drops the coroutines and, with them, whatever they wait for.
    pub fn stop_threads(&mut self) {
        self.ready.clear();
        if let Some(thread) = self.entry.take() {
            thread.finish(false);
        }
    }

    pub fn drop_ctx_table(&mut self) {
        if self.ctx_slot != 0 {
            // SAFETY: the request's VM is alive until `reset`.
            unsafe { (*self.vm).free_ctx_slot(self.ctx_slot) }
            self.ctx_slot = 0;
        }
    }

    pub fn log(&self) -> *mut ngx_log_t {
        // SAFETY: a request has a connection, and that a log.
        unsafe { (*(*self.r).connection).log }
    }

    pub fn header_sent(&self) -> bool {
        // SAFETY: the request is live as long as its `Ctx` is in use.
        self.output.header_sent || unsafe { (*self.r).header_sent() != 0 }
    }
}
