//! Decoding any text ends, lengthens nothing, and is undone by encoding.

#![no_main]

use httptext::args::{count, encode_into, Decoder};
use httptext::{base64, escape, quote_sql_into, unescape_into, Escape};
use libfuzzer_sys::fuzz_target;

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    unescape_into(&mut out, text);
    assert!(out.len() <= text.len());
    assert_eq!(out, unescape_naively(text));
    out
}

fn unescape_naively(mut text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((first, rest)) = text.split_first() {
        let digits = rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let (byte, used) =
            match (first, digits.map(|digits| std::str::from_utf8(digits).expect("ASCII"))) {
                (b'%', Some(digits)) => (u8::from_str_radix(digits, 16).expect("two digits"), 3),
                (b'+', _) => (b' ', 1),
                (byte, _) => (*byte, 1),
            };
        out.push(byte);
        text = &text[used..];
    }
    out
}

fn escapes(text: &[u8]) {
    for kind in (0..7).filter_map(Escape::from_type) {
        let escaped = escape(text, kind);
        assert_eq!(escape(text, kind), escaped);
        assert!(!escaped.iter().any(|&byte| byte <= b' '));
    }
    for kind in [Escape::Args, Escape::Component] {
        assert_eq!(unescape(&escape(text, kind)), text);
    }
    for kind in [Escape::HeaderName, Escape::HeaderValue, Escape::ArgsLine] {
        assert!(!escape(text, kind).iter().any(|byte| b"\r\n\0".contains(byte)));
    }
    unescape(text);
}

fn args(list: &[u8], max: usize) {
    let mut text = Vec::new();
    let mut pairs = Vec::new();
    let mut decoder = Decoder::new(list, max);
    while let Some(pair) = decoder.next_into(&mut text) {
        pairs.push(pair);
    }
    assert_eq!(decoder.truncated(), count(list) > max);
    assert!(text.len() <= list.len() && pairs.len() <= max);

    let mut again = Vec::new();
    for pair in &pairs {
        encode_into(
            &mut again,
            &text[pair.key.clone()],
            pair.value.clone().map(|value| &text[value]),
        );
    }
    let mut text_again = Vec::new();
    let mut decoder = Decoder::new(&again, usize::MAX);
    for pair in &pairs {
        let found = decoder.next_into(&mut text_again).expect("as many as were encoded");
        assert_eq!(text_again[found.key], text[pair.key.clone()]);
        assert_eq!(
            found.value.map(|value| text_again[value].to_vec()),
            pair.value.clone().map(|value| text[value].to_vec())
        );
    }
    assert_eq!(decoder.next_into(&mut text_again), None);
}

fn base64(text: &[u8]) {
    for padding in [false, true] {
        let mut encoded = Vec::new();
        base64::encode_into(&mut encoded, text, padding);
        assert_eq!(base64::decode(&encoded).as_deref(), Ok(text));
    }
    let mut encoded = Vec::new();
    base64::encode_url_into(&mut encoded, text);
    let mut decoded = Vec::new();
    assert_eq!(base64::decode_url_into(&mut decoded, &encoded), Ok(()));
    assert_eq!(decoded, text);

    if let Ok(bytes) = base64::decode(text) {
        let mut mime = Vec::new();
        assert_eq!(base64::decode_mime_into(&mut mime, text), Ok(()));
        assert_eq!(mime, bytes);
    }
    let _ = base64::decode_url_into(&mut Vec::new(), text);
    let _ = base64::decode_mime_into(&mut Vec::new(), text);
}

fn sql(text: &[u8]) {
    let mut quoted = Vec::new();
    quote_sql_into(&mut quoted, text);
    let mut inside = quoted[1..quoted.len() - 1].iter();
    while let Some(byte) = inside.next() {
        match byte {
            b'\\' => assert!(inside.next().is_some(), "the closing quote is escaped"),
            byte => assert!(!b"'\"\0\n".contains(byte)),
        }
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (max, text) = input;
    escapes(text);
    args(text, usize::from(max));
    base64(text);
    sql(text);
});
