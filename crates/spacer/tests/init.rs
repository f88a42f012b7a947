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
fn nothing_is_overwritten() {
    let dir = tempfile::TempDir::new().unwrap();
    fs::create_dir(dir.path().join("app")).unwrap();
    fs::write(dir.path().join("app/hello.lua"), "-- mine").unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join(".gitignore")).unwrap();
    let output = spacer().arg("init").arg(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = text(&output.stderr);
    let expected =
        "has app/hello.lua, .gitignore, which `spacer init` would overwrite: name another folder";
    assert!(message.contains(expected), "{message}");
    assert_eq!(fs::read_to_string(dir.path().join("app/hello.lua")).unwrap(), "-- mine");
    assert!(!dir.path().join("app/gateway.lua").exists(), "a half of a project was made");
}

#[test]
fn a_folder_that_is_there_will_do() {
    for argument in [".", "empty", "with/a/README.md"] {
        let dir = tempfile::TempDir::new().unwrap();
        let place = dir.path().join(argument);
        if argument == "with/a/README.md" {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(&place, "# mine\n").unwrap();
        } else if argument != "." {
            fs::create_dir(&place).unwrap();
        }
        let argument = argument.trim_end_matches("/README.md");
        let output = spacer().args(["init", argument]).current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{argument}: {}", text(&output.stderr));
        let project = dir.path().join(argument);
        let routes = spacer().args(["routes", argument]).current_dir(dir.path()).output().unwrap();
        assert!(routes.status.success(), "{argument}: {}", text(&routes.stderr));
        let mine = fs::read_to_string(project.join("README.md")).unwrap_or_default();
        assert_eq!(mine, if argument == "with/a" { "# mine\n" } else { "" });
    }
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
