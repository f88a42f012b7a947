//! What the connection string says about TLS, as libpq has it, and OpenSSL's settings for that.
//!
//! libpq takes files in the user's home where none is named, and ignores some that aren't of use. Here nothing counts that isn't
//! written, and what couldn't be honoured is refused: a string that names what to verify never ends
//! in a connection that isn't verified.
//!
//! <https://www.postgresql.org/docs/current/libpq-ssl.html>

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::X509;
use postgres_openssl::{set_postgresql_alpn, MakeTlsConnector};

use super::options::Options;

/// What is wrong with the options or their files.
type Wrong = String;

/// In the order of the protection that they give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    /// Never TLS.
    Disable,
    /// TLS where the server wants it.
    Allow,
    /// TLS where the server has it.
    Prefer,
    /// TLS with any certificate.
    Require,
    /// A certificate that comes from one of the roots.
    VerifyCa,
    /// One that is made out to the host's name besides.
    VerifyFull,
}

const MODES: [(&str, Mode); 6] = [
    ("disable", Mode::Disable),
    ("allow", Mode::Allow),
    ("prefer", Mode::Prefer),
    ("require", Mode::Require),
    ("verify-ca", Mode::VerifyCa),
    ("verify-full", Mode::VerifyFull),
];

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = MODES.iter().find(|(_, mode)| mode == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

#[derive(Debug)]
pub(super) struct Tls {
    pub mode: Mode,
    roots: Option<Roots>,
    client: Option<ClientFiles>,
    /// TLS without a question before it, `sslnegotiation=direct`.
    direct: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Roots {
    /// Those that OpenSSL finds by itself.
    System,
    File(String),
}

impl fmt::Display for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Roots::System => "system",
            Roots::File(path) => path,
        })
    }
}

/// The client's certificate and its key.
#[derive(Debug)]
struct ClientFiles {
    certificate: String,
    key: String,
}

impl Tls {
    /// Takes the options that are about TLS out, and looks into the files that they name.
    pub fn take(options: &mut Options) -> Result<Tls, Wrong> {
        let mode = options.take("sslmode")?.as_deref().map(parse_mode).transpose()?;
        let roots = take_file(options, "sslrootcert")?.map(|name| match name.as_str() {
            "system" => Roots::System,
            _ => Roots::File(name),
        });
        let mode = decide(mode, roots.as_ref())?;
        let files = (take_file(options, "sslcert")?, take_file(options, "sslkey")?);
        let client = match files {
            (Some(certificate), Some(key)) => Some(ClientFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err("sslcert without sslkey: name the key's file".into()),
            (None, Some(_)) => {
                return Err("sslkey without sslcert: name the certificate's file".into());
            }
        };
        let direct = match options.take("sslnegotiation")?.as_deref() {
            None | Some("postgres") => false,
            Some("direct") if mode >= Mode::Require => true,
            Some("direct") => {
                return Err(format!(
                    "sslnegotiation=direct needs TLS, which sslmode={mode} doesn't: use require or more"
                ));
            }
            Some(_) => return Err("sslnegotiation: use postgres or direct".into()),
        };
        let tls = Tls { mode, roots, client, direct };
        tls.connector()?;
        Ok(tls)
    }

    pub fn verifies(&self) -> bool {
        self.mode >= Mode::VerifyCa
    }

    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// What to look at when the server's certificate isn't accepted.
    pub fn advice(&self) -> String {
        let roots = self.roots.as_ref().map(ToString::to_string).unwrap_or_default();
        let names = match self.mode {
            Mode::VerifyFull => ", and for the name that host= has",
            _ => "",
        };
        format!(
            "sslmode={} accepts certificates from the roots in sslrootcert={roots}{names}",
            self.mode
        )
    }

    /// Reads the files, which may have been renewed since the last time.
    pub fn connector(&self) -> Result<MakeTlsConnector, Wrong> {
        let failed = |error: ErrorStack| format!("TLS: {error}");
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed)?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(failed)?;
        if self.direct {
            set_postgresql_alpn(&mut builder).map_err(failed)?;
        }
        // In place of the store that the builder comes with, which has the system's roots.
        builder.set_cert_store(match &self.roots {
            Some(roots) => roots.store()?,
            None => X509StoreBuilder::new().map_err(failed)?.build(),
        });
        builder.set_verify(match self.verifies() {
            true => SslVerifyMode::PEER,
            false => SslVerifyMode::NONE,
        });
        if let Some(files) = &self.client {
            let ClientFiles { certificate, key } = files;
            let mut certificates = certificates("sslcert", certificate)?.into_iter();
            let own_key = private_key(key)?;
            if let Some(own) = certificates.next() {
                if !own.public_key().map_err(failed)?.public_eq(&own_key) {
                    return Err(format!(
                        "sslkey: {key:?} is not the key of the certificate in {certificate:?}"
                    ));
                }
                builder.set_certificate(&own).map_err(failed)?;
                builder.set_private_key(&own_key).map_err(failed)?;
            }
            for issuer in certificates {
                builder.add_extra_chain_cert(issuer).map_err(failed)?;
            }
        }
        let mut tls = MakeTlsConnector::new(builder.build());
        let verify_hostname = self.mode == Mode::VerifyFull;
        tls.set_callback(move |connection, _| {
            connection.set_verify_hostname(verify_hostname);
            Ok(())
        });
        Ok(tls)
    }
}

