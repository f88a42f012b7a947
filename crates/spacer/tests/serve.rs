//! `spacer dev` and `spacer start`, on any nginx and without the module.

mod common;

use std::net::TcpListener;

use common::{processes_of, text, Project, Server, PLAIN};

fn plain_project() -> Project {
    let project = Project::new();
    project.write("config/nginx.conf", PLAIN);
    project
}

#[test]
fn dev_serves_shows_requests_and_ends_on_ctrl_c() {
    let project = plain_project();
    let mut server = Server::start(&project, &["dev"]);
    server.wait_for(|output| output.contains("curl http://localhost:"));
    assert!(server
        .output()
        .ends_with(&format!("\n  curl http://localhost:{}/hello\n\n", server.port)));
    assert!(server.get("/").ends_with("one"));
    server.get("/missing");
    server.wait_for(|output| {
        output.contains("[200] GET / ") && output.contains("[404] GET /missing ")
    });
    assert!(!server.output().contains('\x1b'), "colours without a terminal");
    server.signal("INT");
    assert_eq!(server.wait(), Some(0));
    assert_eq!(processes_of(&project.path()), [""; 0]);
}

#[test]
fn dev_reloads_a_good_configuration_and_keeps_serving_through_a_bad_one() {
    let project = plain_project();
    let mut server = Server::start(&project, &["dev"]);
    server.wait_for(|output| output.contains("curl "));
    project.write("config/nginx.conf", &PLAIN.replace("return 200 one", "retrun 200 two"));
    server.wait_for(|output| {
        output.contains("unknown directive \"retrun\"") && output.contains("stays in use")
    });
    assert!(server.get("/").ends_with("one"));
    project.write("config/nginx.conf", &PLAIN.replace("return 200 one", "return 200 two"));
    server.wait_for(|output| output.contains("config/nginx.conf changed: configuration reloaded"));
    server.wait_for(|_| server.get("/").ends_with("two"));
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn dev_reports_that_nginx_died_and_leaves_nothing_behind() {
    let project = plain_project();
    let mut server = Server::start(&project, &["dev"]);
    server.wait_for(|output| output.contains("curl "));
    let pid = std::fs::read_to_string(project.path().join("temp/nginx.pid")).unwrap();
    assert!(std::process::Command::new("kill")
        .args(["-9", pid.trim()])
        .status()
        .unwrap()
        .success());
    assert_eq!(server.wait(), Some(1));
    assert!(server.output().contains("nginx stopped by itself (signal: 9"), "{}", server.output());
}

#[test]
fn nginx_goes_when_dev_is_killed() {
    let project = plain_project();
    let mut server = Server::start(&project, &["dev"]);
    server.wait_for(|output| output.contains("curl "));
    server.signal("KILL");
    assert_eq!(server.wait(), None);
}

#[test]
fn a_taken_port_is_reported_with_its_owner() {
    let project = plain_project();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let message = project.refused(&["dev", "--port", &address.port().to_string()]);
    let expected = format!("spacer: {address} is taken by process {} (", std::process::id());
    assert!(message.starts_with(&expected), "{message}");
}

#[test]
fn a_configuration_that_nginx_refuses_is_shown_in_its_words() {
    let project = plain_project();
    project.write("config/nginx.conf", "events {}\nhttp {\n  listen nowhere;\n}\n");
    let message = project.refused(&["dev"]);
    assert!(message.contains("\"listen\" directive is not allowed here in"), "{message}");
    assert!(message.contains("nginx.conf.new:3"), "{message}");
    assert!(message.contains("nginx refuses the configuration"), "{message}");
}

#[test]
fn start_passes_signals_on() {
    let project = plain_project();
    let mut server = Server::start(&project, &["start", "--env", "production"]);
    server.wait_for(|output| output.contains("serving "));
    let log = project.path().join("logs/access.log");
    std::fs::rename(&log, project.path().join("logs/access.log.1")).unwrap();
    server.signal("USR1");
    server.wait_for(|_| log.exists());
    server.get("/missing");
    server.wait_for(|_| std::fs::read_to_string(&log).unwrap().contains("[404]"));
    project.write("config/nginx.conf", &PLAIN.replace("return 200 one", "return 200 two"));
    server.signal("HUP");
    server.wait_for(|_| server.get("/").ends_with("two"));
    server.signal("QUIT");
    assert_eq!(server.wait(), Some(0));
    assert_eq!(processes_of(&project.path()), [""; 0]);
}

#[test]
fn a_missing_nginx_is_named() {
    let project = plain_project();
    let output = project.run(&["dev", "--nginx", "/nonexistent/nginx", "--port", "1999"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the nginx /nonexistent/nginx can't be run"));
}
