//! `sslmode` and what belongs to it, against a server with certificates of the test's own.

mod postgres_server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eventlog::{Driver, Error, EventLog, Invalid, Limits, Result};
use openssl::symm::Cipher;
use postgres_server::certificates::{write, Authority, Issued};
use postgres_server::connect;
use postgres_server::own::OwnServer;

/// Who may connect how; the roles are named so.
const HBA: &str = "
host      all postgres   127.0.0.1/32 trust
hostssl   all only_tls   127.0.0.1/32 trust
hostnossl all only_plain 127.0.0.1/32 trust
hostssl   all with_cert  127.0.0.1/32 trust clientcert=verify-full
";

fn start(certificate: &Issued, clients: &Authority) -> OwnServer {
    let server = OwnServer::start();
    for role in ["only_tls", "only_plain", "with_cert"] {
        let sql = format!("CREATE ROLE {role} LOGIN SUPERUSER");
        connect(&server.conninfo()).batch_execute(&sql).expect("made");
    }
    certify(&server, certificate, clients);
    server
}

fn certify(server: &OwnServer, certificate: &Issued, clients: &Authority) {
    let (key, clients) = (certificate.key_pem(), clients.pem());
    let files: [(&str, &[u8]); 3] =
        [("tls.crt", &certificate.certificate), ("tls.key", &key), ("clients.crt", &clients)];
    let settings = "ssl = on\nssl_cert_file = 'tls.crt'\nssl_key_file = 'tls.key'\n\
                    ssl_ca_file = 'clients.crt'";
    server.configure(&files, settings, HBA);
}

fn open(conninfo: &str) -> Result<Arc<dyn EventLog>> {
    let limits = Limits { append_timeout: Duration::from_secs(4), ..Limits::default() };
    eventlog::open(&Driver::Postgres { conninfo: conninfo.to_owned() }, limits)
}

/// What a log that is opened with these key words does: whether its connections are encrypted, or why it has none.
fn attempt(server: &OwnServer, options: &str) -> std::result::Result<bool, String> {
    let user = if options.contains("user=") { "" } else { "user=postgres" };
    let text = format!("port={} dbname=postgres {user} {options}", server.port());
    let log = open(&format!("{text} application_name=tested")).expect(options);
    log.topics().map_err(|error| {
        assert!(matches!(error, Error::Unavailable { .. }), "{options}: {error}");
        error.to_string()
    })?;
    let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
               WHERE application_name = 'tested'";
    let row = connect(&server.conninfo()).query_one(sql, &[]).expect("a row");
    Ok(row.get::<_, Option<bool>>(0).expect("connected"))
}

