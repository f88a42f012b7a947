//! What the function platform's Lua asks of a request: which function it is for, and how it is answered.

use std::ffi::c_int;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::rc::Rc;

use gateway::{Answer, Method, Table};
use nginx_sys::*;

use crate::api::encoding::spacer_pair;
use crate::api::{
    arg, error, spacer_str, with_context, with_request, with_request_in, without_status, FAIL, OK,
    RAISE,
};
use crate::conf::phase::HANDLERS;
use crate::nginx::cell::Worker;
use crate::nginx::{self, Request};
use crate::platform::access;
use crate::platform::conf::{self, LocConf};
use crate::platform::function::new_call;
use crate::platform::function::trace;
use crate::platform::gateway::{Gateway, Kind, Stamp};
use crate::request::ctx::Ctx;
use crate::request::{headers_out, output};

/// The function of a request.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct spacer_route {
    /// 200: call `function`; otherwise the status of the answer that needs none.
    pub status: c_int,
    pub development: bool,
    /// Whether the client sent, or is about to send, a body.
    pub has_body: bool,
    /// 0 for a function; otherwise which of `lua/spacer/endpoints.lua` answers.
    pub endpoint: c_int,
    /// Stands for project, function and pattern together, in this worker; 0 when no number does.
    pub target: f64,
    pub project: spacer_str,
    pub function: spacer_str,
    /// The route as the gateway file writes it, or empty.
    pub pattern: spacer_str,
    /// How many arguments a query and a form may have; 0 for any number.
    pub max_args: f64,
    /// The query, still encoded.
    pub query: spacer_str,
    /// For 204 and 405.
    pub allow: spacer_str,
    pub params: *const spacer_pair,
    pub params_len: usize,
}

/// The table that the current route's strings point into: a reload must not take it away meanwhile.
static TABLE: Worker<Option<Rc<Table>>> = Worker::new(None);
static PARAMS: Worker<Vec<spacer_pair>> = Worker::new(Vec::new());
/// The parameters' values, which have to outlive the decoding of the query.
static VALUES: Worker<Vec<u8>> = Worker::new(Vec::new());

/// Finds the function of the current request. `FAIL` when the gateway file is broken.
#[no_mangle]
pub extern "C" fn spacer_find_route(route: &mut spacer_route) -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live; it got here through a location with an endpoint.
        unsafe {
            let r = ctx.r;
            let conf = conf::loc_conf(r);
            let Some(endpoint) = conf.endpoint.as_ref() else {
                return error(FAIL, format_args!("the location has no function"));
            };
            let headers = &(*r).headers_in;
            route.development = nginx::bytes(conf.env) == b"development";
            route.has_body = headers.content_length_n > 0 || headers.chunked() != 0;
            route.endpoint = 0;
            route.max_args = conf.max_args as f64;
            route.target = 0.0;
            route.query.set(nginx::bytes((*r).args));
            route.project.set(endpoint.project.as_os_str().as_bytes());
            route.function.set(b"");
            route.pattern.set(b"");
            route.allow.set(b"");
            route.params_len = 0;
            route.status = NGX_HTTP_OK as c_int;
            match &endpoint.kind {
                Kind::Function { name, target } => {
                    route.target = *target;
                    route.function.set(name.as_bytes());
                    new_call(ctx).note(name);
                    OK
                }
                Kind::Private => private(ctx, conf, route),
                Kind::Gateway(gateway) => routed(ctx, gateway, route),
                Kind::Append => posted(r, route, ENDPOINT_APPEND, access::to_append(r)),
                Kind::Trigger => posted(r, route, ENDPOINT_TRIGGER, access::to_private(r, conf)),
            }
        }
    })
}

/// The endpoints of `lua/spacer/endpoints.lua`.
pub const ENDPOINT_APPEND: c_int = 1;
pub const ENDPOINT_TRIGGER: c_int = 2;

/// A request for one of the platform's own endpoints, which take `POST` only.
unsafe fn posted(r: Request, route: &mut spacer_route, endpoint: c_int, allowed: bool) -> c_int {
    // SAFETY: the caller's request is live.
    unsafe {
        if !allowed {
            route.status = NGX_HTTP_FORBIDDEN as c_int;
        } else if method(r) != Some(Method::Post) {
            route.status = NGX_HTTP_NOT_ALLOWED as c_int;
            route.allow.set(b"POST");
        }
    }
    route.endpoint = endpoint;
    OK
}

