//! The request body: reading, discarding, and replacing it.

use std::ffi::{c_int, c_void};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;
use std::task::{Poll, Waker};

use nginx_sys::*;

use super::{
    arg, error, headers_in, scratch, spacer_str, wait, with_request, with_request_in, HANDLERS,
    NONE, OK, RAISE,
};
use crate::nginx::own;
use crate::nginx::{self, log_debug, Request};
use crate::request::ctx::{self, Ctx, End};

/// A body being put together by `init_body`, `append_body`, `finish_body`.
pub struct BodyBuilder {
    data: Vec<u8>,
    /// How much is kept in memory before the rest goes to a file.
    limit: usize,
    file: *mut ngx_temp_file_t,
}

/// Where a coroutine stands that reads the body.
#[derive(Default)]
pub struct BodyRead {
    done: bool,
    waker: Option<Waker>,
}

impl BodyRead {
    pub fn recycle(&mut self) {
        self.done = false;
        self.waker = None;
    }
}

/// `ngx.req.read_body()`.
#[no_mangle]
pub extern "C" fn spacer_req_read_body() -> c_int {
    with_request_in(HANDLERS, |ctx| {
        // SAFETY: the request is live, now and when its thread's future is polled.
        unsafe {
            let r = ctx.r;
            if (*r).discard_body() != 0 || !(*r).request_body.is_null() {
                return OK;
            }
            log_debug!(r, "lua start to read buffered request body");
            let ctx: *mut Ctx = ctx;
            let mut started = false;
            wait(Box::pin(std::future::poll_fn(move |context| {
                let ctx = &mut *ctx;
                if !started {
                    started = true;
                    ctx.body = BodyRead::default();
                    let rc = start_reading(ctx.r);
                    if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
                        log_debug!(
                            ctx.r,
                            "http read client request body returned error code {rc}, exitting now"
                        );
                        ctx.end = Some(End::Exit(rc));
                        return Poll::Ready(OK);
                    }
                }
                if ctx.body.done {
                    return Poll::Ready(OK);
                }
                log_debug!(ctx.r, "lua read buffered request body requires I/O interruptions");
                ctx.body.waker = Some(context.waker().clone());
                Poll::Pending
            })))
        }
    })
}

unsafe fn start_reading(r: Request) -> ngx_int_t {
    // SAFETY: the caller's request is live.
    unsafe {
        (*r).set_request_body_in_single_buf(1);
        (*r).set_request_body_in_persistent_file(1);
        (*r).set_request_body_in_clean_file(1);
        ngx_http_read_client_request_body(r, Some(body_read))
    }
}

unsafe extern "C" fn body_read(r: Request) {
    // SAFETY: nginx calls this with the live request whose body it has read, and one reason more to keep it.
    unsafe {
        log_debug!(r, "lua req body post read, c:{}", (*(*r).main).count());
        nginx::release(r);
        let Some(ctx) = ctx::get(r) else { return };
        ctx.body.done = true;
        if let Some(waker) = ctx.body.waker.take() {
            waker.wake();
        }
    }
}

#[no_mangle]
pub extern "C" fn spacer_req_discard_body() -> c_int {
    with_request_in(HANDLERS, |ctx| {
        // SAFETY: the request is live.
        let rc = unsafe { ngx_http_discard_request_body(ctx.r) };
        if rc == nginx::ERROR || rc >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t {
            return error(RAISE, format_args!("failed to discard request body"));
        }
        OK
    })
}

/// The body when it is in memory and not empty.
#[no_mangle]
pub extern "C" fn spacer_req_body_data(max: usize, out: &mut spacer_str) -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live, and so are its body's buffers.
        unsafe {
            let Some(body) = (*ctx.r).request_body.as_ref() else { return NONE };
            if !body.temp_file.is_null() || body.bufs.is_null() {
                return NONE;
            }
            let bytes = |link: *mut ngx_chain_t| {
                let buffer = &*(*link).buf;
                nginx::raw_bytes(buffer.pos, buffer.last.offset_from(buffer.pos) as usize)
            };
            if (*body.bufs).next.is_null() {
                out.set(bytes(body.bufs));
            } else {
                let text = scratch();
                let mut link = body.bufs;
                while !link.is_null() {
                    text.extend_from_slice(bytes(link));
                    link = (*link).next;
                }
                out.set(text);
            }
            if out.len == 0 {
                return NONE;
            }
            out.len = out.len.min(max);
            OK
        }
    })
}

