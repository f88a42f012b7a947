//! A piece of Lua that a directive names: its source or its file, and where its compiled form is kept.

use std::cell::Cell;
use std::ffi::{c_char, CString};

use nginx_sys::*;

use super::block;
use crate::nginx::{self, conf_error, CONF_ERROR};

/// Where a directive's Lua comes from.
pub enum Source {
    Inline {
        text: Vec<u8>,
        /// As Lua shows it in errors and tracebacks: `=content_by_lua(nginx.conf:12)`.
        chunk_name: CString,
    },
    /// A path that may hold variables, relative to nginx's prefix.
    File(ngx_http_complex_value_t),
}

pub struct Code {
    pub source: Source,
    /// The compiled chunk: its VM, which keeps what is compiled, and its reference there.
    pub compiled: Cell<Option<(u64, i32)>>,
}

/// How the Lua is written: `_by_lua "text"`, `_by_lua_block { text }`, `_by_lua_file path`.
#[derive(Clone, Copy)]
pub enum Form {
    Text,
    Block,
    File,
}

impl Form {
    /// The form whose `as usize` that is.
    pub fn from_number(number: usize) -> Form {
        [Form::Text, Form::Block, Form::File][number]
    }
}

/// Reads the code of the directive being parsed, which is its argument of that number unless it is a block. `tag` is the name that
/// tracebacks show, such as `content_by_lua`.
///
/// # Safety
/// Called from a directive's handler, with its `cf`.
pub unsafe fn read(
    cf: *mut ngx_conf_t,
    form: Form,
    tag: &str,
    argument: usize,
) -> Result<*mut Code, *mut c_char> {
    // SAFETY: `cf` is live; nginx checked the number of arguments.
    unsafe {
        let source = match form {
            Form::Block => {
                let read = block::read(cf)?;
                Source::Inline { chunk_name: chunk_name(cf, tag, read.line), text: read.source }
            }
            Form::Text => {
                let text = nginx::bytes((*(*cf).args).as_slice::<ngx_str_t>()[argument]).to_vec();
                if text.is_empty() {
                    return Err(conf_error(cf, "invalid location config: no runnable Lua code"));
                }
                let line = (*(*cf).conf_file).line;
                Source::Inline { chunk_name: chunk_name(cf, tag, line), text }
            }
            Form::File => {
                let value = &mut (*(*cf).args).as_slice_mut::<ngx_str_t>()[argument];
                if value.len == 0 {
                    return Err(conf_error(cf, "invalid location config: no runnable Lua code"));
                }
                let mut path: ngx_http_complex_value_t = std::mem::zeroed();
                let mut compile: ngx_http_compile_complex_value_t = std::mem::zeroed();
                compile.cf = cf;
                compile.value = value;
                compile.complex_value = &mut path;
                if ngx_http_compile_complex_value(&mut compile) != nginx::OK {
                    return Err(CONF_ERROR);
                }
                Source::File(path)
            }
        };
        let code = nginx::pool_box((*cf).pool, Code { source, compiled: Cell::new(None) });
        if code.is_null() {
            return Err(CONF_ERROR);
        }
        Ok(code)
    }
}

unsafe fn chunk_name(cf: *mut ngx_conf_t, tag: &str, line: ngx_uint_t) -> CString {
    // SAFETY: the parser's file and the cycle are live during a directive's handler.
    let (file, prefix) = unsafe {
        (nginx::bytes((*(*cf).conf_file).file.name), nginx::bytes((*(*cf).cycle).conf_prefix))
    };
    luasource::chunk_name(tag, file, prefix, line)
}
