//! The file as it is written: its keys, and the type of each value. A key without a value is as good as one left out.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

#[derive(Debug, serde::Deserialize)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    expecting = "a mapping that begins with spacerVersion: 1"
)]
pub struct File {
    pub spacer_version: Scalar,
    pub app_name: Option<String>,
    pub user: Option<String>,
    pub env_var: Option<Vec<String>>,
    pub topics: Option<Vec<String>>,
    pub events: Option<Events>,
    /// By environment.
    pub log_storage: Option<Table<StorageEntry>>,
    pub consumer_group: Option<String>,
    pub function_invoker: Option<String>,
    pub write_proxy_listen: Option<Scalar>,
    pub write_proxy_token: Option<String>,
    pub private_listen: Option<Scalar>,
    pub max_event_size: Option<Scalar>,
    pub append_timeout: Option<Scalar>,
    pub append_queue: Option<Scalar>,
    pub append_queue_size: Option<Scalar>,
    pub max_attempts: Option<Scalar>,
    pub trigger_concurrency: Option<Scalar>,
    pub retry_delay: Option<Scalar>,
    pub max_retry_delay: Option<Scalar>,
}

/// By topic.
pub type Events = Table<Option<Functions>>;
/// By kind of event.
pub type Functions = Table<Option<Vec<Chain>>>;

/// Functions that run one after the other, and where they begin: `a`, `[a, b]`, or `{function: a, from: now}`.
#[derive(Debug)]
pub struct Chain {
    pub functions: Vec<String>,
    pub from: Option<Scalar>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WithStart {
    function: Names,
    from: Option<Scalar>,
}

/// One name or several.
#[derive(Debug)]
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        let chain = Chain::deserialize(deserializer)?;
        match chain.from {
            None => Ok(Names(chain.functions)),
            Some(_) => Err(de::Error::custom("from belongs beside function")),
        }
    }
}

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Chain, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Chain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a function's name, a list of them, or a mapping with function and from",
                )
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Chain, E> {
                Ok(Chain { functions: vec![name.into()], from: None })
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Chain, A::Error> {
                let mut functions = Vec::new();
                while let Some(name) = seq.next_element()? {
                    functions.push(name);
                }
                Ok(Chain { functions, from: None })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Chain, A::Error> {
                let map = de::value::MapAccessDeserializer::new(map);
                let WithStart { function, from } = WithStart::deserialize(map)?;
                Ok(Chain { functions: function.0, from })
            }
        }
        deserializer.deserialize_any(Written)
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a mapping with driver")]
pub struct StorageEntry {
    pub driver: String,
    pub path: Option<String>,
    pub conn_string: Option<String>,
    pub brokers: Option<Vec<String>>,
    pub properties: Option<Table<Scalar>>,
}

/// A string, or a number as it would be written in one: `5s` and `5` are equally good times.
#[derive(Debug)]
pub struct Scalar(pub String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a number")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.into()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
            // Settings of the Kafka client are written `true` and `false`.
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// A mapping whose keys are the user's, in the order of the file. `distinct` has seen that none is there twice.
#[derive(Debug)]
pub struct Table<T>(pub Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Table<T>, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Table<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Table<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Table(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}
