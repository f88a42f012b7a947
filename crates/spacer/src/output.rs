//! What commands print: text for people, JSON for programs.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::Error;

/// Writes to standard output, all of it at once.
pub fn print(text: &str) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(Error::Output)
}

/// Prints a JSON document.
pub fn print_document(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Output(error.into()))?;
    print(&(text + "\n"))
}

/// Prints a JSON value on a line of its own.
pub fn print_line(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(|error| Error::Output(error.into()))?;
    print(&(text + "\n"))
}

/// Whether standard output takes colours.
pub fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Text of others on one line, with nothing in it that a terminal would obey.
pub fn printable(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => output.extend(c.escape_default()),
            false => output.push(c),
        }
    }
    output
}

/// At most so many characters, the last of them "…" if there were more.
pub fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.into(),
        Some(_) => text.chars().take(limit - 1).chain(['…']).collect(),
    }
}

/// JSON as it was stored, on one line: digits and the order of members stay as they are.
pub fn compact(json: &[u8]) -> String {
    let text = String::from_utf8_lossy(json);
    let mut output = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if in_string || !matches!(c, ' ' | '\t' | '\n' | '\r') {
            output.push(c);
        }
        in_string ^= c == '"' && !escaped;
        escaped = in_string && c == '\\' && !escaped;
    }
    output
}

/// A stored value inside a JSON answer. A database that others write to may hold what isn't JSON: that is a string.
pub fn raw(json: &[u8]) -> Result<Box<RawValue>, Error> {
    let failed = |error: serde_json::Error| Error::Output(error.into());
    RawValue::from_string(compact(json)).or_else(|_| {
        serde_json::value::to_raw_value(&String::from_utf8_lossy(json)).map_err(failed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_put_on_one_line_and_stays_as_it_is() {
        for (json, expected) in [
            ("{ \"b\": 1.00,\n \"a\" : [1 , 2]}", r#"{"b":1.00,"a":[1,2]}"#),
            (r#"{ "a \" b\\" : " c\n " }"#, r#"{"a \" b\\":" c\n "}"#),
            ("12345678901234567890123 ", "12345678901234567890123"),
        ] {
            assert_eq!(compact(json.as_bytes()), expected);
            assert_eq!(raw(json.as_bytes()).unwrap().get(), expected);
        }
        assert_eq!(raw(b"not \"JSON\"").unwrap().get(), r#""not \"JSON\"""#);
    }

    #[test]
    fn a_terminal_is_not_obeyed() {
        assert_eq!(printable("a\x1b[2Jb\nc\u{9b}é"), "a\\u{1b}[2Jb\\nc\\u{9b}é");
        assert_eq!(shortened("éabc", 4), "éabc");
        assert_eq!(shortened("éabcd", 4), "éab…");
    }
}