#[track_caller]
fn accepted(server: &OwnServer, options: &str, encrypted: bool) {
    assert_eq!(attempt(server, options), Ok(encrypted), "{options}");
    // Until the server has noticed that this one has gone.
    let others = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tested'";
    let mut client = connect(&server.conninfo());
    while client.query_one(others, &[]).expect("a row").get::<_, i64>(0) > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn refused(server: &OwnServer, options: &str, named: &str) {
    let error = attempt(server, options).expect_err(options);
    assert!(error.contains(named), "{options}: {error}");
}

const UNTRUSTED: &str = "certificate verify failed";

#[test]
fn each_mode_accepts_and_refuses_as_libpq_does() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = start(&ours.issue("localhost"), &ours);
    let folder = tempfile::tempdir().expect("a folder");
    let pem = |name: &str, contents: &[u8]| write(folder.path(), name, contents, 0o644);
    let root = pem("root's own.pem", &ours.pem()).replace('\'', "\\'");
    let other = pem("other.pem", &theirs.pem());
    let both = pem("both.pem", &[theirs.pem(), ours.pem()].concat());

    // No verification: by what the server lets in.
    accepted(&server, "host=127.0.0.1 sslmode=disable", false);
    accepted(&server, "host=127.0.0.1 sslmode=allow", false);
    accepted(&server, "host=127.0.0.1", true);
    accepted(&server, "host=127.0.0.1 sslmode=prefer", true);
    accepted(&server, "host=127.0.0.1 sslmode=require", true);
    accepted(&server, "host=127.0.0.1 sslmode=allow user=only_tls", true);
    accepted(&server, "host=127.0.0.1 sslmode=prefer user=only_plain", false);
    accepted(&server, "hostaddr=127.0.0.1 sslmode=require", true);
    refused(&server, "host=127.0.0.1 sslmode=disable user=only_tls", "pg_hba.conf");
    refused(&server, "host=127.0.0.1 sslmode=require user=only_plain", "pg_hba.conf");

    // The chain only.
    for mode in ["sslmode=verify-ca", "sslmode=require"] {
        accepted(&server, &format!("host=127.0.0.1 {mode} sslrootcert='{root}'"), true);
        accepted(&server, &format!("host=127.0.0.1 {mode} sslrootcert={both}"), true);
        refused(&server, &format!("host=localhost {mode} sslrootcert={other}"), UNTRUSTED);
        refused(&server, &format!("host=localhost {mode} sslrootcert={other}"), "sslrootcert=");
    }
    refused(
        &server,
        &format!("host=localhost sslmode=verify-ca sslrootcert='{root}' user=only_plain"),
        "pg_hba.conf",
    );

    // The name as well.
    let full = format!("sslmode=verify-full sslrootcert='{root}'");
    accepted(&server, &format!("host=localhost {full}"), true);
    accepted(&server, &format!("host=localhost hostaddr=127.0.0.1 {full}"), true);
    refused(&server, &format!("host=127.0.0.1 {full}"), UNTRUSTED);
    refused(&server, &format!("hostaddr=127.0.0.1 {full}"), UNTRUSTED);
    refused(&server, &format!("host=db.example hostaddr=127.0.0.1 {full}"), "host=");
    refused(&server, &format!("host=localhost sslmode=verify-full sslrootcert={other}"), UNTRUSTED);
    // The system's roots haven't signed it, whatever its name is.
    refused(&server, "host=localhost sslrootcert=system", UNTRUSTED);
    refused(&server, "host=localhost sslmode=verify-full sslrootcert=system", "sslrootcert=system");

    // A host that doesn't pass isn't the end of the list.
    accepted(&server, &format!("host=127.0.0.1,localhost {full}"), true);
}

