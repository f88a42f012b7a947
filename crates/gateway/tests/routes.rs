//! Which function a request reaches, and with which parameters.

mod common;

use common::Project;
use gateway::{Answer, Location, Match, Method, Table, Verb};

fn table(gateway: &str) -> Table {
    Project::new().load(gateway).unwrap()
}

fn params(found: &Match) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    found.params().map(|(name, value)| (name.to_string(), text(&value))).collect()
}

fn called<'t>(table: &'t Table, method: &str, path: &str) -> Option<&'t str> {
    match table.find(path.as_bytes())?.entry.answer(Method::from_name(method.as_bytes())) {
        Answer::Call(function) => Some(table.function(function)),
        _ => None,
    }
}

#[test]
fn the_routes_are_kept_in_order_with_their_lines() {
    let table = table(
        "return {\n  {'GET', '/', 'hello'},\n  {'any', '/users/:id/', 'users.get'},\n  {'POST', '/', 'hello'},\n}",
    );
    let routes: Vec<_> = table
        .routes()
        .iter()
        .map(|r| (r.verb, r.path.as_str(), r.function.as_str(), r.line))
        .collect();
    assert_eq!(
        routes,
        [
            (Verb::One(Method::Get), "/", "hello", Some(2)),
            (Verb::Any, "/users/:id", "users/get", Some(3)),
            (Verb::One(Method::Post), "/", "hello", Some(4)),
        ]
    );
    assert_eq!(table.functions(), ["hello", "users/get"]);
}

#[test]
fn routes_may_be_computed_with_modules_of_the_project() {
    let project = Project::new();
    project.write("lib/rest.lua", "return function(t, path, f) t[#t + 1] = {'GET', path, f} end");
    project.write("app/names/init.lua", "return { hello = 'hello' }");
    let table = project
        .load(
            "local get, names = require 'rest', require 'names'\nlocal routes = {}\nget(routes, '/a', names.hello)\nreturn routes",
        )
        .unwrap();
    assert_eq!(table.routes()[0].line, None);
    assert_eq!(called(&table, "GET", "/a"), Some("hello"));
}

#[test]
fn an_empty_table_has_no_routes() {
    let table = table("return {}");
    assert!(
        table.routes().is_empty() && table.locations().is_empty() && table.find(b"/").is_none()
    );
}

#[test]
fn locations_cover_every_route_once() {
    let table = table(
        "return {
           {'GET', '/', 'hello'}, {'POST', '/', 'hello'}, {'GET', '/users', 'hello'},
           {'GET', '/users/:id', 'hello'}, {'GET', '/users/:id/x', 'hello'}, {'GET', '/a/b/*rest', 'hello'},
           {'GET', '/:page', 'hello'},
         }",
    );
    assert_eq!(
        table.locations(),
        [
            Location::Exact("/".into()),
            Location::Exact("/users".into()),
            Location::Exact("/users/".into()),
            Location::Prefix("/users/".into()),
            Location::Prefix("/a/b/".into()),
            Location::Prefix("/".into()),
        ]
    );
}

#[test]
fn each_method_gets_its_own_function() {
    let table = table(
        "return {{'GET', '/x', 'hello'}, {'POST', '/x', 'users/get'}, {'PUT', '/y', 'files'}}",
    );
    assert_eq!(called(&table, "GET", "/x"), Some("hello"));
    assert_eq!(called(&table, "POST", "/x/"), Some("users/get"));
    assert_eq!(called(&table, "HEAD", "/x"), Some("hello"));
    let entry = table.find(b"/x").unwrap().entry;
    assert_eq!(entry.allow(), "GET, HEAD, POST, OPTIONS");
    assert_eq!(entry.answer(Some(Method::Options)), Answer::Options);
    assert_eq!(entry.answer(Some(Method::Delete)), Answer::NotAllowed);
    assert_eq!(entry.answer(None), Answer::NotAllowed);
    assert_eq!(table.find(b"/y").unwrap().entry.allow(), "PUT, OPTIONS");
}

