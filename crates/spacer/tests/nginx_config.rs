//! `spacer nginx-config`.

mod common;

use common::{text, Project};

fn rendered(project: &Project, arguments: &[&str]) -> String {
    let module = project.path().join("module.so");
    std::fs::write(&module, "").unwrap();
    let arguments = [&["nginx-config", "--module", module.to_str().unwrap()], arguments].concat();
    let output = project.run(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_template_is_filled_in() {
    let project = Project::new();
    project.write(
        "config/application.yml",
        "spacerVersion: 1\nappName: shop\nenvVar: [TOKEN, REGION]\n",
    );
    let text = rendered(&project, &["--env", "production", "--host", "::1", "--port", "8080"]);
    let dir = project.path().canonicalize().unwrap();
    for line in [
        &format!("load_module \"{}/module.so\";\nenv TOKEN;\nenv REGION;\ndaemon off;\nworker_processes auto;", dir.display()),
        &format!("spacer_project \"{}\";", dir.display()),
        "spacer_env production;",
        "listen [::1]:8080;",
        "spacer_gateway app/gateway.lua;",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("{{"), "{text}");
    let text = rendered(&project, &["--env", "development"]);
    assert!(
        text.contains("worker_processes 1;") && text.contains("listen 127.0.0.1:3000;"),
        "{text}"
    );
}

#[test]
fn workers_run_in_the_main_group_of_their_user() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: nginx gives workers a user when root starts it");
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("a user nobody");
    let group = nix::unistd::Group::from_gid(nobody.gid).unwrap().expect("its group").name;
    let line = match group.as_str() {
        "nobody" => "user nobody;\n".to_string(),
        group => format!("user nobody {group};\n"),
    };
    let project = Project::new();
    let text = rendered(&project, &["--env", "production", "--user", "nobody"]);
    assert!(text.contains(&line), "{text}");
}

#[test]
fn private_functions_have_a_server_where_the_application_says() {
    let project = Project::new();
    let with = |line: &str| {
        project.write("config/application.yml", &format!("spacerVersion: 1\n{line}\n"));
        rendered(&project, &["--env", "production"])
    };
    assert!(!with("").contains("spacer_private"));
    let server = |listen: &str| {
        format!(
            "server {{\n        listen \"{listen}\";\n        spacer_private;\n        location = /trigger {{\n            \
             spacer_trigger;\n        }}\n    }}\n}}\n"
        )
    };
    let text = with("privateListen: 9066");
    assert!(text.ends_with(&server("127.0.0.1:9066")), "{text}");
    let text = with("privateListen: unix:temp/private.sock");
    let socket = project.path().canonicalize().unwrap().join("temp/private.sock");
    assert!(text.ends_with(&server(&format!("unix:{}", socket.display()))), "{text}");

    project.write("config/application.yml", "spacerVersion: 1\nprivateListen: nonsense\n");
    let message = project.refused(&["start", "--env", "production"]);
    assert!(
        message
            .starts_with("spacer: config/application.yml:2:16: privateListen \"nonsense\": use "),
        "{message}"
    );
}

#[test]
fn a_project_may_keep_its_own() {
    let project = Project::new();
    project.write("config/nginx.conf", "# {{app_name}}: {{environment}}\nlocal t = {{1}, {2}}\n");
    let application =
        "spacerVersion: 1\nappName: shop-2\nlogStorage: { staging: { driver: memory } }\n";
    project.write("config/application.yml", application);
    assert_eq!(
        rendered(&project, &["--env", "staging"]),
        "# shop-2: staging\nlocal t = {{1}, {2}}\n"
    );
    project.write("config/nginx.conf", "\n\nlisten {{lisen}};\n");
    let message = project.refused(&["nginx-config", "--env", "staging"]);
    assert!(
        message
            .starts_with("spacer: config/nginx.conf:3: unknown placeholder {{lisen}}: there are "),
        "{message}"
    );
}

#[test]
fn a_missing_module_and_a_bad_application_file_are_reported() {
    let project = Project::new();
    let message =
        project.refused(&["nginx-config", "--env", "production", "--module", "/nonexistent.so"]);
    assert!(message.contains("the module /nonexistent.so does not exist"), "{message}");
    project.write("config/application.yml", "spacerVersion: 1\nappName: a_b\n");
    let message = project.refused(&["nginx-config", "--env", "production"]);
    assert!(
        message.starts_with("spacer: config/application.yml:2:10: appName \"a_b\""),
        "{message}"
    );
}

#[test]
fn an_environment_that_the_project_does_not_have_is_refused() {
    let project = Project::new();
    project.write(
        "config/application.yml",
        "spacerVersion: 1\nlogStorage: { staging: { driver: memory }, test: { driver: memory } }\n",
    );
    let port = common::free_port().to_string();
    let start = ["start", "--port", &port];
    for command in [&["nginx-config"][..], &start, &["topics", "list"], &["replay", "orders"]] {
        let arguments = [command, &["--env", "prodution"]].concat();
        assert_eq!(
            project.refused(&arguments),
            "spacer: config/application.yml: there is no environment \"prodution\", there are development, test, \
             production, staging: correct the name, or add it to logStorage\n",
            "{command:?}"
        );
    }
    assert!(!project.path().join("data").exists(), "a database was made");
}
