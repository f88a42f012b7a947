//! Base64, held against an implementation from the definition.

use httptext::base64::{
    decode_into, decode_mime_into, decode_url_into, encode_into, encode_url_into, Invalid,
};
use proptest::prelude::*;

const STANDARD: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bits of the characters up to the first `=`, in eights; what is left over of them is dropped.
fn oracle(text: &[u8], alphabet: &[u8]) -> Option<Vec<u8>> {
    let text = text.split(|&c| c == b'=').next().unwrap();
    let mut bits = Vec::new();
    for c in text {
        let value = alphabet.iter().position(|a| a == c)?;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1));
    }
    (text.len() % 4 != 1).then(|| {
        bits.chunks_exact(8).map(|b| b.iter().fold(0, |n, &bit| n << 1 | bit as u8)).collect()
    })
}

/// What is appended, which has to be nothing where the text is invalid.
fn appended(
    decode_into: fn(&mut Vec<u8>, &[u8]) -> Result<(), Invalid>,
    text: &[u8],
) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let decoded = decode_into(&mut out, text);
    let appended = out.strip_prefix(b"before").unwrap().to_vec();
    match decoded {
        Ok(()) => Some(appended),
        Err(Invalid) => {
            assert!(appended.is_empty());
            None
        }
    }
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let found = appended(decode_into, text);
    assert_eq!(httptext::base64::decode(text).ok(), found);
    found
}

fn decode_url(text: &[u8]) -> Option<Vec<u8>> {
    appended(decode_url_into, text)
}

fn decode_mime(text: &[u8]) -> Option<Vec<u8>> {
    appended(decode_mime_into, text)
}

fn encoded(bytes: &[u8], padding: bool) -> String {
    let mut out = Vec::new();
    encode_into(&mut out, bytes, padding);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_vectors_of_rfc_4648() {
    for (bytes, padded, plain) in [
        ("", "", ""),
        ("f", "Zg==", "Zg"),
        ("fo", "Zm8=", "Zm8"),
        ("foo", "Zm9v", "Zm9v"),
        ("foob", "Zm9vYg==", "Zm9vYg"),
        ("fooba", "Zm9vYmE=", "Zm9vYmE"),
        ("foobar", "Zm9vYmFy", "Zm9vYmFy"),
    ] {
        assert_eq!(encoded(bytes.as_bytes(), true), padded);
        assert_eq!(encoded(bytes.as_bytes(), false), plain);
        assert_eq!(decode(padded.as_bytes()).unwrap(), bytes.as_bytes());
        assert_eq!(decode(plain.as_bytes()).unwrap(), bytes.as_bytes());
    }
}

#[test]
fn a_text_is_read_as_leniently_as_by_nginx() {
    for (text, expected) in [
        ("Zg=", Some("f")),
        ("Zg=anything", Some("f")),
        ("=", Some("")),
        // Bits that belong to no byte.
        ("Zh==", Some("f")),
        ("Zm9=", Some("fo")),
        // One character is less than a byte.
        ("Z", None),
        ("Zm9vZ", None),
        ("Zm 9v", None),
        ("Zm9v\n", None),
        ("Zm9-", None),
        ("Zm9\u{fc}", None),
        ("\0", None),
    ] {
        assert_eq!(decode(text.as_bytes()).as_deref(), expected.map(str::as_bytes), "{text:?}");
    }
}

#[test]
fn the_alphabet_of_urls_is_one_of_its_own() {
    let mut out = b"before ".to_vec();
    encode_url_into(&mut out, b"\xfb\xff\xfe\xff");
    assert_eq!(out, b"before -__-_w");
    assert_eq!(decode_url(b"-__-_w"), Some(b"\xfb\xff\xfe\xff".to_vec()));
    assert_eq!(decode_url(b"-__-_w=="), Some(b"\xfb\xff\xfe\xff".to_vec()));
    assert_eq!(decode_url(b"+//+/w"), None);
    assert_eq!(decode(b"-__-_w"), None);
}

#[test]
fn mime_leaves_out_what_is_not_of_the_alphabet() {
    for (text, expected) in [
        ("Zm9v\r\nYmFy\r\n", Some("foobar")),
        (" Z-m_9.v!", Some("foo")),
        ("Zg==Zg", Some("f")),
        ("!?", Some("")),
        ("\nZ\n", None),
    ] {
        assert_eq!(
            decode_mime(text.as_bytes()).as_deref(),
            expected.map(str::as_bytes),
            "{text:?}"
        );
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        40 => prop::sample::select(STANDARD),
        1 => prop::sample::select(&b"-_=\n "[..]),
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..20)
}

proptest! {
    #[test]
    fn any_text_is_decoded_as_by_the_definition(text in text()) {
        prop_assert_eq!(decode(&text), oracle(&text, STANDARD));
        let url: Vec<u8> = text.iter().map(|c| match c { b'+' => b'-', b'/' => b'_', c => *c }).collect();
        prop_assert_eq!(decode_url(&url), oracle(&url, URL));
        let kept: Vec<u8> =
            text.iter().copied().filter(|c| STANDARD.contains(c) || *c == b'=').collect();
        prop_assert_eq!(decode_mime(&text), oracle(&kept, STANDARD));
    }

    #[test]
    fn what_was_encoded_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..50), padding: bool) {
        let text = encoded(&bytes, padding);
        prop_assert_eq!(text.len(), if padding { bytes.len().div_ceil(3) * 4 } else { (bytes.len() * 8).div_ceil(6) });
        prop_assert_eq!(decode(text.as_bytes()).unwrap(), &bytes[..]);
        prop_assert_eq!(decode_mime(text.as_bytes()).unwrap(), &bytes[..]);
        let mut url = Vec::new();
        encode_url_into(&mut url, &bytes);
        prop_assert_eq!(decode_url(&url).unwrap(), bytes);
        let text = text.trim_end_matches('=').replace('+', "-").replace('/', "_");
        prop_assert_eq!(String::from_utf8(url).unwrap(), text);
    }
}
