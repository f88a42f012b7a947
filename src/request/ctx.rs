//! What the module knows of a request: its VM, its coroutines, its output, how its Lua ended.
//!
//! A `Ctx` is made when Lua first runs for a request and lives until the request's pool is destroyed. `Ctx`es are
//! recycled, so that a request in the steady state allocates nothing here.

use std::cell::RefCell;
use std::ffi::c_int;
use std::ptr;
use std::rc::Rc;

use nginx_sys::*;

use crate::api::body_filter::BodyFilter;
use crate::api::request_body::{BodyBuilder, BodyRead};
use crate::conf;
use crate::conf::phase::Phase;
use crate::lua::Vm;
use crate::nginx::cell::Worker;
use crate::nginx::{self, own, Request};
use crate::request::capture::Batch;
use crate::request::output::Output;
use crate::request::slots::Slots;
use crate::run::Thread;

/// How a request's Lua ended other than by returning.
pub enum End {
    /// `ngx.exit(status)`, or what amounts to it.
    Exit(ngx_int_t),
    /// `ngx.exec`: an internal redirect to a location.
    Exec { uri: ngx_str_t, args: ngx_str_t },
    /// `ngx.req.set_uri(uri, true)`: the locations are searched anew.
    Jump,
}

/// Between two requests the kernel's work takes it out of the nearest cache: what every request uses comes first, and
/// what few use last.
#[repr(C)]
pub struct Ctx {
    pub r: Request,
    pub vm: *mut Vm,
    /// The coroutine that runs the phase's code.
    pub entry: Option<Box<Thread>>,
    /// A thread that ended, for the next one's memory.
    pub spare: Option<Box<Thread>>,
    /// The next of the idle ones, while it is one of them.
    next: *mut Ctx,
    pub phase: Phase,
    /// The number of the request's `ngx.ctx` table; 0 when there is none.
    pub ctx_slot: c_int,
    /// The VM belongs to this request alone: `lua_code_cache off`.
    owns_vm: bool,
    /// The request's pool will release the `Ctx`.
    registered: bool,
    /// The `Content-Type` has been set, or must not be defaulted.
    pub mime_set: bool,
    /// Lua has set a response header: `Content-Length` and the like are left alone.
    pub headers_set: bool,
    /// `lua_need_request_body`: the body has been read.
    pub body_read: bool,
    /// The coroutine is set up and the phase waits for the request body.
    pub waiting_body: bool,
    pub watch: Option<&'static Watch>,
    pub output: Output,
    /// Subrequests that are under way: `ngx.exit` is refused.
    pub pending_subrequests: usize,
    /// Threads whose wait is over, to be resumed by the request's write handler.
    pub ready: Vec<*mut Thread>,
    pub end: Option<End>,
    /// The status that `ngx.exit` was called with last.
    pub exit_status: Option<ngx_int_t>,
    /// The rewrite or access code has ended with this status, which the phase engine is about to ask for.
    pub resumed: Option<ngx_int_t>,
    /// What a Lua body filter has been given, and whether it has seen the end.
    pub body_filter: BodyFilter,
    /// The subrequests that `ngx.location.capture` is setting up, or whose responses it reads.
    pub batch: Option<Rc<RefCell<Batch>>>,
    pub body: BodyRead,
    pub body_builder: Option<BodyBuilder>,
    /// What the layers above keep for the request.
    pub slots: Slots,
}

/// Told of how long the request's Lua runs in one go.
#[derive(Clone, Copy)]
pub struct Watch {
    /// Read when a coroutine begins to run.
    pub clock: fn() -> u64,
    /// Called with what the clock said then, when it stops.
    pub paused: unsafe fn(&mut Ctx, u64),
}

/// `Ctx`es waiting for their next request, linked by `next`.
struct Idle {
    first: *mut Ctx,
    count: usize,
}

static IDLE: Worker<Idle> = Worker::new(Idle { first: ptr::null_mut(), count: 0 });
const IDLE_MAX: usize = 1024;

/// The request's `Ctx`, if it has one.
///
/// # Safety
/// `r` is live.
pub unsafe fn get<'a>(r: Request) -> Option<&'a mut Ctx> {
    // SAFETY: the slot holds null or what `create` put there, which outlives the request.
    unsafe { (*(*r).ctx.add(own::module().ctx_index)).cast::<Ctx>().as_mut() }
}

/// The request's `Ctx`, made when there is none, and kept as long as the request.
///
/// # Safety
/// `r` is live.
pub unsafe fn get_or_create<'a>(r: Request) -> Option<&'a mut Ctx> {
    // SAFETY: the caller's promise.
    unsafe {
        let ctx = get_or_create_unkept(r)?;
        keep(ctx)?;
        Some(ctx)
    }
}

/// As [`get_or_create`], for who will [`keep`] it, or [`release_if_done`].
///
/// # Safety
/// `r` is live.
pub unsafe fn get_or_create_unkept<'a>(r: Request) -> Option<&'a mut Ctx> {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(ctx) = get(r) {
            return Some(ctx);
        }
        let ctx = create(r)?;
        *(*r).ctx.add(own::module().ctx_index) = ptr::from_mut(ctx).cast();
        Some(ctx)
    }
}

/// Makes a `Ctx` for the request, which [`keep`] or [`release_if_done`] must follow.
unsafe fn create<'a>(r: Request) -> Option<&'a mut Ctx> {
    // SAFETY: one thread.
    unsafe {
        let (vm, owns_vm) = vm_for(r)?;
        let idle = &mut *IDLE.get();
        let ctx = if idle.first.is_null() {
            allocate()
        } else {
            let first = idle.first;
            idle.first = (*first).next;
            idle.count -= 1;
            first
        };
        (*ctx).r = r;
        (*ctx).vm = vm;
        (*ctx).owns_vm = owns_vm;
        ctx.as_mut()
    }
}