#[no_mangle]
pub extern "C" fn spacer_req_body_file(out: &mut spacer_str) -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live.
        unsafe {
            match (*ctx.r).request_body.as_ref().and_then(|body| body.temp_file.as_ref()) {
                Some(file) => {
                    out.set(nginx::bytes(file.file.name));
                    OK
                }
                None => NONE,
            }
        }
    })
}

/// The whole body, from memory or from its file. For the function platform, whose functions get it as one string.
#[no_mangle]
pub extern "C" fn spacer_req_whole_body(out: &mut spacer_str) -> c_int {
    let in_memory = spacer_req_body_data(usize::MAX, out);
    if in_memory != NONE {
        return in_memory;
    }
    let mut name = spacer_str { data: ptr::null(), len: 0 };
    let status = spacer_req_body_file(&mut name);
    if status != OK {
        return status;
    }
    super::boundary(|| {
        // SAFETY: the name was just set, and the scratch buffer is read before the next call.
        unsafe {
            let path = std::ffi::OsStr::from_bytes(arg(name.data, name.len));
            let text = scratch();
            match std::fs::File::open(path).and_then(|mut file| file.read_to_end(text)) {
                Ok(_) => {
                    out.set(text);
                    OK
                }
                Err(cause) => error(
                    super::FAIL,
                    format_args!("reading the request body from {}: {cause}", path.display()),
                ),
            }
        }
    })
}

/// Why the body can't be replaced.
unsafe fn refuse_replacement(r: Request) -> Option<c_int> {
    // SAFETY: the caller's request is live.
    unsafe {
        if (*r).discard_body() != 0 {
            return Some(error(
                RAISE,
                format_args!("request body already discarded asynchronously"),
            ));
        }
        if (*r).request_body.is_null() {
            return Some(error(RAISE, format_args!("request body not read yet")));
        }
        None
    }
}

/// Closes, and so deletes, the file of a body that is replaced.
unsafe fn drop_file(r: Request) {
    // SAFETY: the caller's request has a body.
    unsafe {
        let body = &mut *(*r).request_body;
        if let Some(file) = body.temp_file.as_mut() {
            if file.file.fd != -1 {
                run_file_cleanup((*r).pool, file.file.fd);
                file.file.fd = -1;
            }
            body.temp_file = ptr::null_mut();
        }
    }
}

/// Runs the pool's clean-up of a file now, be it closing or deleting.
unsafe fn run_file_cleanup(pool: *mut ngx_pool_t, fd: ngx_fd_t) {
    // SAFETY: the caller's pool is live; these two handlers have a file as their data.
    unsafe {
        let mut cleanup = (*pool).cleanup;
        while let Some(entry) = cleanup.as_mut() {
            let is_file = |handler: &unsafe extern "C" fn(*mut c_void)| {
                ptr::fn_addr_eq(*handler, ngx_pool_cleanup_file as unsafe extern "C" fn(_))
                    || ptr::fn_addr_eq(*handler, ngx_pool_delete_file as unsafe extern "C" fn(_))
            };
            if let Some(handler) = entry.handler.filter(is_file) {
                if (*entry.data.cast::<ngx_pool_cleanup_file_t>()).fd == fd {
                    handler(entry.data);
                    entry.handler = None;
                    return;
                }
            }
            cleanup = entry.next;
        }
    }
}

/// Makes `data` the request's body.
unsafe fn replace(r: Request, data: &[u8]) -> Option<()> {
    // SAFETY: the caller's request has a body; the copy is in its pool.
    unsafe {
        drop_file(r);
        let body = &mut *(*r).request_body;
        if data.is_empty() {
            body.bufs = ptr::null_mut();
            body.buf = ptr::null_mut();
        } else {
            let link = body_chain((*r).pool, data)?;
            body.bufs = link;
            body.buf = (*link).buf;
        }
        set_length(r, data.len() as off_t)
    }
}

/// A chain of one buffer with a copy of `data`.
///
/// # Safety
/// `pool` is live.
pub unsafe fn body_chain(pool: *mut ngx_pool_t, data: &[u8]) -> Option<*mut ngx_chain_t> {
    // SAFETY: the caller's promise.
    unsafe {
        let copy = nginx::pool_str(pool, data)?;
        let buffer: *mut ngx_buf_t = nginx::pool_new(pool);
        let link = ngx_alloc_chain_link(pool);
        if buffer.is_null() || link.is_null() {
            return None;
        }
        (*buffer).start = copy.data;
        (*buffer).pos = copy.data;
        (*buffer).last = copy.data.add(copy.len);
        (*buffer).end = (*buffer).last;
        (*buffer).tag = own::tag();
        (*buffer).set_temporary(1);
        (*link).buf = buffer;
        (*link).next = ptr::null_mut();
        Some(link)
    }
}