/// Takes the name of the function that the request is for from its body. Gives it back as its file is named.
#[no_mangle]
pub extern "C" fn spacer_name_function(name: *const u8, len: usize, out: &mut spacer_str) -> c_int {
    with_request(|ctx| {
        // SAFETY: Lua's string.
        let name = nginx::NgxStr::from_bytes(unsafe { arg(name, len) }).to_string();
        match gateway::function_name(&name) {
            Ok(function) => {
                let mut call = new_call(ctx);
                call.note(&function);
                out.set(call.function.as_bytes());
                OK
            }
            Err(reason) => error(FAIL, format_args!("function \"{name}\": {reason}")),
        }
    })
}

/// `/private/NAME`: any function, for those who may.
unsafe fn private(ctx: &Ctx, conf: &LocConf, route: &mut spacer_route) -> c_int {
    // SAFETY: the caller's request is live.
    unsafe {
        let r = ctx.r;
        if !access::to_private(r, conf) {
            route.status = NGX_HTTP_FORBIDDEN as c_int;
            return OK;
        }
        let path = nginx::bytes((*r).uri);
        let name = path.strip_prefix(b"/private/").unwrap_or_default();
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let function =
            std::str::from_utf8(name).ok().and_then(|name| gateway::function_name(name).ok());
        match function {
            // Whether there is such a function is seen when it is loaded.
            Some(function) => {
                let mut call = new_call(ctx);
                call.note(&function);
                route.function.set(call.function.as_bytes());
            }
            None => route.status = NGX_HTTP_NOT_FOUND as c_int,
        }
        OK
    }
}

/// A request in one of the gateway's locations.
unsafe fn routed(ctx: &Ctx, gateway: &Gateway, route: &mut spacer_route) -> c_int {
    let (table, targets) = match gateway.table(route.development) {
        Ok(found) => found,
        Err(message) => return error(FAIL, format_args!("{message}")),
    };
    // SAFETY: the caller's request is live; the table is kept until the next route, and so is what points into it.
    unsafe {
        let r = ctx.r;
        let table = &*Rc::as_ptr((*TABLE.get()).insert(table));
        let path = nginx::bytes((*r).uri);
        // An encoded slash is part of a parameter, which only the path as sent can tell.
        let found = if (*r).valid_unparsed_uri() != 0 && (*r).quoted_uri() != 0 {
            table.find_raw(nginx::bytes((*r).unparsed_uri))
        } else {
            table.find(path)
        };
        let Some(found) = found else {
            route.status = NGX_HTTP_NOT_FOUND as c_int;
            return OK;
        };
        route.pattern.set(found.entry.path().as_bytes());
        match found.entry.answer(method(r)) {
            Answer::Call(id) => {
                let name = table.function(id);
                route.target = targets + found.entry.target(id) as f64;
                route.function.set(name.as_bytes());
                new_call(ctx).note(name);
            }
            Answer::Options => {
                route.status = NGX_HTTP_NO_CONTENT as c_int;
                route.allow.set(found.entry.allow().as_bytes());
            }
            Answer::NotAllowed => {
                route.status = NGX_HTTP_NOT_ALLOWED as c_int;
                route.allow.set(found.entry.allow().as_bytes());
            }
        }
        let params = &mut *PARAMS.get();
        params.clear();
        let text = &mut *VALUES.get();
        text.clear();
        // Pointers into it are handed out while it is filled.
        text.reserve(path.len() + (*r).unparsed_uri.len);
        for (name, value) in found.params() {
            let at = text.len();
            text.extend_from_slice(&value);
            let value = spacer_str { data: text.as_ptr().add(at), len: value.len() };
            params.push(spacer_pair {
                key: spacer_str { data: name.as_ptr(), len: name.len() },
                value,
            });
        }
        route.params = params.as_ptr();
        route.params_len = params.len();
        OK
    }
}

unsafe fn method(r: Request) -> Option<Method> {
    // SAFETY: the caller's request is live.
    match unsafe { (*r).method } as u32 {
        NGX_HTTP_GET => Some(Method::Get),
        NGX_HTTP_HEAD => Some(Method::Head),
        NGX_HTTP_POST => Some(Method::Post),
        NGX_HTTP_PUT => Some(Method::Put),
        NGX_HTTP_PATCH => Some(Method::Patch),
        NGX_HTTP_DELETE => Some(Method::Delete),
        NGX_HTTP_OPTIONS => Some(Method::Options),
        _ => None,
    }
}

