//! Statuses that mean more to nginx than a response.

use nginx_sys::*;

use crate::nginx;

/// Statuses that end the connection rather than the response.
pub fn is_abort(status: ngx_int_t) -> bool {
    status == nginx::ERROR
        || status == NGX_HTTP_REQUEST_TIME_OUT as ngx_int_t
        || status == NGX_HTTP_CLIENT_CLOSED_REQUEST as ngx_int_t
        || status == NGX_HTTP_CLOSE as ngx_int_t
}
