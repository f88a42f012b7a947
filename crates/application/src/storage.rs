//! Which store holds the event log: the entries of `logStorage`.

use std::fmt;
use std::path::{Path, PathBuf};

use eventlog::Driver;

use crate::file::{Scalar, StorageEntry, Table};
use crate::locate::Step;
use crate::read::{Reader, Refused};

/// An entry of `logStorage`. Printed for debugging, it keeps passwords to itself, as the event log does.
#[derive(Clone, PartialEq, Eq)]
pub enum Storage {
    /// In one process only, for tests.
    Memory,
    /// A database file; the path is absolute if the project's is.
    Sqlite { path: PathBuf },
    /// A connection string as libpq takes it.
    Postgres { conninfo: String },
    /// `brokers` are `host:port`; `properties` are settings of librdkafka.
    Kafka { brokers: Vec<String>, app_name: String, properties: Vec<(String, String)> },
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.driver().fmt(f)
    }
}

impl Storage {
    /// The database in the project's folder, for an environment that `logStorage` doesn't name.
    pub fn embedded(project: &Path, environment: &str) -> Storage {
        Storage::Sqlite { path: project.join("data").join(format!("{environment}.db")) }
    }

    /// As the file writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Storage::Memory => "memory",
            Storage::Sqlite { .. } => "sqlite",
            Storage::Postgres { .. } => "postgres",
            Storage::Kafka { .. } => "kafka",
        }
    }

    /// What the event log is opened with.
    pub fn driver(&self) -> Driver {
        match self.clone() {
            Storage::Memory => Driver::Memory,
            Storage::Sqlite { path } => Driver::Sqlite { path },
            Storage::Postgres { conninfo } => Driver::Postgres { conninfo },
            Storage::Kafka { brokers, app_name, properties } => {
                Driver::Kafka { brokers, app_name, properties }
            }
        }
    }
}

/// The drivers, and the keys that each has beside `driver`.
const DRIVERS: [(&str, &[&str]); 4] = [
    ("sqlite", &["path"]),
    ("postgres", &["connString"]),
    ("kafka", &["brokers", "properties"]),
    ("memory", &[]),
];

impl StorageEntry {
    pub fn read(
        self,
        reader: &Reader<'_>,
        environment: &str,
        app_name: &str,
    ) -> Result<Storage, Refused> {
        let entry = Entry { reader, environment };
        let driver = entry.text("driver", &self.driver)?;
        let Some((driver, keys)) = DRIVERS.iter().find(|(name, _)| *name == driver) else {
            let message = format!("driver {driver:?}: use sqlite, postgres, kafka or memory");
            return Err(entry.wrong(Step::Value("driver"), message));
        };
        let written = [
            ("path", self.path.is_some()),
            ("connString", self.conn_string.is_some()),
            ("brokers", self.brokers.is_some()),
            ("properties", self.properties.is_some()),
        ];
        if let Some((key, _)) = written.iter().find(|(key, is)| *is && !keys.contains(key)) {
            let message = format!("{key} does not belong to driver {driver}: remove one of them");
            return Err(entry.wrong(Step::Key(key), message));
        }
        match *driver {
            "sqlite" => match self.path {
                Some(path) => {
                    let path = reader.project.join(entry.filled("path", &path)?);
                    Ok(Storage::Sqlite { path })
                }
                None => Ok(Storage::embedded(reader.project, environment)),
            },
            "postgres" => {
                let conninfo = self
                    .conn_string
                    .ok_or_else(|| entry.missing("connString", "postgres://user@host/database"))?;
                Ok(Storage::Postgres { conninfo: entry.filled("connString", &conninfo)? })
            }
            "kafka" => {
                if app_name.is_empty() {
                    let message = "driver kafka needs appName, which its topics' names begin with";
                    return Err(entry.wrong(Step::Value("driver"), message.into()));
                }
                let brokers = entry.brokers(&self.brokers.unwrap_or_default())?;
                let properties = entry.properties(self.properties)?;
                Ok(Storage::Kafka { brokers, app_name: app_name.into(), properties })
            }
            _ => Ok(Storage::Memory),
        }
    }
}

/// An entry's place.
struct Entry<'a> {
    reader: &'a Reader<'a>,
    environment: &'a str,
}

impl Entry<'_> {
    fn place<'b>(&'b self, step: Step<'b>) -> [Step<'b>; 3] {
        [Step::Value("logStorage"), Step::Value(self.environment), step]
    }

    fn wrong(&self, step: Step<'_>, message: String) -> Refused {
        self.reader.wrong(&self.place(step), message).into()
    }

    fn text(&self, key: &str, value: &str) -> Result<String, Refused> {
        self.reader.text(&self.place(Step::Value(key)), value)
    }

    /// A value that may not be empty.
    fn filled(&self, key: &str, value: &str) -> Result<String, Refused> {
        match self.text(key, value)? {
            text if text.is_empty() => {
                Err(self
                    .wrong(Step::Value(key), format!("{key} is empty: fill it in, or remove it")))
            }
            text => Ok(text),
        }
    }

    fn missing(&self, key: &str, example: &str) -> Refused {
        self.wrong(Step::Value("driver"), format!("{key} is missing, such as {example}"))
    }

    fn brokers(&self, written: &[String]) -> Result<Vec<String>, Refused> {
        let mut brokers = Vec::new();
        for (i, broker) in written.iter().enumerate() {
            let [storage, environment, key] = self.place(Step::Value("brokers"));
            let place = [storage, environment, key, Step::Item(i)];
            // A variable may hold several.
            for broker in self.reader.text(&place, broker)?.split(',').map(str::trim) {
                let port = |text: &str| text.parse::<u16>().is_ok_and(|port| port != 0);
                let good =
                    broker.rsplit_once(':').is_some_and(|(host, p)| !host.is_empty() && port(p));
                if !good {
                    let message =
                        format!("broker {broker:?}: use HOST:PORT, such as localhost:9092");
                    return Err(self.reader.wrong(&place, message).into());
                }
                brokers.push(broker.to_owned());
            }
        }
        match brokers.is_empty() {
            true => Err(self.missing("brokers", "[\"localhost:9092\"]")),
            false => Ok(brokers),
        }
    }

    fn properties(&self, written: Option<Table<Scalar>>) -> Result<Vec<(String, String)>, Refused> {
        let mut properties = Vec::new();
        for (name, Scalar(value)) in written.map(|table| table.0).unwrap_or_default() {
            let [storage, environment, key] = self.place(Step::Value("properties"));
            let place = [storage, environment, key, Step::Value(&name)];
            let value = self.reader.text(&place, &value)?;
            properties.push((name, value));
        }
        Ok(properties)
    }
}
