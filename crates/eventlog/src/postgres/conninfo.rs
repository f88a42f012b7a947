//! The connection string: what is taken from it, what is refused because it couldn't be honoured, and how its hosts are
//! tried.

use std::error::Error as _;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use postgres_openssl::{MakeTlsConnector, TlsStream};
use tokio::time::timeout;
use tokio_postgres::config::{LoadBalanceHosts, SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Connection, Socket};

use super::connection::{describe, Failure};
use super::options::Options;
use super::tls::{Mode, Tls};
use crate::{Invalid, Result};

const PORT: u16 = 5432;

pub(super) struct Conninfo {
    /// All but the hosts.
    config: Config,
    addresses: Vec<Address>,
    tls: Tls,
    /// How long a server is waited for.
    pub patience: Duration,
    /// Host, port and database: for messages.
    pub store: String,
}

/// One of the hosts that are named.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    /// A name, an address, or the folder of a socket. The server's certificate is made out to it.
    host: String,
    /// Where the host is, so that its name isn't looked up.
    hostaddr: Option<IpAddr>,
    port: u16,
}

type Connected = (Client, Connection<Socket, TlsStream<Socket>>);

impl Conninfo {
    /// A server that doesn't answer is given up after `patience`, or earlier if the string says so.
    pub fn parse(text: &str, patience: Duration) -> Result<Conninfo> {
        let refused = |wrong: String| Invalid::Conninfo(wrong);
        let mut options = Options::parse(text).map_err(refused)?;
        let addresses = take_addresses(&mut options).map_err(refused)?;
        let tls = Tls::take(&mut options).map_err(refused)?;
        if tls.verifies() {
            if let Some(socket) = addresses.iter().find(|address| address.is_socket()) {
                let (host, mode) = (&socket.host, tls.mode);
                let help = "there is no TLS on a socket, use require or less";
                return Err(refused(format!("sslmode={mode} with host={host}: {help}")).into());
            }
        }
        // Milliseconds, which tokio-postgres would take for seconds.
        let user_timeout = options.take("tcp_user_timeout").map_err(refused)?;
        let user_timeout = user_timeout.map(|text| text.parse::<u64>()).transpose();
        let user_timeout = user_timeout
            .map_err(|_| refused("tcp_user_timeout is no number of milliseconds".into()))?;
        let mut config = Config::from_str(&options.to_key_words()).map_err(|error| {
            refused(error.source().map_or_else(|| error.to_string(), ToString::to_string))
        })?;
        if let Some(password) = &options.password {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name("spacer");
        }
        if tls.is_direct() {
            config.ssl_negotiation(SslNegotiation::Direct);
        }
        // Without it a server whose machine has gone is noticed after a quarter of an hour.
        let user_timeout = user_timeout.filter(|millis| *millis > 0).map(Duration::from_millis);
        config.tcp_user_timeout(user_timeout.unwrap_or(patience));
        if config.get_keepalives() {
            config.keepalives_idle(config.get_keepalives_idle().min(Duration::from_secs(30)));
        }
        let store = store(&options, &addresses);
        Ok(Conninfo { config, addresses, tls, patience, store })
    }

    /// A connection to the first host that gives one. Each gets its share of the time that is left.
    pub async fn connect(&self, deadline: Instant) -> Result<Connected, Failure> {
        let connector = self.tls.connector().map_err(Failure::Lost)?;
        let mut order: Vec<&Address> = self.addresses.iter().collect();
        if self.config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            let random = getrandom::u32().unwrap_or_default() as usize;
            order.rotate_left(random % self.addresses.len().max(1));
        }
        let mut failures: Vec<(&Address, Failure)> = Vec::new();
        for (tried, address) in order.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / (order.len() - tried) as u32;
            let share = self.config.get_connect_timeout().map_or(share, |limit| share.min(*limit));
            match timeout(share, self.connect_to(address, &connector)).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(failure)) => failures.push((address, failure)),
                Err(_) => {
                    let reason = format!("no connection within {share:.1?}");
                    failures.push((address, Failure::Lost(reason)));
                }
            }
        }
        match (failures.pop(), failures.is_empty()) {
            (Some((_, failure)), true) => Err(failure),
            (last, _) => {
                let texts = failures.into_iter().chain(last).map(|(address, failure)| {
                    format!("{}:{}: {}", address.host, address.port, failure.text())
                });
                Err(Failure::Lost(texts.collect::<Vec<_>>().join("; ")))
            }
        }
    }

    async fn connect_to(
        &self,
        address: &Address,
        connector: &MakeTlsConnector,
    ) -> Result<Connected, Failure> {
        let (first, second) = match self.tls.mode {
            // As libpq has it.
            _ if address.is_socket() => (SslMode::Disable, None),
            Mode::Disable => (SslMode::Disable, None),
            Mode::Allow => (SslMode::Disable, Some(SslMode::Require)),
            Mode::Prefer => (SslMode::Prefer, Some(SslMode::Disable)),
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => (SslMode::Require, None),
        };
        let failure = match self.attempt(address, first, connector).await {
            Ok(connected) => return Ok(connected),
            Err(failure) => failure,
        };
        // That is what a server says whose pg_hba.conf wants it the other way.
        let Some(second) = second
            .filter(|_| failure.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION))
        else {
            return Err(failure);
        };
        self.attempt(address, second, connector).await.map_err(|other| {
            let (text, mode) = (failure.text(), self.tls.mode);
            Failure::Lost(format!("{text}; the other way of sslmode={mode}: {}", other.text()))
        })
    }

    async fn attempt(
        &self,
        address: &Address,
        mode: SslMode,
        connector: &MakeTlsConnector,
    ) -> Result<Connected, Failure> {
        let mut config = self.config.clone();
        config.host(&address.host).port(address.port).ssl_mode(mode);
        if let Some(hostaddr) = address.hostaddr {
            config.hostaddr(hostaddr);
        }
        config.connect(connector.clone()).await.map_err(|error| {
            let text = describe(&error);
            match self.tls.verifies() && text.contains("certificate verify failed") {
                true => Failure::Lost(format!("{text}: {}", self.tls.advice())),
                false => error.into(),
            }
        })
    }
}