/// Makes the headers say how long the body is.
unsafe fn set_length(r: Request, length: off_t) -> Option<()> {
    // SAFETY: the caller's request is live.
    unsafe {
        headers_in::set(r, b"Content-Length", Some(length.to_string().as_bytes()), false)?;
        (*r).headers_in.content_length_n = length;
        Some(())
    }
}

fn replaced(done: Option<()>) -> c_int {
    match done {
        Some(()) => OK,
        None => error(RAISE, format_args!("no memory")),
    }
}

#[no_mangle]
pub extern "C" fn spacer_req_set_body_data(data: *const u8, len: usize) -> c_int {
    with_request(|ctx| {
        // SAFETY: Lua's string, and a live request.
        unsafe {
            refuse_replacement(ctx.r).unwrap_or_else(|| replaced(replace(ctx.r, arg(data, len))))
        }
    })
}

#[no_mangle]
pub extern "C" fn spacer_req_set_body_file(name: *const u8, len: usize, clean: bool) -> c_int {
    with_request(|ctx| {
        // SAFETY: Lua's string, and a live request.
        unsafe {
            let r = ctx.r;
            if let Some(refused) = refuse_replacement(r) {
                return refused;
            }
            let name = arg(name, len);
            drop_file(r);
            match body_from_file(r, name, clean) {
                Ok(length) => replaced(set_length(r, length)),
                Err(status) => status,
            }
        }
    })
}

