//! Base64 in its two alphabets, read as leniently as nginx does.
//!
//! A text ends at its first `=`: what stands behind isn't looked at, and none is needed. Bits that are left over
//! in the last character don't count.

use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::Engine as _;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::RequireNone);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const PADDED: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT.with_encode_padding(true));
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Appends `bytes` in the alphabet with `+` and `/`, with `=` up to a multiple of four characters where `padding`.
pub fn encode_into(out: &mut Vec<u8>, bytes: &[u8], padding: bool) {
    append(out, bytes, if padding { &PADDED } else { &PLAIN });
}

/// Appends `bytes` in the alphabet with `-` and `_`, without `=`.
pub fn encode_url_into(out: &mut Vec<u8>, bytes: &[u8]) {
    append(out, bytes, &URL);
}

/// The text holds a character that isn't of the alphabet, or one too many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Invalid;

/// Appends the bytes of a text in the alphabet with `+` and `/`; nothing of one that is invalid.
pub fn decode_into(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Invalid> {
    read(out, text, &PLAIN)
}

/// As [`decode_into`], for the alphabet with `-` and `_`.
pub fn decode_url_into(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Invalid> {
    read(out, text, &URL)
}

/// As [`decode_into`], but with the characters that aren't of the alphabet left out, as MIME has it for line ends.
pub fn decode_mime_into(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Invalid> {
    let of_alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let text: Vec<u8> = before_padding(text).iter().copied().filter(of_alphabet).collect();
    read(out, &text, &PLAIN)
}

/// What [`decode_into`] appends.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, Invalid> {
    let mut out = Vec::new();
    decode_into(&mut out, text).map(|()| out)
}

fn append(out: &mut Vec<u8>, bytes: &[u8], engine: &GeneralPurpose) {
    let from = out.len();
    out.resize(from + bytes.len().div_ceil(3) * 4, 0);
    let written = engine.encode_slice(bytes, &mut out[from..]);
    let written = written.expect("four characters for each three bytes are enough, padded or not");
    out.truncate(from + written);
}

fn read(out: &mut Vec<u8>, text: &[u8], engine: &GeneralPurpose) -> Result<(), Invalid> {
    let from = out.len();
    engine.decode_vec(before_padding(text), out).map_err(|_| {
        out.truncate(from);
        Invalid
    })
}

fn before_padding(text: &[u8]) -> &[u8] {
    &text[..text.iter().position(|&byte| byte == b'=').unwrap_or(text.len())]
}
