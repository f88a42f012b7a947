//! Replacing the body of a request: by bytes, by a file, or piece by piece.

use std::ffi::c_void;
use std::ptr;

use nginx_sys::*;

use super::{body, headers_in};
use crate::conf::core_loc_conf;
use crate::nginx::{self, log_error, own, Request};

/// Why a body isn't replaced, as Lua is told.
pub type Refusal = String;

fn no_memory() -> Refusal {
    "no memory".to_owned()
}

/// A body being put together by `init_body`, `append_body`, `finish_body`.
pub struct BodyBuilder {
    data: Vec<u8>,
    /// How much is kept in memory before the rest goes to a file.
    limit: usize,
    file: *mut ngx_temp_file_t,
}

impl BodyBuilder {
    /// Begins a body in place of the one that the request has; at most `limit` bytes of it are kept in memory, or
    /// `client_body_buffer_size`.
    ///
    /// # Safety
    /// `r` is live, and its body [may be replaced](check).
    pub unsafe fn new(r: Request, limit: Option<usize>) -> BodyBuilder {
        // SAFETY: the caller's promise.
        unsafe {
            let limit = limit.unwrap_or_else(|| core_loc_conf(r).client_body_buffer_size);
            drop_file(r);
            (*(*r).request_body).bufs = ptr::null_mut();
            (*(*r).request_body).buf = ptr::null_mut();
            BodyBuilder { data: Vec::new(), limit, file: ptr::null_mut() }
        }
    }

    /// Adds a piece.
    ///
    /// # Safety
    /// `r` is the request that the body is for.
    pub unsafe fn append(&mut self, r: Request, data: &[u8]) -> Result<(), Refusal> {
        // SAFETY: the caller's promise.
        unsafe {
            if self.data.len() + data.len() > self.limit && !self.data.is_empty() {
                spill(r, self)?;
            }
            self.data.extend_from_slice(data);
            if self.data.len() > self.limit {
                spill(r, self)?;
            }
            Ok(())
        }
    }

    /// Makes it the request's body.
    ///
    /// # Safety
    /// `r` is the request that the body is for.
    pub unsafe fn finish(mut self, r: Request) -> Result<(), Refusal> {
        // SAFETY: the request has a body since the builder was made.
        unsafe {
            if self.file.is_null() {
                return replace(r, &self.data);
            }
            if !self.data.is_empty() {
                spill(r, &mut self)?;
            }
            let length = (*self.file).offset;
            let buffer: *mut ngx_buf_t = nginx::pool_new((*r).pool);
            let link = ngx_alloc_chain_link((*r).pool);
            if buffer.is_null() || link.is_null() {
                return Err(no_memory());
            }
            (*buffer).file = &mut (*self.file).file;
            (*buffer).file_pos = 0;
            (*buffer).file_last = length;
            (*buffer).set_in_file(1);
            (*link).buf = buffer;
            (*link).next = ptr::null_mut();
            let body = &mut *(*r).request_body;
            body.temp_file = self.file;
            body.bufs = link;
            body.buf = ptr::null_mut();
            set_length(r, length).ok_or_else(no_memory)
        }
    }
}

/// Whether the body may be replaced.
///
/// # Safety
/// `r` is live.
pub unsafe fn check(r: Request) -> Result<(), Refusal> {
    // SAFETY: the caller's promise.
    unsafe {
        if (*r).discard_body() != 0 {
            return Err("request body already discarded asynchronously".to_owned());
        }
        // While nginx still reads it, it has the body's buffers.
        if (*r).request_body.is_null() || body::is_under_way(r) {
            return Err("request body not read yet".to_owned());
        }
        Ok(())
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
///
/// # Safety
/// `r` is live, and its body [may be replaced](check).
pub unsafe fn replace(r: Request, data: &[u8]) -> Result<(), Refusal> {
    // SAFETY: the caller's request has a body; the copy is in its pool.
    unsafe {
        drop_file(r);
        let body = &mut *(*r).request_body;
        if data.is_empty() {
            body.bufs = ptr::null_mut();
            body.buf = ptr::null_mut();
        } else {
            let link = body_chain((*r).pool, data).ok_or_else(no_memory)?;
            body.bufs = link;
            body.buf = (*link).buf;
        }
        set_length(r, data.len() as off_t).ok_or_else(no_memory)
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

/// Makes a file the request's body; `clean` says that it is deleted with the request.
///
/// # Safety
/// `r` is live, and its body [may be replaced](check).
pub unsafe fn replace_by_file(r: Request, name: &[u8], clean: bool) -> Result<(), Refusal> {
    // SAFETY: the caller's request has a body; everything is in its pool, which closes the file.
    unsafe {
        drop_file(r);
        let pool = (*r).pool;
        let name = nginx::pool_str(pool, name).ok_or_else(no_memory)?;
        let fd = libc::open(name.data.cast(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd == -1 {
            let cause = std::io::Error::last_os_error();
            log_error!(
                NGX_LOG_ERR,
                (*(*r).connection).log,
                "open() \"{}\" failed ({cause})",
                nginx::text(name)
            );
            return Err(format!("open() \"{}\" failed", nginx::text(name)));
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
        set_length(r, length).ok_or_else(no_memory)
    }
}

/// Moves what is in memory to a temporary file.
unsafe fn spill(r: Request, builder: &mut BodyBuilder) -> Result<(), Refusal> {
    let failed = || "fail to write file".to_owned();
    // SAFETY: the caller's request is live; nginx makes and removes the file.
    unsafe {
        if builder.file.is_null() {
            let file: *mut ngx_temp_file_t = nginx::pool_new((*r).pool);
            if file.is_null() {
                return Err(failed());
            }
            let core = core_loc_conf(r);
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
