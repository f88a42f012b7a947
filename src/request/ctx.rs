//! What the module knows of a request: its VM, its tasks, its output, how its Lua ended.
//!
//! A `Ctx` is made when Lua first runs for a request and lives until the request's pool is destroyed. `Ctx`es are
//! recycled, so that a request in the steady state allocates nothing here. When many requests are under way at once, those of
//! the later ones are in their requests' pools, which tend to have room for it.
//!
//! Whatever runs for a request may be called while something else does: Lua prints, nginx's filters run Lua, which looks at the same
//! context. So it is only ever shared, and what changes is in cells, none of which is borrowed across a call into nginx or Lua that can come back.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_int;
use std::ptr;
use std::rc::Rc;

use coro::{FamilyId, TaskId};
use nginx_sys::*;

use super::body::{self, BodyRead};
use super::body_build::BodyBuilder;
use super::body_filter::BodyFilter;
use super::capture::Batches;
use super::main_state;
use super::output::Output;
use super::slots::Slots;
use super::tasks;
use crate::conf;
use crate::conf::phase::Phase;
use crate::lua::{Coroutine, Vm};
use crate::nginx::cell::Worker;
use crate::nginx::{self, fault, guard, log_debug, own, Request};

/// How a request's Lua ended other than by returning.
#[derive(Clone, Copy)]
pub enum End {
    /// `ngx.exit(status)`, or what amounts to it.
    Exit(ngx_int_t),
    /// `ngx.exec`: an internal redirect to a location.
    Exec { uri: ngx_str_t, args: ngx_str_t },
    /// `ngx.req.set_uri(uri, true)`: the locations are searched anew.
    Jump,
}

/// Told of how long the request's Lua runs in one go.
#[derive(Clone, Copy)]
pub struct Watch {
    /// Read when a coroutine begins to run.
    pub clock: fn() -> u64,
    /// Called with what the clock said then, when it stops.
    pub paused: unsafe fn(&Ctx, u64),
}

/// Between two requests the kernel's work takes it out of the nearest cache: what every request uses comes first, and
/// what few use last.
#[repr(C)]
pub struct Ctx {
    pub r: Request,
    /// The next of the idle ones, while it is one of them.
    next: *mut Ctx,
    /// It is in the request's pool.
    in_pool: Cell<bool>,
    pub output: Output,
    pub state: State,
    /// Tasks whose wait is over, to be resumed by the request's write handler, the first to be woken first.
    pub ready: RefCell<VecDeque<TaskId>>,
    /// The subrequests that `ngx.location.capture` is setting up, or whose responses it reads.
    pub batches: Batches,
    pub body: BodyRead,
    /// What the layers above keep for the request.
    pub slots: RefCell<Slots>,
}

/// What is one request's alone, and holds no memory that the next could use: it is made anew for each.
#[derive(Default)]
#[repr(C)]
pub struct State {
    vm: Option<Rc<Vm>>,
    /// The tasks of the phase's code.
    pub family: Cell<Option<FamilyId>>,
    pub phase: Cell<Phase>,
    /// The number of the request's `ngx.ctx` table; 0 when there is none.
    pub ctx_slot: Cell<c_int>,
    /// The request's pool will release the `Ctx`.
    registered: Cell<bool>,
    /// The `Content-Type` has been set, or must not be defaulted.
    pub mime_set: Cell<bool>,
    /// Lua has set a response header: `Content-Length` and the like are left alone.
    pub headers_set: Cell<bool>,
    pub watch: Cell<Option<&'static Watch>>,
    pub end: Cell<Option<End>>,
    /// The status that `ngx.exit` was called with last.
    pub exit_status: Cell<Option<ngx_int_t>>,
    /// The code of a phase before the content has ended with this status, which the phase engine is about to ask for.
    pub resumed: Cell<Option<ngx_int_t>>,
    /// What a Lua body filter has been given, and whether it has seen the end.
    pub body_filter: BodyFilter,
    pub body_builder: RefCell<Option<BodyBuilder>>,
    /// What `ngx.on_abort` runs when the client leaves.
    pub on_abort: Cell<Option<Coroutine>>,
}

/// `Ctx`es waiting for their next request, linked by `next`.
struct Idle {
    first: *mut Ctx,
    /// How many are recycled, idle or not.
    recycled: usize,
}

static IDLE: Worker<Idle> = Worker::new(Idle { first: ptr::null_mut(), recycled: 0 });
const RECYCLED_MAX: usize = 256;

/// The request's `Ctx`, if it has one.
///
/// # Safety
/// `r` is live.
#[inline]
pub unsafe fn get<'a>(r: Request) -> Option<&'a Ctx> {
    // SAFETY: the slot holds null or what `create` put there, which outlives the request.
    unsafe { (*(*r).ctx.add(own::module().ctx_index)).cast::<Ctx>().as_ref() }
}

