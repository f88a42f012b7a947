//! The connection string: what is taken from it, and what is refused because it couldn't be honoured.

use std::error::Error as _;
use std::str::FromStr;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres::config::Host;
use postgres::Config;
use postgres_openssl::MakeTlsConnector;

use crate::{Invalid, Result};

pub(super) struct Conninfo {
    pub config: Config,
    pub tls: MakeTlsConnector,
    /// Host, port and database: for messages.
    pub store: String,
}

impl Conninfo {
    /// A server that doesn't answer is given up after `patience`, unless the string says otherwise.
    pub fn parse(text: &str, patience: Duration) -> Result<Conninfo> {
        let mut config = read(text)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(Invalid::Conninfo("no host is named: add host=".into()).into());
        }
        if config.get_application_name().is_none() {
            config.application_name("spacer");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(patience);
        }
        // Without these a server whose machine has gone is noticed after a quarter of an hour.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(patience);
        }
        if config.get_keepalives() {
            config.keepalives_idle(config.get_keepalives_idle().min(Duration::from_secs(30)));
        }
        let store = store(&config);
        Ok(Conninfo { config, tls: tls()?, store })
    }
}

/// How messages name the database of a connection string, if they can.
pub(crate) fn store_of(text: &str) -> Option<String> {
    read(text).ok().map(|config| store(&config))
}

fn read(text: &str) -> Result<Config> {
    // The first @ ends the password. Up to a second one its rest would be taken for the server's name, which is printed.
    let url = ["postgres://", "postgresql://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let address = url.and_then(|url| url.split_once('@')?.1.split('?').next());
    if address.is_some_and(|address| address.contains('@')) {
        let reason =
            "there is more than one @: write %40 for those of the user's name and password";
        return Err(Invalid::Conninfo(reason.into()).into());
    }
    Config::from_str(text).map_err(|error| refused(&error))
}

fn refused(error: &postgres::Error) -> crate::Error {
    let cause = error.source().map_or_else(|| error.to_string(), |source| source.to_string());
    let help = match cause.contains("`sslmode`") {
        true => "; use disable, prefer or require",
        false => "",
    };
    Invalid::Conninfo(format!("{cause}{help}")).into()
}

/// TLS as libpq's `prefer` and `require` have it: encrypted, with a certificate that isn't checked.
fn tls() -> Result<MakeTlsConnector> {
    let failed = |error: openssl::error::ErrorStack| Invalid::Conninfo(format!("TLS: {error}"));
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed)?;
    builder.set_verify(SslVerifyMode::NONE);
    let mut tls = MakeTlsConnector::new(builder.build());
    tls.set_callback(|connection, _| {
        connection.set_verify_hostname(false);
        Ok(())
    });
    Ok(tls)
}

fn store(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres://{host}:{port}/{database}")
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
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (text, named) in [
            ("host=h sslmode=verify-full", "`sslmode`; use disable, prefer or require"),
            ("host=h sslrootcert=/x", "sslrootcert"),
            ("host=h port=many", "port"),
            ("dbname=x", "no host is named"),
            ("postgres://me:x@secret@h/db", "write %40"),
            ("postgres://me:x@secret/@h/db", "write %40"),
            ("postgres://me:?x@secret@h/db", "write %40"),
            ("host=h password=x://y@secret@z port='many'", "port"),
            ("host=h password='secret", "quoted"),
        ] {
            let error = parse(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(named), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
