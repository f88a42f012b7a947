//! The two ends of a client's connection.
//!
//! nginx's realip module puts what a header says in place of a connection's peer, so that the peer is asked of the
//! kernel here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nginx_sys::*;

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    Ip(IpAddr),
    Unix,
    Unknown,
}

impl Address {
    /// Whether it is on this machine for certain.
    pub fn is_loopback(self) -> bool {
        match self {
            Address::Ip(ip) => ip.is_loopback(),
            Address::Unix => true,
            Address::Unknown => false,
        }
    }

    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Address::Ip(ip) => Some(ip),
            Address::Unix | Address::Unknown => None,
        }
    }

    /// # Safety
    /// `address` is null, or an address of the family that it says.
    unsafe fn of(address: *const sockaddr) -> Address {
        // SAFETY: the caller's promise.
        unsafe {
            let Some(family) = address.as_ref().map(|address| address.sa_family) else {
                return Address::Unknown;
            };
            match family.into() {
                libc::AF_INET => {
                    let address = &*address.cast::<libc::sockaddr_in>();
                    Address::Ip(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
                }
                libc::AF_INET6 => {
                    let address = &*address.cast::<libc::sockaddr_in6>();
                    Address::Ip(
                        IpAddr::from(Ipv6Addr::from(address.sin6_addr.s6_addr)).to_canonical(),
                    )
                }
                libc::AF_UNIX => Address::Unix,
                _ => Address::Unknown,
            }
        }
    }
}

/// Who has connected. A stream of HTTP/2 has its connection's descriptor; one of QUIC has none, and its connection
/// keeps the address that datagrams come from, which its handshake has proved.
///
/// # Safety
/// The connection is a live request's.
pub unsafe fn address(connection: &ngx_connection_t) -> Address {
    // SAFETY: the kernel fills in no more than it is told there is room for; a QUIC stream has a parent while it lives.
    unsafe {
        #[cfg(ngx_feature = "quic")]
        if let Some(stream) = connection.quic.as_ref() {
            return Address::of((*stream.parent).sockaddr.cast());
        }
        let mut address: libc::sockaddr_storage = std::mem::zeroed();
        let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        match libc::getpeername(connection.fd, (&raw mut address).cast(), &mut length) {
            0 => Address::of((&raw const address).cast()),
            _ => Address::Unknown,
        }
    }
}

/// Where the client has connected to.
///
/// # Safety
/// The connection is a live request's.
pub unsafe fn local(connection: &mut ngx_connection_t) -> Address {
    // SAFETY: nginx looks the address up where it listens on all of them.
    unsafe {
        match ngx_connection_local_sockaddr(connection, std::ptr::null_mut(), 0) {
            crate::nginx::OK => Address::of(connection.local_sockaddr),
            _ => Address::Unknown,
        }
    }
}

/// Whether the connection is encrypted.
pub fn is_tls(connection: &ngx_connection_t) -> bool {
    #[cfg(ngx_feature = "quic")]
    if !connection.quic.is_null() {
        return true;
    }
    #[cfg(ngx_feature = "http_ssl")]
    return !connection.ssl.is_null();
    #[cfg(not(ngx_feature = "http_ssl"))]
    false
}
