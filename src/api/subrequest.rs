//! `ngx.location.capture` and `capture_multi`: subrequests whose responses come back to Lua.
//!
//! They are nginx's background subrequests, which run beside the parent's output rather than in its order; two
//! filters keep the response from going further, and the end of the last one resumes the coroutine.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::rc::Rc;
use std::task::Poll;

use nginx_sys::*;

use super::headers_out::spacer_header;
use super::request::method_name;
use super::request_body::body_chain;
use super::var::{self, Refused};
use super::{
    arg, error, headers_in, spacer_str, wait, with_request, with_request_in, HANDLERS, NONE, OK,
    RAISE,
};
use crate::ctx::{self, Ctx};
use crate::ngx::{self, log_debug, log_error, Request};
use crate::sched::{self, Thread};

/// Which of the parent's variables a subrequest sees.
const SHARE_VARS: c_int = 1;
const COPY_VARS: c_int = 2;

/// A subrequest as Lua described it.
struct Wanted {
    uri: ngx_str_t,
    args: ngx_str_t,
    method: c_int,
    body: Option<Vec<u8>>,
    forward_body: bool,
    vars_action: c_int,
    vars: Vec<(Vec<u8>, Vec<u8>)>,
    ctx_slot: c_int,
}

/// What came back.
struct Response {
    request: Request,
    status: ngx_uint_t,
    body: Vec<u8>,
    /// The end of the body was seen.
    complete: bool,
    done: bool,
}

/// The subrequests that one call waits for.
pub struct Batch {
    wanted: Vec<Wanted>,
    responses: Vec<Response>,
    pending: usize,
    /// Who waits; null once it is gone.
    thread: *mut Thread,
}

/// One subrequest's part in its batch; what its `post_subrequest` points at.
struct Capture {
    batch: Rc<RefCell<Batch>>,
    index: usize,
}

