//! Subrequests whose responses come back to Lua.
//!
//! They are nginx's background subrequests, which run beside the parent's output rather than in its order. The module's
//! two filters keep a response from going further, and the end of the last subrequest of a batch resumes the coroutine
//! that waits for it.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::rc::Rc;

use coro::TaskId;
use nginx_sys::*;

use super::body;
use super::body_build::body_chain;
use super::ctx::{self, Ctx};
use super::headers_in;
use super::method::method_name;
use super::status::is_abort;
use super::var::{self, Refused};
use crate::lua::Vm;
use crate::nginx::{self, fault, guard, log_debug, log_error, Request};

/// Which of the parent's variables a subrequest sees, other than none: Lua asks for them by these numbers.
pub const SHARE_VARS: c_int = 1;
pub const COPY_VARS: c_int = 2;

/// The number of a table that becomes a subrequest's `ngx.ctx`; freed unless a subrequest takes it.
pub struct SharedTable {
    vm: Rc<Vm>,
    slot: c_int,
}

impl SharedTable {
    pub fn new(vm: &Rc<Vm>, slot: c_int) -> SharedTable {
        SharedTable { vm: vm.clone(), slot }
    }
}

impl Drop for SharedTable {
    fn drop(&mut self) {
        if self.slot != 0 {
            self.vm.free_ctx_slot(self.slot);
        }
    }
}

/// A subrequest as Lua described it.
pub struct Wanted {
    pub uri: ngx_str_t,
    pub args: ngx_str_t,
    pub method: c_int,
    pub body: Option<Vec<u8>>,
    pub forward_body: bool,
    pub vars_action: c_int,
    pub vars: Vec<(Vec<u8>, Vec<u8>)>,
    pub ctx: Option<SharedTable>,
}

/// What came back.
pub struct Response {
    pub request: Request,
    pub status: ngx_uint_t,
    pub body: Vec<u8>,
    /// The end of the body was seen.
    pub complete: bool,
    pub done: bool,
}

/// The subrequests that one call waits for.
#[derive(Default)]
pub struct Batch {
    pub responses: RefCell<Vec<Response>>,
    pending: Cell<usize>,
    /// Who waits; none once it is gone.
    task: Cell<Option<TaskId>>,
}

impl Batch {
    pub fn is_done(&self) -> bool {
        self.pending.get() == 0
    }
}

/// The batches of a request.
#[derive(Default)]
pub struct Batches {
    /// The subrequests that are being described. That isn't interrupted, so there is one list of them.
    pub wanted: RefCell<Vec<Wanted>>,
    /// Those that were issued, by the number that Lua reads their responses under.
    issued: RefCell<Vec<Option<Rc<Batch>>>>,
    /// How many subrequests are under way.
    pending: Cell<usize>,
}

impl Batches {
    pub fn recycle(&mut self) {
        self.wanted.get_mut().clear();
        self.issued.get_mut().clear();
        self.pending.set(0);
    }

    /// Whether subrequests are under way.
    pub fn are_pending(&self) -> bool {
        self.pending.get() > 0
    }

    /// Whether the task waits for subrequests.
    pub fn has_task(&self, task: TaskId) -> bool {
        let issued = self.issued.borrow();
        let mut batches = issued.iter().flatten();
        batches.any(|batch| !batch.is_done() && batch.task.get() == Some(task))
    }

    /// A batch that `task` will wait for, and its number.
    pub fn begin(&self, task: Option<TaskId>) -> (usize, Rc<Batch>) {
        let batch = Rc::new(Batch { task: Cell::new(task), ..Batch::default() });
        let mut issued = self.issued.borrow_mut();
        let free = issued.iter().position(Option::is_none);
        let number = free.unwrap_or_else(|| {
            issued.push(None);
            issued.len() - 1
        });
        issued[number] = Some(batch.clone());
        (number, batch)
    }

    pub fn get(&self, number: usize) -> Option<Rc<Batch>> {
        self.issued.borrow().get(number)?.clone()
    }

    /// Forgets a batch whose responses have been read.
    pub fn end(&self, number: usize) {
        let batch = self.issued.borrow_mut().get_mut(number).and_then(Option::take);
        // The subrequests refer to the batch until the request ends.
        for response in batch.iter().flat_map(|batch| batch.responses.take()) {
            drop(response.body);
        }
    }
}