impl Address {
    fn is_socket(&self) -> bool {
        self.hostaddr.is_none() && self.host.starts_with('/')
    }
}

/// The lists of `host`, `hostaddr` and `port`, place by place.
fn take_addresses(options: &mut Options) -> Result<Vec<Address>, String> {
    let hosts = options.take_list("host");
    let hostaddrs = options.take_list("hostaddr");
    let ports = options.take_list("port");
    let count = hosts.len().max(hostaddrs.len());
    if count == 0 {
        return Err("no host is named: add host=".into());
    }
    for (name, list) in [("host", &hosts), ("hostaddr", &hostaddrs)] {
        if !list.is_empty() && list.len() != count {
            return Err(format!("{name} has {} elements, and not {count}", list.len()));
        }
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(format!("port has {} elements, and not 1 or {count}", ports.len()));
    }
    let address = |number: usize| {
        let hostaddr = hostaddrs.get(number).filter(|text| !text.is_empty());
        let hostaddr = hostaddr.map(|text| text.parse()).transpose();
        let hostaddr: Option<IpAddr> = hostaddr.map_err(|_| "hostaddr is no IP address")?;
        let host = hosts.get(number).filter(|host| !host.is_empty()).cloned();
        let host = host.or_else(|| hostaddr.map(|address| address.to_string()));
        let host = host.ok_or("no host is named: an element of host is empty")?;
        let port = ports.get(number).or(ports.first()).filter(|port| !port.is_empty());
        let port = port.map_or(Ok(PORT), |port| port.parse()).ok().filter(|port| *port > 0);
        // The number that isn't one may be the end of a password.
        let port = port.ok_or(
            "port is no number from 1 to 65535; in a URL, a password is percent-encoded: \"/\" is %2F",
        )?;
        Ok(Address { host, hostaddr, port })
    };
    (0..count).map(address).collect()
}

/// How messages name the database of a connection string, if they can.
pub(crate) fn store_of(text: &str) -> Option<String> {
    let mut options = Options::parse(text).ok()?;
    let addresses = take_addresses(&mut options).ok()?;
    Some(store(&options, &addresses))
}

