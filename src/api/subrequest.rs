//! `ngx.location.capture` and `capture_multi`: a batch of subrequests is described, run, and read ([`crate::request::capture`]).

use std::ffi::c_int;
use std::io::Write as _;
use std::task::Poll;

use nginx_sys::*;

use super::headers_out::spacer_header;
use super::{
    arg, error, spacer_str, wait, with_request, with_request_in, HANDLERS, NONE, OK, RAISE,
};
use crate::nginx::cell::Worker;
use crate::nginx::{self, log_debug, log_error};
use crate::request::capture::{issue, SharedTable, Waiting, Wanted};
use crate::request::method::method_name;

#[no_mangle]
pub extern "C" fn spacer_capture_begin() -> c_int {
    with_request_in(HANDLERS, |ctx| {
        ctx.batches.wanted.borrow_mut().clear();
        OK
    })
}

/// Adds a subrequest to the batch that was begun. A null body is none.
#[no_mangle]
pub extern "C" fn spacer_capture_add(
    uri: *const u8,
    uri_len: usize,
    args: *const u8,
    args_len: usize,
    method: c_int,
    body: *const u8,
    body_len: usize,
    forward_body: bool,
    vars_action: c_int,
    ctx_slot: c_int,
) -> c_int {
    with_request(|ctx| {
        let shared = (ctx_slot != 0).then(|| SharedTable::new(ctx.vm(), ctx_slot));
        // SAFETY: Lua's strings, and a live request.
        unsafe {
            let pool = (*ctx.r).pool;
            let no_memory = || error(RAISE, format_args!("no memory"));
            let text = arg(uri, uri_len);
            if method_name(method).is_none() {
                log_error!(NGX_LOG_ERR, ctx.log(), "unsupported HTTP method: {method}");
                return error(RAISE, format_args!("failed to adjust the subrequest: -1"));
            }
            let Some(mut uri) = nginx::pool_str(pool, text) else { return no_memory() };
            let mut query = nginx::NULL_STR;
            let mut flags = 0;
            if uri.len == 0
                || ngx_http_parse_unsafe_uri(ctx.r, &mut uri, &mut query, &mut flags) != nginx::OK
            {
                return error(
                    RAISE,
                    format_args!("unsafe uri in argument #1: {}", nginx::NgxStr::from_bytes(text)),
                );
            }
            let more = arg(args, args_len);
            if !more.is_empty() {
                let joined = if query.len == 0 {
                    nginx::pool_str(pool, more)
                } else {
                    nginx::pool_concat(pool, &[nginx::bytes(query), b"&", more])
                };
                let Some(joined) = joined else { return no_memory() };
                query = joined;
            }
            ctx.batches.wanted.borrow_mut().push(Wanted {
                uri,
                args: query,
                method,
                body: (!body.is_null()).then(|| arg(body, body_len).to_vec()),
                forward_body,
                vars_action,
                vars: Vec::new(),
                ctx: shared,
            });
        }
        OK
    })
}

/// A variable for the subrequest added last.
#[no_mangle]
pub extern "C" fn spacer_capture_var(
    name: *const u8,
    name_len: usize,
    value: *const u8,
    value_len: usize,
) -> c_int {
    with_request(|ctx| {
        if let Some(last) = ctx.batches.wanted.borrow_mut().last_mut() {
            // SAFETY: Lua's strings.
            unsafe {
                last.vars.push((arg(name, name_len).to_vec(), arg(value, value_len).to_vec()))
            };
        }
        OK
    })
}

