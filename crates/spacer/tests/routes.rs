//! `spacer routes`.

mod common;

use common::{spacer, text, Project};

#[test]
fn the_table_is_aligned() {
    let project = Project::new();
    project.write(
        "app/gateway.lua",
        "return {\n  {'get', '/', 'hello'},\n  {'DELETE', '/things/:id/', 'hello'},\n}\n",
    );
    let output = project.run(&["routes"]);
    assert!(output.status.success());
    assert_eq!(
        text(&output.stdout),
        "METHOD  PATH         FUNCTION  DEFINED AT\n\
         GET     /            hello     app/gateway.lua:2\n\
         DELETE  /things/:id  hello     app/gateway.lua:3\n"
    );
}

#[test]
fn fifty_thousand_routes_are_shown() {
    let project = Project::new();
    project.write(
        "app/gateway.lua",
        "local routes = {}\n\
         for i = 1, 50000 do routes[i] = {'GET', '/things/' .. i, 'hello'} end\n\
         return routes\n",
    );
    let output = project.run(&["routes"]);
    assert!(output.status.success());
    let table = text(&output.stdout);
    assert_eq!(table.lines().count(), 50_001);
    assert_eq!(table.lines().nth(1), Some("GET     /things/1      hello     app/gateway.lua"));
    assert_eq!(table.lines().last(), Some("GET     /things/50000  hello     app/gateway.lua"));
}

#[test]
fn json_is_for_programs() {
    let project = Project::new();
    project.write("app/gateway.lua", "print('noise')\nreturn {{'GET', '/', 'hello'}}");
    let output = project.run(&["routes", "--json"]);
    let routes: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        routes,
        serde_json::json!([
            {"method": "GET", "path": "/", "function": "hello", "file": "app/gateway.lua", "line": 2}
        ])
    );
}

#[test]
fn a_bad_gateway_file_is_reported_with_its_line() {
    let project = Project::new();
    project.write("app/gateway.lua", "return {\n  {'GET', '/', 'gone'},\n}");
    assert_eq!(
        project.refused(&["routes"]),
        "spacer: app/gateway.lua:2: function \"gone\" not found: app/gone.lua does not exist\n"
    );
}

#[test]
fn a_function_that_does_not_compile_is_reported_with_its_line() {
    let project = Project::new();
    project.write("app/hello.lua", "#!/usr/bin/lua\nreturn function()\n  oh no\nend\n");
    project.write("app/bill.lua", "return function() return 'open end\n");
    project.write(
        "config/application.yml",
        "spacerVersion: 1\ntopics: [orders]\nevents:\n  orders: { APPEND: [bill, gone] }\n",
    );
    let output = project.run(&["routes"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("/hello/:name"), "the table is missing");
    assert_eq!(
        text(&output.stderr),
        "spacer: config/application.yml:4: events of topic \"orders\": function \"bill\": app/bill.lua:1: unfinished \
         string near ''open end'\n  \
         config/application.yml:4: events of topic \"orders\": function \"gone\": app/gone.lua does not exist\n  \
         app/hello.lua:3: '=' expected near 'no'\n"
    );
}

#[test]
fn a_function_is_compiled_and_not_run() {
    let project = Project::new();
    project.write("app/hello.lua", "error('it was run')");
    assert!(project.run(&["routes"]).status.success());
}

#[test]
fn a_folder_without_a_project_is_named() {
    let output = spacer().args(["routes", "/nonexistent"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr)
        .contains("/nonexistent is not a Spacer project: the folder is missing"));
}
