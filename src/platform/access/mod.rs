//! Who may reach what isn't for everyone: private functions, `spacer_trigger`, and the write proxy.
//!
//! A client's address says little: behind a proxy on this machine everybody comes from here, and so does the browser
//! that has a page of another site open. So private functions are for the connections of a listener of their own
//! ([`listener`]) and for those who know a secret ([`token`]); in development, also for this machine, where the
//! connection itself ([`peer`]) and what it says of its way here agree on that. What a page of another origin asks for
//! is refused everywhere ([`origin`]).

pub mod listener;
mod origin;
mod peer;
pub mod token;

use nginx_sys::*;

use self::origin::Authority;
use self::peer::Address;
use super::conf::{self, LocConf};
use crate::nginx::{self, log_error, Request};

/// Which header has the secret.
const TOKEN: &[u8] = b"x-spacer-private-token";
/// What a proxy adds.
const OF_PROXIES: [&[u8]; 4] = [b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via"];

/// Why a request is refused, for the log.
type Refused = &'static str;

/// Whether the request may run any function.
///
/// # Safety
/// `r` is a live request, and `conf` the configuration of its location.
pub unsafe fn to_private(r: Request, conf: &LocConf) -> bool {
    // SAFETY: the caller's promise.
    unsafe { said(r, private(r, conf)) }
}

/// Whether the request may append to the project's topics.
///
/// # Safety
/// As for [`to_private`].
pub unsafe fn to_append(r: Request) -> bool {
    // SAFETY: the caller's promise.
    unsafe { said(r, append(r)) }
}

unsafe fn private(r: Request, conf: &LocConf) -> Result<(), Refused> {
    // SAFETY: the caller's promise; a subrequest's main request has the client's headers and connection.
    unsafe {
        let r = (*r).main;
        check_origin(r)?;
        if values(r, TOKEN).any(token::is) {
            return Ok(());
        }
        if conf.private_listener {
            return check_host(r);
        }
        if nginx::bytes(conf.env) != b"development" {
            return Err("outside of development it takes a server with spacer_private (privateListen), or \
                        X-Spacer-Private-Token with the value of the environment variable SPACER_PRIVATE_TOKEN");
        }
        let connection = &mut *(*r).connection;
        if !peer::address(connection).is_loopback() {
            return Err("the connection comes from another machine");
        }
        if !connection.proxy_protocol.is_null()
            || OF_PROXIES.iter().any(|name| values(r, name).next().is_some())
        {
            return Err("it came through a proxy");
        }
        check_host(r)
    }
}

unsafe fn append(r: Request) -> Result<(), Refused> {
    // SAFETY: as above.
    unsafe {
        let r = (*r).main;
        check_origin(r)?;
        match peer::local(&mut *(*r).connection) {
            // What listens for this machine alone is not for a page whose name is made to lead here.
            Address::Ip(ip) if ip.is_loopback() => check_host(r),
            _ => Ok(()),
        }
    }
}

/// Refuses what a browser sends on behalf of a page of another origin.
unsafe fn check_origin(r: Request) -> Result<(), Refused> {
    // SAFETY: the caller's request is live.
    unsafe {
        if !values(r, b"sec-fetch-site").all(origin::is_same_origin) {
            return Err("a page of another site asks for it (Sec-Fetch-Site)");
        }
        let headers = &(*r).headers_in;
        let host = match headers.host.as_ref() {
            Some(header) => Authority::parse(nginx::bytes(header.value)),
            None => Authority::parse(nginx::bytes(headers.server)),
        };
        let secure = peer::is_tls(&*(*r).connection);
        match values(r, b"origin").all(|origin| origin::is_own(origin, host, secure)) {
            true => Ok(()),
            false => Err("a page of another origin asks for it (Origin)"),
        }
    }
}

/// Keeps the names of all servers: nginx has them in memory that it frees when it has read the configuration. False when there is no memory for
/// that.
///
/// # Safety
/// Called at the end of `http`.
pub unsafe fn keep_names(cf: *mut ngx_conf_t) -> bool {
    // SAFETY: the caller's promise: every server has its names, and its own configurations. The names themselves are the configuration's.
    unsafe {
        let servers =
            nginx::core_main_conf(&*cf).servers.as_slice::<*mut ngx_http_core_srv_conf_t>();
        servers.iter().all(|&server| {
            let names = (*server).server_names.as_slice::<ngx_http_server_name_t>();
            let names = names.iter().filter(|name| name.regex.is_null()).map(|name| name.name);
            let conf = conf::loc_conf_of(&*(*server).ctx);
            conf.server_names = nginx::pool_box((*cf).pool, names.collect());
            !conf.server_names.is_null()
        })
    }
}

/// Refuses a host name that may lead here only because somebody makes it.
unsafe fn check_host(r: Request) -> Result<(), Refused> {
    // SAFETY: the caller's request is live; the names of its server have been kept.
    unsafe {
        let host = nginx::bytes((*r).headers_in.server);
        let conf = conf::loc_conf_of(&*nginx::core_server_conf(&*r).ctx);
        let names = conf.server_names.as_ref().map(Vec::as_slice).unwrap_or_default();
        let named = |name: &ngx_str_t| origin::is_name(host, nginx::bytes(*name));
        let local = peer::local(&mut *(*r).connection);
        let own = host.is_empty() || origin::is_local(host, local.ip()) || names.iter().any(named);
        match own {
            true => Ok(()),
            false => {
                Err("its Host is neither localhost, nor the listener's address, nor a server_name")
            }
        }
    }
}

/// The values of a request's headers of that name, which is in lower case.
unsafe fn values(r: Request, name: &[u8]) -> impl Iterator<Item = &[u8]> {
    // SAFETY: the caller's request is live, and so is its list of headers.
    unsafe {
        nginx::list_items::<ngx_table_elt_t>(&mut (*r).headers_in.headers)
            .filter(move |header| nginx::bytes(header.key).eq_ignore_ascii_case(name))
            .map(|header| nginx::bytes(header.value))
    }
}

/// Says in the log why a request is refused.
unsafe fn said(r: Request, outcome: Result<(), Refused>) -> bool {
    if let Err(reason) = outcome {
        // SAFETY: the caller's request has a connection with a log.
        unsafe {
            let uri = nginx::NgxStr::from_bytes(nginx::bytes((*r).uri));
            log_error!(NGX_LOG_WARN, (*(*r).connection).log, "access to {uri} refused: {reason}");
        }
    }
    outcome.is_ok()
}
