//! Reads a `{ Lua }` block from where nginx's parser stands, behind the opening brace, and leaves the parser behind
//! the closing one.

use std::ffi::c_char;
use std::ptr;

use nginx_sys::*;

use super::scan::{Scanner, Unclosed};
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
            while (*buffer).pos < (*buffer).last {
                let byte = *(*buffer).pos;
                (*buffer).pos = (*buffer).pos.add(1);
                if byte == b'\n' {
                    (*file).line += 1;
                }
                if scanner.feed(byte) {
                    return Ok(Block { source, line });
                }
                source.push(byte);
            }
            if !refill(cf)? {
                return Err(match scanner.unclosed() {
                    Unclosed::LongBracket(bracket) => conf_error(
                        cf,
                        &format!(
                            "Lua code block missing the closing long bracket \"{bracket}\", the inlined Lua code \
                             may be too long"
                        ),
                    ),
                    Unclosed::Block => conf_error(
                        cf,
                        &format!(
                            "unexpected end of file, expecting terminating characters for lua code block that \
                             starts at line {line}"
                        ),
                    ),
                });
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
