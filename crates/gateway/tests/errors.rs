//! What a bad gateway file is told, and for which line.

mod common;

use std::path::Path;

use common::Project;
use gateway::Table;

#[track_caller]
fn refused(gateway: impl AsRef<[u8]>, expected: &str) {
    let error = Project::new().load(gateway).expect_err("the gateway file was accepted");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_syntax_error_has_its_line() {
    refused("return {\n  {\"GET\" \"/x\"},\n}", "app/gateway.lua:2: '}' expected near '\"/x\"'");
    refused("\n\nreturn {", "app/gateway.lua:3: unexpected symbol near '<eof>'");
}

#[test]
fn a_runtime_error_has_its_line() {
    refused(
        "local x = nil\nreturn x.y",
        "app/gateway.lua:2: attempt to index local 'x' (a nil value)",
    );
    refused("error('no routes today', 0)", "app/gateway.lua:1: no routes today");
}

#[test]
fn an_error_in_a_required_module_names_that_module() {
    let project = Project::new();
    project.write("lib/broken.lua", "\n\nerror('oh')");
    let error = project.load("return require 'broken'").unwrap_err();
    assert_eq!(error.to_string(), "lib/broken.lua:3: oh");
    let error = project.load("local routes = require 'missing'\nreturn routes").unwrap_err();
    assert_eq!((error.file.as_str(), error.line), ("app/gateway.lua", Some(1)));
    assert!(error.message.contains("module 'missing' not found"), "{error}");
}

#[test]
fn the_file_has_to_return_an_array() {
    let expected = "not an array of {METHOD, PATH, FUNCTION}";
    refused("", &format!("app/gateway.lua: the file returns nil, {expected}"));
    refused("{{'GET', '/', 'hello'}}", "app/gateway.lua:1: unexpected symbol near '{'");
    refused("return 7", &format!("app/gateway.lua: the file returns the number 7, {expected}"));
    refused(
        "return 'x'",
        &format!("app/gateway.lua: the file returns the string \"x\", {expected}"),
    );
    refused("return print", &format!("app/gateway.lua: the file returns a function, {expected}"));
    refused(
        "return { routes = {} }",
        &format!("app/gateway.lua: the file returns a table with the key \"routes\", {expected}"),
    );
}

#[test]
fn an_entry_has_to_be_three_strings() {
    let expected = "{METHOD, PATH, FUNCTION} expected";
    refused(
        "return {\n  'GET'\n}",
        &format!("app/gateway.lua:2: {expected}, got the string \"GET\""),
    );
    refused(
        "return {\n\n  {'GET', '/x'},\n}",
        &format!("app/gateway.lua:3: {expected}, FUNCTION is missing"),
    );
    refused("return {\n  {},\n}", &format!("app/gateway.lua:2: {expected}, METHOD is missing"));
    refused(
        "return {{'GET', '/x', 'hello', 'hello'}}",
        &format!("app/gateway.lua:1: {expected}, got 4 values"),
    );
    refused(
        "return {{'GET', '/x', function() end}}",
        "app/gateway.lua:1: FUNCTION has to be a string, got a function",
    );
    refused(
        "return {{'GET', 7, 'hello'}}",
        "app/gateway.lua:1: PATH has to be a string, got the number 7",
    );
    refused("return {{'GET', '/\\255', 'hello'}}", "app/gateway.lua:1: PATH is not valid UTF-8");
}

#[test]
fn a_hole_is_an_entry_that_is_missing() {
    refused(
        "return {\n  {'GET', '/', 'hello'},\n  undefined,\n  {'GET', '/x', 'hello'},\n}",
        "app/gateway.lua:3: {METHOD, PATH, FUNCTION} expected, got nil",
    );
    refused(
        "return { [2^40] = {'GET', '/', 'hello'} }",
        "app/gateway.lua: route #1: {METHOD, PATH, FUNCTION} expected, got nil",
    );
}

#[test]
fn a_method_has_to_be_known() {
    refused(
        "return {\n  {'FETCH', '/', 'hello'}}",
        "app/gateway.lua:2: unknown method \"FETCH\": use GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS or ANY",
    );
}

#[test]
fn a_path_has_to_make_sense() {
    refused(
        "return {{'GET', 'x', 'hello'}}",
        "app/gateway.lua:1: bad path \"x\": the path does not start with \"/\"",
    );
    refused(
        "return {\n{'GET', '/:id/:id', 'hello'}}",
        "app/gateway.lua:2: bad path \"/:id/:id\": the path has two parameters named \"id\"",
    );
    refused(
        "return {{'GET', '/:', 'hello'}}",
        "app/gateway.lua:1: bad path \"/:\": the parameter \":\" has no name",
    );
    refused(
        "return {{'GET', '/*a/b', 'hello'}}",
        "app/gateway.lua:1: bad path \"/*a/b\": \"*a\" takes the rest of the path, so it has to be the last segment",
    );
}

#[test]
fn a_function_has_to_exist_inside_app() {
    refused(
        "return {\n  {'GET', '/', 'hello'},\n  {'GET', '/bye', 'good.bye'},\n}",
        "app/gateway.lua:3: function \"good.bye\" not found: app/good/bye.lua does not exist",
    );
    refused(
        "return {{'GET', '/', '../../etc/passwd'}}",
        "app/gateway.lua:1: bad function \"../../etc/passwd\": the name contains \"..\"",
    );
    refused(
        "return {{'GET', '/', 'users'}}",
        "app/gateway.lua:1: function \"users\" not found: app/users.lua does not exist",
    );
}

#[test]
fn a_route_is_defined_once() {
    refused(
        "return {\n  {'GET', '/x', 'hello'},\n  {'POST', '/x', 'hello'},\n  {'get', '/x/', 'files'},\n}",
        "app/gateway.lua:4: duplicate route: GET /x is already defined at line 2",
    );
    refused(
        "return {\n  {'ANY', '/:a', 'hello'},\n  {'ANY', '/:a', 'hello'},\n}",
        "app/gateway.lua:3: duplicate route: ANY /:a is already defined at line 2",
    );
}

#[test]
fn patterns_that_differ_in_names_only_conflict_whatever_their_method() {
    refused(
        "return {\n  {'GET', '/', 'hello'},\n  {'GET', '/users/:id', 'hello'},\n  {'POST', '/users/:name', 'hello'},\n}",
        "app/gateway.lua:4: conflicting patterns: /users/:name matches the same requests as /users/:id at line 3: \
         use the same parameter names in both",
    );
    refused(
        "return {\n  {'GET', '/f/*rest', 'hello'},\n  {'GET', '/f/*path', 'hello'},\n}",
        "app/gateway.lua:3: conflicting patterns: /f/*path matches the same requests as /f/*rest at line 2: \
         use the same parameter names in both",
    );
}

#[test]
fn a_computed_route_is_named_by_its_index() {
    refused(
        "local routes = {}\nfor i = 1, 2 do routes[i] = {'GET', '/' .. i, 'hello'} end\nroutes[3] = {'GET', '/1', 'hello'}\nreturn routes",
        "app/gateway.lua: route #3: duplicate route: GET /1 is already defined at route #1",
    );
}

#[test]
fn an_endless_loop_ends() {
    let started = std::time::Instant::now();
    let error = Project::new().load("local n = 0\nwhile true do n = n + 1 end").unwrap_err();
    assert!(error.message.contains("ran for more than 5 s"), "{error}");
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn bytecode_and_a_file_that_is_not_there_are_refused() {
    refused(b"\x1bLJ\x02", "app/gateway.lua: attempt to load a binary chunk (mode is 't')");
    let project = Project::new();
    let error = Table::load(&project.gateway_file(), project.path()).unwrap_err();
    assert_eq!(error.to_string(), "app/gateway.lua: the gateway file does not exist");
    let error =
        Table::load(Path::new("nowhere/app/gateway.lua"), Path::new("nowhere")).unwrap_err();
    assert_eq!(error.to_string(), "nowhere: the project folder does not exist");
}

#[test]
fn a_file_that_can_not_be_read_says_why() {
    let project = Project::new();
    project.write("app/gateway.lua/inside", "");
    let error = Table::load(&project.gateway_file(), project.path()).unwrap_err();
    assert!(
        error.to_string().starts_with("app/gateway.lua: the gateway file can't be read: "),
        "{error}"
    );
}
