//! The methods that nginx has a bit for.

use std::ffi::c_int;

use nginx_sys::*;

/// The methods by nginx's bits.
pub const METHODS: [(u32, &[u8]); 15] = [
    (NGX_HTTP_GET, b"GET"),
    (NGX_HTTP_HEAD, b"HEAD"),
    (NGX_HTTP_POST, b"POST"),
    (NGX_HTTP_PUT, b"PUT"),
    (NGX_HTTP_DELETE, b"DELETE"),
    (NGX_HTTP_MKCOL, b"MKCOL"),
    (NGX_HTTP_COPY, b"COPY"),
    (NGX_HTTP_MOVE, b"MOVE"),
    (NGX_HTTP_OPTIONS, b"OPTIONS"),
    (NGX_HTTP_PROPFIND, b"PROPFIND"),
    (NGX_HTTP_PROPPATCH, b"PROPPATCH"),
    (NGX_HTTP_LOCK, b"LOCK"),
    (NGX_HTTP_UNLOCK, b"UNLOCK"),
    (NGX_HTTP_PATCH, b"PATCH"),
    (NGX_HTTP_TRACE, b"TRACE"),
];

/// The name of a method constant.
pub fn method_name(method: c_int) -> Option<&'static [u8]> {
    METHODS.iter().find(|(bit, _)| *bit as c_int == method).map(|(_, name)| *name)
}
