//! Tables of many routes, and deep ones.

mod common;

use std::fmt::Write as _;

use common::Project;
use gateway::{Location, Table};

const ROUTES: usize = 50_000;

/// A constructor with a line for each route, static ones and ones with a parameter in turn, the last one given.
fn constructor(count: usize, last: &str) -> String {
    let mut text = String::from("return {\n");
    for i in 0..count - 1 {
        let name = name(i);
        let _ = match i % 2 {
            0 => writeln!(text, "  {{'GET', '/things/{name}', 'hello'}},"),
            _ => writeln!(text, "  {{'POST', '/api/{name}/:id', 'users/get'}},"),
        };
    }
    text + "  " + last + ",\n}\n"
}

/// Names in no order, each once.
fn name(i: usize) -> String {
    format!("n{:05}", i * 7919 % ROUTES)
}

fn found(table: &Table, path: &str) -> Option<(String, Vec<String>)> {
    let found = table.find_raw(path.as_bytes())?;
    let value = |(_, value): (&str, std::borrow::Cow<[u8]>)| String::from_utf8_lossy(&value).into();
    Some((found.entry.path().into(), found.params().map(value).collect()))
}

#[test]
fn each_of_fifty_thousand_routes_is_found() {
    let table = Project::new().load(constructor(ROUTES, "{'GET', '/last', 'files'}")).unwrap();
    assert_eq!(table.routes().len(), ROUTES);
    assert_eq!(table.routes()[ROUTES - 1].line, Some(ROUTES as u32 + 1));
    for i in 0..ROUTES - 1 {
        let name = name(i);
        // A letter in its escape: what is compared while it is decoded.
        let sent = name.replace('n', "%6e");
        let (path, pattern, params) = match i % 2 {
            0 => (format!("/things/{sent}"), format!("/things/{name}"), vec![]),
            _ => (format!("/api/{sent}/x"), format!("/api/{name}/:id"), vec!["x".to_owned()]),
        };
        assert_eq!(found(&table, &path), Some((pattern, params)), "{path}");
    }
    assert_eq!(found(&table, "/things/n00001x"), None);
    let locations = table.locations();
    // Two for each static route, one for each prefix.
    assert_eq!(locations.len(), ROUTES / 2 * 3 + 1);
    assert!(locations.contains(&Location::Prefix("/api/n07919/".into())));
    assert!(locations.contains(&Location::Exact("/last/".into())));
}

#[test]
fn computed_routes_may_be_as_many_with_a_function_each() {
    let project = Project::new();
    for i in 0..2000 {
        project.write(&format!("app/f/n{i}.lua"), "return function() end");
    }
    let table = project
        .load(format!(
            "local routes = {{}}
             for i = 1, {ROUTES} do routes[i] = {{'GET', '/things/' .. i, 'f/n' .. i % 2000}} end
             return routes"
        ))
        .unwrap();
    assert_eq!(table.routes().len(), ROUTES);
    assert_eq!(table.functions().len(), 2000);
    assert_eq!(table.routes()[2001].function, "f/n2");
    assert_eq!(found(&table, "/things/50000").unwrap().0, "/things/50000");
}

#[test]
fn the_last_of_ten_thousand_routes_is_refused_with_its_line() {
    let refused = |last: &str| {
        let error = Project::new().load(constructor(10_000, last)).expect_err(last);
        error.to_string()
    };
    assert_eq!(
        refused("{'GET', '/last', 'gone'}"),
        "app/gateway.lua:10001: function \"gone\" not found: app/gone.lua does not exist"
    );
    assert_eq!(
        refused(&format!("{{'GET', '/things/{}', 'files'}}", name(4000))),
        format!(
            "app/gateway.lua:10001: duplicate route: GET /things/{} is already defined at line 4002",
            name(4000)
        )
    );
    assert_eq!(
        refused(&format!("{{'GET', '/api/{}/:name', 'files'}}", name(4001))),
        format!(
            "app/gateway.lua:10001: conflicting patterns: /api/{0}/:name matches the same requests as /api/{0}/:id \
             at line 4003: use the same parameter names in both",
            name(4001)
        )
    );
    assert_eq!(
        refused("7"),
        "app/gateway.lua:10001: {METHOD, PATH, FUNCTION} expected, got the number 7"
    );
}

#[test]
fn a_path_may_be_deep() {
    const DEPTH: usize = 100_000;
    let deep = "/a".repeat(DEPTH);
    let table = Project::new()
        .load(format!("local deep = ('/a'):rep({DEPTH}) return {{ {{'GET', deep, 'hello'}}, {{'GET', deep .. '/:id', 'hello'}} }}"))
        .unwrap();
    assert_eq!(found(&table, &deep).unwrap().0, deep);
    assert_eq!(found(&table, &format!("{deep}/7")).unwrap().1, ["7"]);
    assert_eq!(found(&table, &deep[2..]), None);
}
