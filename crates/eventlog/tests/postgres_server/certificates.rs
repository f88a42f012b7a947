//! Certificates of a test's own, in PEM.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509Builder, X509Name, X509};

pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

pub struct Issued {
    pub certificate: Vec<u8>,
    pub key: PKey<Private>,
}

impl Issued {
    pub fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().expect("PEM")
    }
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let make = || -> Result<_, ErrorStack> {
            let key = new_key()?;
            let (mut builder, name) = start(name, 1)?;
            builder.set_issuer_name(&name)?;
            builder.set_pubkey(&key)?;
            builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
            builder.sign(&key, MessageDigest::sha256())?;
            Ok(Authority { certificate: builder.build(), key })
        };
        make().expect("an authority")
    }

    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().expect("PEM")
    }

    /// A certificate for a user or a host, which is a name or an IP address.
    pub fn issue(&self, name: &str) -> Issued {
        self.issue_until(name, 1)
    }

    /// One that ends in so many days.
    pub fn issue_until(&self, name: &str, days: i64) -> Issued {
        let make = || -> Result<_, ErrorStack> {
            let key = new_key()?;
            let (mut builder, _) = start(name, days)?;
            builder.set_issuer_name(self.certificate.subject_name())?;
            builder.set_pubkey(&key)?;
            let mut alternative = SubjectAlternativeName::new();
            match name.parse::<std::net::IpAddr>() {
                Ok(_) => alternative.ip(name),
                Err(_) => alternative.dns(name),
            };
            let context = builder.x509v3_context(Some(&self.certificate), None);
            let alternative = alternative.build(&context)?;
            builder.append_extension(alternative)?;
            builder.sign(&self.key, MessageDigest::sha256())?;
            Ok(Issued { certificate: builder.build().to_pem()?, key })
        };
        make().expect("a certificate")
    }
}

fn new_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn start(name: &str, days: i64) -> Result<(X509Builder, X509Name), ErrorStack> {
    let mut subject = X509Name::builder()?;
    subject.append_entry_by_text("CN", name)?;
    let subject = subject.build();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a clock").as_secs() as i64;
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    let mut number = BigNum::new()?;
    number.rand(120, openssl::bn::MsbOption::MAYBE_ZERO, false)?;
    let number = number.to_asn1_integer()?;
    builder.set_serial_number(&number)?;
    builder.set_subject_name(&subject)?;
    let (from, to) = (now - 10 * 86_400, now + days * 86_400);
    let (from, to) = (Asn1Time::from_unix(from)?, Asn1Time::from_unix(to)?);
    builder.set_not_before(&from)?;
    builder.set_not_after(&to)?;
    Ok((builder, subject))
}

/// Writes a file with this mode, and answers its name.
pub fn write(folder: &Path, name: &str, contents: &[u8], mode: u32) -> String {
    let path = folder.join(name);
    fs::write(&path, contents).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
    path.display().to_string()
}