#[cold]
fn allocate() -> *mut Ctx {
    Box::into_raw(Box::new(Ctx::empty()))
}

/// Keeps the `Ctx` until the request's pool is destroyed. That is after the log phase, which the request's own
/// clean-up is not.
///
/// # Safety
/// The request is live.
pub unsafe fn keep(ctx: &mut Ctx) -> Option<()> {
    if ctx.registered {
        return Some(());
    }
    // SAFETY: the caller's promise.
    unsafe {
        let cleanup = ngx_pool_cleanup_add((*ctx.r).pool, 0);
        if cleanup.is_null() {
            return None;
        }
        (*cleanup).handler = Some(release);
        (*cleanup).data = ptr::from_mut(ctx).cast();
    }
    ctx.registered = true;
    Some(())
}

/// Lets go of the `Ctx` when nothing more will be asked of it, and keeps it otherwise.
///
/// # Safety
/// The request is live, its Lua has ended and its response has been handed over.
pub unsafe fn release_if_done(ctx: &mut Ctx) {
    // SAFETY: the caller's promise; the box was leaked in `create`.
    unsafe {
        let conf = conf::loc_conf(ctx.r);
        let wanted = conf.has_filters()
            || conf.code(Phase::Log).is_some()
            || ctx.slots.is_used()
            || ctx.ctx_slot != 0;
        if ctx.registered {
            return;
        }
        if wanted {
            keep(ctx);
            return;
        }
        *(*ctx.r).ctx.add(own::module().ctx_index) = ptr::null_mut();
        release(ptr::from_mut(ctx).cast());
    }
}

unsafe fn vm_for(r: Request) -> Option<(*mut Vm, bool)> {
    // SAFETY: `r` is live, and the main configuration lives as long as the cycle.
    unsafe {
        if conf::loc_conf(r).code_cache != 0 {
            return Some((conf::main_conf_of(r).vm, false));
        }
        vm_of_its_own(r)
    }
}

/// `lua_code_cache off`: a VM for the request, and for those that it leads to.
#[cold]
unsafe fn vm_of_its_own(r: Request) -> Option<(*mut Vm, bool)> {
    // SAFETY: as in `vm_for`.
    unsafe {
        // A subrequest, and a request redirected internally, go on in the VM they came from.
        if let Some(parent) = (*r).parent.as_mut().and_then(|parent| get(parent)) {
            return Some((parent.vm, false));
        }
        match conf::new_vm(conf::main_conf_of(r)) {
            Ok(vm) => Some((Box::into_raw(Box::new(vm)), true)),
            Err(message) => {
                nginx::log_error!(NGX_LOG_ERR, (*(*r).connection).log, "{message}");
                None
            }
        }
    }
}

unsafe extern "C" fn release(data: *mut std::ffi::c_void) {
    // SAFETY: `data` is the box leaked in `create`, and the clean-up runs once.
    unsafe {
        let ctx = data.cast::<Ctx>();
        (*ctx).reset();
        let idle = &mut *IDLE.get();
        if idle.count < IDLE_MAX {
            (*ctx).next = idle.first;
            idle.first = ctx;
            idle.count += 1;
        } else {
            free(ctx);
        }
    }
}

#[cold]
unsafe fn free(ctx: *mut Ctx) {
    // SAFETY: the box was leaked in `allocate`, and has been reset.
    unsafe {
        let mut ctx = Box::from_raw(ctx);
        if let (Some(mut spare), Some(vm)) = (ctx.spare.take(), ctx.vm.as_mut()) {
            spare.discard(vm);
        }
    }
}

impl Ctx {
    fn empty() -> Self {
        Ctx {
            r: ptr::null_mut(),
            vm: ptr::null_mut(),
            entry: None,
            spare: None,
            next: ptr::null_mut(),
            phase: Phase::None,
            ctx_slot: 0,
            owns_vm: false,
            registered: false,
            mime_set: false,
            headers_set: false,
            body_read: false,
            waiting_body: false,
            watch: None,
            output: Output::new(),
            pending_subrequests: 0,
            ready: Vec::new(),
            end: None,
            exit_status: None,
            resumed: None,
            body_filter: BodyFilter::new(),
            batch: None,
            body: BodyRead::default(),
            body_builder: None,
            slots: Slots::default(),
        }
    }

    /// Ends whatever still runs and forgets the request. What is allocated is kept for the next one.
    fn reset(&mut self) {
        self.stop_threads();
        self.drop_ctx_table();
        if self.owns_vm {
            // SAFETY: the box was leaked in `vm_for` for this request, whose Lua has ended.
            drop(unsafe { Box::from_raw(self.vm) });
            self.vm = ptr::null_mut();
        }
        self.phase = Phase::None;
        self.owns_vm = false;
        self.registered = false;
        self.mime_set = false;
        self.headers_set = false;
        self.body_read = false;
        self.waiting_body = false;
        self.watch = None;
        self.output.recycle();
        self.pending_subrequests = 0;
        self.end = None;
        self.exit_status = None;
        self.resumed = None;
        self.body_filter = BodyFilter::new();
        self.batch = None;
        self.body.recycle();
        self.body_builder = None;
        self.slots.recycle();
    }

    /// Drops the coroutines and, with them, whatever they wait for.
    pub fn stop_threads(&mut self) {
        self.ready.clear();
        self.finish_entry(false);
    }

    /// Ends the entry thread; `returned` says that its code came to its end.
    pub fn finish_entry(&mut self, returned: bool) {
        if let Some(mut thread) = self.entry.take() {
            thread.finish(returned);
            self.spare = Some(thread);
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