/// Whether the function has begun a response of its own. Over HTTP/1.0 that is so before the header is sent.
#[no_mangle]
pub extern "C" fn spacer_response_begun() -> bool {
    let begun = with_request(|ctx| (ctx.header_sent() || ctx.output.is_buffering()) as c_int);
    begun == 1
}

/// What a function's answer wraps its value in: `{"data": value}`, or else `{"error": value}`.
pub const ANSWER_DATA: c_int = 0;
#[allow(dead_code)] // Lua's.
pub const ANSWER_ERROR: c_int = 1;

/// Stands for the status that was set, or else 200.
pub const STATUS_SET: c_int = 0;

/// Answers with a status and a value in JSON, wrapped as `kind` says. A null value, and a status that allows no body, make an answer without one. It is
/// sent when the coroutine ends. What was printed before and not yet sent is dropped.
#[no_mangle]
pub extern "C" fn spacer_respond(
    status: c_int,
    kind: c_int,
    value: *const u8,
    len: usize,
) -> c_int {
    with_request_in(HANDLERS, |ctx| {
        // SAFETY: Lua's string, and a live request whose header isn't sent.
        unsafe {
            if ctx.header_sent() {
                return error(FAIL, format_args!("the response was already begun"));
            }
            let out = &mut (*ctx.r).headers_out;
            if status != STATUS_SET {
                out.status = status as ngx_uint_t;
                out.status_line.len = 0;
            } else if out.status == 0 {
                out.status = NGX_HTTP_OK as ngx_uint_t;
            }
            let with_body = output::may_have_body(out.status);
            // The type of a response that is dropped is not that of this one.
            let typed = ctx.state.mime_set.get() && !ctx.output.is_buffering();
            let mut stage = ctx.output.stage();
            stage.clear();
            if with_body && !value.is_null() {
                let head: &[u8] = match kind {
                    ANSWER_DATA => b"{\"data\":",
                    _ => b"{\"error\":",
                };
                stage.extend_from_slice(head);
                stage.extend_from_slice(arg(value, len));
                stage.extend_from_slice(b"}\n");
            }
            let length = stage.len();
            if length > 0 && !typed {
                const JSON: &[u8] = b"application/json";
                out.content_type = nginx::str_of(JSON);
                out.content_type_len = JSON.len();
                out.content_type_lowcase = std::ptr::null_mut();
                ctx.state.mime_set.set(true);
            }
            if let Some(header) = out.content_length.as_mut() {
                header.hash = 0;
                out.content_length = std::ptr::null_mut();
            }
            out.content_length_n = if with_body { length as off_t } else { -1 };
            ctx.state.headers_set.set(true);
            ctx.output.complete.set(true);
        }
        OK
    })
}

/// Adds a header to the platform's own answer.
#[no_mangle]
pub extern "C" fn spacer_respond_allow(data: *const u8, len: usize) -> c_int {
    with_request(|ctx| {
        // SAFETY: Lua's string, and a live request.
        unsafe {
            headers_out::set(ctx, b"Allow", Some(arg(data, len)), false);
        }
        OK
    })
}

/// A number that changes when the file is saved; 0 when it isn't there.
#[no_mangle]
pub extern "C" fn spacer_file_stamp(path: *const u8, len: usize) -> f64 {
    without_status(0.0, || {
        // SAFETY: Lua's string.
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(unsafe { arg(path, len) }));
        Stamp::of(&path).map_or(0.0, |stamp| stamp.number())
    })
}

/// The ids of the current request's trace.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct spacer_trace_ids {
    pub id: spacer_str,
    pub span_id: spacer_str,
    /// Empty for the root of a trace.
    pub parent_span_id: spacer_str,
}

#[no_mangle]
pub extern "C" fn spacer_trace(out: &mut spacer_trace_ids) -> c_int {
    // SAFETY: the request is live, and the ids stay as long as it does.
    with_context(|ctx| unsafe {
        let Some(trace) = trace::of(ctx) else { return error(RAISE, format_args!("no memory")) };
        out.id.set(nginx::bytes(trace.id));
        out.span_id.set(nginx::bytes(trace.span_id));
        out.parent_span_id.set(nginx::bytes(trace.parent_span_id));
        OK
    })
}

/// A function ran out of memory: the VM is given up, and with it this worker.
#[no_mangle]
pub extern "C" fn spacer_out_of_memory() -> c_int {
    with_context(|ctx| {
        // SAFETY: the request is live.
        unsafe { crate::run::restart_worker(ctx.log()) };
        OK
    })
}