#[test]
fn any_takes_what_no_other_route_names() {
    let table = table(
        "return {{'ANY', '/x', 'hello'}, {'POST', '/x', 'files'}, {'GET', '/y', 'files'}, {'ANY', '/y', 'hello'},
                 {'HEAD', '/z', 'files'}, {'OPTIONS', '/z', 'files'}}",
    );
    assert_eq!(called(&table, "POST", "/x"), Some("files"));
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"] {
        assert_eq!(called(&table, method, "/x"), Some("hello"), "{method}");
    }
    assert_eq!(
        table.find(b"/x").unwrap().entry.allow(),
        "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    );
    assert_eq!(called(&table, "HEAD", "/y"), Some("files"), "HEAD is GET's before it is ANY's");
    assert_eq!(called(&table, "OPTIONS", "/z"), Some("files"));
    assert_eq!(called(&table, "GET", "/z"), None);
    assert_eq!(table.find(b"/z").unwrap().entry.allow(), "HEAD, OPTIONS");
}

#[test]
fn a_decoded_path_is_taken_as_it_is() {
    let table = table("return {{'GET', '/users/:id', 'hello'}, {'GET', '/café/*rest', 'files'}}");
    let found = table.find(b"/users/a%2Fb").unwrap();
    assert_eq!(params(&found), [("id".into(), "a%2Fb".into())]);
    let found = table.find(b"/users/\xff\xfe").unwrap();
    assert_eq!(found.params().next().unwrap().1.as_ref(), b"\xff\xfe");
    let found = table.find("/café/é/x".as_bytes()).unwrap();
    assert_eq!(params(&found), [("rest".into(), "é/x".into())]);
    assert!(table.find(b"/users").is_none());
    assert!(table.find(b"*").is_none());
}

#[test]
fn a_raw_path_keeps_an_encoded_slash_in_its_parameter() {
    let table = table("return {{'GET', '/users/:id', 'hello'}, {'GET', '/f/*rest', 'files'}, {'GET', '/café', 'hello'}}");
    let found = table.find_raw(b"/%75sers/a%2Fb%20c?q=/x").unwrap();
    assert_eq!(params(&found), [("id".into(), "a/b c".into())]);
    let found = table.find_raw(b"/f/a%2Fb//c%zz%4/").unwrap();
    assert_eq!(params(&found), [("rest".into(), "a/b//c%zz%4".into())]);
    let found = table.find_raw(b"/users/%ff%00").unwrap();
    assert_eq!(found.params().next().unwrap().1.as_ref(), b"\xff\0");
    assert!(table.find_raw(b"/caf%C3%A9/").is_some());
    assert!(table.find_raw("/café".as_bytes()).is_some());
    assert!(table.find_raw(b"/users%2F7").is_none());
}

#[test]
fn no_parameter_of_a_raw_path_hides_a_dot_segment() {
    let table = table("return {{'GET', '/f/*rest', 'files'}, {'GET', '/u/:id', 'hello'}}");
    for raw in [&b"/f/a/../b"[..], b"/f/a/%2e%2E/b", b"/f/a%2F..%2Fb", b"/x/../f/./b", b"/../f/b"] {
        let found = table.find_raw(raw).unwrap();
        assert_eq!(
            params(&found),
            [("rest".into(), "b".into())],
            "{}",
            String::from_utf8_lossy(raw)
        );
    }
    assert!(table.find_raw(b"/u/..%2Fx").is_none());
    assert_eq!(params(&table.find_raw(b"/u/..x").unwrap()), [("id".into(), "..x".into())]);
}

#[test]
fn each_path_has_numbers_of_its_own_for_its_functions() {
    let table = table(
        "return { {'GET', '/a', 'hello'}, {'POST', '/a', 'hello'}, {'ANY', '/a', 'users.get'}, {'GET', '/b', 'hello'} }",
    );
    let target = |method: Method, path: &str| {
        let entry = table.find(path.as_bytes()).unwrap().entry;
        let Answer::Call(function) = entry.answer(Some(method)) else { panic!("no function") };
        entry.target(function)
    };
    let numbers = [target(Method::Get, "/a"), target(Method::Put, "/a"), target(Method::Get, "/b")];
    assert_eq!(target(Method::Post, "/a"), numbers[0], "the same function at the same path");
    assert!(numbers[0] != numbers[1] && numbers[0] != numbers[2] && numbers[1] != numbers[2]);
    assert!(numbers.iter().all(|&number| number < table.targets()));
}
