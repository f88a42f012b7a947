//! `config/application.yml`: what each key means, and what is said of a file that is wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use application::{Application, Error, Storage};
use eventlog::{Start, Timestamp};

fn env(name: &str) -> Option<String> {
    match name {
        "DB" => Some("postgres://shop@db1/shop".into()),
        "BROKERS" => Some("a:9092, b:9093".into()),
        "PORT" => Some("9066".into()),
        "ATTEMPTS" => Some("3".into()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Application, Error> {
    let text = format!("spacerVersion: 1\n{text}");
    Application::parse(&text, Path::new("/srv/shop"), "production", env)
}

#[track_caller]
fn accepted(text: &str) -> Application {
    parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The text begins in line 2.
#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = parse(text).expect_err("the file was accepted").to_string();
    assert_eq!(error, format!("config/application.yml:{expected}"));
}

#[test]
fn keys_without_a_value_are_as_good_as_left_out() {
    let defaults = Application::without_file(Path::new("/srv/shop"), "production");
    assert_eq!(accepted(""), defaults);
    let keys = "appName topics events envVar user logStorage consumerGroup functionInvoker writeProxyListen writeProxyToken privateListen maxEventSize \
                appendTimeout appendQueue appendQueueSize maxAttempts triggerConcurrency retryDelay maxRetryDelay";
    let empty: String = keys.split_whitespace().map(|key| format!("{key}:\n")).collect();
    assert_eq!(accepted(&empty), defaults);
    assert_eq!(accepted("topics: [users]\nevents: {users: }\n").triggers, []);
    assert_eq!(accepted("topics: [users]\nevents: {users: {APPEND: []}}\n").triggers, []);
}

#[test]
fn every_key_is_read() {
    let shop = accepted(
        "appName: shop\ntopics: [users, orders]\nevents:\n  orders:\n    APPEND: [bill, stock/count]\n  users: {APPEND: [greet]}\n\
         envVar: [A, B_2]\nuser: www-data\nconsumerGroup: billing\nfunctionInvoker: http://localhost:3000\nwriteProxyListen: ':9065'\n\
         maxEventSize: 512k\nappendTimeout: 500ms\nappendQueue: 20\nappendQueueSize: 32m\nmaxAttempts: 2\ntriggerConcurrency: 4\nretryDelay: 1s\nmaxRetryDelay: 2m\n",
    );
    assert_eq!((shop.app_name.as_str(), shop.user.as_deref()), ("shop", Some("www-data")));
    assert_eq!(shop.env_var, ["A", "B_2"]);
    let names: Vec<_> = shop.topics.iter().map(|topic| topic.as_str()).collect();
    assert_eq!(names, ["users", "orders"]);
    let triggers: Vec<_> =
        shop.triggers.iter().map(|t| (t.topic.as_str(), t.functions.join(" "), t.line)).collect();
    assert_eq!(
        triggers,
        [
            ("orders", "bill".into(), 5),
            ("orders", "stock/count".into(), 5),
            ("users", "greet".into(), 7)
        ]
    );
    assert_eq!(shop.groups(), ["billing:bill", "billing:stock/count", "billing:greet"]);
    assert_eq!(shop.consumer_group, "billing");
    assert_eq!(shop.write_proxy_listen, Some("127.0.0.1:9065".parse().unwrap()));
    assert_eq!((shop.limits.event_size, shop.limits.queue), (512 << 10, 20));
    assert_eq!(shop.limits.queue_size, 32 << 20);
    assert_eq!(shop.limits.append_timeout, Duration::from_millis(500));
    assert_eq!((shop.trigger.max_attempts, shop.trigger.concurrency), (2, 4));
    assert_eq!(shop.trigger.retry_delay, Duration::from_secs(1));
    assert_eq!(shop.trigger.max_retry_delay, Duration::from_secs(120));
}

#[test]
fn the_consumer_group_is_named_after_the_application() {
    assert_eq!(accepted("appName: shop\n").consumer_group, "spacer-shop");
    assert_eq!(accepted("").consumer_group, "spacer");
    refused("consumerGroup: ''\n", "2:16: consumerGroup is empty: name a group");
}

#[test]
fn the_write_proxy_listens_on_loopback_unless_told_otherwise() {
    for (written, address) in [
        (":9065", "127.0.0.1:9065"),
        ("':9065'", "127.0.0.1:9065"),
        ("9065", "127.0.0.1:9065"),
        ("localhost:9065", "127.0.0.1:9065"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("'*:9065'", "0.0.0.0:9065"),
        ("'[::1]:9065'", "[::1]:9065"),
        ("':${PORT}'", "127.0.0.1:9066"),
    ] {
        let text = format!("writeProxyToken: secret\nwriteProxyListen: {written}\n");
        assert_eq!(accepted(&text).write_proxy_listen, Some(address.parse().unwrap()), "{written}");
    }
    for written in
        ["0", "-1", "70000", "example.com:80", "'::1:9065'", "'[127.0.0.1]:80'", "a", "''"]
    {
        refused(
            &format!("writeProxyListen: {written}\n"),
            &format!(
                "2:19: writeProxyListen \"{}\": use PORT or ADDRESS:PORT, such as 9065",
                written.trim_matches('\'')
            ),
        );
    }
}

#[test]
fn private_functions_listen_at_an_address_of_their_own() {
    for (written, listen) in [
        ("9066", "127.0.0.1:9066"),
        ("'[::1]:9066'", "[::1]:9066"),
        ("unix:temp/private.sock", "unix:/srv/shop/temp/private.sock"),
        ("127.0.0.1:${PORT}", "127.0.0.1:9066"),
    ] {
        let found = accepted(&format!("privateListen: {written}\n")).private_listen;
        assert_eq!(found.map(|listen| listen.to_string()).as_deref(), Some(listen), "{written}");
    }
    for written in ["0", "everywhere", "0.0.0.0:9066", "'*:9066'", "'unix:'"] {
        refused(
            &format!("privateListen: {written}\n"),
            &format!(
                "2:16: privateListen \"{}\": use PORT, ADDRESS:PORT with one address, such as 127.0.0.1:9066, or unix:PATH",
                written.trim_matches('\'')
            ),
        );
    }
    refused(
        "writeProxyListen: 9065\nprivateListen: localhost:9065\n",
        "3:16: privateListen is the address of writeProxyListen: use another one",
    );
}

#[test]
fn an_environment_has_its_own_storage() {
    let storage = |text: &str| accepted(&format!("appName: shop\nlogStorage:\n{text}")).storage;
    let sqlite = |path: &str| Storage::Sqlite { path: PathBuf::from(path) };
    assert_eq!(storage("  test: {driver: memory}\n"), sqlite("/srv/shop/data/production.db"));
    assert_eq!(storage("  production: {driver: memory}\n"), Storage::Memory);
    assert_eq!(storage("  production: {driver: sqlite}\n"), sqlite("/srv/shop/data/production.db"));
    assert_eq!(
        storage("  production: {driver: sqlite, path: log.db}\n"),
        sqlite("/srv/shop/log.db")
    );
    assert_eq!(
        storage("  production: {driver: sqlite, path: /var/log.db}\n"),
        sqlite("/var/log.db")
    );
    assert_eq!(
        storage("  production:\n    driver: postgres\n    connString: ${DB}?sslmode=require\n"),
        Storage::Postgres { conninfo: "postgres://shop@db1/shop?sslmode=require".into() }
    );
    assert_eq!(
        storage(
            "  production:\n    driver: kafka\n    brokers: [\"${BROKERS}\", 'c:1']\n    properties:\n      \
             linger.ms: 5\n      security.protocol: ssl\n      enable.x: true\n"
        ),
        Storage::Kafka {
            brokers: ["a:9092", "b:9093", "c:1"].map(String::from).into(),
            app_name: "shop".into(),
            properties: [("linger.ms", "5"), ("security.protocol", "ssl"), ("enable.x", "true")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
        }
    );
}

#[test]
fn a_storage_that_makes_no_sense_is_refused() {
    let production = |entry: &str, expected: &str| {
        refused(&format!("appName: shop\nlogStorage:\n  production: {entry}\n"), expected)
    };
    production("{driver: mysql}", "4:24: driver \"mysql\": use sqlite, postgres, kafka or memory");
    production("{path: a}", "4:15: logStorage.production: missing field \"driver\"");
    production(
        "{driver: sqlite, brokers: ['a:1']}",
        "4:32: brokers does not belong to driver sqlite: remove one of them",
    );
    production(
        "{driver: postgres}",
        "4:24: connString is missing, such as postgres://user@host/database",
    );
    production(
        "{driver: postgres, connString: ''}",
        "4:46: connString is empty: fill it in, or remove it",
    );
    production("{driver: kafka}", "4:24: brokers is missing, such as [\"localhost:9092\"]");
    production(
        "{driver: kafka, brokers: ['a:1', b]}",
        "4:48: broker \"b\": use HOST:PORT, such as localhost:9092",
    );
    production(
        "{driver: kafka, brokers: ['a:1'], properties: {a: 1, a: 2}}",
        "4:68: logStorage.production.properties: \"a\" is there twice",
    );
    refused(
        "logStorage:\n  production: {driver: kafka, brokers: ['a:1']}\n",
        "3:24: driver kafka needs appName, which its topics' names begin with",
    );
    refused(
        "logStorage:\n  test: {driver: memory}\n  test: {driver: memory}\n",
        "4:3: logStorage: \"test\" is there twice",
    );
    refused(
        "logStorage:\n  test:\n    driver: memory\n    driver: sqlite\n",
        "5:5: logStorage.test: \"driver\" is there twice",
    );
}

#[test]
fn a_password_is_shown_by_no_message_and_no_debugging() {
    for entry in [
        "postgres://me:s3cret@db/shop",
        "host=db password=s3cret",
        "{driver: 'postgres://me:s3cret@db/shop'}",
        "{'postgres://me:s3cret@db/shop'}",
        "{driver: kafka, brokers: ['a:1'], properties: 'sasl.password=s3cret'}",
        "{driver: kafka, brokers: ['me:s3cret@a:1'], properties: 'sasl.password=s3cret'}",
        "{driver: postgres, connString: 'host=${HOST password=s3cret'}",
        "{driver: postgres, connString: 'host=${HOST password=s3cret user=${USER}'}",
    ] {
        let error = parse(&format!("appName: shop\nlogStorage:\n  production: {entry}\n"));
        let error = error.expect_err(entry);
        assert_eq!(error.line, Some(4), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
    for entry in [
        "{driver: postgres, connString: 'postgres://me:s3cret@db/shop'}",
        "{driver: kafka, brokers: ['a:1'], properties: {sasl.password: s3cret}}",
    ] {
        let accepted = accepted(&format!("appName: shop\nlogStorage:\n  production: {entry}\n"));
        assert!(!format!("{accepted:?}").contains("s3cret"), "{accepted:?}");
    }
}

#[test]
fn variables_must_be_set_for_this_environment_only() {
    refused(
        "appName: shop\nlogStorage:\n  production:\n    driver: postgres\n    connString: \"x ${PASSWORD}\"\n",
        "6:17: the environment variable PASSWORD is not set: set it, or write ${PASSWORD:-default}",
    );
    accepted("logStorage:\n  staging: {driver: postgres, connString: \"${PASSWORD}\"}\n");
    refused(
        "logStorage:\n  staging: {driver: postgres, connString: \"${PASSWORD\"}\n",
        "3:43: \"${PASSWORD\" has no \"}\": write ${NAME} or ${NAME:-default}, and $${ for a plain ${",
    );
    refused(
        "logStorage:\n  staging: {driver: mysql}\n",
        "3:21: driver \"mysql\": use sqlite, postgres, kafka or memory",
    );
    assert_eq!(accepted("maxAttempts: ${ATTEMPTS}\n").trigger.max_attempts, 3);
    assert_eq!(accepted("maxAttempts: ${TRIES:-7}\n").trigger.max_attempts, 7);
    assert_eq!(accepted("consumerGroup: a-${PORT}-$${b}\n").consumer_group, "a-9066-${b}");
    refused(
        "topics:\n  - ${TOPIC}\n",
        "3:5: the environment variable TOPIC is not set: set it, or write ${TOPIC:-default}",
    );
}

#[test]
fn topics_and_events_agree() {
    refused("topics: [users, users]\n", "2:17: topic \"users\" is listed twice");
    refused(
        "topics: [users, Users]\n",
        "2:17: topic \"Users\" differs from \"users\" only in case: choose another name",
    );
    refused(
        "topics:\n  - users.dead\n",
        "3:5: topic \"users.dead\": names that end in .dead are kept for dead letters, choose another",
    );
    refused(
        "topics: [a b]\n",
        "2:10: topic name \"a b\": use 1 to 200 letters, digits, '_', '-' and '.', and don't begin with '.'",
    );
    refused(
        "topics: [users]\nevents:\n  orders: {APPEND: [f]}\n",
        "4:3: events of topic \"orders\": add it to topics, or correct the name",
    );
    refused(
        "topics: [users]\nevents:\n  users:\n    APPEND: [f]\n    DELETE: [f]\n",
        "6:5: event \"DELETE\" of topic \"users\": there is only APPEND",
    );
    refused(
        "topics: [users]\nevents:\n  users:\n    APPEND: [f, f]\n",
        "5:17: function \"f\" is listed twice",
    );
    refused(
        "topics: [users]\nevents:\n  users:\n    APPEND: ['']\n",
        "5:14: a function has no name",
    );
    refused(
        "topics: [users]\nevents:\n  users: {APPEND: [f]}\n  users: {APPEND: [g]}\n",
        "5:3: events: \"users\" is there twice",
    );
    refused(
        "topics: [users]\nevents:\n  users: {APPEND: f}\n",
        "4:19: events.users.APPEND: invalid type: string \"f\", expected a sequence",
    );
}

#[test]
fn numbers_sizes_and_times_must_make_sense() {
    for (line, expected) in [
        ("maxEventSize: 1mb", "2:15: maxEventSize \"1mb\": use bytes, or a size such as 512k or 1m"),
        ("maxEventSize: 0", "2:15: maxEventSize \"0\": use bytes, or a size such as 512k or 1m"),
        ("appendTimeout: soon", "2:16: appendTimeout \"soon\": use a time such as 500ms or 5s"),
        ("appendTimeout: 0s", "2:16: appendTimeout \"0s\": use a time such as 500ms or 5s"),
        ("appendQueue: -1", "2:14: appendQueue \"-1\": use a whole number above 0"),
        ("maxAttempts: 0", "2:14: maxAttempts \"0\": use a whole number above 0"),
        ("maxAttempts: 5000000000", "2:14: maxAttempts \"5000000000\": use a whole number above 0"),
        ("triggerConcurrency: 1.5", "2:21: triggerConcurrency \"1.5\": use a whole number above 0"),
        (
            "retryDelay: 2m",
            "2:13: retryDelay is more than maxRetryDelay: the wait grows from retryDelay to maxRetryDelay",
        ),
        (
            "maxRetryDelay: 50ms",
            "2:16: maxRetryDelay is less than retryDelay: the wait grows from retryDelay to maxRetryDelay",
        ),
        ("maxAttempts: [1]", "2:14: maxAttempts: invalid type: sequence, expected a string or a number"),
    ] {
        refused(&format!("{line}\n"), expected);
    }
}

#[test]
fn what_serde_refuses_has_its_place() {
    let keys = "\"spacerVersion\", \"appName\", \"user\", \"envVar\", \"topics\", \"events\", \"logStorage\", \"consumerGroup\", \
                \"functionInvoker\", \"writeProxyListen\", \"writeProxyToken\", \"privateListen\", \"maxEventSize\", \"appendTimeout\", \"appendQueue\", \"appendQueueSize\", \"maxAttempts\", \
                \"triggerConcurrency\", \"retryDelay\", \"maxRetryDelay\"";
    refused(
        "\n\n  \ntopcs: [a]\n",
        &format!("5:1: unknown field \"topcs\", expected one of {keys}"),
    );
    refused("appName: a\nappName: b\n", "3:1: \"appName\" is there twice");
    refused("appName: [a]\n", "2:10: appName: invalid type: sequence, expected a string");
    refused("appName: [\n", "3:1: did not find expected node content");
    refused("appName: a_b\n", "2:10: appName \"a_b\": use letters, digits and \"-\"");
    refused("appName: |\n  x\n  y\n", "2:10: appName \"x\\ny\\n\": use letters, digits and \"-\"");
    refused("user: \"a;b\"\n", "2:7: user \"a;b\": use the name of one of this machine's users");
    refused(
        "envVar:\n  - A\n  - B=C\n",
        "4:5: envVar \"B=C\": use a variable's name, of letters, digits and \"_\"",
    );
    let other =
        |text| Application::parse(text, Path::new("/"), "test", env).unwrap_err().to_string();
    assert_eq!(
        other("appName: blog\n"),
        "config/application.yml:1:1: missing field \"spacerVersion\""
    );
    assert_eq!(other(""), "config/application.yml:1:1: missing field \"spacerVersion\"");
    assert_eq!(
        other("- a\n"),
        "config/application.yml:1:1: invalid type: sequence, expected a mapping that begins with spacerVersion: 1"
    );
    assert_eq!(
        other("spacerVersion: 2\n"),
        "config/application.yml:1:16: spacerVersion is 2, this version of spacer reads 1"
    );
}

#[test]
fn who_is_reached_from_other_machines_has_a_token() {
    let missing = "writeProxyListen is reached from other machines: set writeProxyToken";
    for listen in ["10.0.0.1:80", "'*:9065'", "'[::]:9065'"] {
        refused(&format!("writeProxyListen: {listen}\n"), &format!("2:19: {missing}"));
    }
    let shop = accepted("writeProxyListen: '*:9065'\nwriteProxyToken: t-${PORT}\n");
    assert_eq!(shop.write_proxy_token.as_deref(), Some("t-9066"));
    let unfit = "2:18: writeProxyToken must be visible ASCII characters, such as those of openssl rand -hex 32";
    refused("writeProxyToken: ''\n", unfit);
    refused("writeProxyToken: 'a b'\n", unfit);
}

#[test]
fn functions_are_chained_and_begin_where_they_say() {
    let shop = accepted(
        "topics: [t]\nevents:\n  t:\n    APPEND:\n    - a\n    - [b, c]\n    - {function: d, from: now}\n    \
         - {function: [e, f], from: 17}\n    - {function: g, from: 2026-11-21T09:30:00Z}\n    - {function: h, from: beginning}\n",
    );
    let found: Vec<_> = shop.triggers.iter().map(|t| (t.functions.join("+"), t.start)).collect();
    let expected = [
        ("a", Start::Earliest),
        ("b+c", Start::Earliest),
        ("d", Start::Latest),
        ("e+f", Start::Offset(17)),
        ("g", Start::Time(Timestamp(1_795_253_400_000))),
        ("h", Start::Earliest),
    ];
    assert_eq!(found, expected.map(|(name, start)| (name.to_owned(), start)));
    for (chain, expected) in [
        ("a, [b, a]", "function \"a\" is listed twice"),
        ("[]", "a chain has no function"),
        (
            "{function: a, from: then}",
            "from is \"then\": use beginning, now, an offset, or a time such as 2026-11-21T09:30:00Z",
        ),
    ] {
        let text = format!("topics: [t]\nevents: {{t: {{APPEND: [{chain}]}}}}\n");
        let error = parse(&text).expect_err("the file was accepted").to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}
