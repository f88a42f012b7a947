//! Text with placeholders, `{{name}}`.
//!
//! Braces around anything but a name are left alone, so that Lua blocks with nested tables pass through. A line that
//! starts with `##` is a note to the template's reader and is left out.

/// A placeholder that nothing is known for.
#[derive(Debug, PartialEq, Eq)]
pub struct Unknown {
    pub line: usize,
    pub name: String,
}

/// What [`render`] ends with: a placeholder that is unknown, or the failure to find a known one's value.
#[derive(Debug)]
pub enum Failed<E> {
    Unknown(Unknown),
    Value(E),
}

/// Fills in the placeholders. `value` gives `None` for a name it does not know; it is asked for those that occur, no
/// others. A line of nothing but placeholders that comes out empty is left out.
pub fn render<E>(
    template: &str,
    mut value: impl FnMut(&str) -> Result<Option<String>, E>,
) -> Result<String, Failed<E>> {
    let mut output = String::with_capacity(template.len());
    for (i, line) in template.split_inclusive('\n').enumerate() {
        if line.trim_start().starts_with("##") {
            continue;
        }
        let start = output.len();
        let mut rest = line;
        while let Some((before, name, after)) = split(rest) {
            let text = value(name).map_err(Failed::Value)?;
            let unknown = || Failed::Unknown(Unknown { line: i + 1, name: name.into() });
            output.push_str(before);
            output.push_str(&text.ok_or_else(unknown)?);
            rest = after;
        }
        output.push_str(rest);
        if rest.len() < line.len() && output[start..].trim().is_empty() {
            output.truncate(start);
        }
    }
    Ok(output)
}

/// Splits at the first placeholder: the text before, its name, the text after.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find("{{")?;
        let inside = &text[open + 2..];
        let length =
            inside.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(inside.len());
        if length > 0 && inside[length..].starts_with("}}") {
            return Some((&text[..open], &inside[..length], &inside[length + 2..]));
        }
        from = open + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn filled(template: &str) -> Result<String, Unknown> {
        let value = |name: &str| {
            Ok::<_, Infallible>(match name {
                "port" => Some("3000".into()),
                "none" => Some(String::new()),
                _ => None,
            })
        };
        render(template, value).map_err(|failed| match failed {
            Failed::Unknown(unknown) => unknown,
            Failed::Value(never) => match never {},
        })
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(
            filled("listen {{port}};\n# {{port}}{{port}}").unwrap(),
            "listen 3000;\n# 30003000"
        );
    }

    #[test]
    fn a_line_that_comes_out_empty_is_left_out() {
        assert_eq!(filled("## {{nothing}}\na\n").unwrap(), "a\n");
        assert_eq!(filled("a\n  {{none}}\n\nb {{none}}\n").unwrap(), "a\n\nb \n");
    }

    #[test]
    fn an_unknown_placeholder_has_its_line() {
        assert_eq!(filled("\n\n{{prot}}"), Err(Unknown { line: 3, name: "prot".into() }));
    }

    #[test]
    fn braces_around_anything_else_are_left_alone() {
        for text in ["{{1, 2}, {3}}", "{{ port }}", "{{", "{{}}", "{{x}", "{{PORT}}"] {
            assert_eq!(filled(text).unwrap(), text);
        }
        assert_eq!(filled("{{{port}}}").unwrap(), "{3000}");
    }
}
