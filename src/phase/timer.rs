//! Lua without a client: a request of the module's own, on a connection that nginx doesn't know, so that tasks, contexts and waiting work
//! as they do for any other. What makes or sends a response is refused in this phase.

use std::ffi::c_void;
use std::io::Write as _;
use std::mem;
use std::ptr;
use std::rc::Rc;

use coro::Outcome;
use mlua::ffi as lua;
use nginx_sys::*;

use super::start_with;
use crate::conf::phase::Phase;
use crate::conf::{core_loc_conf, main_conf_of};
use crate::lua::{Coroutine, Vm};
use crate::nginx::cell::Worker;
use crate::nginx::{self, fault, guard, log_debug_at, Request};
use crate::request::ctx::{self, Ctx};
use crate::request::tasks::{scheduler, Requests};
use crate::run;

/// The connection that a request needs, and who wants to know of its end.
#[repr(C)]
struct Connection {
    connection: ngx_connection_t,
    read: ngx_event_t,
    write: ngx_event_t,
    log: ngx_log_t,
    ended: fn(Request),
    /// An empty pool for the next request, or null.
    spare: *mut ngx_pool_t,
}

/// Connections whose request has ended. They are never freed, since whoever ended it may look at its connection.
static IDLE: Worker<Vec<*mut Connection>> = Worker::new(Vec::new());

/// What a request takes before its Lua runs fits in.
const POOL_SIZE: usize = 4096;

/// How many idle connections keep a pool: timers tend to run one after the other.
const SPARE_POOLS: usize = 64;

/// What a request without a client takes over from another.
#[derive(Clone)]
pub struct Origin {
    main_conf: *mut *mut c_void,
    srv_conf: *mut *mut c_void,
    loc_conf: *mut *mut c_void,
    listening: *mut ngx_listening_t,
    /// The client's address as text, for the log.
    client: Address,
}

/// An address as text; what is longer than any address of the internet is cut.
#[derive(Clone, Copy)]
struct Address {
    len: u8,
    text: [u8; Address::MOST],
}

impl Address {
    const MOST: usize = 46;

    const NONE: Address = Address { len: 0, text: [0; Address::MOST] };

    fn new(text: &[u8]) -> Address {
        let mut address = Address::NONE;
        let len = text.len().min(Address::MOST);
        address.text[..len].copy_from_slice(&text[..len]);
        address.len = len as u8;
        address
    }

    fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }
}

impl Origin {
    /// A request's configuration and client.
    ///
    /// # Safety
    /// `r` is live.
    pub unsafe fn of(r: Request) -> Origin {
        // SAFETY: the caller's promise.
        unsafe {
            Origin {
                main_conf: (*r).main_conf,
                srv_conf: (*r).srv_conf,
                loc_conf: (*r).loc_conf,
                listening: (*(*r).connection).listening,
                client: Address::new(nginx::bytes((*(*r).connection).addr_text)),
            }
        }
    }

    /// The configuration that nginx's first server gives its requests, and no client; `None` when there is no server.
    ///
    /// # Safety
    /// nginx runs on this configuration.
    pub unsafe fn first_server() -> Option<Origin> {
        // SAFETY: the caller's promise.
        let conf = unsafe { first_server() }?;
        Some(Origin {
            main_conf: conf.main_conf,
            srv_conf: conf.srv_conf,
            loc_conf: conf.loc_conf,
            listening: ptr::null_mut(),
            client: Address::NONE,
        })
    }
}

/// Makes a request; null when there is no memory. It lives until its Lua ends, and then calls `ended`, or until [`cancel`].
///
/// # Safety
/// nginx runs on the configuration of `origin`.
pub unsafe fn create(origin: &Origin, ended: fn(Request)) -> Request {
    // SAFETY: the caller's promise; every structure is zeroed first, as nginx does it.
    unsafe {
        let connection = (*IDLE.get()).pop().unwrap_or_else(|| {
            let zeroed = Connection {
                connection: mem::zeroed(),
                read: mem::zeroed(),
                write: mem::zeroed(),
                log: mem::zeroed(),
                ended,
                spare: ptr::null_mut(),
            };
            Box::into_raw(Box::new(zeroed))
        });
        let c = &mut *connection;
        c.ended = ended;
        c.log = ptr::read((*ngx_cycle).log);
        c.connection = mem::zeroed();
        c.connection.fd = -1;
        c.connection.log = &mut c.log;
        c.connection.read = &mut c.read;
        c.connection.write = &mut c.write;
        c.connection.listening = origin.listening;
        c.connection.pool = mem::replace(&mut c.spare, ptr::null_mut());
        c.read = mem::zeroed();
        c.write = mem::zeroed();
        for event in [&mut c.read, &mut c.write] {
            event.data = ptr::from_mut(&mut c.connection).cast();
            event.log = &mut c.log;
        }
        let r = fill(&mut c.connection, origin);
        if r.is_null() {
            discard(connection);
            return r;
        }
        let own = core_loc_conf(r).error_log;
        if let Some(own) = own.as_ref() {
            c.log = ptr::read(own);
        }
        c.log.handler = Some(log_context);
        c.log.data = connection.cast();
        r
    }
}

