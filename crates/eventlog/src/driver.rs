//! Which store a log is opened in, and what may be said of it.

use std::fmt;
use std::path::PathBuf;

use crate::postgres;

/// Which store holds the log. Printed for debugging, it keeps passwords to itself.
#[derive(Clone, PartialEq, Eq)]
pub enum Driver {
    /// In this process only, and gone with it.
    Memory,
    /// A database file, made with its folder where it doesn't exist. Every process that may write the file's folder can
    /// share it. While the file can't be opened, calls fail with [`crate::Error::Unavailable`], and each tries again.
    Sqlite { path: PathBuf },
    /// A Kafka cluster. Topics are named `APPNAME_TOPIC` in it, or just `TOPIC` without an application name. The
    /// properties are librdkafka's, for TLS, SASL and tuning, and two more: `num.partitions` of the topics that are
    /// declared (default 12), and `group.id.prefix`, which goes before the names of groups.
    Kafka { brokers: Vec<String>, app_name: String, properties: Vec<(String, String)> },
    /// A PostgreSQL database, version 12 or newer, named by libpq's key words or URL, `sslmode`, `sslrootcert`, `sslcert`
    /// and `sslkey` included. As with libpq, the server's certificate is checked by `verify-ca` and `verify-full`, and
    /// by `require` with a root certificate.
    Postgres { conninfo: String },
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Driver::Memory => f.write_str("Memory"),
            Driver::Sqlite { path } => f.debug_struct("Sqlite").field("path", path).finish(),
            Driver::Kafka { brokers, app_name, properties } => {
                // Which properties are secret is librdkafka's to know, and grows with it.
                let names: Vec<&str> = properties.iter().map(|(name, _)| name.as_str()).collect();
                f.debug_struct("Kafka")
                    .field("brokers", brokers)
                    .field("app_name", app_name)
                    .field("properties", &names)
                    .finish()
            }
            Driver::Postgres { conninfo } => {
                let store = postgres::store_of(conninfo);
                let store = store.as_deref().unwrap_or("a connection string with a mistake");
                f.debug_struct("Postgres").field("conninfo", &store).finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let postgres = |conninfo: &str| Driver::Postgres { conninfo: conninfo.to_owned() };
        let properties = ["sasl.username", "sasl.password", "ssl.key.pem", "sasl.pasword"];
        let properties = properties.map(|name| (name.to_owned(), "s3cret".to_owned())).to_vec();
        let (brokers, app_name) = (vec!["db:9092".to_owned()], "shop".to_owned());
        for (driver, shown) in [
            (postgres("postgres://me:s3cret@db:6000/events"), "postgres://db:6000/events"),
            (postgres("host=db user=me password=s3cret"), "postgres://db:5432/me"),
            (postgres("postgres://me:x@s3cret@db/events"), "mistake"),
            (postgres("host=db password='s3cret"), "mistake"),
            (Driver::Kafka { brokers, app_name, properties }, "sasl.password"),
        ] {
            for printed in [format!("{driver:?}"), format!("{driver:#?}")] {
                assert!(!printed.contains("s3cret") && printed.contains(shown), "{printed}");
            }
        }
    }
}
