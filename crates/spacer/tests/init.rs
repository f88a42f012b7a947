//! `spacer init`, and what the command says in general.

mod common;

use common::{spacer, text, Project};
use std::fs;

#[test]
fn a_new_project_has_what_it_needs() {
    let project = Project::new();
    for file in [
        "app/gateway.lua",
        "app/hello.lua",
        "config/application.yml",
        ".gitignore",
        "lib",
        "logs",
        "temp",
    ] {
        assert!(project.path().join(file).exists(), "{file}");
    }
    let application = fs::read_to_string(project.path().join("config/application.yml")).unwrap();
    assert!(application.contains("\nappName: shop-2\n"), "{application}");
}

#[test]
fn a_folder_that_exists_is_left_alone() {
    let project = Project::new();
    project.write("app/gateway.lua", "-- mine");
    let output = spacer().arg("init").arg(project.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("exists already"), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(project.path().join("app/gateway.lua")).unwrap(), "-- mine");
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["fly"][..],
        &[],
        &["init"],
        &["start"],
        &["start", "--env", "a;b"],
        &["dev", "--port", "0"],
    ] {
        assert_eq!(
            spacer().args(arguments).output().unwrap().status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
}

#[test]
fn version_help_and_completions_are_printed() {
    for (arguments, expected) in [
        (&["version"][..], concat!("spacer ", env!("CARGO_PKG_VERSION"))),
        (&["help"], "nginx-config"),
        (&["completions", "bash"], "complete -F _spacer"),
        (&["completions", "zsh"], "#compdef spacer"),
    ] {
        let output = spacer().args(arguments).output().unwrap();
        assert!(
            output.status.success() && text(&output.stdout).contains(expected),
            "{arguments:?}"
        );
    }
}
