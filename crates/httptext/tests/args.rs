//! Argument lists, there and back.

use std::ops::Range;

use httptext::args::{count, encode_into, Decoder};
use percent_encoding::percent_decode;
use proptest::prelude::*;

type Pairs = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn decode(list: &[u8], max: usize) -> (Pairs, bool) {
    let mut text = Vec::new();
    let mut places = Vec::new();
    let mut decoder = Decoder::new(list, max);
    while let Some(pair) = decoder.next_into(&mut text) {
        places.push(pair);
    }
    assert!(text.len() <= list.len());
    let of = |place: Range<usize>| text[place].to_vec();
    let pairs = places.into_iter().map(|pair| (of(pair.key), pair.value.map(of))).collect();
    (pairs, decoder.truncated())
}

/// One part of a list after the other, by the library that knows escapes.
fn oracle(list: &[u8], max: usize) -> (Pairs, bool) {
    let unescape = |text: &[u8]| -> Vec<u8> {
        let text: Vec<u8> = text.iter().map(|&c| if c == b'+' { b' ' } else { c }).collect();
        percent_decode(&text).collect()
    };
    let parts: Vec<&[u8]> =
        if list.is_empty() { vec![] } else { list.split(|&c| c == b'&').collect() };
    let looked_at = parts.iter().take(max);
    let pairs = looked_at.map(|part| {
        let mut halves = part.splitn(2, |&c| c == b'=');
        (unescape(halves.next().unwrap()), halves.next().map(unescape))
    });
    (pairs.filter(|(key, _)| !key.is_empty()).collect(), parts.len() > max)
}

#[test]
fn a_list_is_decoded_in_order() {
    for (list, expected) in [
        ("", vec![]),
        ("a", vec![("a", None)]),
        ("a=", vec![("a", Some(""))]),
        ("a=b=c", vec![("a", Some("b=c"))]),
        ("a%3Db=%26&c", vec![("a=b", Some("&")), ("c", None)]),
        ("b=2&a=1&b=3", vec![("b", Some("2")), ("a", Some("1")), ("b", Some("3"))]),
        ("=x&=&&a", vec![("a", None)]),
        ("%=%zz&+=+", vec![("%", Some("%zz")), (" ", Some(" "))]),
        ("a;b", vec![("a;b", None)]),
    ] {
        let expected: Pairs = expected
            .into_iter()
            .map(|(k, v)| (k.as_bytes().to_vec(), v.map(|v: &str| v.as_bytes().to_vec())))
            .collect();
        assert_eq!(decode(list.as_bytes(), 100), (expected, false), "{list}");
    }
}

#[test]
fn parts_that_were_not_looked_at_are_told() {
    for (list, max, pairs, truncated) in [
        ("a&b&c", 3, 3, false),
        ("a&b&c", 2, 2, true),
        ("a&", 1, 1, true),
        ("&&a", 2, 0, true),
        ("a", 1, 1, false),
        ("a", 0, 0, true),
        ("", 0, 0, false),
    ] {
        let (found, left) = decode(list.as_bytes(), max);
        assert_eq!((found.len(), left), (pairs, truncated), "{list} {max}");
    }
}

fn list() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(&b"&&&===%%+20fFab"[..])];
    prop::collection::vec(byte, 0..60)
}

proptest! {
    #[test]
    fn any_list_is_decoded_as_by_the_oracle(list in list(), max in 0..12usize) {
        prop_assert_eq!(decode(&list, max), oracle(&list, max));
        let parts = count(&list);
        prop_assert_eq!(decode(&list, parts), decode(&list, usize::MAX));
        prop_assert!(parts == 0 || decode(&list, parts - 1).1);
    }

    #[test]
    fn what_was_encoded_comes_back(pairs in prop::collection::vec(
        (prop::collection::vec(any::<u8>(), 1..9), prop::option::of(prop::collection::vec(any::<u8>(), 0..9))), 0..6,
    )) {
        let mut list = Vec::new();
        for (key, value) in &pairs {
            encode_into(&mut list, key, value.as_deref());
        }
        prop_assert_eq!(decode(&list, usize::MAX), (pairs, false));
    }
}
