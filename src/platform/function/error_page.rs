//! nginx's own error pages in the platform's locations, such as that for a body over `client_max_body_size`: a client
//! of functions gets `{"error": ...}` rather than HTML. An `error_page` of the user's has precedence, since it leads
//! out of the location.

use std::io::Write as _;

use nginx_sys::*;

use super::{new_call, Call};
use crate::nginx::cell::Worker;
use crate::nginx::{self, guard, Request};
use crate::platform::conf;
use crate::request::ctx::{self, Ctx};

/// What becomes of the body that nginx sends.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorPage {
    #[default]
    None,
    /// The header announced JSON instead.
    Announced,
    Sent,
}

const TEXTS: [(u32, &str); 14] = [
    (NGX_HTTP_BAD_REQUEST, "bad request"),
    (NGX_HTTP_UNAUTHORIZED, "unauthorized"),
    (NGX_HTTP_FORBIDDEN, "forbidden"),
    (NGX_HTTP_NOT_FOUND, "not found"),
    (NGX_HTTP_NOT_ALLOWED, "method not allowed"),
    (NGX_HTTP_REQUEST_TIME_OUT, "request timeout"),
    (NGX_HTTP_CONFLICT, "conflict"),
    (NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, "the body is larger than client_max_body_size"),
    (NGX_HTTP_TOO_MANY_REQUESTS, "too many requests"),
    (NGX_HTTP_INTERNAL_SERVER_ERROR, "Internal Server Error"),
    (NGX_HTTP_BAD_GATEWAY, "bad gateway"),
    (NGX_HTTP_SERVICE_UNAVAILABLE, "service unavailable"),
    (NGX_HTTP_GATEWAY_TIME_OUT, "gateway timeout"),
    (NGX_HTTP_INSUFFICIENT_STORAGE, "insufficient storage"),
];

fn write(status: ngx_uint_t, out: &mut Vec<u8>) {
    let text = TEXTS.iter().find(|(code, _)| *code as ngx_uint_t == status).map(|(_, text)| *text);
    // Writing to a vector can't fail.
    let _ = match text {
        Some(text) => writeln!(out, "{{\"error\":\"{text}\"}}"),
        None => writeln!(out, "{{\"error\":\"status {status}\"}}"),
    };
}

static NEXT_HEADER: Worker<ngx_http_output_header_filter_pt> = Worker::new(None);
static NEXT_BODY: Worker<ngx_http_output_body_filter_pt> = Worker::new(None);

/// Puts the filters at the head of nginx's chains.
///
/// # Safety
/// Called at the end of the configuration.
pub unsafe fn install() {
    // SAFETY: the chains' heads are nginx's globals, only changed at configuration time.
    unsafe {
        *NEXT_HEADER.get() = ngx_http_top_header_filter;
        ngx_http_top_header_filter = Some(header_filter);
        *NEXT_BODY.get() = ngx_http_top_body_filter;
        ngx_http_top_body_filter = Some(body_filter);
    }
}

unsafe extern "C" fn header_filter(r: Request) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request; `install` has set the next filter.
    unsafe {
        guard((*(*r).connection).log, (), || header(r));
        (*NEXT_HEADER.get()).map_or(nginx::OK, |next| next(r))
    }
}

unsafe extern "C" fn body_filter(r: Request, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: as above.
    unsafe {
        let chain = guard((*(*r).connection).log, chain, || match ctx::get(r) {
            Some(ctx) => body(ctx, chain),
            None => chain,
        });
        (*NEXT_BODY.get()).map_or(nginx::OK, |next| next(r, chain))
    }
}

/// Before a response's header is sent: makes it that of a JSON answer when it is nginx's own.
///
/// # Safety
/// The request is live.
unsafe fn header(r: Request) {
    // SAFETY: the caller's promise.
    unsafe {
        let status = (*r).headers_out.status;
        if status < NGX_HTTP_BAD_REQUEST as ngx_uint_t || conf::loc_conf(r).endpoint.is_null() {
            return;
        }
        let Some(ctx) = ctx::get_or_create(r) else { return };
        if ctx.output.is_ours() {
            return;
        }
        const JSON: &[u8] = b"application/json";
        new_call(ctx).error_page = ErrorPage::Announced;
        let mut text = ctx.output.stage();
        text.clear();
        write(status, &mut text);
        let out = &mut (*r).headers_out;
        out.content_length_n = text.len() as off_t;
        out.content_type = nginx::str_of(JSON);
        out.content_type_len = JSON.len();
        out.content_type_lowcase = std::ptr::null_mut();
    }
}

/// What is sent in place of `chain`, the page that nginx has written.
///
/// # Safety
/// The request is live.
unsafe fn body(ctx: &Ctx, chain: *mut ngx_chain_t) -> *mut ngx_chain_t {
    let announced = |call: &mut Call| call.error_page == ErrorPage::Announced;
    if chain.is_null() || !ctx.slots.borrow_mut().find().is_some_and(announced) {
        return chain;
    }
    // SAFETY: the caller's promise; what is sent lives in the request's pool.
    unsafe {
        let pool = (*ctx.r).pool;
        let link = ngx_alloc_chain_link(pool);
        let buffer: *mut ngx_buf_t = nginx::pool_new(pool);
        let text = nginx::pool_str(pool, &ctx.output.stage());
        let (Some(link), Some(buffer), Some(text)) = (link.as_mut(), buffer.as_mut(), text) else {
            return chain;
        };
        ctx.output.stage().clear();
        new_call(ctx).error_page = ErrorPage::Sent;
        buffer.pos = text.data;
        buffer.last = text.data.add(text.len);
        buffer.set_memory(1);
        buffer.set_last_buf((ctx.r == (*ctx.r).main) as _);
        buffer.set_last_in_chain(1);
        link.buf = buffer;
        link.next = std::ptr::null_mut();
        link
    }
}