unsafe fn body_from_file(r: Request, name: &[u8], clean: bool) -> Result<off_t, c_int> {
    let no_memory = || error(RAISE, format_args!("no memory"));
    // SAFETY: the caller's request has a body; everything is in its pool, which closes the file.
    unsafe {
        let pool = (*r).pool;
        let name = nginx::pool_str(pool, name).ok_or_else(no_memory)?;
        let fd = libc::open(name.data.cast(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd == -1 {
            let cause = std::io::Error::last_os_error();
            nginx::log_error!(
                NGX_LOG_ERR,
                (*(*r).connection).log,
                "open() \"{}\" failed ({cause})",
                nginx::text(name)
            );
            return Err(error(RAISE, format_args!("open() \"{}\" failed", nginx::text(name))));
        }
        let mut info: libc::stat = std::mem::zeroed();
        let length = if libc::fstat(fd, &mut info) == 0 { info.st_size } else { 0 };
        let cleanup = ngx_pool_cleanup_add(pool, size_of::<ngx_pool_cleanup_file_t>());
        let file: *mut ngx_temp_file_t = nginx::pool_new(pool);
        let buffer: *mut ngx_buf_t = nginx::pool_new(pool);
        let link = ngx_alloc_chain_link(pool);
        if cleanup.is_null() || file.is_null() || buffer.is_null() || link.is_null() {
            libc::close(fd);
            return Err(no_memory());
        }
        let data: *mut ngx_pool_cleanup_file_t = (*cleanup).data.cast();
        (*data).fd = fd;
        (*data).name = name.data;
        (*data).log = (*pool).log;
        (*cleanup).handler = Some(if clean { ngx_pool_delete_file } else { ngx_pool_cleanup_file });
        (*file).file.fd = fd;
        (*file).file.name = name;
        (*file).file.log = (*(*r).connection).log;
        (*file).file.offset = length;
        (*file).pool = pool;
        (*file).set_persistent(1);
        (*file).set_clean(1);
        (*buffer).file = &mut (*file).file;
        (*buffer).file_pos = 0;
        (*buffer).file_last = length;
        (*buffer).set_in_file((length > 0) as _);
        (*buffer).tag = own::tag();
        (*link).buf = buffer;
        (*link).next = ptr::null_mut();
        let body = &mut *(*r).request_body;
        body.temp_file = file;
        body.bufs = if length > 0 { link } else { ptr::null_mut() };
        body.buf = ptr::null_mut();
        Ok(length)
    }
}

/// `ngx.req.init_body(size)`; a negative size stands for `client_body_buffer_size`.
#[no_mangle]
pub extern "C" fn spacer_req_init_body(limit: f64) -> c_int {
    with_request(|ctx| {
        // SAFETY: the request is live, and has its core configuration.
        unsafe {
            let r = ctx.r;
            if let Some(refused) = refuse_replacement(r) {
                return refused;
            }
            let core: &ngx_http_core_loc_conf_t =
                nginx::module_conf((*r).loc_conf, &*ptr::addr_of!(ngx_http_core_module));
            let limit = if limit < 0.0 { core.client_body_buffer_size } else { limit as usize };
            drop_file(r);
            (*(*r).request_body).bufs = ptr::null_mut();
            (*(*r).request_body).buf = ptr::null_mut();
            ctx.body_builder = Some(BodyBuilder { data: Vec::new(), limit, file: ptr::null_mut() });
        }
        OK
    })
}

fn builder(ctx: &mut Ctx) -> Result<&mut BodyBuilder, c_int> {
    ctx.body_builder
        .as_mut()
        .ok_or_else(|| error(RAISE, format_args!("request_body not initialized")))
}

#[no_mangle]
pub extern "C" fn spacer_req_append_body(data: *const u8, len: usize) -> c_int {
    with_request(|ctx| {
        let r = ctx.r;
        let builder = match builder(ctx) {
            Ok(builder) => builder,
            Err(status) => return status,
        };
        // SAFETY: Lua's string, and a live request.
        unsafe {
            let data = arg(data, len);
            if builder.data.len() + data.len() > builder.limit && !builder.data.is_empty() {
                if let Err(status) = spill(r, builder) {
                    return status;
                }
            }
            builder.data.extend_from_slice(data);
            if builder.data.len() > builder.limit {
                if let Err(status) = spill(r, builder) {
                    return status;
                }
            }
        }
        OK
    })
}

/// Moves what is in memory to a temporary file.
unsafe fn spill(r: Request, builder: &mut BodyBuilder) -> Result<(), c_int> {
    let failed = || error(RAISE, format_args!("fail to write file"));
    // SAFETY: the caller's request is live; nginx makes and removes the file.
    unsafe {
        if builder.file.is_null() {
            let file: *mut ngx_temp_file_t = nginx::pool_new((*r).pool);
            if file.is_null() {
                return Err(failed());
            }
            let core: &ngx_http_core_loc_conf_t =
                nginx::module_conf((*r).loc_conf, &*ptr::addr_of!(ngx_http_core_module));
            (*file).file.fd = -1;
            (*file).file.log = (*(*r).connection).log;
            (*file).path = core.client_body_temp_path;
            (*file).pool = (*r).pool;
            (*file).warn =
                c"a client request body is buffered to a temporary file".as_ptr().cast_mut();
            (*file).set_log_level((*r).request_body_file_log_level());
            (*file).set_persistent(1);
            (*file).set_clean(1);
            builder.file = file;
        }
        let link = body_chain((*r).pool, &builder.data).ok_or_else(failed)?;
        builder.data.clear();
        let written = ngx_write_chain_to_temp_file(builder.file, link);
        if written == nginx::ERROR {
            return Err(failed());
        }
        (*builder.file).offset += written as off_t;
        Ok(())
    }
}

#[no_mangle]
pub extern "C" fn spacer_req_finish_body() -> c_int {
    with_request(|ctx| {
        let r = ctx.r;
        let Some(mut builder) = ctx.body_builder.take() else {
            return error(RAISE, format_args!("request_body not initialized"));
        };
        // SAFETY: the request has a body since `init_body`.
        unsafe {
            if builder.file.is_null() {
                return replaced(replace(r, &builder.data));
            }
            if !builder.data.is_empty() {
                if let Err(status) = spill(r, &mut builder) {
                    return status;
                }
            }
            let length = (*builder.file).offset;
            let buffer: *mut ngx_buf_t = nginx::pool_new((*r).pool);
            let link = ngx_alloc_chain_link((*r).pool);
            if buffer.is_null() || link.is_null() {
                return error(RAISE, format_args!("no memory"));
            }
            (*buffer).file = &mut (*builder.file).file;
            (*buffer).file_pos = 0;
            (*buffer).file_last = length;
            (*buffer).set_in_file(1);
            (*link).buf = buffer;
            (*link).next = ptr::null_mut();
            let body = &mut *(*r).request_body;
            body.temp_file = builder.file;
            body.bufs = link;
            body.buf = ptr::null_mut();
            replaced(set_length(r, length))
        }
    })
}

/// Whether the body has been read: 1, or 0.
#[no_mangle]
pub extern "C" fn spacer_req_body_state() -> c_int {
    // SAFETY: the request is live.
    with_request(|ctx| unsafe {
        (!(*ctx.r).request_body.is_null() || (*ctx.r).discard_body() != 0) as c_int
    })
}
