//! A cluster that wants TLS and a password.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use eventlog::{
    Append, AppendId, Driver, Error, EventLog, Limits, NewEvent, Outcome, Read, Result,
    Subscription, Topic,
};

/// The listener's address, the file of its authority, and the password of the user "spacer".
fn cluster() -> [String; 3] {
    let named = env::var("SPACER_TEST_KAFKA_SECURE").expect(
        "SPACER_TEST_KAFKA_SECURE is not set: run eval \"$(scripts/services start kafka)\" before the tests",
    );
    let parts: Vec<String> = named.split(' ').map(str::to_owned).collect();
    parts.try_into().expect("an address, a file and a password")
}

fn open(authority: Option<&str>, password: &str) -> Result<Arc<dyn EventLog>> {
    let mut properties = vec![
        ("security.protocol", "sasl_ssl"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "spacer"),
        ("sasl.password", password),
        ("num.partitions", "1"),
    ];
    properties.extend(authority.map(|file| ("ssl.ca.location", file)));
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let driver = Driver::Kafka {
        brokers: vec![cluster()[0].clone()],
        app_name: format!("t{}", &AppendId::random().to_string()[20..]),
        properties: properties.into_iter().map(owned).collect(),
    };
    let limits = Limits { append_timeout: Duration::from_secs(2), ..Limits::default() };
    eventlog::open(&driver, limits)
}

fn orders() -> Topic {
    Topic::new("orders").expect("a good name")
}

/// Every call fails as one does while the store is away, and says why, but not the password.
fn is_refused(log: &dyn EventLog, why: &str, password: &str) {
    let declared = log.declare(&[orders()]).expect_err("refused");
    let appended = log.append(Append::new(vec![NewEvent::new(&orders(), "a", "1")]));
    for error in [declared, appended.expect_err("refused")] {
        let text = error.to_string();
        assert!(matches!(error, Error::Unavailable { .. }), "{text}");
        assert!(text.contains(why), "{text}");
        assert!(!text.contains(password), "{text}");
    }
}

#[test]
fn who_has_the_password_appends_reads_and_consumes() {
    let [_, authority, password] = cluster();
    let (log, orders) = (open(Some(&authority), &password).expect("opened"), orders());
    log.declare(std::slice::from_ref(&orders)).expect("declared");
    log.append(Append::new(vec![NewEvent::new(&orders, "a", "1")])).expect("stored");
    assert_eq!(log.read(&orders, &Read::default()).expect("read").len(), 1);
    let subscription = Subscription::new("readers", std::slice::from_ref(&orders), "reader");
    let consumer = log.join(subscription).expect("joined");
    let delivered = consumer.claim(1, Duration::from_secs(20)).expect("claimed");
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0].event.key, "a");
    consumer.settle(&[(delivered[0].claim.clone(), Outcome::Finished)]).expect("settled");
    consumer.leave().expect("left");
    assert_eq!(log.offsets(&orders).expect("offsets")[0].groups[0].lag, 0);
}

#[test]
fn a_wrong_password_is_refused_by_name() {
    let log = open(Some(&cluster()[1]), "not this one").expect("opened");
    is_refused(&*log, "uthentication failed", "not this one");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let password = &cluster()[2];
    let log = open(None, password).expect("opened");
    is_refused(&*log, "certificate", password);
}
