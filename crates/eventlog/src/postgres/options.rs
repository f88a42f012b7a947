//! The two forms of a connection string, libpq's key words and its URL, as a list of key words and values.
//!
//! It is taken apart here, and put together for `tokio-postgres` from what that knows, in one form: it doesn't know all
//! that libpq does, and finds the `@` of a file's name in a URL where a user's ends.
//!
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>

use std::iter::Peekable;
use std::str::Chars;

/// What is wrong with the string, without what may be a password.
type Wrong = String;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    options: Vec<(String, String)>,
    /// That of a URL, whose bytes needn't be text.
    pub password: Option<Vec<u8>>,
}

impl Options {
    pub fn parse(text: &str) -> Result<Options, Wrong> {
        let url = ["postgres://", "postgresql://"].iter().find_map(|p| text.strip_prefix(p));
        match url {
            Some(rest) => parse_url(rest),
            None => parse_key_words(text),
        }
    }

    /// Takes an option out, which may be there once: nobody can tell which one is meant to protect the connection.
    pub fn take(&mut self, key: &str) -> Result<Option<String>, Wrong> {
        let mut found = self.options.extract_if(.., |(name, _)| name == key);
        let value = found.next().map(|(_, value)| value);
        match found.next() {
            Some(_) => Err(format!("{key} is written twice: keep one")),
            None => Ok(value),
        }
    }

    /// Takes an option out, the last one where there are several, and its elements.
    pub fn take_list(&mut self, key: &str) -> Vec<String> {
        let last = self.options.extract_if(.., |(name, _)| name == key).last();
        let elements = |(_, value): (_, String)| value.split(',').map(str::to_owned).collect();
        last.map(elements).unwrap_or_default()
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        let last = self.options.iter().rev().find(|(name, _)| name == key);
        last.map(|(_, value)| value.as_str())
    }

    /// What is left, as key words.
    pub fn to_key_words(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.options {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            text.push_str(&format!("{key}='{value}' "));
        }
        text
    }

    fn push(&mut self, key: &str, value: String) -> Result<(), Wrong> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if key.is_empty() || !key.chars().all(fits) {
            return Err(format!("{key:?} is no key word"));
        }
        self.options.push((key.to_owned(), value));
        Ok(())
    }
}

/// `key = value key = 'value with \'quotes\''`.
fn parse_key_words(text: &str) -> Result<Options, Wrong> {
    let mut options = Options::default();
    let mut chars = text.chars().peekable();
    loop {
        skip_spaces(&mut chars);
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        skip_spaces(&mut chars);
        match chars.next() {
            None if key.is_empty() => return Ok(options),
            Some('=') => {}
            // The word may be the rest of a password with a space in it.
            _ if options.options.is_empty() => {
                return Err("it is no list of KEY=VALUE, and no postgres:// URL".into());
            }
            _ => {
                let (before, _) = options.options.last().map_or(("", ""), |(k, v)| (k, v));
                return Err(format!(
                    "after {before}= a word has no \"=\": quote values with '...'"
                ));
            }
        }
        skip_spaces(&mut chars);
        let value = value(&mut chars).ok_or_else(|| format!("the quotes of {key} don't end"))?;
        options.push(&key, value)?;
    }
}

fn skip_spaces(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}

/// None if quotes don't end.
fn value(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let quoted = chars.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match chars.peek() {
            None if quoted => return None,
            None => return Some(value),
            Some(c) if !quoted && c.is_whitespace() => return Some(value),
            Some('\'') if quoted => {
                chars.next();
                return Some(value);
            }
            Some(_) => {}
        }
        match chars.next() {
            Some('\\') => value.extend(chars.next()),
            c => value.extend(c),
        }
    }
}