/// OpenSSL finds the system's roots by the environment, which only a process of its own can change.
#[test]
fn the_systems_roots_are_trusted_for_the_hosts_that_they_certify() {
    const CHILD: &str = "SPACER_TEST_SYSTEM_ROOTS";
    if let Ok(port) = std::env::var(CHILD) {
        let connected = |options: &str| {
            let text = format!("port={port} user=postgres dbname=postgres {options}");
            open(&text).and_then(|log| log.topics())
        };
        connected("host=localhost sslrootcert=system").expect("connected");
        connected("host=localhost sslrootcert=system sslmode=verify-full").expect("connected");
        let error = connected("host=127.0.0.1 sslrootcert=system").expect_err("another name");
        assert!(error.to_string().contains(UNTRUSTED), "{error}");
        // They aren't trusted beside a file's.
        let folder = tempfile::tempdir().expect("a folder");
        let other = write(folder.path(), "other.pem", &Authority::new("theirs").pem(), 0o644);
        let file = format!("host=localhost sslmode=verify-full sslrootcert={other}");
        let error = connected(&file).expect_err("another root");
        assert!(error.to_string().contains(UNTRUSTED), "{error}");
        return;
    }
    let ours = Authority::new("ours");
    let server = start(&ours.issue("localhost"), &ours);
    let folder = tempfile::tempdir().expect("a folder");
    let root = write(folder.path(), "root.pem", &ours.pem(), 0o644);
    let mut child = std::process::Command::new(std::env::current_exe().expect("a program"));
    child.args(["--exact", "the_systems_roots_are_trusted_for_the_hosts_that_they_certify"]);
    child.env(CHILD, server.port().to_string()).env("SSL_CERT_FILE", root);
    let output = child.output().expect("run");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_certificate_for_another_host_or_of_the_past_is_refused_and_one_for_an_address_is_not() {
    let ours = Authority::new("ours");
    let server = start(&ours.issue("db.example"), &ours);
    let folder = tempfile::tempdir().expect("a folder");
    let root = write(folder.path(), "root.pem", &ours.pem(), 0o644);
    let with = |host: &str, mode: &str| format!("{host} sslmode={mode} sslrootcert={root}");

    refused(&server, &with("host=localhost", "verify-full"), "sslmode=verify-full accepts");
    accepted(&server, &with("host=localhost", "verify-ca"), true);
    accepted(&server, &with("host=db.example hostaddr=127.0.0.1", "verify-full"), true);

    certify(&server, &ours.issue("127.0.0.1"), &ours);
    accepted(&server, &with("host=127.0.0.1", "verify-full"), true);
    accepted(&server, &with("hostaddr=127.0.0.1", "verify-full"), true);
    refused(&server, &with("host=localhost", "verify-full"), UNTRUSTED);

    certify(&server, &ours.issue_until("localhost", -1), &ours);
    refused(&server, &with("host=localhost", "verify-full"), "expired");
    refused(&server, &with("host=localhost", "verify-ca"), "expired");
    accepted(&server, "host=localhost sslmode=require", true);
}

#[test]
fn a_server_without_tls_gets_only_connections_that_may_go_without() {
    let server = OwnServer::start();
    let ours = Authority::new("ours");
    let folder = tempfile::tempdir().expect("a folder");
    let root = write(folder.path(), "root.pem", &ours.pem(), 0o644);
    accepted(&server, "host=localhost sslmode=prefer", false);
    accepted(&server, "host=localhost sslmode=allow", false);
    for options in [
        "sslmode=require".to_owned(),
        format!("sslmode=require sslrootcert={root}"),
        format!("sslmode=verify-ca sslrootcert={root}"),
        format!("sslmode=verify-full sslrootcert={root}"),
        "sslrootcert=system".to_owned(),
    ] {
        refused(&server, &format!("host=localhost {options}"), "does not support TLS");
    }
}

#[test]
fn a_client_shows_its_certificate_where_the_server_asks_for_one() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = start(&ours.issue("localhost"), &ours);
    let folder = tempfile::tempdir().expect("a folder");
    let root = write(folder.path(), "root.pem", &ours.pem(), 0o644);
    let files = |name: &str, issued: &Issued| {
        let certificate = write(folder.path(), name, &issued.certificate, 0o644);
        let key = write(folder.path(), &format!("{name}.key"), &issued.key_pem(), 0o600);
        format!("sslcert={certificate} sslkey={key}")
    };
    let right = files("right", &ours.issue("with_cert"));
    let other_name = files("name", &ours.issue("somebody"));
    let other_issuer = files("issuer", &theirs.issue("with_cert"));
    let user = "host=localhost user=with_cert";

    for tls in [
        format!("sslmode=verify-full sslrootcert={root}"),
        "sslmode=require".into(),
        "sslmode=prefer".into(),
        "sslmode=allow".into(),
    ] {
        accepted(&server, &format!("{user} {tls} {right}"), true);
    }
    refused(&server, &format!("{user} sslmode=require"), "client certificate");
    refused(&server, &format!("{user} sslmode=require {other_name}"), "authentication failed");
    // The server's reason may be lost behind its end of the connection.
    let reason = "communicating with the server";
    refused(&server, &format!("{user} sslmode=require {other_issuer}"), reason);
    refused(&server, &format!("{user} sslmode=disable {right}"), "pg_hba.conf");

    // The URL, with a file whose name is encoded.
    let issued = ours.issue("with_cert");
    write(folder.path(), "a&b@c d.pem", &issued.certificate, 0o644);
    let key = write(folder.path(), "key", &issued.key_pem(), 0o600);
    let url = format!(
        "postgresql://with_cert@localhost:{}/postgres?sslmode=verify-full&sslrootcert={root}\
         &sslkey={key}&sslcert={}/a%26b@c%20d.pem",
        server.port(),
        folder.path().display()
    );
    open(&url).and_then(|log| log.topics()).expect("connected");
}

