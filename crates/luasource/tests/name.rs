//! What a chunk is called.

use luasource::chunk_name;
use proptest::prelude::*;

fn name(tag: &str, file: &str, prefix: &str, line: usize) -> String {
    chunk_name(tag, file.as_bytes(), prefix.as_bytes(), line).into_string().unwrap()
}

#[test]
fn a_file_is_named_as_short_as_it_can_be() {
    let prefix = "/etc/nginx/";
    for (file, line, expected) in [
        ("/etc/nginx/nginx.conf", 7, "=content_by_lua(nginx.conf:7)"),
        ("/elsewhere/nginx.conf", 7, "=content_by_lua(nginx.conf:7)"),
        ("/etc/nginx/conf.d/api.conf", 12, "=content_by_lua(conf.d/api.conf:12)"),
        ("/srv/api.conf", 12, "=content_by_lua(/srv/api.conf:12)"),
        ("/etc/nginx/", 1, "=content_by_lua(/etc/nginx/:1)"),
        ("", 1, "=content_by_lua(:1)"),
    ] {
        assert_eq!(name("content_by_lua", file, prefix, line), expected);
    }
}

#[test]
fn of_what_is_too_long_the_end_is_kept() {
    let long = format!("/srv/{}/api.conf", "x".repeat(60));
    let found = name("rewrite_by_lua", &long, "/etc/nginx/", 123);
    assert_eq!(found.len(), 60);
    assert!(found.starts_with("=rewrite_by_lua(...x"), "{found}");
    assert!(found.ends_with("x/api.conf:123)"), "{found}");
    // At the limit, and one byte above it.
    let fits = "y".repeat(39);
    assert_eq!(name("rewrite_by_lua", &fits, "/", 123), format!("=rewrite_by_lua({fits}:123)"));
    assert_eq!(
        name("rewrite_by_lua", &format!("y{fits}"), "/", 123),
        format!("=rewrite_by_lua(...{}:123)", &fits[3..])
    );
}

proptest! {
    #[test]
    fn luajit_shows_the_whole_name(tag in "[a-z_]{1,30}", file in "[a-z/.]{0,90}", line in 1..100_000usize) {
        let name = chunk_name(&tag, file.as_bytes(), b"/etc/", line);
        let error = mlua::Lua::new().load("error('here')").set_name(name.to_str().unwrap()).exec().unwrap_err();
        let shown = &name.to_str().unwrap()[1..];
        let error = error.to_string();
        prop_assert!(error.contains(&format!("{shown}:1: here")), "{} lacks {}", error, shown);
    }
}
