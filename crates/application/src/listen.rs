//! Where a server of the project's listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// One address, or a Unix socket. Printed, it is what nginx's `listen` takes, for use inside double quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    Address(SocketAddr),
    /// Absolute if the project's path is.
    Unix(PathBuf),
}

/// The longest name of a socket: what `sockaddr_un` holds beside the zero at its end (unix(7)).
const SOCKET_NAME: usize = 107;

impl Listen {
    /// What only those may reach who are let in to all functions: every address of the machine at once is refused.
    /// `project` is what the path of a socket is relative to.
    pub fn private(text: &str, project: &Path) -> Option<Listen> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = project.join(Some(path).filter(|path| !path.is_empty())?);
            let plain = !path.to_str()?.chars().any(char::is_control);
            let named = path.file_name().is_some() && !text.ends_with('/');
            return (plain && named && path.as_os_str().len() <= SOCKET_NAME)
                .then_some(Listen::Unix(path));
        }
        address(text).filter(|address| !address.ip().is_unspecified()).map(Listen::Address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Address(address) => address.fmt(f),
            Listen::Unix(path) => {
                let path = path.display().to_string();
                write!(f, "unix:{}", path.replace('\\', "\\\\").replace('"', "\\\""))
            }
        }
    }
}

/// `PORT` and `:PORT` on this machine alone, `*:PORT` on all addresses, or `ADDRESS:PORT`.
pub fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = port.parse().ok().filter(|port| *port != 0)?;
    match host {
        "" | "localhost" => Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
        "*" => Some(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        _ => {
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let ip: IpAddr = bare.unwrap_or(host).parse().ok()?;
            (ip.is_ipv6() == bare.is_some()).then(|| SocketAddr::new(ip, port))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn private(text: &str) -> Option<String> {
        Listen::private(text, Path::new("/srv/shop")).map(|listen| listen.to_string())
    }

    #[test]
    fn a_private_listener_has_one_address_or_a_socket() {
        for (text, listen) in [
            ("9066", "127.0.0.1:9066"),
            (":9066", "127.0.0.1:9066"),
            ("localhost:9066", "127.0.0.1:9066"),
            ("10.0.0.5:9066", "10.0.0.5:9066"),
            ("[::1]:9066", "[::1]:9066"),
            ("unix:/run/shop.sock", "unix:/run/shop.sock"),
            ("unix:temp/shop.sock", "unix:/srv/shop/temp/shop.sock"),
            ("unix:/run/a\"b\\c", "unix:/run/a\\\"b\\\\c"),
        ] {
            assert_eq!(private(text).as_deref(), Some(listen), "{text}");
        }
    }

    #[test]
    fn what_would_be_open_to_everyone_or_is_no_address_is_refused() {
        let long = format!("unix:/{}", "x".repeat(SOCKET_NAME));
        for text in [
            "",
            ":",
            "x",
            "0",
            "65536",
            "-1",
            "9066 ",
            "*:9066",
            "0.0.0.0:9066",
            "[::]:9066",
            "::1:9066",
            "example.com:9066",
            "127.0.0.1",
            "unix:",
            "unix:/",
            "unix:/run/",
            "unix:/run/..",
            "unix:a\nb",
            &long,
        ] {
            assert_eq!(private(text), None, "{text}");
        }
    }
}