fn store(options: &Options, addresses: &[Address]) -> String {
    let first = addresses.first().map(|first| format!("{}:{}", first.host, first.port));
    let database = options.get("dbname").or(options.get("user")).unwrap_or_default();
    format!("postgres://{}/{database}", first.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Conninfo> {
        Conninfo::parse(text, Duration::from_secs(5))
    }

    #[test]
    fn both_forms_name_the_same_store_and_never_the_password() {
        for text in [
            "postgres://me:secret@db.example:6000/events?sslmode=require",
            "host=db.example port=6000 user=me password=secret dbname=events sslmode=require",
            "postgres://me:%40secret@db.example:6000/events?application_name=a@b",
        ] {
            let store = parse(text).map(|conninfo| conninfo.store);
            assert_eq!(store, Ok("postgres://db.example:6000/events".into()));
        }
    }

    #[test]
    fn hosts_addresses_and_ports_belong_together_by_their_places() {
        let address = |host: &str, hostaddr: Option<&str>, port| Address {
            host: host.into(),
            hostaddr: hostaddr.and_then(|text| text.parse().ok()),
            port,
        };
        for (text, expected) in [
            ("host=a,b", vec![address("a", None, 5432), address("b", None, 5432)]),
            ("host=a,b port=7", vec![address("a", None, 7), address("b", None, 7)]),
            ("postgres://a:1,b:2,/", vec![]),
            ("postgres://a,[::1]:2/", vec![address("a", None, 5432), address("::1", None, 2)]),
            ("postgres://a/x?port=9", vec![address("a", None, 9)]),
            ("postgres:///x?host=/run/pg", vec![address("/run/pg", None, 5432)]),
            ("host=a hostaddr=10.0.0.1", vec![address("a", Some("10.0.0.1"), 5432)]),
            ("hostaddr=::1", vec![address("::1", Some("::1"), 5432)]),
            ("host=a,b hostaddr=::1", vec![]),
            ("host=a,b,c port=1,2", vec![]),
        ] {
            let addresses = parse(text).map(|conninfo| conninfo.addresses).unwrap_or_default();
            assert_eq!(addresses, expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (text, named) in [
            ("host=h sslcrl=/x", "sslcrl"),
            ("host=h sslpassword=x", "sslpassword"),
            ("host=h port=many", "port is no number"),
            ("postgres://u:x/secret", "percent-encoded"),
            ("dbname=x", "no host is named"),
            ("postgres://me:x@secret@h/db", "write %40"),
            ("postgres://me:x@secret/@h/db", "write %40"),
            ("postgres://me:?x@secret@h/db", "write %40"),
            ("postgres://me:5432/secret@h/db", "write %40"),
            ("host=h password=x://y@secret@z port='many'", "port"),
            ("host=h password='secret", "the quotes of password"),
            ("host=h tcp_user_timeout=1s", "tcp_user_timeout is no number"),
            ("host=h sslmode=verify", "sslmode=\"verify\" is unknown: use disable, allow"),
            ("host=h sslmode=", "sslmode=\"\" is unknown"),
            ("host=h sslmode=verify-full", "sslmode=verify-full needs roots"),
            ("host=h sslmode=verify-ca", "sslmode=verify-ca needs roots"),
            ("host=h sslmode=verify-full sslrootcert=", "sslrootcert is empty"),
            (
                "host=h sslmode=verify-full sslrootcert=/none.pem",
                "sslrootcert: \"/none.pem\" can't",
            ),
            ("host=h sslrootcert=/x", "sslmode=prefer, which verifies nothing"),
            ("host=h sslrootcert=/x sslmode=disable", "sslmode=disable, which verifies nothing"),
            ("host=h sslrootcert=system sslmode=verify-ca", "use sslmode=verify-full"),
            ("host=h sslrootcert=system sslmode=require", "use sslmode=verify-full"),
            ("host=h sslmode=verify-full sslmode=disable", "sslmode is written twice"),
            (
                "host=h sslmode=require sslrootcert=/a sslrootcert=/b",
                "sslrootcert is written twice",
            ),
            ("host=/run/pg,h sslrootcert=system", "no TLS on a socket"),
            ("host=h sslcert=/x", "sslcert without sslkey"),
            ("host=h sslkey=/x", "sslkey without sslcert"),
            ("host=h sslcert=/none.pem sslkey=/none.key", "sslcert: \"/none.pem\" can't"),
            ("host=h sslnegotiation=direct", "sslmode=prefer"),
        ] {
            let error = parse(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(named) && !error.contains("cret"), "{text}: {error}");
        }
    }

    #[test]
    fn the_mode_that_counts_is_the_one_that_verifies() {
        let root = tempfile::NamedTempFile::new().expect("a file");
        let key = openssl::rsa::Rsa::generate(2048).expect("a key");
        let key = openssl::pkey::PKey::from_rsa(key).expect("a key");
        let mut certificate = openssl::x509::X509::builder().expect("a builder");
        certificate.set_pubkey(&key).expect("set");
        let day = openssl::asn1::Asn1Time::days_from_now(1).expect("tomorrow");
        certificate.set_not_before(&day).and(certificate.set_not_after(&day)).expect("set");
        certificate.sign(&key, openssl::hash::MessageDigest::sha256()).expect("signed");
        let pem = certificate.build().to_pem().expect("PEM");
        std::fs::write(root.path(), pem).expect("written");
        let root = root.path().display();
        for (tls, mode) in [
            (String::new(), Mode::Prefer),
            ("sslmode=allow".into(), Mode::Allow),
            ("sslmode=require".into(), Mode::Require),
            (format!("sslmode=require sslrootcert={root}"), Mode::VerifyCa),
            (format!("sslmode=verify-ca sslrootcert={root}"), Mode::VerifyCa),
            (format!("sslmode=verify-full sslrootcert={root}"), Mode::VerifyFull),
            ("sslrootcert=system".into(), Mode::VerifyFull),
            ("sslmode=verify-full sslrootcert=system".into(), Mode::VerifyFull),
        ] {
            let parsed = parse(&format!("host=h {tls}")).map(|conninfo| conninfo.tls.mode);
            assert_eq!(parsed, Ok(mode), "{tls}");
        }
    }
}