#[no_mangle]
pub extern "C" fn spacer_capture_begin() -> c_int {
    with_request_in(HANDLERS, |ctx| {
        // SAFETY: the request is live.
        unsafe {
            #[cfg(ngx_feature = "http_v2")]
            if !(*(*ctx.r).main).stream.is_null() {
                return error(RAISE, format_args!("http2 requests not supported yet"));
            }
        }
        ctx.batch = Some(Rc::new(RefCell::new(Batch {
            wanted: Vec::new(),
            responses: Vec::new(),
            pending: 0,
            thread: ptr::null_mut(),
        })));
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
        // SAFETY: Lua's strings, and a live request.
        unsafe {
            let pool = (*ctx.r).pool;
            let no_memory = || error(RAISE, format_args!("no memory"));
            let text = arg(uri, uri_len);
            if method_name(method).is_none() {
                log_error!(NGX_LOG_ERR, ctx.log(), "unsupported HTTP method: {method}");
                return error(RAISE, format_args!("failed to adjust the subrequest: -1"));
            }
            let Some(mut uri) = ngx::pool_str(pool, text) else { return no_memory() };
            let mut query = ngx::NULL_STR;
            let mut flags = 0;
            if uri.len == 0
                || ngx_http_parse_unsafe_uri(ctx.r, &mut uri, &mut query, &mut flags) != ngx::OK
            {
                return error(
                    RAISE,
                    format_args!("unsafe uri in argument #1: {}", ngx::Text(text)),
                );
            }
            let more = arg(args, args_len);
            if !more.is_empty() {
                let joined = if query.len == 0 {
                    ngx::pool_str(pool, more)
                } else {
                    ngx::pool_concat(pool, &[ngx::bytes(query), b"&", more])
                };
                let Some(joined) = joined else { return no_memory() };
                query = joined;
            }
            let Some(batch) = &ctx.batch else { return NONE };
            batch.borrow_mut().wanted.push(Wanted {
                uri,
                args: query,
                method,
                body: (!body.is_null()).then(|| arg(body, body_len).to_vec()),
                forward_body,
                vars_action,
                vars: Vec::new(),
                ctx_slot,
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
        let Some(batch) = &ctx.batch else { return NONE };
        if let Some(last) = batch.borrow_mut().wanted.last_mut() {
            // SAFETY: Lua's strings.
            unsafe {
                last.vars.push((arg(name, name_len).to_vec(), arg(value, value_len).to_vec()))
            };
        }
        OK
    })
}

/// Issues the batch and waits for all of its responses.
#[no_mangle]
pub extern "C" fn spacer_capture_run() -> c_int {
    with_request(|ctx| {
        let Some(batch) = ctx.batch.clone() else { return NONE };
        let wanted = std::mem::take(&mut batch.borrow_mut().wanted);
        // SAFETY: the request is live.
        unsafe {
            log_debug!(
                ctx.r,
                "lua location capture, uri:\"{}\" c:{}",
                ngx::text((*ctx.r).uri),
                (*(*ctx.r).main).count()
            );
            for wanted in &wanted {
                let status = issue(ctx, &batch, wanted);
                if status != OK {
                    return status;
                }
            }
            batch.borrow_mut().thread = super::current().thread;
        }
        let guard = Waiting(batch);
        wait(Box::pin(std::future::poll_fn(move |_| {
            if guard.0.borrow().pending == 0 {
                Poll::Ready(OK)
            } else {
                Poll::Pending
            }
        })))
    })
}

/// The waiting end of a batch: when it is dropped nobody is woken any more.
struct Waiting(Rc<RefCell<Batch>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.borrow_mut().thread = ptr::null_mut();
    }
}

/// Makes the subrequest and posts it.
unsafe fn issue(ctx: &mut Ctx, batch: &Rc<RefCell<Batch>>, wanted: &Wanted) -> c_int {
    // SAFETY: the request is live; what the subrequest keeps is in its pool, and the capture lives as long as that.
    unsafe {
        let r = ctx.r;
        let pool = (*r).pool;
        let index = batch.borrow().responses.len();
        let capture = ngx::pool_box(pool, Capture { batch: batch.clone(), index });
        let post: *mut ngx_http_post_subrequest_t = ngx::pool_new(pool);
        if capture.is_null() || post.is_null() {
            return error(RAISE, format_args!("no memory"));
        }
        (*post).handler = Some(finished);
        (*post).data = capture.cast();
        if (*r).subrequests() == 0 {
            log_error!(
                NGX_LOG_ERR,
                ctx.log(),
                "lua subrequests cycle while processing \"{}\"",
                ngx::text(wanted.uri)
            );
            return error(RAISE, format_args!("failed to issue subrequest: -1"));
        }
        let (mut uri, mut args) = (wanted.uri, wanted.args);
        let mut sr: Request = ptr::null_mut();
        let rc = ngx_http_subrequest(
            r,
            &mut uri,
            &mut args,
            &mut sr,
            post,
            NGX_HTTP_SUBREQUEST_BACKGROUND as ngx_uint_t,
        );
        if rc != ngx::OK {
            return error(RAISE, format_args!("failed to issue subrequest: {rc}"));
        }
        log_debug!(r, "lua http subrequest \"{}?{}\"", ngx::text(uri), ngx::text(args));
        if adjust(sr, wanted).is_none() {
            // The subrequest is posted already: it is answered at once, and its response is ignored.
            (*sr).write_event_handler = Some(cancelled);
            return error(RAISE, format_args!("failed to adjust the subrequest: -1"));
        }
        if wanted.ctx_slot != 0 {
            if let Some(sr_ctx) = ctx::get_or_create(sr) {
                sr_ctx.ctx_slot = wanted.ctx_slot;
            }
        }
        let mut batch = batch.borrow_mut();
        batch.responses.push(Response {
            request: sr,
            status: 0,
            body: Vec::new(),
            complete: false,
            done: false,
        });
        batch.pending += 1;
        ctx.pending_subrequests += 1;
        OK
    }
}

unsafe extern "C" fn cancelled(sr: Request) {
    // SAFETY: nginx runs a posted subrequest.
    unsafe { ngx_http_finalize_request(sr, ngx::OK) }
}

/// Gives the subrequest its method, headers, body and variables.
unsafe fn adjust(sr: Request, wanted: &Wanted) -> Option<()> {
    // SAFETY: the subrequest and its parent are live and share a pool.
    unsafe {
        let r = (*sr).parent;
        let pool = (*sr).pool;
        (*sr).header_in = (*r).header_in;
        let keeps_body = wanted.forward_body
            || wanted.method == NGX_HTTP_PUT as c_int
            || wanted.method == NGX_HTTP_POST as c_int
            || (*r).headers_in.content_length_n <= 0;
        if let Some(data) = &wanted.body {
            let body: *mut ngx_http_request_body_t = ngx::pool_new(pool);
            if body.is_null() {
                return None;
            }
            if !data.is_empty() {
                let link = body_chain(pool, data)?;
                (*body).bufs = link;
                (*body).buf = (*link).buf;
            }
            (*sr).request_body = body;
        } else if !keeps_body {
            (*sr).request_body = ptr::null_mut();
        } else if let Some(body) =
            (*sr).request_body.as_ref().filter(|body| !body.temp_file.is_null())
        {
            copy_file_body(sr, body)?;
        }
        copy_headers(sr, r)?;
        let name = method_name(wanted.method)?;
        (*sr).method = wanted.method as ngx_uint_t;
        // nginx reads the space behind a method's name.
        let text = ngx::pool_concat(pool, &[name, b" "])?;
        (*sr).method_name = ngx_str_t { len: name.len(), data: text.data };

        if wanted.vars_action != SHARE_VARS {
            let core: &ngx_http_core_main_conf_t =
                ngx::module_conf((*sr).main_conf, &*ptr::addr_of!(ngx_http_core_module));
            let n = core.variables.nelts;
            let variables: *mut ngx_http_variable_value_t =
                ngx_pcalloc(pool, n * size_of::<ngx_http_variable_value_t>()).cast();
            if variables.is_null() {
                return None;
            }
            if wanted.vars_action == COPY_VARS {
                ptr::copy_nonoverlapping((*r).variables, variables, n);
            }
            (*sr).variables = variables;
        }
        for (name, value) in &wanted.vars {
            if let Err(refused) = var::assign(sr, name, Some(value)) {
                let name = ngx::Text(name);
                let log = (*(*sr).connection).log;
                if let Refused::NotChangeable = refused {
                    log_error!(NGX_LOG_ERR, log, "variable \"{name}\" not changeable");
                } else {
                    log_error!(
                        NGX_LOG_ERR,
                        log,
                        "variable \"{name}\" cannot be assigned a value (maybe you forgot to define it first?) "
                    );
                }
                return None;
            }
        }
        Some(())
    }
}

/// A body in a file is shared, but each request has its own place in it.
unsafe fn copy_file_body(sr: Request, body: &ngx_http_request_body_t) -> Option<()> {
    // SAFETY: the subrequest is live, and `body` is its parent's.
    unsafe {
        let copy: *mut ngx_http_request_body_t = ngx::pool_new((*sr).pool);
        let file: *mut ngx_temp_file_t = ngx::pool_new((*sr).pool);
        if copy.is_null() || file.is_null() {
            return None;
        }
        *copy = *body;
        *file = *body.temp_file;
        (*copy).temp_file = file;
        (*sr).request_body = copy;
        Some(())
    }
}

/// The parent's headers, in a list of the subrequest's own, with the length of its own body. What nginx has noted of
/// the parent's headers stays noted.
unsafe fn copy_headers(sr: Request, r: Request) -> Option<()> {
    // SAFETY: both requests are live and share a pool. The list is made afresh, so that changing one request's leaves
    // the other's.
    unsafe {
        let n: usize = ngx::list_parts::<ngx_table_elt_t>(&mut (*r).headers_in.headers)
            .map(|part| part.len())
            .sum();
        let room = n + 1;
        let elements: *mut ngx_table_elt_t =
            ngx_palloc((*sr).pool, room * size_of::<ngx_table_elt_t>()).cast();
        if elements.is_null() {
            return None;
        }
        let mut kept = 0;
        for header in ngx::list_items::<ngx_table_elt_t>(&mut (*r).headers_in.headers) {
            let name = ngx::bytes(header.key);
            let about_body = name.eq_ignore_ascii_case(b"content-length")
                || name.eq_ignore_ascii_case(b"transfer-encoding");
            if !about_body {
                elements.add(kept).write(*header);
                kept += 1;
            }
        }
        let headers = &mut (*sr).headers_in;
        let list = &mut headers.headers;
        list.part.elts = elements.cast();
        list.part.nelts = kept;
        list.part.next = ptr::null_mut();
        list.last = &mut list.part;
        list.size = size_of::<ngx_table_elt_t>();
        list.nalloc = room;
        list.pool = (*sr).pool;
        headers.content_length = ptr::null_mut();
        headers.content_length_n = -1;
        headers.transfer_encoding = ptr::null_mut();
        headers.set_chunked(0);
        if !(*sr).request_body.is_null() {
            let length = body_length(sr).to_string();
            headers_in::set(sr, b"Content-Length", Some(length.as_bytes()), true)?;
        }
        Some(())
    }
}

unsafe fn body_length(sr: Request) -> i64 {
    // SAFETY: the caller's subrequest has a body.
    unsafe {
        let mut length = 0;
        let mut link = (*(*sr).request_body).bufs;
        while !link.is_null() {
            let buffer = &*(*link).buf;
            length += if buffer.in_file() != 0 {
                buffer.file_last - buffer.file_pos
            } else {
                buffer.last.offset_from(buffer.pos) as i64
            };
            link = (*link).next;
        }
        length
    }
}

/// The capture that a subrequest belongs to.
unsafe fn capture_of<'a>(r: Request) -> Option<&'a Capture> {
    // SAFETY: the caller's request is live; `data` is what `issue` put beside the handler.
    unsafe {
        if (*r).main == r {
            return None;
        }
        let post = (*r).post_subrequest.as_ref()?;
        let handler: ngx_http_post_subrequest_pt = Some(finished);
        if post.handler.map(|f| f as usize) != handler.map(|f| f as usize) {
            return None;
        }
        post.data.cast::<Capture>().as_ref()
    }
}

/// The header filter's part: true when the header goes no further.
///
/// # Safety
/// `r` is live.
pub unsafe fn capture_header(r: Request) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        if capture_of(r).is_none() {
            return false;
        }
        (*r).set_filter_need_in_memory(1);
        (*r).set_header_sent(1);
        if (*r).method == NGX_HTTP_HEAD as ngx_uint_t {
            (*r).set_header_only(1);
        }
        true
    }
}

