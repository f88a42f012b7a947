//! Whose page a browser shows, and by which name it has come here. Pure logic.
//!
//! A page of another site can have a browser send requests to this machine, and can read the answers where its own
//! name is made to lead here ("DNS rebinding"). Browsers say which page it is in `Origin` and `Sec-Fetch-Site`, and
//! the name in `Host`; none of these can be set by a page.

use std::net::{IpAddr, Ipv6Addr};

/// A host and, where it is written, a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    /// An IPv6 address is in brackets.
    pub host: &'a [u8],
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    pub fn parse(text: &'a [u8]) -> Option<Authority<'a>> {
        let end = match text.first()? {
            b'[' => text.iter().position(|&byte| byte == b']')? + 1,
            _ => text.iter().position(|&byte| byte == b':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(end);
        let port = match port {
            [] => None,
            [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                Some(std::str::from_utf8(digits).ok()?.parse().ok()?)
            }
            _ => return None,
        };
        (!host.is_empty()).then_some(Authority { host, port })
    }
}

/// Whether the value of `Origin` is the origin that the request was sent to. Where a proxy has taken the encryption
/// off, the page's scheme may be https for a connection without.
pub fn is_own(origin: &[u8], host: Option<Authority<'_>>, secure: bool) -> bool {
    let (page, default) = match (origin.strip_prefix(b"https://"), origin.strip_prefix(b"http://"))
    {
        (Some(page), _) => (page, 443),
        (_, Some(page)) if !secure => (page, 80),
        _ => return false,
    };
    match (Authority::parse(page), host) {
        (Some(page), Some(host)) => {
            page.host.eq_ignore_ascii_case(host.host)
                && page.port.unwrap_or(default) == host.port.unwrap_or(default)
        }
        _ => false,
    }
}

/// Whether a value of `Sec-Fetch-Site` is that of a page of the same origin, or of a request that no page asked for.
pub fn is_same_origin(site: &[u8]) -> bool {
    matches!(site, b"same-origin" | b"none")
}

/// Whether a host, in lower case, is a name or an address that nobody can lead here from elsewhere: `local` is the
/// address of the connection's own end.
pub fn is_local(host: &[u8], local: Option<IpAddr>) -> bool {
    if host == b"localhost" {
        return true;
    }
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let ip = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => host.parse().ok().filter(IpAddr::is_ipv4),
    };
    ip.map(|ip| ip.to_canonical()).is_some_and(|ip| ip.is_loopback() || Some(ip) == local)
}

/// Whether a host, in lower case, is what a `server_name` stands for; those with regular expressions stand for nothing
/// here.
pub fn is_name(host: &[u8], name: &[u8]) -> bool {
    let below = |domain: &[u8]| {
        host.strip_suffix(domain).is_some_and(|below| below.len() > 1 && below.ends_with(b"."))
    };
    match name {
        [] | [b'~', ..] => false,
        [b'*', b'.', domain @ ..] => below(domain),
        [b'.', domain @ ..] => host.eq_ignore_ascii_case(domain) || below(domain),
        [start @ .., b'.', b'*'] => {
            host.strip_prefix(start).is_some_and(|rest| rest.len() > 1 && rest.starts_with(b"."))
        }
        name => host.eq_ignore_ascii_case(name),
    }
}
