//! Whose page a request comes from, and by which name. Included as source: the module itself is a library that only
//! nginx can load.

#[path = "../src/platform/access/origin.rs"]
mod origin;

use origin::{is_local, is_name, is_own, is_same_origin, Authority};

#[test]
fn a_host_may_have_a_port() {
    for (text, host, port) in [
        ("localhost", "localhost", None),
        ("localhost:3000", "localhost", Some(3000)),
        ("[::1]", "[::1]", None),
        ("[::1]:80", "[::1]", Some(80)),
    ] {
        let expected = Authority { host: host.as_bytes(), port };
        assert_eq!(Authority::parse(text.as_bytes()), Some(expected), "{text}");
    }
    for text in ["", ":80", "a:", "a:b", "a:+80", "a:65536", "[::1", "[::1]80", "a:80:90", "a/b:c"]
    {
        assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn an_origin_is_own_where_scheme_host_and_port_are() {
    let own = |origin: &str, host: &str, secure| {
        is_own(origin.as_bytes(), Authority::parse(host.as_bytes()), secure)
    };
    for (origin, host, secure) in [
        ("http://localhost:3000", "localhost:3000", false),
        ("http://LocalHost:3000", "localhost:3000", false),
        ("http://shop.example", "shop.example", false),
        ("http://shop.example", "shop.example:80", false),
        ("https://shop.example", "shop.example", true),
        // Decrypted by a proxy.
        ("https://shop.example", "shop.example", false),
        ("http://[::1]:3000", "[::1]:3000", false),
    ] {
        assert!(own(origin, host, secure), "{origin} {host}");
    }
    for (origin, host, secure) in [
        ("http://localhost:4000", "localhost:3000", false),
        ("http://localhost", "localhost:3000", false),
        ("http://evil.example:3000", "localhost:3000", false),
        ("http://localhost:3000.evil.example", "localhost:3000", false),
        ("http://localhost.evil.example:3000", "localhost:3000", false),
        ("http://127.0.0.1:3000", "localhost:3000", false),
        ("http://shop.example", "shop.example", true),
        ("https://shop.example", "shop.example:80", false),
        ("null", "localhost:3000", false),
        ("", "localhost:3000", false),
        ("localhost:3000", "localhost:3000", false),
        ("file://localhost:3000", "localhost:3000", false),
        ("http://localhost:3000/", "localhost:3000", false),
        ("http://localhost:3000", "", false),
    ] {
        assert!(!own(origin, host, secure), "{origin} {host}");
    }
}

#[test]
fn only_pages_of_the_same_origin_and_people_ask() {
    for (site, is_own) in [
        ("same-origin", true),
        ("none", true),
        ("same-site", false),
        ("cross-site", false),
        ("", false),
        ("same-origin, cross-site", false),
    ] {
        assert_eq!(is_same_origin(site.as_bytes()), is_own, "{site}");
    }
}

#[test]
fn this_machine_has_few_names() {
    let local =
        |host: &str, ip: Option<&str>| is_local(host.as_bytes(), ip.map(|ip| ip.parse().unwrap()));
    for host in ["localhost", "127.0.0.1", "127.8.9.10", "[::1]", "[::ffff:127.0.0.1]"] {
        assert!(local(host, None), "{host}");
    }
    assert!(local("10.0.0.5", Some("10.0.0.5")) && local("[fd00::5]", Some("fd00::5")));
    for host in [
        "evil.example",
        "localhost.evil.example",
        "10.0.0.5",
        "::1",
        "[127.0.0.1]",
        "0.0.0.0",
        "127.1",
        "",
    ] {
        assert!(!local(host, Some("10.0.0.6")), "{host}");
    }
}

#[test]
fn a_server_has_the_names_that_its_configuration_says() {
    for (host, name) in [
        ("shop.example", "shop.example"),
        ("a.shop.example", "*.shop.example"),
        ("shop.example", ".shop.example"),
        ("a.b.shop.example", ".shop.example"),
        ("shop.test", "shop.*"),
    ] {
        assert!(is_name(host.as_bytes(), name.as_bytes()), "{host} {name}");
    }
    for (host, name) in [
        ("evil.example", "shop.example"),
        ("evil.example", ""),
        ("evil.example", "_"),
        ("shop.example", "*.shop.example"),
        ("evilshop.example", ".shop.example"),
        (".shop.example", "*.shop.example"),
        ("evil.example", "~."),
        ("shopping.test", "shop.*"),
        ("shop.", "shop.*"),
    ] {
        assert!(!is_name(host.as_bytes(), name.as_bytes()), "{host} {name}");
    }
}