/// The body filter's part: a status when the body goes no further.
///
/// # Safety
/// `r` is live, and `chain` its output.
pub unsafe fn capture_body(r: Request, chain: *mut ngx_chain_t) -> Option<ngx_int_t> {
    // SAFETY: the caller's promise; the buffers are in memory, as the header filter asked.
    unsafe {
        let capture = capture_of(r)?;
        let mut batch = capture.batch.borrow_mut();
        let response = &mut batch.responses[capture.index];
        let mut link = chain;
        while !link.is_null() {
            let buffer = &mut *(*link).buf;
            if !response.done
                && (buffer.temporary() != 0 || buffer.memory() != 0 || buffer.mmap() != 0)
            {
                let len = buffer.last.offset_from(buffer.pos) as usize;
                response.body.extend_from_slice(ngx::raw_bytes(buffer.pos, len));
            }
            if buffer.last_buf() != 0 || buffer.last_in_chain() != 0 {
                response.complete = true;
            }
            buffer.pos = buffer.last;
            buffer.file_pos = buffer.file_last;
            link = (*link).next;
        }
        Some(ngx::OK)
    }
}

/// nginx is done with the subrequest: notes its status, and goes on with the parent after the last one.
unsafe extern "C" fn finished(sr: Request, data: *mut c_void, rc: ngx_int_t) -> ngx_int_t {
    // SAFETY: `data` is what `issue` put there; the parent is held by its subrequests.
    unsafe {
        let capture = &*data.cast::<Capture>();
        let mut batch = capture.batch.borrow_mut();
        let Some(response) = batch.responses.get_mut(capture.index) else {
            // It was cancelled before it ran.
            return ngx::OK;
        };
        if response.done {
            return ngx::OK;
        }
        response.done = true;
        log_debug!(sr, "lua run post subrequest handler, rc:{rc} c:{}", (*(*sr).main).count());
        response.status = (*sr).headers_out.status;
        if response.status == 0 {
            response.status = match rc {
                ngx::OK => NGX_HTTP_OK as ngx_uint_t,
                ngx::ERROR => NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_uint_t,
                rc if rc >= 100 => rc as ngx_uint_t,
                _ => 0,
            };
        }
        batch.pending -= 1;
        if let Some(ctx) = ctx::get((*sr).parent) {
            ctx.pending_subrequests = ctx.pending_subrequests.saturating_sub(1);
        }
        let thread = batch.thread;
        if batch.pending == 0 && !thread.is_null() {
            drop(batch);
            sched::defer(thread);
        }
        let is_page = rc == ngx::ERROR
            || rc == NGX_HTTP_CREATED as ngx_int_t
            || rc == NGX_HTTP_NO_CONTENT as ngx_int_t
            || (rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t && !crate::phase::is_abort(rc));
        if is_page {
            // The status is Lua's; no error page is made for it.
            return ngx::OK;
        }
        rc
    }
}