/// `USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?KEY=VALUE&KEY=VALUE`, all of it optional and percent-encoded.
fn parse_url(rest: &str) -> Result<Options, Wrong> {
    let mut options = Options::default();
    let (user, rest) = match rest.find(['@', '/']) {
        Some(end) if rest[end..].starts_with('@') => (&rest[..end], &rest[end + 1..]),
        _ => ("", rest),
    };
    if user.split_once('?').is_some_and(|(_, query)| query.contains('=')) {
        // libpq takes it for a password, and its options don't count.
        return Err(
            "\"?\" and \"=\" before \"@\": write %3F in a password, and %40 in an option".into()
        );
    }
    let (user, password) = user.split_once(':').map_or((user, None), |(u, p)| (u, Some(p)));
    if !user.is_empty() {
        options.push("user", decode("user", user)?)?;
    }
    options.password = password.map(|password| percent_decode("password", password)).transpose()?;

    // Up to a second one the rest of a password would be taken for the server's name, which is printed.
    if rest.split('?').next().is_some_and(|address| address.contains('@')) {
        let help = "write %40 for those of the user's name and password";
        return Err(format!("there is more than one @, or one after a /: {help}"));
    }
    let (hosts, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !hosts.is_empty() {
        let (mut names, mut ports) = (Vec::new(), Vec::new());
        for host in hosts.split(',') {
            let (name, port) = host_and_port(host)?;
            names.push(decode("host", name)?);
            ports.push(decode("port", port)?);
        }
        options.push("host", names.join(","))?;
        if ports.iter().any(|port| !port.is_empty()) {
            options.push("port", ports.join(","))?;
        }
    }
    let database = path.strip_prefix('/').unwrap_or_default();
    if !database.is_empty() {
        options.push("dbname", decode("dbname", database)?)?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("a word after \"?\" has no \"=\"")?;
        let key = decode("key word", key)?;
        options.push(&key, decode(&key, value)?)?;
    }
    Ok(options)
}

/// An IPv6 address has brackets.
fn host_and_port(text: &str) -> Result<(&str, &str), Wrong> {
    let Some(address) = text.strip_prefix('[') else {
        return Ok(text.split_once(':').unwrap_or((text, "")));
    };
    let (address, rest) = address.split_once(']').ok_or("host: \"[\" has no \"]\"")?;
    match rest.strip_prefix(':') {
        Some(port) => Ok((address, port)),
        None if rest.is_empty() => Ok((address, "")),
        None => Err("host: only :PORT may follow \"]\"".into()),
    }
}

fn decode(name: &str, text: &str) -> Result<String, Wrong> {
    String::from_utf8(percent_decode(name, text)?).map_err(|_| format!("{name} is not UTF-8"))
}

fn percent_decode(name: &str, text: &str) -> Result<Vec<u8>, Wrong> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => decoded.push((high * 16 + low) as u8),
            _ => {
                let help = "write %25 for a \"%\" itself";
                return Err(format!("{name}: \"%\" without two hexadecimal digits; {help}"));
            }
        }
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Vec<(String, String)> {
        Options::parse(text).expect("a good string").options
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn key_words_have_quotes_escapes_and_spaces_around_the_sign() {
        let text =
            r" host = db  sslrootcert='/a b/it\'s \\ here.pem' user=o\ r'c password='' port=";
        let expected = [
            ("host", "db"),
            ("sslrootcert", r"/a b/it's \ here.pem"),
            ("user", "o r'c"),
            ("password", ""),
            ("port", ""),
        ];
        assert_eq!(options(text), pairs(&expected));
    }

    #[test]
    fn a_url_is_percent_decoded_part_by_part() {
        let text =
            "postgresql://o%40r:p%3A%ff?@[::1]:6000,%2Frun%2Fpg,c:7/a%20b?ssl%6Dode=verify-full\
                    &sslrootcert=/etc/a@b%26c%3D/ca.pem&options=-c%20a=b";
        let parsed = Options::parse(text).expect("a good URL");
        let expected = [
            ("user", "o@r"),
            ("host", "::1,/run/pg,c"),
            ("port", "6000,,7"),
            ("dbname", "a b"),
            ("sslmode", "verify-full"),
            ("sslrootcert", "/etc/a@b&c=/ca.pem"),
            ("options", "-c a=b"),
        ];
        assert_eq!(parsed.options, pairs(&expected));
        assert_eq!(parsed.password.as_deref(), Some(&b"p:\xff?"[..]));
    }

    #[test]
    fn every_part_of_a_url_may_be_missing() {
        assert_eq!(options("postgres://"), []);
        assert_eq!(options("postgres:///db"), pairs(&[("dbname", "db")]));
        assert_eq!(options("postgres://h"), pairs(&[("host", "h")]));
        assert_eq!(options("postgres://h/?a=b@c"), pairs(&[("host", "h"), ("a", "b@c")]));
    }

    #[test]
    fn what_is_put_together_again_means_the_same() {
        for value in [r"a'b\c d=e", "", "'", "\\"] {
            let mut first = Options::default();
            first.push("password", value.to_owned()).expect("a key word");
            first.push("user", "u".into()).expect("a key word");
            assert_eq!(Options::parse(&first.to_key_words()), Ok(first));
        }
    }

    #[test]
    fn what_protects_the_connection_is_written_once_and_lists_count_from_the_last() {
        let mut options = Options::parse("sslmode=require host=a host=b,c sslmode=disable")
            .expect("a good string");
        assert!(options
            .take("sslmode")
            .is_err_and(|wrong| wrong.contains("sslmode is written twice")));
        assert_eq!(options.take_list("host"), ["b", "c"]);
        assert_eq!(options, Options::default());
    }

    #[test]
    fn what_is_wrong_is_named_and_is_not_the_password() {
        for (text, named) in [
            ("secret", "KEY=VALUE"),
            ("user=u password=x secret", "after password= a word"),
            ("password='secret", "the quotes of password"),
            ("postgres://u:secret%4@h/", "password: \"%\""),
            ("postgres://h:%é/", "port: \"%\""),
            ("postgres://h/db?sslmode", "after \"?\""),
            ("postgres://h/db?a%20b=c", "\"a b\" is no key word"),
            ("postgres://[::1/db", "host"),
            ("postgres://[::1]x/db", "host"),
            ("postgres://h?sslmode=verify-full&sslrootcert=secret@x", "before \"@\""),
            ("postgres://h/%ff", "dbname is not UTF-8"),
        ] {
            let wrong = Options::parse(text).expect_err(text);
            assert!(wrong.contains(named) && !wrong.contains("secret"), "{wrong}");
        }
    }
}
