//! Lua without a client: a request of the module's own, on no connection, so that coroutines, contexts and waiting work
//! as they do for any other. What makes or sends a response is refused in this phase.

use std::mem;
use std::ptr;

use mlua::ffi as lua;
use nginx_sys::*;

use super::start_with;
use crate::conf::phase::Phase;
use crate::nginx::cell::Worker;
use crate::nginx::{self, Request};
use crate::request::ctx::{self, Ctx};
use crate::run::Outcome;

/// The connection that a request needs, and who wants to know of its end.
#[repr(C)]
struct Connection {
    connection: ngx_connection_t,
    read: ngx_event_t,
    write: ngx_event_t,
    log: ngx_log_t,
    ended: fn(Request),
}

/// Connections whose request has ended. They are never freed, since whoever ended it may look at its connection.
static IDLE: Worker<Vec<*mut Connection>> = Worker::new(Vec::new());

const POOL_SIZE: usize = 1024;

/// Makes a request in the configuration of nginx's first server; null when there is no memory or no server. It lives
/// until its Lua ends, and then calls `ended`, or until [`cancel`].
///
/// # Safety
/// nginx runs on this configuration.
pub unsafe fn create(ended: fn(Request)) -> Request {
    // SAFETY: the caller's promise; every structure is zeroed first, as nginx does it.
    unsafe {
        let Some(conf) = first_server() else { return ptr::null_mut() };
        let connection = (*IDLE.get()).pop().unwrap_or_else(|| {
            let zeroed = Connection {
                connection: mem::zeroed(),
                read: mem::zeroed(),
                write: mem::zeroed(),
                log: mem::zeroed(),
                ended,
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
        c.read = mem::zeroed();
        c.write = mem::zeroed();
        for event in [&mut c.read, &mut c.write] {
            event.data = ptr::from_mut(&mut c.connection).cast();
            event.log = &mut c.log;
        }
        let r = fill(&mut c.connection, conf);
        if r.is_null() {
            discard(connection);
        }
        r
    }
}

unsafe fn fill(c: &mut ngx_connection_t, conf: &ngx_http_conf_ctx_t) -> Request {
    // SAFETY: as above; what is allocated belongs to the connection's pool.
    unsafe {
        c.pool = ngx_create_pool(POOL_SIZE, c.log);
        if c.pool.is_null() {
            return ptr::null_mut();
        }
        let r: Request = nginx::pool_new(c.pool);
        let Some(request) = r.as_mut() else { return ptr::null_mut() };
        let core: &ngx_http_core_main_conf_t =
            nginx::module_conf(conf.main_conf, &*ptr::addr_of!(ngx_http_core_module));
        let variables = size_of::<ngx_http_variable_value_t>() * core.variables.nelts;
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
        request.pool = c.pool;
        request.connection = c;
        request.main = r;
        request.main_conf = conf.main_conf;
        request.srv_conf = conf.srv_conf;
        request.loc_conf = conf.loc_conf;
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
        let core_module = &*ptr::addr_of!(ngx_http_core_module);
        let core: &ngx_http_core_main_conf_t = nginx::module_conf(http.main_conf, core_module);
        let servers = core.servers.as_slice::<*mut ngx_http_core_srv_conf_t>();
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
    push: impl FnOnce(&mut Ctx, *mut lua::lua_State) -> Result<i32, ngx_int_t>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let started = match ctx::get_or_create(r) {
            Some(ctx) => start_with(ctx, Phase::Timer, push).map(|outcome| (ctx, outcome)),
            None => Err(nginx::ERROR),
        };
        match started {
            Ok((ctx, outcome)) => settle(ctx, outcome),
            Err(_) => end(r),
        }
    }
}

/// Goes on after a coroutine was resumed.
///
/// # Safety
/// The request was made by [`create`].
pub unsafe fn settle(ctx: &mut Ctx, outcome: Outcome) {
    match outcome {
        Outcome::Waiting => return,
        Outcome::Returned => ctx.finish_entry(true),
        // `ngx.exit` ends the coroutine, whatever its status.
        Outcome::Failed | Outcome::Ended => ctx.stop_threads(),
    }
    // SAFETY: the caller's promise.
    unsafe { end(ctx.r) }
}

unsafe fn end(r: Request) {
    // SAFETY: the caller's request is on a connection of this file.
    unsafe {
        let connection: *mut Connection = (*r).connection.cast();
        ((*connection).ended)(r);
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
        let pool = mem::replace(&mut (*connection).connection.pool, ptr::null_mut());
        (*connection).connection.data = ptr::null_mut();
        // What nginx looks at before it runs a connection's posted requests.
        (*connection).connection.set_destroyed(1);
        if !pool.is_null() {
            ngx_destroy_pool(pool);
        }
        (*IDLE.get()).push(connection);
    }
}
