//! A route's path: literal segments, `:param` segments, and a final `*rest`.

/// More would only cost every match room for their values.
pub const MAX_PARAMS: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    Literal(String),
    Param(String),
    Rest(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub segments: Vec<Segment>,
}

impl Pattern {
    /// Reads a path of a gateway file. The error says what is wrong, without the path.
    pub fn parse(path: &str) -> Result<Pattern, String> {
        let Some(tail) = path.strip_prefix('/') else {
            return Err("the path does not start with \"/\"".into());
        };
        if path.chars().any(char::is_control) {
            return Err("the path contains a control character".into());
        }
        if let Some(c) = path.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(format!("the path contains \"{c}\": a route is found by its path alone"));
        }
        if has_escape(path) {
            return Err("the path contains a percent escape: write the character itself, \
                        requests are compared after decoding"
                .into());
        }
        let tail = tail.strip_suffix('/').filter(|tail| !tail.is_empty()).unwrap_or(tail);
        let parts: Vec<&str> = if tail.is_empty() { Vec::new() } else { tail.split('/').collect() };
        let mut segments = Vec::with_capacity(parts.len());
        for (i, part) in parts.iter().enumerate() {
            segments.push(segment(part, i + 1 == parts.len())?);
        }
        let pattern = Pattern { segments };
        let mut names = pattern.param_names();
        if names.len() > MAX_PARAMS {
            return Err(format!("the path has more than {MAX_PARAMS} parameters"));
        }
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("the path has two parameters named \"{}\"", pair[0]));
        }
        Ok(pattern)
    }

    pub fn param_names(&self) -> Vec<&str> {
        let name = |segment| match segment {
            &Segment::Literal(_) => None,
            Segment::Param(name) | Segment::Rest(name) => Some(name.as_str()),
        };
        self.segments.iter().filter_map(name).collect()
    }

    /// The path in its one spelling: without a trailing slash.
    pub fn path(&self) -> String {
        if self.segments.is_empty() {
            return "/".into();
        }
        let mut path = String::new();
        for segment in &self.segments {
            let (mark, text) = match segment {
                Segment::Literal(text) => ("/", text),
                Segment::Param(name) => ("/:", name),
                Segment::Rest(name) => ("/*", name),
            };
            path.push_str(mark);
            path.push_str(text);
        }
        path
    }

    /// The literal part up to and including the last `/` before the first parameter, or `None` for a static path.
    pub fn prefix(&self) -> Option<String> {
        let mut prefix = String::from("/");
        for segment in &self.segments {
            let Segment::Literal(text) = segment else { return Some(prefix) };
            prefix.push_str(text);
            prefix.push('/');
        }
        None
    }
}

fn segment(part: &str, last: bool) -> Result<Segment, String> {
    if part.is_empty() {
        return Err("the path has an empty segment (\"//\")".into());
    }
    if part == "." || part == ".." {
        return Err(format!("the path has a \"{part}\" segment, which no request reaches"));
    }
    if let Some(name) = part.strip_prefix(':') {
        check_name(name, part)?;
        return Ok(Segment::Param(name.into()));
    }
    if let Some(name) = part.strip_prefix('*') {
        check_name(name, part)?;
        if !last {
            return Err(format!(
                "\"{part}\" takes the rest of the path, so it has to be the last segment"
            ));
        }
        return Ok(Segment::Rest(name.into()));
    }
    if part.contains('*') {
        return Err(format!(
            "\"*\" has to stand at the start of a segment, as in \"*rest\" (found \"{part}\")"
        ));
    }
    Ok(Segment::Literal(part.into()))
}

fn check_name(name: &str, part: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("the parameter \"{part}\" has no name"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.chars().all(allowed) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!(
            "the parameter \"{part}\" needs a name of letters, digits and \"_\" that does not start with a digit"
        ));
    }
    Ok(())
}

fn has_escape(path: &str) -> bool {
    path.as_bytes()
        .windows(3)
        .any(|w| w[0] == b'%' && w[1].is_ascii_hexdigit() && w[2].is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(path: &str, because: &str) {
        let message = Pattern::parse(path).expect_err(path);
        assert!(message.contains(because), "{path}: {message}");
    }

    #[test]
    fn a_path_is_literals_parameters_and_a_rest() {
        let pattern = Pattern::parse("/users/:id/files/*rest").unwrap();
        assert_eq!(pattern.param_names(), ["id", "rest"]);
        assert_eq!(pattern.path(), "/users/:id/files/*rest");
        assert_eq!(pattern.prefix().as_deref(), Some("/users/"));
    }

    #[test]
    fn a_trailing_slash_is_ignored() {
        assert_eq!(Pattern::parse("/users/").unwrap(), Pattern::parse("/users").unwrap());
        assert_eq!(Pattern::parse("/").unwrap().path(), "/");
        assert_eq!(Pattern::parse("/").unwrap().prefix(), None);
        assert_eq!(Pattern::parse("/*rest").unwrap().prefix().as_deref(), Some("/"));
    }

    #[test]
    fn a_colon_inside_a_segment_is_literal() {
        assert_eq!(Pattern::parse("/v1/a:b").unwrap().param_names(), [""; 0]);
    }

    #[test]
    fn paths_that_can_not_work_are_refused() {
        refused("users", "does not start with");
        refused("", "does not start with");
        refused("/users/:", "has no name");
        refused("/*", "has no name");
        refused("/:a-b", "needs a name");
        refused("/:1st", "needs a name");
        refused("/:id/:id", "two parameters named \"id\"");
        refused("/:id/*id", "two parameters named \"id\"");
        refused("/*rest/more", "has to be the last segment");
        refused("/a*b", "at the start of a segment");
        refused("/a//b", "empty segment");
        refused("//", "empty segment");
        refused("/a/../b", "\"..\" segment");
        refused("/a?b=1", "\"?\"");
        refused("/a\nb", "control character");
        refused("/caf%C3%A9", "percent escape");
        let many: String = (0..17).map(|i| format!("/:p{i}")).collect();
        refused(&many, "more than 16");
    }
}
