//! Reads a `{ Lua }` block from where nginx's parser stands, behind the opening brace, and leaves the parser behind
//! the closing one.

use std::ffi::c_char;
use std::ptr;

use luasource::Scanner;
use nginx_sys::*;

use crate::nginx::{self, conf_error, CONF_ERROR};

/// A block's Lua and the line its first character stands on.
pub struct Block {
    pub source: Vec<u8>,
    pub line: ngx_uint_t,
}

/// Reads the block, or logs what is wrong with it, with file and line.
///
/// # Safety
/// Called from a directive's handler, with its `cf`.
pub unsafe fn read(cf: *mut ngx_conf_t) -> Result<Block, *mut c_char> {
    // SAFETY: during a directive's handler the parser's file and buffer are live, and `pos..last` is unread text.
    unsafe {
        let file = (*cf).conf_file;
        let buffer = (*file).buffer;
        let line = (*file).line;
        if (*file).file.fd == -1 {
            return Err(conf_error(cf, "block directives are not supported in -g option"));
        }
        let mut scanner = Scanner::new();
        let mut source = Vec::new();
        loop {
            let rest =
                nginx::raw_bytes((*buffer).pos, (*buffer).last.offset_from((*buffer).pos) as usize);
            let end = scanner.scan(rest);
            let text = &rest[..end.unwrap_or(rest.len())];
            source.extend_from_slice(text);
            (*file).line += text.iter().filter(|&&byte| byte == b'\n').count();
            (*buffer).pos = (*buffer).pos.add(text.len());
            if end.is_some() {
                (*buffer).pos = (*buffer).pos.add(1);
                return Ok(Block { source, line });
            }
            if !refill(cf)? {
                let unclosed = scanner.unclosed();
                (*file).line = unclosed.line(line);
                return Err(conf_error(cf, &unclosed.message(line)));
            }
        }
    }
}

/// Reads the next piece of the file into the parser's buffer, as nginx's own tokenizer does; false at the end.
unsafe fn refill(cf: *mut ngx_conf_t) -> Result<bool, *mut c_char> {
    // SAFETY: the buffer's `start..end` is its storage, and everything read before has been consumed.
    unsafe {
        let file = (*cf).conf_file;
        let buffer = (*file).buffer;
        let left = (*file).file.info.st_size - (*file).file.offset;
        let capacity = (*buffer).end.offset_from((*buffer).start) as i64;
        let size = left.min(capacity);
        if size <= 0 {
            return Ok(false);
        }
        let n =
            ngx_read_file(&mut (*file).file, (*buffer).start, size as usize, (*file).file.offset);
        if n == nginx::ERROR {
            return Err(CONF_ERROR);
        }
        if n as i64 != size {
            return Err(conf_error(
                cf,
                &format!("read() returned only {n} bytes instead of {size}"),
            ));
        }
        (*buffer).pos = (*buffer).start;
        (*buffer).last = (*buffer).start.add(n as usize);
        // What `nginx -T` prints is collected as it is read.
        let dump = (*file).dump;
        if !dump.is_null() {
            ptr::copy_nonoverlapping((*buffer).start, (*dump).last, n as usize);
            (*dump).last = (*dump).last.add(n as usize);
        }
        Ok(true)
    }
}
