//! `ngx.exit`, `ngx.exec`, `ngx.redirect`, and `ngx.req.set_uri` with a jump: what ends the request's Lua.

use std::ffi::c_int;

use nginx_sys::*;

use super::{arg, error, with_request_in, AGAIN, HANDLERS, OK, RAISE};
use crate::conf::phase::Phase;
use crate::nginx::{self, log_debug, log_error};
use crate::request::ctx::{Ctx, End};
use crate::request::headers_out;
use crate::request::status::is_abort;

/// Leaves the request's end for the scheduler; Lua yields and is never resumed. A phase that can't yield goes on, or
/// raises.
fn end(ctx: &Ctx, end: End) -> c_int {
    ctx.state.end.set(Some(end));
    AGAIN
}

fn refuse_with_subrequests(ctx: &Ctx) -> Option<c_int> {
    ctx.batches
        .are_pending()
        .then(|| error(RAISE, format_args!("attempt to abort with pending subrequests")))
}

#[no_mangle]
pub extern "C" fn spacer_exit(status: c_int) -> c_int {
    with_request_in(HANDLERS | Phase::HeaderFilter as u32, |ctx| {
        let mut status = status as ngx_int_t;
        if status == nginx::AGAIN || status == nginx::DONE {
            return error(
                RAISE,
                format_args!("bad argument to 'ngx.exit': does not accept NGX_AGAIN or NGX_DONE"),
            );
        }
        if !is_abort(status) {
            if let Some(refused) = refuse_with_subrequests(ctx) {
                return refused;
            }
        }
        // SAFETY: the request is live.
        unsafe {
            let r = ctx.r;
            if ctx.header_sent()
                && status >= NGX_HTTP_SPECIAL_RESPONSE as ngx_int_t
                && !is_abort(status)
            {
                let sent = (*r).headers_out.status;
                if status != sent as ngx_int_t {
                    log_error!(
                        NGX_LOG_ERR,
                        ctx.log(),
                        "attempt to set status {status} via ngx.exit after sending out the response status {sent}"
                    );
                }
                status = NGX_HTTP_OK as ngx_int_t;
            }
            log_debug!(r, "lua exit with code {status}");
        }
        let rc = end(ctx, End::Exit(status));
        ctx.state.exit_status.set(Some(status));
        if super::current().task.is_none() {
            ctx.state.end.set(None);
            OK
        } else {
            rc
        }
    })
}

/// `ngx.exec(uri, args)`; `args` is what the caller adds to those in `uri`.
#[no_mangle]
pub extern "C" fn spacer_exec(
    uri: *const u8,
    uri_len: usize,
    args: *const u8,
    args_len: usize,
) -> c_int {
    with_request_in(HANDLERS, |ctx| {
        // SAFETY: Lua's strings, copied into the pool of a live request.
        unsafe {
            if let Some(refused) = refuse_with_subrequests(ctx) {
                return refused;
            }
            let text = arg(uri, uri_len);
            if text.is_empty() {
                return error(RAISE, format_args!("The uri argument is empty"));
            }
            let (uri, mut query) = match split_uri(ctx, text) {
                Ok(parts) => parts,
                Err(status) => return status,
            };
            let more = arg(args, args_len);
            if !more.is_empty() {
                let old = nginx::bytes(query);
                let joined = if old.is_empty() {
                    nginx::pool_str((*ctx.r).pool, more)
                } else {
                    nginx::pool_concat((*ctx.r).pool, &[old, b"&", more])
                };
                match joined {
                    Some(joined) => query = joined,
                    None => return error(RAISE, format_args!("no memory")),
                }
            }
            if ctx.header_sent() {
                return error(
                    RAISE,
                    format_args!("attempt to call ngx.exec after sending out response headers"),
                );
            }
            log_debug!(ctx.r, "lua exec \"{}?{}\"", nginx::text(uri), nginx::text(query));
            end(ctx, End::Exec { uri, args: query })
        }
    })
}

