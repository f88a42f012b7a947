//! Who listens on a port, or at a socket.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::error::Error;

/// Fails when the address can't be listened on, naming who does already. `setting` is where another can be chosen.
pub fn check_free(address: SocketAddr, setting: &'static str) -> Result<(), Error> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let owner = owner(address.port());
            Err(Error::Taken { address: address.to_string(), owner, setting })
        }
        Err(error) => Err(Error::Listen { address: address.to_string(), error }),
    }
}

/// Fails when somebody listens at the socket. One that was left behind by a server that was killed is removed, since
/// nginx would not take its place.
pub fn free_socket(path: &Path, setting: &'static str) -> Result<(), Error> {
    let address = || format!("unix:{}", path.display());
    match UnixStream::connect(path) {
        Ok(_) => Err(Error::Taken { address: address(), owner: "another process".into(), setting }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // So it is for a file that is no socket, too.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            let found = fs::symlink_metadata(path).map_err(Error::file("read", path))?;
            match found.file_type().is_socket() {
                true => fs::remove_file(path).map_err(Error::file("remove", path)),
                false => {
                    let error = ErrorKind::AlreadyExists.into();
                    Err(Error::Listen { address: address(), error })
                }
            }
        }
        Err(error) => Err(Error::Listen { address: address(), error }),
    }
}

fn owner(port: u16) -> String {
    let mut inodes = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        inodes.extend(listeners(&fs::read_to_string(table).unwrap_or_default(), port));
    }
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    match processes().into_iter().find(|&pid| has_open(pid, &links)) {
        Some(pid) => format!("process {pid} ({})", command(pid)),
        None => "a process of another user (root can see which)".into(),
    }
}

/// The inodes of the sockets that listen on a port, out of one of the kernel's tables (proc_net_tcp(5)).
fn listeners(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    let listener = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == LISTEN;
        fields.get(9).filter(|_| listens)?.parse().ok()
    };
    table.lines().filter_map(listener).collect()
}

fn processes() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn has_open(pid: u32, links: &[String]) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|link| links.iter().any(|l| link.as_os_str() == l.as_str()))
}

fn command(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    match line.trim() {
        "" => fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().into(),
        line => line.chars().take(120).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_taken_port_names_its_owner() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = check_free(address, "port").unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{address} is taken by process {} (", std::process::id())),
            "{error}"
        );
        drop(listener);
        assert!(check_free(address, "port").is_ok());
    }

    #[test]
    fn a_socket_that_was_left_behind_is_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("private.sock");
        free_socket(&path, "socket").unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let error = free_socket(&path, "socket").unwrap_err().to_string();
        assert!(error.starts_with(&format!("unix:{} is taken", path.display())), "{error}");
        drop(listener);
        assert!(path.exists());
        free_socket(&path, "socket").unwrap();
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        let error = free_socket(&path, "socket").unwrap_err().to_string();
        assert!(error.starts_with("can't listen on unix:"), "{error}");
        assert!(path.exists());
    }

    #[test]
    fn connections_are_no_listeners() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
                     1: 0100007F:0BB8 0100007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n\
                     2: 0100007F:0BB9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1\n";
        assert_eq!(listeners(table, 3000), [111]);
    }
}