/// Issues the subrequests that were added and waits for all of their responses, which are read under `batch`.
#[no_mangle]
pub extern "C" fn spacer_capture_run(batch: &mut usize) -> c_int {
    with_request(|ctx| {
        let mut described = std::mem::take(&mut *ctx.batches.wanted.borrow_mut());
        let (number, issued) = ctx.batches.begin(super::current().task);
        let waiting = Waiting(issued);
        // SAFETY: the request is live.
        unsafe {
            log_debug!(
                ctx.r,
                "lua location capture, uri:\"{}\" c:{}",
                nginx::text((*ctx.r).uri),
                (*(*ctx.r).main).count()
            );
            for wanted in described.drain(..) {
                if let Err(message) = issue(ctx, &waiting.0, wanted) {
                    ctx.batches.end(number);
                    return error(RAISE, format_args!("{message}"));
                }
            }
        }
        // Its memory is for the next ones.
        *ctx.batches.wanted.borrow_mut() = described;
        *batch = number;
        wait(Box::pin(std::future::poll_fn(move |_| {
            if waiting.0.is_done() {
                Poll::Ready(OK)
            } else {
                Poll::Pending
            }
        })))
    })
}

/// A response that came back.
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct spacer_response {
    status: c_int,
    truncated: bool,
    body: spacer_str,
    headers: *const spacer_header,
    headers_len: c_int,
}

/// The headers of the response that was asked for last.
static HEADERS: Worker<Vec<spacer_header>> = Worker::new(Vec::new());

/// Reads a response. The caller may look at it until the next boundary call.
#[no_mangle]
pub extern "C" fn spacer_capture_response(
    batch: usize,
    index: usize,
    out: &mut spacer_response,
) -> c_int {
    with_request(|ctx| {
        let Some(batch) = ctx.batches.get(batch) else { return NONE };
        let responses = batch.responses.borrow();
        let Some(response) = responses.get(index) else { return NONE };
        // SAFETY: the subrequest is as alive as its parent; one thread, and the list stays until the next call.
        unsafe {
            let headers = &mut *HEADERS.get();
            headers.clear();
            list_headers(&mut (*response.request).headers_out, headers);
            out.status = response.status as c_int;
            out.truncated = !response.complete && (*response.request).header_only() == 0;
            out.body.set(&response.body);
            out.headers = headers.as_ptr();
            out.headers_len = headers.len() as c_int;
        }
        OK
    })
}

/// A response's headers, with the names as they are; a length that nginx only has as a number is written out.
unsafe fn list_headers(out: &mut ngx_http_headers_out_t, headers: &mut Vec<spacer_header>) {
    // SAFETY: the caller's headers are those of a live request. The room is made before anything points into it.
    unsafe {
        let text = super::scratch();
        text.reserve(96);
        let mut add = |name: &[u8], value: &[u8]| headers.push(spacer_header::new(name, value));
        let mut has_location = false;
        for header in nginx::list_items::<ngx_table_elt_t>(&mut out.headers) {
            if header.hash != 0 {
                has_location |= nginx::bytes(header.key).eq_ignore_ascii_case(b"location");
                add(nginx::bytes(header.key), nginx::bytes(header.value));
            }
        }
        if out.content_type.len > 0 {
            add(b"Content-Type", nginx::bytes(out.content_type));
        }
        if out.content_length.is_null() && out.content_length_n >= 0 {
            let at = text.len();
            let _ = write!(text, "{}", out.content_length_n);
            add(b"Content-Length", &text[at..]);
        }
        if let Some(location) = out.location.as_ref().filter(|l| l.value.len > 0 && !has_location) {
            add(b"Location", nginx::bytes(location.value));
        }
        let dated = matches!(
            out.status as u32,
            NGX_HTTP_OK | NGX_HTTP_PARTIAL_CONTENT | NGX_HTTP_NOT_MODIFIED | NGX_HTTP_NO_CONTENT
        );
        if out.last_modified.is_null() && out.last_modified_time != -1 && dated {
            let at = text.len();
            text.resize(at + 40, 0);
            let end = ngx_http_time(text.as_mut_ptr().add(at), out.last_modified_time);
            let len = end.offset_from(text.as_ptr().add(at)) as usize;
            add(b"Last-Modified", &text[at..at + len]);
        }
    }
}

/// Forgets the batch whose responses have been read.
#[no_mangle]
pub extern "C" fn spacer_capture_end(batch: usize) {
    with_request(|ctx| {
        ctx.batches.end(batch);
        OK
    });
}