/// What the log adds to lines of such a request.
unsafe extern "C" fn log_context(log: *mut ngx_log_t, buffer: *mut u8, len: usize) -> *mut u8 {
    // SAFETY: nginx passes a log of this file's, and a buffer of `len` bytes.
    unsafe {
        let connection = &(*(*log).data.cast::<Connection>()).connection;
        let mut rest = std::slice::from_raw_parts_mut(buffer, len);
        // What doesn't fit is cut, as nginx does it.
        let _ = rest.write_all(b", context: ngx.timer");
        if connection.addr_text.len > 0 {
            let _ = rest.write_all(b", client: ");
            let _ = rest.write_all(nginx::bytes(connection.addr_text));
        }
        if let Some(listening) = connection.listening.as_ref().filter(|l| l.addr_text.len > 0) {
            let _ = rest.write_all(b", server: ");
            let _ = rest.write_all(nginx::bytes(listening.addr_text));
        }
        rest.as_mut_ptr()
    }
}

unsafe fn fill(c: &mut ngx_connection_t, origin: &Origin) -> Request {
    // SAFETY: as above; what is allocated belongs to the connection's pool.
    unsafe {
        if c.pool.is_null() {
            c.pool = ngx_create_pool(POOL_SIZE, c.log);
        }
        if c.pool.is_null() {
            return ptr::null_mut();
        }
        let r: Request = nginx::pool_new(c.pool);
        let Some(request) = r.as_mut() else { return ptr::null_mut() };
        let levels = ngx_http_conf_ctx_t {
            main_conf: origin.main_conf,
            srv_conf: origin.srv_conf,
            loc_conf: origin.loc_conf,
        };
        let variables = nginx::core_main_conf(&levels).variables.nelts;
        let variables = size_of::<ngx_http_variable_value_t>() * variables;
        request.ctx =
            ngx_pcalloc(c.pool, size_of::<*mut std::ffi::c_void>() * ngx_http_max_module).cast();
        request.variables = ngx_pcalloc(c.pool, variables.max(1)).cast();
        let element = size_of::<ngx_table_elt_t>();
        let lists = [&mut request.headers_in.headers, &mut request.headers_out.headers];
        let made =
            lists.into_iter().all(|list| ngx_list_init(list, c.pool, 4, element) == nginx::OK);
        if request.ctx.is_null() || request.variables.is_null() || !made {
            return ptr::null_mut();
        }
        c.data = r.cast();
        let client = origin.client.as_bytes();
        if !client.is_empty() {
            let Some(client) = nginx::pool_str(c.pool, client) else {
                return ptr::null_mut();
            };
            c.addr_text = client;
        }
        request.pool = c.pool;
        request.connection = c;
        request.main = r;
        request.main_conf = origin.main_conf;
        request.srv_conf = origin.srv_conf;
        request.loc_conf = origin.loc_conf;
        request.signature = NGX_HTTP_MODULE;
        request.method = NGX_HTTP_UNKNOWN as ngx_uint_t;
        request.headers_in.content_length_n = -1;
        request.headers_in.keep_alive_n = -1;
        request.set_count(1);
        (request.start_sec, request.start_msec) = {
            let (seconds, msec) = nginx::cached_time();
            (seconds as time_t, msec as ngx_msec_t)
        };
        r
    }
}

/// The configuration that nginx's first `server` gives its requests.
unsafe fn first_server<'a>() -> Option<&'a ngx_http_conf_ctx_t> {
    // SAFETY: a cycle that runs has its configurations, each of the module that the index is for.
    unsafe {
        let http = *(*ngx_cycle).conf_ctx.add((*ptr::addr_of!(ngx_http_module)).index);
        let http = (http as *const ngx_http_conf_ctx_t).as_ref()?;
        let servers =
            nginx::core_main_conf(http).servers.as_slice::<*mut ngx_http_core_srv_conf_t>();
        servers.first().and_then(|server| (**server).ctx.as_ref())
    }
}

