//! Names of functions: `controllers/users/get` or `controllers.users.get`, both `app/controllers/users/get.lua`.

use std::path::{Path, PathBuf};

/// Checks a function's name and gives its one spelling, with slashes.
///
/// A name is made of letters, digits, `_` and `-` in segments; nothing in it can lead out of `app/`. The error says
/// what is wrong, without the name.
pub fn function_name(name: &str) -> Result<String, &'static str> {
    if name.is_empty() {
        return Err("the name is empty");
    }
    if name.starts_with('/') {
        return Err("the name starts with \"/\": it is relative to app/");
    }
    if name.contains("..") {
        return Err("the name contains \"..\"");
    }
    if name.ends_with(".lua") {
        return Err("the name ends with \".lua\": leave the ending out");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '.');
    if !name.chars().all(allowed) {
        return Err("the name may contain only letters, digits, \"_\", \"-\", and \"/\" or \".\" between its parts");
    }
    let slashed = name.replace('.', "/");
    if slashed.split('/').any(str::is_empty) {
        return Err("a part of the name is empty");
    }
    Ok(slashed)
}

/// The file of a function whose name [`function_name`] has accepted.
pub fn function_file(project: &Path, name: &str) -> PathBuf {
    project.join("app").join(format!("{name}.lua"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_the_same_function() {
        assert_eq!(function_name("hello"), Ok("hello".into()));
        assert_eq!(function_name("controllers/users/get"), Ok("controllers/users/get".into()));
        assert_eq!(
            function_name("controllers.users.get-all_2"),
            Ok("controllers/users/get-all_2".into())
        );
        assert_eq!(function_file(Path::new("p"), "a/b"), Path::new("p/app/a/b.lua"));
    }

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a..b",
            "a//b",
            "a/",
            ".a",
            "a.lua",
            "a b",
            "a\0",
            "é",
            "a\\b",
        ] {
            assert!(function_name(name).is_err(), "{name:?} was accepted");
        }
    }
}
