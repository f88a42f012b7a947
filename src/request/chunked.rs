//! The chunked transfer encoding of what the module prints, written in place.
//!
//! nginx's own filter makes three buffers of a chunk, each with its allocations, its links and its entry in `writev`.
//! The buffers of [`crate::request::output`] have room before and behind their bytes instead, and one that gets here as it was
//! handed over takes the chunk's size line and end there. Everything else is left to nginx's filter, which is next.
//!
//! The filter must come behind all that change a body, `gzip` say, so it is a module of its own: a module's filters
//! all have the one place that its name has in nginx's list.

use std::ptr;

use nginx_sys::*;

use crate::conf;
use crate::nginx::cell::Worker;
use crate::nginx::{self, fault, guard, Request};
use crate::request::output::{is_as_made, MARGIN_BEFORE};

static CONTEXT: ngx_http_module_t = ngx_http_module_t {
    preconfiguration: None,
    postconfiguration: Some(install),
    create_main_conf: None,
    init_main_conf: None,
    create_srv_conf: None,
    merge_srv_conf: None,
    create_loc_conf: None,
    merge_loc_conf: None,
};

#[no_mangle]
#[allow(non_upper_case_globals)]
pub static mut ngx_http_spacer_chunked_filter_module: ngx_module_t = ngx_module_t {
    ctx: ptr::addr_of!(CONTEXT).cast_mut().cast(),
    type_: NGX_HTTP_MODULE as ngx_uint_t,
    ..ngx_module_t::default()
};

static NEXT: Worker<ngx_http_output_body_filter_pt> = Worker::new(None);

/// What ends a chunk and, from the third byte on, a body.
const END: [u8; 7] = *b"\r\n0\r\n\r\n";

/// What is written behind the bytes, if only the first two of it are sent.
pub const MARGIN_BEHIND: usize = END.len();

unsafe extern "C" fn install(cf: *mut ngx_conf_t) -> ngx_int_t {
    // SAFETY: nginx calls this at the end of a configuration, the only time when its filters' head changes.
    unsafe {
        if conf::main_conf(cf).phases != 0 {
            *NEXT.get() = ngx_http_top_body_filter;
            ngx_http_top_body_filter = Some(body_filter);
        }
    }
    nginx::OK
}

unsafe extern "C" fn body_filter(r: Request, chain: *mut ngx_chain_t) -> ngx_int_t {
    // SAFETY: nginx calls this with a live request and its output; `install` has set the next filter.
    unsafe {
        let next = |chain| (*NEXT.get()).map_or(nginx::OK, |next| next(r, chain));
        let log = (*(*r).connection).log;
        if (*r).chunked() == 0 || !guard(log, false, || frame(r, chain)) {
            return next(chain);
        }
        // nginx's filter passes on what isn't to be chunked.
        (*r).set_chunked(0);
        let rc = next(chain);
        (*r).set_chunked(1);
        rc
    }
}

/// Makes a chunk, and the body's end where it is the last one, of a chain that is a single buffer of ours.
unsafe fn frame(r: Request, chain: *mut ngx_chain_t) -> bool {
    // SAFETY: the chain is live; a buffer that is as it was made has its margins.
    unsafe {
        let Some(link) = chain.as_ref() else { return false };
        fault::point("chunked");
        let buffer = &mut *link.buf;
        if !link.next.is_null() || !is_as_made(buffer) || (*r).header_only() != 0 {
            return false;
        }
        // What has no bytes is for nginx's filter, and so are trailers.
        let len = buffer.last.offset_from(buffer.pos) as usize;
        let last = buffer.last_buf() != 0;
        if len == 0 || last && (*r).headers_out.trailers.part.nelts != 0 {
            return false;
        }
        buffer.last.cast::<[u8; END.len()]>().write(END);
        buffer.last = buffer.last.add(if last { END.len() } else { "\r\n".len() });
        buffer.pos = write_size(buffer.pos, len);
        true
    }
}

/// Writes the line with a chunk's size so that it ends at `at`, and says where it begins.
unsafe fn write_size(at: *mut u8, size: usize) -> *mut u8 {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // A digit stands for four bits.
    const _: () = assert!(MARGIN_BEFORE >= 2 * size_of::<usize>() + "\r\n".len());
    let mut at = at;
    let mut rest = size;
    // SAFETY: the margin takes the longest line, as the assertion says.
    unsafe {
        at = at.sub(2);
        at.cast::<[u8; 2]>().write(*b"\r\n");
        loop {
            at = at.sub(1);
            *at = DIGITS[rest & 0xf];
            rest >>= 4;
            if rest == 0 {
                return at;
            }
        }
    }
}