/// The waiting end of a batch: when it is dropped nobody is woken any more, and what hasn't been read is forgotten with the request.
pub struct Waiting(pub Rc<Batch>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.task.set(None);
    }
}

/// One subrequest's part in its batch; what its `post_subrequest` points at.
struct Capture {
    batch: Rc<Batch>,
    index: usize,
}

/// Makes the subrequest and posts it. The error is what Lua raises.
///
/// # Safety
/// The request is live.
pub unsafe fn issue(ctx: &Ctx, batch: &Rc<Batch>, mut wanted: Wanted) -> Result<(), String> {
    // SAFETY: the request is live; what the subrequest keeps is in its pool, and the capture lives as long as that.
    unsafe {
        let r = ctx.r;
        let pool = (*r).pool;
        let index = batch.responses.borrow().len();
        let capture = nginx::pool_box(pool, Capture { batch: batch.clone(), index });
        let post: *mut ngx_http_post_subrequest_t = nginx::pool_new(pool);
        if capture.is_null() || post.is_null() {
            return Err("no memory".to_owned());
        }
        (*post).handler = Some(finished);
        (*post).data = capture.cast();
        if (*r).subrequests() == 0 {
            log_error!(
                NGX_LOG_ERR,
                ctx.log(),
                "lua subrequests cycle while processing \"{}\"",
                nginx::text(wanted.uri)
            );
            return Err("failed to issue subrequest: -1".to_owned());
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
        if rc != nginx::OK {
            return Err(format!("failed to issue subrequest: {rc}"));
        }
        log_debug!(r, "lua http subrequest \"{}?{}\"", nginx::text(uri), nginx::text(args));
        let adjusted = adjust(sr, &wanted).and_then(|()| share_table(ctx, sr, wanted.ctx.take()));
        if adjusted.is_none() {
            // The subrequest is posted already: it is answered at once, and its response is ignored.
            (*sr).write_event_handler = Some(cancelled);
            return Err("failed to adjust the subrequest: -1".to_owned());
        }
        batch.responses.borrow_mut().push(Response {
            request: sr,
            status: 0,
            body: Vec::new(),
            complete: false,
            done: false,
        });
        batch.pending.set(batch.pending.get() + 1);
        ctx.batches.pending.set(ctx.batches.pending.get() + 1);
        Ok(())
    }
}

/// Gives the subrequest its `ngx.ctx`, in the VM of its parent.
unsafe fn share_table(ctx: &Ctx, sr: Request, table: Option<SharedTable>) -> Option<()> {
    if let Some(mut table) = table {
        // SAFETY: the subrequest is live and new.
        let sr_ctx = unsafe { ctx::create(sr, ctx.vm().clone()) };
        sr_ctx.state.ctx_slot.set(std::mem::take(&mut table.slot));
        // SAFETY: as above.
        return unsafe { ctx::keep(sr_ctx) }.then_some(());
    }
    Some(())
}

unsafe extern "C" fn cancelled(sr: Request) {
    // SAFETY: nginx runs a posted subrequest.
    unsafe { ngx_http_finalize_request(sr, nginx::OK) }
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
            let body: *mut ngx_http_request_body_t = nginx::pool_new(pool);
            if body.is_null() {
                return None;
            }
            if !data.is_empty() {
                let link = body_chain(pool, data)?;
                (*body).bufs = link;
                (*body).buf = (*link).buf;
            }
            (*sr).request_body = body;
        } else if !keeps_body || (*sr).request_body.is_null() || body::is_under_way((*r).main) {
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
        let text = nginx::pool_concat(pool, &[name, b" "])?;
        (*sr).method_name = ngx_str_t { len: name.len(), data: text.data };

        if wanted.vars_action != SHARE_VARS {
            let n = nginx::core_main_conf(&*sr).variables.nelts;
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
                let name = nginx::NgxStr::from_bytes(name);
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
        let copy: *mut ngx_http_request_body_t = nginx::pool_new((*sr).pool);
        let file: *mut ngx_temp_file_t = nginx::pool_new((*sr).pool);
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
        let n: usize = nginx::list_parts::<ngx_table_elt_t>(&mut (*r).headers_in.headers)
            .map(|part| part.len())
            .sum();
        let room = n + 1;
        let elements: *mut ngx_table_elt_t =
            ngx_palloc((*sr).pool, room * size_of::<ngx_table_elt_t>()).cast();
        if elements.is_null() {
            return None;
        }
        let mut kept = 0;
        for header in nginx::list_items::<ngx_table_elt_t>(&mut (*r).headers_in.headers) {
            let name = nginx::bytes(header.key);
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
        fault::point("capture_body");
        let mut responses = capture.batch.responses.borrow_mut();
        let Some(response) = responses.get_mut(capture.index) else { return Some(nginx::OK) };
        let mut link = chain;
        while !link.is_null() {
            let buffer = &mut *(*link).buf;
            if !response.done
                && (buffer.temporary() != 0 || buffer.memory() != 0 || buffer.mmap() != 0)
            {
                let len = buffer.last.offset_from(buffer.pos) as usize;
                response.body.extend_from_slice(nginx::raw_bytes(buffer.pos, len));
            }
            if buffer.last_buf() != 0 || buffer.last_in_chain() != 0 {
                response.complete = true;
            }
            buffer.pos = buffer.last;
            buffer.file_pos = buffer.file_last;
            link = (*link).next;
        }
        Some(nginx::OK)
    }
}

/// nginx is done with the subrequest: notes its status, and goes on with the parent after the last one.
unsafe extern "C" fn finished(sr: Request, data: *mut c_void, rc: ngx_int_t) -> ngx_int_t {
    // SAFETY: `data` is what `issue` put there; the parent is held by its subrequests.
    unsafe {
        let capture = &*data.cast::<Capture>();
        let batch = &capture.batch;
        {
            let mut responses = batch.responses.borrow_mut();
            let response = responses.get_mut(capture.index).filter(|response| !response.done);
            // Otherwise it was cancelled before it ran, or has ended already.
            let Some(response) = response else { return nginx::OK };
            response.done = true;
            response.status = NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_uint_t;
        }
        let log = (*(*sr).connection).log;
        let rc = guard(log, nginx::ERROR, || {
            fault::point("subrequest_end");
            log_debug!(sr, "lua run post subrequest handler, rc:{rc} c:{}", (*(*sr).main).count());
            if let Some(response) = batch.responses.borrow_mut().get_mut(capture.index) {
                response.status = final_status(sr, rc);
            }
            rc
        });
        // Whoever waits for it is told in any case.
        batch.pending.set(batch.pending.get() - 1);
        if let Some(ctx) = ctx::get((*sr).parent) {
            ctx.batches.pending.set(ctx.batches.pending.get().saturating_sub(1));
            if let Some(task) = batch.task.get().filter(|_| batch.is_done()) {
                wake_parent(ctx, task);
            }
        }
        let is_page = rc == nginx::ERROR
            || rc == NGX_HTTP_CREATED as ngx_int_t
            || rc == NGX_HTTP_NO_CONTENT as ngx_int_t
            || (rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t && !is_abort(rc));
        if is_page {
            // The status is Lua's; no error page is made for it.
            return nginx::OK;
        }
        rc
    }
}

/// The status of a subrequest that ended with `rc`.
unsafe fn final_status(sr: Request, rc: ngx_int_t) -> ngx_uint_t {
    // SAFETY: the caller's subrequest is live.
    match (unsafe { (*sr).headers_out.status }, rc) {
        (0, nginx::OK) => NGX_HTTP_OK as ngx_uint_t,
        (0, nginx::ERROR) => NGX_HTTP_INTERNAL_SERVER_ERROR as ngx_uint_t,
        (0, rc) if rc >= 100 => rc as ngx_uint_t,
        (status, _) => status,
    }
}

/// Has the task woken by its request's write handler, where nginx expects a parent to go on.
unsafe fn wake_parent(ctx: &Ctx, task: TaskId) {
    ctx.ready.borrow_mut().push_back(task);
    // SAFETY: the caller's request is live.
    unsafe { ngx_http_post_request(ctx.r, ptr::null_mut()) };
}
