//! Quoting for SQL.

use httptext::quote_sql_into;
use proptest::prelude::*;

fn quote(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    quote_sql_into(&mut out, text);
    out
}

/// The literal that `text` starts with as MySQL reads it, and what stands behind it.
fn read(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text.strip_prefix(b"'")?;
    let mut out = Vec::new();
    loop {
        match *rest {
            [b'\'', ref behind @ ..] => return Some((out, behind)),
            [b'\\', escaped, ref behind @ ..] => {
                out.push(match escaped {
                    b'0' => 0,
                    b'b' => 8,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'Z' => 26,
                    other => other,
                });
                rest = behind;
            }
            [byte, ref behind @ ..] => {
                out.push(byte);
                rest = behind;
            }
            [] => return None,
        }
    }
}

#[test]
fn what_would_end_or_change_a_literal_is_escaped() {
    for (text, expected) in [
        ("", "''"),
        ("a", "'a'"),
        ("' or 1=1 --", r"'\' or 1=1 --'"),
        (r#"\"'"#, r#"'\\\"\''"#),
        ("\0\x08\n\r\t\x1a", r"'\0\b\n\r\t\Z'"),
        ("\x01\x1b%_`", "'\x01\x1b%_`'"),
        ("\u{fc}\u{4f60}", "'\u{fc}\u{4f60}'"),
    ] {
        assert_eq!(quote(text.as_bytes()), expected.as_bytes(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn a_literal_means_its_text_and_nothing_escapes_from_it(
        text in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\\'\"0bnrtZ"[..])], 0..40)
    ) {
        let mut quoted = quote(&text);
        prop_assert!(!quoted[1..quoted.len() - 1].iter().any(|&c| c == 0 || c == b'\n' || c == 26));
        quoted.extend_from_slice(b" and more'");
        prop_assert_eq!(read(&quoted), Some((text, &b" and more'"[..])));
    }
}