#[test]
fn files_are_read_for_each_connection() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = start(&ours.issue("localhost"), &ours);
    let folder = tempfile::tempdir().expect("a folder");
    let root = write(folder.path(), "root.pem", &theirs.pem(), 0o644);
    let text = format!("host=localhost port={} user=postgres dbname=postgres", server.port());
    let log = open(&format!("{text} sslmode=verify-full sslrootcert={root}")).expect("opened");
    let failed = || log.topics().expect_err("no connection").to_string();
    assert!(failed().contains(UNTRUSTED));
    std::fs::remove_file(&root).expect("removed");
    std::thread::sleep(Duration::from_millis(500));
    let error = failed();
    assert!(error.contains("sslrootcert") && error.contains("can't be read"), "{error}");
    write(folder.path(), "root.pem", &ours.pem(), 0o644);
    std::thread::sleep(Duration::from_millis(500));
    log.topics().expect("connected");
}

#[test]
fn files_that_cannot_be_used_are_refused_by_name_when_the_log_is_opened() {
    let ours = Authority::new("ours");
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, contents: &[u8], mode: u32| write(folder.path(), name, contents, mode);
    let issued = ours.issue("me");
    let key = issued.key_pem();
    let cipher = Cipher::aes_256_cbc();
    let locked = issued.key.private_key_to_pem_pkcs8_passphrase(cipher, b"secret").expect("PEM");
    let root = file("root", &ours.pem(), 0o644);
    let certificate = file("certificate", &issued.certificate, 0o644);
    let none = format!("{}/none", folder.path().display());
    let empty = file("empty", b"", 0o600);
    let garbage =
        file("garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0o600);
    let with_key = |key: &str| format!("sslmode=require sslcert={certificate} sslkey={key}");
    let with_root = |root: &str| format!("sslmode=verify-full sslrootcert={root}");
    for (options, named, reason) in [
        (with_root(&none), "sslrootcert: \"/", "can't be read: No such file"),
        (with_root(&empty), "/empty", "no certificate"),
        (with_root(&garbage), "/garbage", "certificate that is none"),
        (with_root(&file("key", &key, 0o644)), "/key", "no certificate"),
        (format!("sslcert={none} sslkey={none}"), "sslcert: \"/", "can't be read"),
        (with_key(&none), "sslkey: \"/", "can't be read"),
        (with_key(&empty), "/empty", "no private key"),
        (with_key(&file("locked", &locked, 0o600)), "/locked", "has a passphrase"),
        (with_key(&file("open", &key, 0o644)), "/open", "open to others"),
        (
            with_key(&file("another", &ours.issue("me").key_pem(), 0o600)),
            "/another",
            "is not the key of",
        ),
        (with_key(&folder.path().display().to_string()), "sslkey: \"/", "no regular file"),
    ] {
        let error = open(&format!("host=localhost {options}")).err();
        let Some(Error::Invalid(Invalid::Conninfo(text))) = &error else {
            panic!("{options}: {error:?}");
        };
        assert!(text.contains(named) && text.contains(reason), "{text}");
    }
    let der = issued.key.private_key_to_der().expect("DER");
    let good = file("der", &der, if is_root(folder.path()) { 0o640 } else { 0o600 });
    open(&format!("host=localhost {} sslrootcert={root}", with_key(&good))).expect("opened");
}

/// A group may read a key that is root's.
fn is_root(folder: &Path) -> bool {
    std::fs::metadata(folder).is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}