/// The request's `Ctx`, made when there is none, and kept as long as the request. None is an error that is logged.
///
/// # Safety
/// `r` is live.
pub unsafe fn get_or_create<'a>(r: Request) -> Option<&'a Ctx> {
    // SAFETY: the caller's promise.
    unsafe {
        let ctx = get_or_create_unkept(r)?;
        keep(ctx).then_some(ctx)
    }
}

/// As [`get_or_create`], for who will [`keep`] it, or [`release_if_done`].
///
/// # Safety
/// `r` is live.
pub unsafe fn get_or_create_unkept<'a>(r: Request) -> Option<&'a Ctx> {
    // SAFETY: the caller's promise.
    unsafe {
        if let Some(ctx) = get(r) {
            return Some(ctx);
        }
        body::end_refused(r);
        let vm = vm_for(r)?;
        Some(create(r, vm))
    }
}

/// Makes a `Ctx` in that VM for a request that has none, which [`keep`] or [`release_if_done`] must follow.
///
/// # Safety
/// `r` is live.
pub unsafe fn create<'a>(r: Request, vm: Rc<Vm>) -> &'a Ctx {
    // SAFETY: one thread; an idle `Ctx` is nobody's.
    unsafe {
        let idle = &mut *IDLE.get();
        let ctx = if idle.first.is_null() {
            allocate(r, idle)
        } else {
            let first = idle.first;
            idle.first = (*first).next;
            first
        };
        (*ctx).r = r;
        (*ctx).state.vm = Some(vm);
        *(*r).ctx.add(own::module().ctx_index) = ctx.cast();
        &*ctx
    }
}

// What nginx's pools give is aligned for a pointer.
const _: () = assert!(align_of::<Ctx>() <= align_of::<*const ()>());

#[cold]
unsafe fn allocate(r: Request, idle: &mut Idle) -> *mut Ctx {
    if idle.recycled >= RECYCLED_MAX {
        // SAFETY: the request is live, and what is allocated is aligned and large enough.
        unsafe {
            let ctx: *mut Ctx = ngx_palloc((*r).pool, size_of::<Ctx>()).cast();
            if !ctx.is_null() {
                ctx.write(Ctx::empty());
                (*ctx).in_pool.set(true);
                return ctx;
            }
        }
    }
    idle.recycled += 1;
    Box::into_raw(Box::new(Ctx::empty()))
}

/// Keeps the `Ctx` until the request's pool is destroyed. That is after the log phase, which the request's own
/// clean-up is not. False, and the `Ctx` is gone, when there is no memory for that.
///
/// # Safety
/// The request is live, and no Lua runs for it.
#[must_use]
pub unsafe fn keep(ctx: &Ctx) -> bool {
    if ctx.state.registered.get() {
        return true;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let cleanup = ngx_pool_cleanup_add((*ctx.r).pool, 0);
        let data = ptr::from_ref(ctx).cast_mut().cast();
        if cleanup.is_null() {
            *(*ctx.r).ctx.add(own::module().ctx_index) = ptr::null_mut();
            release(data);
            return false;
        }
        (*cleanup).handler = Some(release);
        (*cleanup).data = data;
    }
    ctx.state.registered.set(true);
    true
}

/// Lets go of the `Ctx` when nothing more will be asked of it, and keeps it otherwise. Either way it isn't the caller's any more.
///
/// # Safety
/// The request is live, its Lua has ended and its response has been handed over.
pub unsafe fn release_if_done(ctx: &Ctx) {
    // SAFETY: the caller's promise.
    unsafe {
        if ctx.state.registered.get() {
            return;
        }
        let conf = conf::loc_conf(ctx.r);
        let wanted = conf.has_filters()
            || conf.code(Phase::Log).is_some()
            || ctx.slots.borrow().is_used()
            || ctx.state.ctx_slot.get() != 0;
        if wanted && keep(ctx) {
            return;
        }
        *(*ctx.r).ctx.add(own::module().ctx_index) = ptr::null_mut();
        release(ptr::from_ref(ctx).cast_mut().cast());
    }
}

/// The VM that the request's Lua runs in: that in which it began, or its parent; otherwise the shared one or, with
/// `lua_code_cache off`, one of its own.
unsafe fn vm_for(r: Request) -> Option<Rc<Vm>> {
    // SAFETY: `r` is live, and the main configuration lives as long as the cycle.
    unsafe {
        if (*r).internal() != 0 || (*r).main != r {
            if let Some(vm) = vm_before(r) {
                return Some(vm);
            }
        }
        if conf::loc_conf(r).code_cache != 0 {
            return conf::main_conf_of(r).vm().cloned();
        }
        vm_of_its_own(r)
    }
}

/// The VM of the parent, or that in which the request ran before it was redirected internally, which takes its `Ctx` from it but not
/// from its pool.
unsafe fn vm_before(r: Request) -> Option<Rc<Vm>> {
    // SAFETY: `r` is live; a clean-up with our handler has a `Ctx` that isn't released.
    unsafe {
        if let Some(parent) = (*r).parent.as_ref() {
            return get((*r).parent)
                .and_then(|ctx| ctx.state.vm.clone())
                .or_else(|| vm_before(ptr::from_ref(parent).cast_mut()));
        }
        every(r).next().and_then(|ctx| ctx.state.vm.clone())
    }
}