fn with_response(index: usize, f: impl FnOnce(&mut Response) -> c_int) -> c_int {
    with_request(|ctx| {
        let Some(batch) = ctx.batch.clone() else { return NONE };
        let mut batch = batch.borrow_mut();
        batch.responses.get_mut(index).map_or(NONE, f)
    })
}

/// The status of a response; negative when its body was cut short.
#[no_mangle]
pub extern "C" fn spacer_capture_status(index: usize) -> c_int {
    with_response(index, |response| {
        let status = response.status as c_int;
        // SAFETY: the subrequest is as alive as its parent.
        let header_only = unsafe { (*response.request).header_only() } != 0;
        if response.complete || header_only {
            status
        } else {
            -status - 1000
        }
    })
}

#[no_mangle]
pub extern "C" fn spacer_capture_body(index: usize, out: &mut spacer_str) -> c_int {
    with_response(index, |response| {
        out.set(&response.body);
        OK
    })
}

/// How many headers a response has at most.
#[no_mangle]
pub extern "C" fn spacer_capture_count_headers(index: usize) -> c_int {
    with_response(index, |response| {
        // SAFETY: the subrequest is as alive as its parent.
        let n: usize = unsafe {
            ngx::list_parts::<ngx_table_elt_t>(&mut (*response.request).headers_out.headers)
                .map(|p| p.len())
                .sum()
        };
        n as c_int + 4
    })
}

