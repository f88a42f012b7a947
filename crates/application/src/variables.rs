//! Environment variables inside values: `${NAME}`, `${NAME:-default}`, and `$${` for a plain `${`.

/// Why a value can't be completed.
#[derive(Debug, PartialEq, Eq)]
pub enum Unresolved {
    Unset(String),
    Syntax(String),
}

impl Unresolved {
    pub fn message(&self) -> String {
        match self {
            Unresolved::Unset(name) => format!(
                "the environment variable {name} is not set: set it, or write ${{{name}:-default}}"
            ),
            Unresolved::Syntax(what) => {
                format!("{what}: write ${{NAME}} or ${{NAME:-default}}, and $${{ for a plain ${{")
            }
        }
    }
}

/// Replaces the variables of a value. As in a shell, the default stands in for an empty variable too.
pub fn expand(value: &str, env: impl Fn(&str) -> Option<String>) -> Result<String, Unresolved> {
    let mut output = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find("${") {
        let (before, inside) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            output.push_str(before);
            output.push_str("${");
            rest = inside;
            continue;
        }
        output.push_str(before);
        let Some(end) = inside.find('}') else {
            return Err(Unresolved::Syntax(format!("\"${{{}\" has no \"}}\"", shown(inside))));
        };
        output.push_str(&lookup(&inside[..end], &env)?);
        rest = &inside[end + 1..];
    }
    output.push_str(rest);
    Ok(output)
}

fn lookup(reference: &str, env: impl Fn(&str) -> Option<String>) -> Result<String, Unresolved> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_variable(name) {
        return Err(Unresolved::Syntax(format!("\"{}\" is no variable's name", shown(name))));
    }
    match (env(name), default) {
        (Some(text), None) => Ok(text),
        (Some(text), Some(_)) if !text.is_empty() => Ok(text),
        (_, Some(default)) => Ok(default.into()),
        (None, None) => Err(Unresolved::Unset(name.into())),
    }
}

/// The part that may have been meant as a name. What follows may be a password.
fn shown(text: &str) -> &str {
    let other = |c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.');
    text.split(other).next().unwrap_or_default()
}

/// Whether it can be a variable's name: letters, digits and `_`, not beginning with a digit.
pub fn is_variable(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(allowed) && !name.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("db1".into()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".into()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once_wherever_they_stand() {
        for (value, expected) in [
            ("", ""),
            ("plain $HOST $", "plain $HOST $"),
            ("${HOST}", "db1"),
            ("a${HOST}b${HOST}", "adb1bdb1"),
            ("${EMPTY}", ""),
            ("${NESTED}", "${HOST}"),
            ("$${HOST}", "${HOST}"),
            ("$$${HOST}", "$${HOST}"),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("${EMPTY:-x}/${HOST:-y}", "x/db1"),
        ] {
            assert_eq!(expand(value, env).as_deref(), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_named() {
        assert_eq!(expand("x${NONE}", env), Err(Unresolved::Unset("NONE".into())));
        for (value, what) in [
            ("a ${HOST", "\"${HOST\" has no \"}\""),
            ("${}", "\"\" is no variable's name"),
            ("${1A}", "\"1A\" is no variable's name"),
            ("${A-B}", "\"A-B\" is no variable's name"),
            ("host=${HOST password=secret", "\"${HOST\" has no \"}\""),
            ("//${HOST:secret@db/${NONE}", "\"HOST\" is no variable's name"),
        ] {
            assert_eq!(expand(value, env), Err(Unresolved::Syntax(what.into())), "{value}");
        }
    }
}
