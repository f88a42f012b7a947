//! Which bytes are escaped, and that what was escaped comes back.

use httptext::{escape, escape_into, unescape_into, Escape};
use percent_encoding::percent_decode;
use proptest::prelude::*;

const KINDS: [Escape; 9] = [
    Escape::Uri,
    Escape::Args,
    Escape::ArgsLine,
    Escape::Component,
    Escape::Html,
    Escape::Refresh,
    Escape::Memcached,
    Escape::HeaderName,
    Escape::HeaderValue,
];

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    unescape_into(&mut out, text);
    out
}

/// Of the printable characters of ASCII that are no letters and no digits, those that stay; then whether control characters
/// other than the tab, the tab, DEL, and bytes from 0x80 on do.
#[test]
fn each_kind_escapes_what_it_must_and_nothing_else() {
    for (kind, stays, [control, tab, del, high]) in [
        (Escape::Uri, r##"!"$&'()*+,-./:;<=>@[\]^_`{|}~"##, [false; 4]),
        (Escape::Args, r##"!"$&'()*,-./:;<=>@[\]^_`{|}~"##, [false; 4]),
        (Escape::ArgsLine, r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##, [false, false, false, true]),
        (Escape::Component, r##"!'()*-._~"##, [false; 4]),
        (Escape::Html, r##"!$&()*+,-./:;<=>?@[\]^_`{|}~"##, [false; 4]),
        (Escape::Refresh, r##"!#$&()*+,-./:;<=>?@[\]^_`{|}~"##, [false; 4]),
        (Escape::Memcached, r##"!"#$&'()*+,-./:;<=>?@[\]^_`{|}~"##, [false, false, true, true]),
        (Escape::HeaderName, r##"!#$%&'*+-.^_`|~"##, [false; 4]),
        (Escape::HeaderValue, r##" !"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##, [false, true, false, true]),
    ] {
        for byte in 0..=255u8 {
            let expected = match byte {
                b'\t' => tab,
                0..0x20 => control,
                0x7f => del,
                0x80.. => high,
                _ => byte.is_ascii_alphanumeric() || stays.as_bytes().contains(&byte),
            };
            let found = escape(&[byte], kind).into_owned();
            if expected {
                assert_eq!(found, [byte], "{kind:?}");
            } else {
                assert_eq!(found, format!("%{byte:02X}").as_bytes(), "{kind:?}");
            }
        }
    }
}

#[test]
fn the_numbers_are_those_of_nginx() {
    let kinds: Vec<_> = (-1..9).map(Escape::from_type).collect();
    assert_eq!(
        kinds,
        [
            None,
            Some(Escape::Uri),
            Some(Escape::Args),
            Some(Escape::Component),
            Some(Escape::Html),
            Some(Escape::Refresh),
            Some(Escape::Memcached),
            Some(Escape::Memcached),
            None,
            None
        ]
    );
}

#[test]
fn invalid_escapes_stay_as_they_are() {
    for (text, expected) in [
        ("", ""),
        ("a%20b%4a%4A", "a bJJ"),
        ("a+b%2B", "a b+"),
        ("%", "%"),
        ("%a", "%a"),
        ("%2", "%2"),
        ("%%20", "% "),
        ("%ua%%20%au", "%ua% %au"),
        ("%g0%0g%+1%1+", "%g0%0g% 1%1 "),
        ("%25%32%30", "%20"),
        ("good%20job%", "good job%"),
    ] {
        assert_eq!(unescape(text.as_bytes()), expected.as_bytes(), "{text}");
    }
    assert_eq!(unescape(b"%00%ff\xfe"), b"\x00\xff\xfe");
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(&b"%%%+&= 09afAFgG"[..])];
    prop::collection::vec(byte, 0..60)
}

proptest! {
    #[test]
    fn what_was_escaped_comes_back(text in bytes()) {
        for kind in KINDS {
            let escaped = escape(&text, kind);
            // The others leave `%` alone, and can't be undone.
            if escape(b"%", kind).as_ref() != b"%" {
                let back: Vec<u8> = percent_decode(&escaped).collect();
                prop_assert_eq!(&back, &text, "{:?}", kind);
            }
            if matches!(kind, Escape::Args | Escape::Component) {
                prop_assert_eq!(&unescape(&escaped), &text, "{:?}", kind);
            }
        }
    }

    #[test]
    fn escaping_appends_byte_by_byte(text in bytes(), before in bytes()) {
        for kind in KINDS {
            let mut out = before.clone();
            escape_into(&mut out, &text, kind);
            let mut expected = before.clone();
            for byte in &text {
                expected.extend_from_slice(&escape(&[*byte], kind));
            }
            prop_assert_eq!(out, expected);
        }
    }

    #[test]
    fn unescaping_is_percent_decoding_with_a_space_for_plus(text in bytes(), before in bytes()) {
        let mut out = before.clone();
        unescape_into(&mut out, &text);
        let spaces: Vec<u8> = text.iter().map(|&c| if c == b'+' { b' ' } else { c }).collect();
        let mut expected = before;
        expected.extend(percent_decode(&spaces));
        prop_assert_eq!(out, expected);
    }
}
