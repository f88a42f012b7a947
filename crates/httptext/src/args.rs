//! Argument lists: a query or an `application/x-www-form-urlencoded` form, `a=1&b&c=x%20y`.

use std::ops::Range;

use crate::{escape_into, unescape_into, Escape};

/// The places of a decoded pair in the text it was decoded to.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub key: Range<usize>,
    /// `None` for a key without `=`.
    pub value: Option<Range<usize>>,
}

/// Decodes a list pair by pair.
///
/// ```
/// use httptext::args::Decoder;
///
/// let mut text = Vec::new();
/// let mut decoder = Decoder::new(b"a=1+2&=&b", 100);
/// let pair = decoder.next_into(&mut text).unwrap();
/// assert_eq!((&text[pair.key], &text[pair.value.unwrap()]), (&b"a"[..], &b"1 2"[..]));
/// let pair = decoder.next_into(&mut text).unwrap();
/// assert_eq!((&text[pair.key], pair.value), (&b"b"[..], None));
/// assert_eq!(decoder.next_into(&mut text), None);
/// assert!(!decoder.truncated());
/// ```
#[derive(Debug)]
pub struct Decoder<'a> {
    /// `None` behind the last part.
    rest: Option<&'a [u8]>,
    /// How many parts may still be looked at.
    left: usize,
}

impl<'a> Decoder<'a> {
    /// A decoder of the first `max` parts of `list`, which are what `&` separates.
    pub fn new(list: &'a [u8], max: usize) -> Self {
        Decoder { rest: Some(list).filter(|list| !list.is_empty()), left: max }
    }

    /// Decodes the next pair, appending to `text`. Parts with an empty key are left out, though they count.
    /// All that a list is decoded to is no longer than the list.
    pub fn next_into(&mut self, text: &mut Vec<u8>) -> Option<Pair> {
        while self.left > 0 {
            let rest = self.rest?;
            self.left -= 1;
            let (part, behind) = split(rest, b'&');
            self.rest = behind;
            let (key, value) = split(part, b'=');
            let mut decode = |part| {
                let from = text.len();
                unescape_into(text, part);
                from..text.len()
            };
            let key = decode(key);
            if !key.is_empty() {
                return Some(Pair { key, value: value.map(decode) });
            }
        }
        None
    }

    /// The parts that were not to be looked at, if there are any; to be asked when there is no next pair.
    pub fn rest(&self) -> Option<&'a [u8]> {
        self.rest
    }

    /// Whether parts are left that were not to be looked at; to be asked when there is no next pair.
    pub fn truncated(&self) -> bool {
        self.rest.is_some()
    }
}

/// How many parts a list has.
pub fn count(list: &[u8]) -> usize {
    list.iter().filter(|&&byte| byte == b'&').count() + usize::from(!list.is_empty())
}

/// Appends a pair, behind a `&` where `out` isn't empty. Without a value it is the key alone.
pub fn encode_into(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    if !out.is_empty() {
        out.push(b'&');
    }
    escape_into(out, key, Escape::Component);
    if let Some(value) = value {
        out.push(b'=');
        escape_into(out, value, Escape::Component);
    }
}

/// What stands before and behind the first `separator`, or everything and nothing.
fn split(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&byte| byte == separator) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}