/// A copy of the URI in the pool, with its arguments split off, refused when it is unsafe.
unsafe fn split_uri(ctx: &Ctx, text: &[u8]) -> Result<(ngx_str_t, ngx_str_t), c_int> {
    // SAFETY: the request is live.
    unsafe {
        let Some(mut uri) = nginx::pool_str((*ctx.r).pool, text) else {
            return Err(error(RAISE, format_args!("no memory")));
        };
        let mut args = nginx::NULL_STR;
        if text[0] == b'@' {
            // A named location has no arguments.
            if let Some(at) = text.iter().position(|&byte| byte == b'?') {
                args = ngx_str_t { len: uri.len - at - 1, data: uri.data.add(at + 1) };
                uri.len = at;
            }
        } else {
            let mut flags = NGX_HTTP_LOG_UNSAFE as ngx_uint_t;
            if ngx_http_parse_unsafe_uri(ctx.r, &mut uri, &mut args, &mut flags) != nginx::OK {
                return Err(error(RAISE, format_args!("unsafe uri")));
            }
        }
        Ok((uri, args))
    }
}

/// `ngx.redirect(uri, status)`.
#[no_mangle]
pub extern "C" fn spacer_redirect(uri: *const u8, len: usize, status: c_int) -> c_int {
    with_request_in(HANDLERS, |ctx| {
        // SAFETY: Lua's string, and a live request.
        unsafe {
            if let Some(refused) = refuse_with_subrequests(ctx) {
                return refused;
            }
            if ctx.header_sent() {
                return error(
                    RAISE,
                    format_args!("attempt to call ngx.redirect after sending out the headers"),
                );
            }
            let uri = arg(uri, len);
            if let Some(byte) = unsafe_byte(uri) {
                return error(
                    RAISE,
                    format_args!(
                        "unsafe byte \"0x{byte:02x}\" in redirect uri \"{}\"",
                        Escaped(uri)
                    ),
                );
            }
            if headers_out::set(ctx, b"Location", Some(uri), false).is_none() {
                return error(RAISE, format_args!("no memory"));
            }
            (*ctx.r).headers_out.status = status as ngx_uint_t;
            log_debug!(
                ctx.r,
                "lua redirect to \"{}\" with code {status}",
                nginx::NgxStr::from_bytes(uri)
            );
        }
        end(ctx, End::Exit(status as ngx_int_t))
    })
}

/// `ngx.req.set_uri(uri, jump, binary)`.
#[no_mangle]
pub extern "C" fn spacer_req_set_uri(
    uri: *const u8,
    len: usize,
    jump: bool,
    binary: bool,
) -> c_int {
    super::with_request(|ctx| {
        // SAFETY: Lua's string, copied into the pool of a live request.
        unsafe {
            let uri = arg(uri, len);
            if uri.is_empty() {
                return error(RAISE, format_args!("attempt to use zero-length uri"));
            }
            if !binary {
                if let Some(byte) = unsafe_byte(uri) {
                    return error(
                        RAISE,
                        format_args!(
                            "unsafe byte \"0x{byte:02x}\" in uri \"{}\" (maybe you want to set the 'binary' argument?)",
                            Escaped(uri)
                        ),
                    );
                }
            }
            if jump {
                let phases = Phase::ServerRewrite as u32 | Phase::Rewrite as u32;
                if !super::current().phase.is_in(phases) {
                    return super::disabled();
                }
                log_debug!(ctx.r, "lua set uri jump to \"{}\"", nginx::NgxStr::from_bytes(uri));
                if let Some(refused) = refuse_with_subrequests(ctx) {
                    return refused;
                }
            }
            let r = ctx.r;
            let Some(copy) = nginx::pool_str((*r).pool, uri) else {
                return error(RAISE, format_args!("no memory"));
            };
            (*r).uri = copy;
            (*r).set_internal(1);
            (*r).set_valid_unparsed_uri(0);
            ngx_http_set_exten(r);
            if jump {
                (*r).set_uri_changed(1);
                return end(ctx, End::Jump);
            }
            OK
        }
    })
}

/// The first byte that must not be in a URI: a control character other than a tab.
fn unsafe_byte(uri: &[u8]) -> Option<u8> {
    uri.iter().copied().find(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f)
}

/// Bytes with control characters and the like as `\xXX`.
struct Escaped<'a>(&'a [u8]);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' | 0..=0x1f | 0x7f.. => write!(f, "\\x{byte:02X}")?,
                _ => write!(f, "{}", byte as char)?,
            }
        }
        Ok(())
    }
}
