//! A request's path on its way into the router, and what comes out.
//!
//! A parameter may hold an encoded slash only if the path is matched before it is decoded. That is safe as long as
//! decoding would not change which segments there are: where it would (`a%2F..%2Fb`), the path is decoded and
//! normalized first, as nginx does to find the location, so that no parameter smuggles a `..` past the routes.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use crate::router::{Router, Values};
use crate::table::Entry;

/// The entry of a request's path, and the values of its parameters.
#[derive(Debug)]
pub struct Match<'t, 'p> {
    pub entry: &'t Entry,
    path: Cow<'p, [u8]>,
    escaped: bool,
    values: Values,
}

impl Match<'_, '_> {
    /// The parameters in the order of the path. A value is borrowed unless it had to be decoded.
    pub fn params(&self) -> impl ExactSizeIterator<Item = (&str, Cow<'_, [u8]>)> {
        self.entry.params().iter().enumerate().map(|(i, name)| {
            let value = &self.path[self.values.get(i)];
            let value = if self.escaped { decode(value) } else { Cow::Borrowed(value) };
            (name.as_str(), value)
        })
    }
}

/// Matches a path that is decoded already.
pub fn find<'t, 'p>(
    router: &Router,
    entries: &'t [Entry],
    path: &'p [u8],
) -> Option<Match<'t, 'p>> {
    search(router, entries, Cow::Borrowed(path), false)
}

/// Matches the path of a request line as it was sent; a query behind it is left aside.
pub fn find_raw<'t, 'p>(
    router: &Router,
    entries: &'t [Entry],
    raw: &'p [u8],
) -> Option<Match<'t, 'p>> {
    let end = raw.iter().position(|c| matches!(c, b'?' | b'#')).unwrap_or(raw.len());
    let raw = &raw[..end];
    let escaped = raw.contains(&b'%');
    if !escaped && !has_dot_segment(raw) {
        return search(router, entries, Cow::Borrowed(raw), false);
    }
    let decoded = decode(raw);
    if has_dot_segment(&decoded) {
        return search(router, entries, Cow::Owned(normalize(&decoded)), false);
    }
    search(router, entries, Cow::Borrowed(raw), escaped)
}

fn search<'t, 'p>(
    router: &Router,
    entries: &'t [Entry],
    path: Cow<'p, [u8]>,
    escaped: bool,
) -> Option<Match<'t, 'p>> {
    let mut values = Values::default();
    let entry = router.find(&path, escaped, &mut values)?;
    Some(Match { entry: &entries[entry], path, escaped, values })
}

/// The first segment at or behind `from`, slashes before it skipped.
pub fn first_segment(path: &[u8], from: usize) -> Option<Range<usize>> {
    let start = from + path[from..].iter().position(|&c| c != b'/')?;
    let length = path[start..].iter().position(|&c| c == b'/').unwrap_or(path.len() - start);
    Some(start..start + length)
}

/// Percent-decodes; what is no valid escape stays as it is.
pub fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut rest = text;
    let mut decoded = Vec::with_capacity(text.len());
    while let Some((c, tail)) = next_decoded(rest) {
        decoded.push(c);
        rest = tail;
    }
    Cow::Owned(decoded)
}

/// How what percent-encoded text stands for compares with a literal. It isn't decoded first, which would need memory.
pub fn cmp_decoded(text: &[u8], literal: &[u8]) -> Ordering {
    let mut rest = text;
    let decoded = std::iter::from_fn(|| {
        let (c, tail) = next_decoded(rest)?;
        rest = tail;
        Some(c)
    });
    decoded.cmp(literal.iter().copied())
}

fn next_decoded(text: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, tail) = text.split_first()?;
    if let (b'%', [high, low, after @ ..]) = (first, tail) {
        if let (Some(high), Some(low)) = (hex(*high), hex(*low)) {
            return Some((high << 4 | low, after));
        }
    }
    Some((first, tail))
}

fn hex(c: u8) -> Option<u8> {
    (c as char).to_digit(16).map(|digit| digit as u8)
}

fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|&c| c == b'/').any(|segment| segment == b"." || segment == b"..")
}

/// Resolves `.` and `..` and merges slashes; a `..` above the root stays at the root.
fn normalize(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|&c| c == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    let mut normal = vec![b'/'];
    normal.extend(kept.join(&b'/'));
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_leaves_invalid_escapes_as_they_are() {
        assert_eq!(decode(b"a%2Fb").as_ref(), b"a/b");
        assert_eq!(decode(b"%zz%4%").as_ref(), b"%zz%4%");
        assert_eq!(decode(b"%41%c3%A9").as_ref(), "Aé".as_bytes());
        assert_eq!(decode(b"%ff%00+").as_ref(), b"\xff\0+");
        assert!(matches!(decode(b"plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn encoded_text_is_compared_without_decoding_it_first() {
        assert_eq!(cmp_decoded(b"%75sers", b"users"), Ordering::Equal);
        assert_eq!(cmp_decoded(b"%75sers", b"user"), Ordering::Greater);
        assert_eq!(cmp_decoded(b"%75ser", b"users"), Ordering::Less);
        assert_eq!(cmp_decoded(b"%C3", b"a"), Ordering::Greater);
        assert_eq!(cmp_decoded(b"50%", b"50%"), Ordering::Equal);
    }

    #[test]
    fn dots_are_resolved_as_nginx_does() {
        assert_eq!(normalize(b"/a/./b//../c/"), b"/a/c");
        assert_eq!(normalize(b"/../../a"), b"/a");
        assert_eq!(normalize(b"/.."), b"/");
    }

    #[test]
    fn segments_are_cut_at_slashes() {
        assert_eq!(first_segment(b"/ab/c", 0), Some(1..3));
        assert_eq!(first_segment(b"/ab/c", 3), Some(4..5));
        assert_eq!(first_segment(b"/ab//", 3), None);
        assert_eq!(first_segment(b"", 0), None);
    }
}
