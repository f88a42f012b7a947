//! Request methods, and what a route says about them.

use std::fmt;

/// A request method that a route can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// Every method, in the order in which an `Allow` header lists them.
    pub const ALL: [Method; 7] = [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Patch,
        Method::Delete,
        Method::Options,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
        }
    }

    /// The method of a request line, where names are case-sensitive (RFC 9110, 9.1).
    pub fn from_name(name: &[u8]) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name().as_bytes() == name)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The first element of a route: one method, or `ANY` for those that no other route of the path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    One(Method),
    Any,
}

impl Verb {
    /// The names in the order in which messages list them.
    pub const NAMES: &'static str = "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS or ANY";

    /// Reads a verb of a gateway file; lower case is accepted.
    pub fn parse(name: &str) -> Option<Verb> {
        let upper = name.to_ascii_uppercase();
        if upper == "ANY" {
            return Some(Verb::Any);
        }
        Method::from_name(upper.as_bytes()).map(Verb::One)
    }

    pub fn name(self) -> &'static str {
        match self {
            Verb::One(method) => method.name(),
            Verb::Any => "ANY",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_may_be_in_lower_case_and_a_request_method_may_not() {
        assert_eq!(Verb::parse("get"), Some(Verb::One(Method::Get)));
        assert_eq!(Verb::parse("any"), Some(Verb::Any));
        assert_eq!(Verb::parse("FETCH"), None);
        assert_eq!(Verb::parse(""), None);
        assert_eq!(Method::from_name(b"get"), None);
        assert_eq!(Method::from_name(b"ANY"), None);
    }
}