/// The contexts that a request has had, the latest first: an internal redirect takes one from it, but not from its pool.
///
/// # Safety
/// `r` is live while the iterator is used.
pub unsafe fn every<'a>(r: Request) -> impl Iterator<Item = &'a Ctx> {
    let handler: ngx_pool_cleanup_pt = Some(release);
    // SAFETY: the caller's promise.
    let mut cleanup = unsafe { (*(*r).pool).cleanup };
    // SAFETY: a clean-up with our handler has a `Ctx` that isn't released.
    std::iter::from_fn(move || unsafe {
        while let Some(entry) = cleanup.as_ref() {
            cleanup = entry.next;
            if entry.handler.map(|f| f as usize) == handler.map(|f| f as usize) {
                let ctx = &*entry.data.cast::<Ctx>();
                if ctx.r == r {
                    return Some(ctx);
                }
            }
        }
        None
    })
}

/// `lua_code_cache off`: a VM for the request, and for those that it leads to.
#[cold]
unsafe fn vm_of_its_own(r: Request) -> Option<Rc<Vm>> {
    // SAFETY: as in `vm_for`.
    unsafe {
        let log = (*(*r).connection).log;
        match main_state::new_vm(conf::main_conf_of(r), false) {
            Ok(vm) => Some(vm),
            Err(message) => {
                nginx::log_parts(NGX_LOG_ERR, log, &[&message]);
                None
            }
        }
    }
}

unsafe extern "C" fn release(data: *mut std::ffi::c_void) {
    // SAFETY: `data` is what `create` made, and the clean-up runs once.
    unsafe {
        let ctx = data.cast::<Ctx>();
        let log = (*ngx_cycle).log;
        let in_pool = (*ctx).in_pool.get();
        let clean = guard(log, false, || {
            (*ctx).forget_request();
            fault::point("cleanup");
            if !in_pool {
                (*ctx).recycle();
            }
            true
        });
        let idle = &mut *IDLE.get();
        if in_pool {
            guard(log, (), || ptr::drop_in_place(ctx));
        } else if clean {
            (*ctx).next = idle.first;
            idle.first = ctx;
        } else {
            idle.recycled -= 1;
            guard(log, (), || drop(Box::from_raw(ctx)));
        }
    }
}

impl Ctx {
    fn empty() -> Self {
        Ctx {
            r: ptr::null_mut(),
            next: ptr::null_mut(),
            in_pool: Cell::new(false),
            output: Output::new(),
            state: State::default(),
            ready: RefCell::default(),
            batches: Batches::default(),
            body: BodyRead::default(),
            slots: RefCell::default(),
        }
    }

    /// Ends whatever still runs for the request.
    fn forget_request(&self) {
        self.stop_tasks();
        self.drop_ctx_table();
    }

    /// Forgets the request, whose Lua has ended. What is allocated is kept for the next one.
    fn recycle(&mut self) {
        // Each field is named, so that none is forgotten.
        let Ctx { r: _, next: _, in_pool: _, output, state, ready, batches, body, slots } = self;
        *state = State::default();
        output.recycle();
        ready.get_mut().clear();
        batches.recycle();
        body.recycle();
        slots.get_mut().recycle();
    }

    /// The VM that the request's Lua runs in.
    #[inline]
    pub fn vm(&self) -> &Rc<Vm> {
        // A `Ctx` has one from `create` until it is released.
        self.state.vm.as_ref().expect("a context in use has a VM")
    }

    /// Drops the tasks and, with them, whatever they wait for.
    #[inline]
    pub fn stop_tasks(&self) {
        if self.state.family.get().is_some() || self.state.on_abort.get().is_some() {
            self.stop_those_left();
        }
    }

    fn stop_those_left(&self) {
        if let Some(family) = self.state.family.take() {
            tasks::scheduler().end(&mut tasks::Requests, family);
        }
        if let Some(coroutine) = self.state.on_abort.take() {
            self.vm().discard(coroutine);
        }
        if !self.ready.borrow().is_empty() {
            self.ready.borrow_mut().clear();
        }
    }

    pub fn drop_ctx_table(&self) {
        let slot = self.state.ctx_slot.replace(0);
        if slot != 0 {
            // SAFETY: the request is live, or in the last steps of its life.
            unsafe { log_debug!(self.r, "lua release ngx.ctx at ref {slot}") };
            self.vm().free_ctx_slot(slot);
        }
    }

    pub fn log(&self) -> *mut ngx_log_t {
        // SAFETY: a request has a connection, and that a log.
        unsafe { (*(*self.r).connection).log }
    }

    pub fn header_sent(&self) -> bool {
        // SAFETY: the request is live as long as its `Ctx` is in use.
        self.output.header_sent.get() || unsafe { (*self.r).header_sent() != 0 }
    }
}