fn parse_mode(text: &str) -> Result<Mode, Wrong> {
    let known = MODES.iter().find(|(name, _)| *name == text).map(|(_, mode)| *mode);
    known.ok_or_else(|| {
        let names: Vec<&str> = MODES.iter().map(|(name, _)| *name).collect();
        format!("sslmode={text:?} is unknown: use {}", names.join(", "))
    })
}

fn take_file(options: &mut Options, key: &str) -> Result<Option<String>, Wrong> {
    match options.take(key)? {
        Some(name) if name.is_empty() => {
            Err(format!("{key} is empty: name a file, or leave {key} out"))
        }
        name => Ok(name),
    }
}

/// The mode that counts: roots that are named are there to verify with.
fn decide(mode: Option<Mode>, roots: Option<&Roots>) -> Result<Mode, Wrong> {
    match (mode, roots) {
        (None, Some(Roots::System)) => Ok(Mode::VerifyFull),
        (Some(Mode::VerifyFull), Some(_)) => Ok(Mode::VerifyFull),
        (Some(mode), Some(Roots::System)) => Err(format!(
            "sslrootcert=system with sslmode={mode}: anybody can have a certificate from those \
             roots, use sslmode=verify-full"
        )),
        (Some(Mode::Require | Mode::VerifyCa), Some(_)) => Ok(Mode::VerifyCa),
        (mode, Some(_)) => Err(format!(
            "sslrootcert with sslmode={}, which verifies nothing: use verify-full",
            mode.unwrap_or(Mode::Prefer)
        )),
        (Some(mode @ (Mode::VerifyCa | Mode::VerifyFull)), None) => Err(format!(
            "sslmode={mode} needs roots: add sslrootcert=FILE, or sslmode=verify-full with \
             sslrootcert=system"
        )),
        (mode, None) => Ok(mode.unwrap_or(Mode::Prefer)),
    }
}

impl Roots {
    fn store(&self) -> Result<X509Store, Wrong> {
        let failed = |error: ErrorStack| format!("sslrootcert: {self}: {error}");
        let mut store = X509StoreBuilder::new().map_err(failed)?;
        match self {
            Roots::System => store.set_default_paths().map_err(failed)?,
            Roots::File(path) => {
                for root in certificates("sslrootcert", path)? {
                    store.add_cert(root).map_err(failed)?;
                }
            }
        }
        Ok(store.build())
    }
}

fn certificates(key: &str, path: &str) -> Result<Vec<X509>, Wrong> {
    let (pem, _) = read(key, path)?;
    let certificates = X509::stack_from_pem(&pem)
        .map_err(|error| format!("{key}: {path:?} holds a certificate that is none: {error}"))?;
    match certificates.is_empty() {
        true => Err(format!("{key}: {path:?} holds no certificate in PEM")),
        false => Ok(certificates),
    }
}

/// The key, which others mustn't be able to read. As in libpq, a group may that the superuser has let in.
fn private_key(path: &str) -> Result<PKey<Private>, Wrong> {
    let (bytes, metadata) = read("sslkey", path)?;
    let (forbidden, help) = match metadata.uid() {
        0 => (0o037, "0640"),
        _ => (0o077, "0600"),
    };
    if metadata.mode() & forbidden != 0 {
        return Err(format!("sslkey: {path:?} is open to others: chmod it to {help} or less"));
    }
    let mut has_passphrase = false;
    let key = PKey::private_key_from_pem_callback(&bytes, |_| {
        has_passphrase = true;
        Err(ErrorStack::get())
    });
    if has_passphrase {
        return Err(format!(
            "sslkey: {path:?} has a passphrase: store the key without one (openssl pkey -in FILE)"
        ));
    }
    key.or_else(|_| PKey::private_key_from_der(&bytes))
        .map_err(|error| format!("sslkey: {path:?} holds no private key: {error}"))
}

/// A regular file: another kind might have nothing to read, and keep its reader waiting.
fn read(key: &str, path: &str) -> Result<(Vec<u8>, Metadata), Wrong> {
    let failed = |error: io::Error| format!("{key}: {path:?} can't be read: {error}");
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("{key}: {path:?} is no regular file"));
    }
    Ok((fs::read(path).map_err(failed)?, metadata))
}
