//! Passwords in messages: those of connection strings, which a message may quote when one stands where something else
//! is expected.

/// What takes a password's place.
const HIDDEN: &str = "...";

/// The text with `...` for the password of each `scheme://user:password@host` and `password=...`.
pub fn without_passwords(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, end)) = next_password(rest) {
        output.push_str(&rest[..start]);
        output.push_str(HIDDEN);
        rest = &rest[end..];
    }
    output + rest
}

/// Where the first password is.
fn next_password(text: &str) -> Option<(usize, usize)> {
    [in_url(text), in_pair(text)].into_iter().flatten().min()
}

fn in_url(text: &str) -> Option<(usize, usize)> {
    text.match_indices("://").find_map(|(at, mark)| {
        let from = at + mark.len();
        let address = word(&text[from..]);
        // With an @ that should have been written as %40, up to the last.
        let user_and_password = &address[..address.rfind('@')?];
        let start = from + user_and_password.find(':')? + 1;
        Some((start, from + user_and_password.len()))
    })
}

fn in_pair(text: &str) -> Option<(usize, usize)> {
    text.match_indices("password").find_map(|(at, mark)| {
        let behind = text[at + mark.len()..].trim_start().strip_prefix('=')?.trim_start();
        let start = text.len() - behind.len();
        let len = match behind.starts_with('\'') {
            // Up to the last quote: the password may have others, escaped.
            true => behind.rfind('\'').filter(|at| *at > 0).map_or(behind.len(), |at| at + 1),
            false => word(behind).len(),
        };
        Some((start, start + len))
    })
}

/// Up to a space or a quotation mark.
fn word(text: &str) -> &str {
    let end = |c: char| c.is_whitespace() || c == '"';
    text.split(end).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_and_nothing_else() {
        for (text, expected) in [
            ("driver \"mysql\": use sqlite", "driver \"mysql\": use sqlite"),
            ("a \"postgres://me:secret@db/x\" b@c", "a \"postgres://me:...@db/x\" b@c"),
            ("postgres://me:sec@ret@db", "postgres://me:...@db"),
            ("postgres://me@db:5432/x", "postgres://me@db:5432/x"),
            ("http://a:80/ me:you@b", "http://a:80/ me:you@b"),
            ("x://a:1@b x://c:2@d", "x://a:...@b x://c:...@d"),
            ("host=a password=secret user=me", "host=a password=... user=me"),
            ("\"sasl.password = secret\", expected", "\"sasl.password = ...\", expected"),
            ("password='my \\'secret' host=a", "password=... host=a"),
            ("password='secret", "password=..."),
            ("password= and the password", "password= ... the password"),
            ("x://a:1@b?password=2", "x://a:...@b?password=..."),
        ] {
            assert_eq!(without_passwords(text), expected);
            assert_eq!(without_passwords(expected), expected);
        }
    }
}