/// Adds a request header, as a client would send it: `name` is in lower case.
///
/// # Safety
/// The request is live.
pub unsafe fn add_header(r: Request, name: &[u8], value: &[u8]) -> Option<()> {
    // SAFETY: the caller's promise; the strings are copied into the request's pool.
    unsafe {
        let key = nginx::pool_str((*r).pool, name)?;
        let value = nginx::pool_str((*r).pool, value)?;
        let header: *mut ngx_table_elt_t = ngx_list_push(&mut (*r).headers_in.headers).cast();
        let header = header.as_mut()?;
        *header = mem::zeroed();
        header.hash = nginx::hash_key(name);
        header.key = key;
        header.lowcase_key = key.data;
        header.value = value;
        Some(())
    }
}

/// Runs what `push` puts on the stack of a coroutine of the request: a function and as many arguments as it returns.
/// When that has ended, now or later, `ended` is called and the request is gone.
///
/// # Safety
/// The request was made by [`create`], and nothing has run in it.
pub unsafe fn run(
    r: Request,
    push: impl FnOnce(&Ctx, *mut lua::lua_State) -> Result<i32, ngx_int_t>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let vm = main_conf_of(r).vm().cloned();
        let ctx = vm.map(|vm| ctx::create(r, vm)).filter(|ctx| ctx::keep(ctx));
        let started = ctx.map(|ctx| {
            let start = || start_with(ctx, Phase::Timer, push);
            (ctx, guard(ctx.log(), Ok(Outcome::Failed), start))
        });
        match started {
            Some((ctx, Ok(outcome))) => settle(ctx, outcome),
            _ => end(r),
        }
    }
}

/// As [`run`], with a coroutine of a VM that has a function and so many arguments on its stack.
///
/// # Safety
/// As for [`run`].
pub unsafe fn run_coroutine(r: Request, vm: &Rc<Vm>, coroutine: Coroutine, arguments: i32) {
    // SAFETY: the caller's promise.
    unsafe {
        let ctx = ctx::create(r, vm.clone());
        if !ctx::keep(ctx) {
            vm.recycle(coroutine, false);
            return end(r);
        }
        ctx.state.phase.set(Phase::Timer);
        let (family, task) = scheduler().begin(ctx, coroutine);
        ctx.state.family.set(Some(family));
        let outcome = guard(ctx.log(), Outcome::Failed, || {
            let _busy = run::Busy::enter();
            fault::point(Phase::Timer.name());
            scheduler().run(&mut Requests, task, arguments)
        });
        settle(ctx, outcome);
    }
}

/// Goes on after a task was resumed.
///
/// # Safety
/// The request was made by [`create`], and is gone afterwards unless it waits.
pub unsafe fn settle(ctx: &Ctx, outcome: Outcome) {
    if matches!(outcome, Outcome::Waiting | Outcome::Gone) {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe {
        // `ngx.exit` ends the tasks, whatever its status.
        guard(ctx.log(), (), || ctx.stop_tasks());
        end(ctx.r)
    }
}

unsafe fn end(r: Request) {
    // SAFETY: the caller's request is on a connection of this file.
    unsafe {
        let connection: *mut Connection = (*r).connection.cast();
        guard((*ngx_cycle).log, (), || ((*connection).ended)(r));
        discard(connection);
    }
}

/// Ends the request without calling anybody: its coroutine is dropped with what it waits for.
///
/// # Safety
/// The request was made by [`create`] and is live; its Lua is not running.
pub unsafe fn cancel(r: Request) {
    // SAFETY: the caller's promise.
    unsafe { discard((*r).connection.cast()) }
}

unsafe fn discard(connection: *mut Connection) {
    // SAFETY: the connection is this file's; its request's `Ctx` goes with the pool.
    unsafe {
        log_debug_at!((*ngx_cycle).log, "http lua close fake http connection");
        let pool = mem::replace(&mut (*connection).connection.pool, ptr::null_mut());
        (*connection).connection.data = ptr::null_mut();
        // What nginx looks at before it runs a connection's posted requests.
        (*connection).connection.set_destroyed(1);
        if !pool.is_null() {
            let kept = (*IDLE.get()).len() < SPARE_POOLS && empty(pool);
            if kept {
                (*connection).spare = pool;
            } else {
                ngx_destroy_pool(pool);
            }
        }
        (*IDLE.get()).push(connection);
    }
}

/// Does what destroying the pool would, but for freeing it; false when it has grown, and is better destroyed.
unsafe fn empty(pool: *mut ngx_pool_t) -> bool {
    // SAFETY: the caller's pool is live, and nobody uses what is in it but its clean-ups.
    unsafe {
        // Each is taken out before it runs, so that none runs twice.
        while let Some(cleanup) = (*pool).cleanup.as_ref() {
            (*pool).cleanup = cleanup.next;
            if let Some(handler) = cleanup.handler {
                handler(cleanup.data);
            }
        }
        if !(*pool).d.next.is_null() {
            return false;
        }
        ngx_reset_pool(pool);
        true
    }
}