/// A response's headers, with the names as they are; a length that nginx only has as a number is written out.
#[no_mangle]
pub extern "C" fn spacer_capture_headers(
    index: usize,
    headers: *mut spacer_header,
    max: usize,
) -> c_int {
    with_response(index, |response| {
        // SAFETY: Lua's array of `max` elements; the subrequest is as alive as its parent.
        unsafe {
            let out = &mut (*response.request).headers_out;
            let text = super::scratch();
            text.reserve(96);
            let mut n = 0;
            let mut add = |name: &[u8], value: &[u8]| {
                if n < max {
                    (*headers.add(n)).name.set(name);
                    (*headers.add(n)).value.set(value);
                    n += 1;
                }
            };
            let mut has_location = false;
            for header in ngx::list_items::<ngx_table_elt_t>(&mut out.headers) {
                if header.hash != 0 {
                    has_location |= ngx::bytes(header.key).eq_ignore_ascii_case(b"location");
                    add(ngx::bytes(header.key), ngx::bytes(header.value));
                }
            }
            if out.content_type.len > 0 {
                add(b"Content-Type", ngx::bytes(out.content_type));
            }
            if out.content_length.is_null() && out.content_length_n >= 0 {
                let at = text.len();
                text.extend_from_slice(out.content_length_n.to_string().as_bytes());
                add(b"Content-Length", &text[at..]);
            }
            if let Some(location) =
                out.location.as_ref().filter(|l| l.value.len > 0 && !has_location)
            {
                add(b"Location", ngx::bytes(location.value));
            }
            let dated = matches!(
                out.status as u32,
                NGX_HTTP_OK
                    | NGX_HTTP_PARTIAL_CONTENT
                    | NGX_HTTP_NOT_MODIFIED
                    | NGX_HTTP_NO_CONTENT
            );
            if out.last_modified.is_null() && out.last_modified_time != -1 && dated {
                let at = text.len();
                text.resize(at + 40, 0);
                let end = ngx_http_time(text.as_mut_ptr().add(at), out.last_modified_time);
                let len = end.offset_from(text.as_ptr().add(at)) as usize;
                add(b"Last-Modified", &text[at..at + len]);
            }
            n as c_int
        }
    })
}

/// Forgets the batch whose responses have been read.
#[no_mangle]
pub extern "C" fn spacer_capture_end() {
    with_request(|ctx| {
        ctx.batch = None;
        OK
    });
}
