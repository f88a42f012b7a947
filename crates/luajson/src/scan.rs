//! Finding the bytes of a string that need attention, many at a time.

use memchr::memchr3;

/// From this many plain bytes on, the wide search pays for its call.
const LONG: usize = 64;

/// The position, at or after `from`, of the first quote, backslash or NUL in `data`; `data` ends with
/// a NUL.
#[inline]
pub(crate) fn string_stop(data: &[u8], from: usize) -> usize {
    // Most strings are short.
    if let Some(block) = data.get(from..).and_then(|rest| rest.first_chunk::<16>()) {
        let offset = stop_in_block(block);
        if offset < 16 {
            return from + offset;
        }
    }
    string_stop_far(data, from)
}

#[inline(never)]
fn string_stop_far(data: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(block) = data.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let offset = stop_in_block(block);
        if offset < 16 {
            return at + offset;
        }
        at += 16;
        if at - from >= LONG {
            let rest = data.get(at..).unwrap_or_default();
            return at + memchr3(b'"', b'\\', 0, rest).unwrap_or(0);
        }
    }
    while data.get(at).is_some_and(|&byte| !matches!(byte, b'"' | b'\\' | 0)) {
        at += 1;
    }
    at
}

/// The offset of the first stopping byte, 16 or more without one.
#[cfg(target_arch = "x86_64")]
#[inline]
fn stop_in_block(block: &[u8; 16]) -> usize {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
        _mm_setzero_si128,
    };
    // SAFETY: every x86_64 processor has SSE2, and the load reads just the block's 16 bytes.
    let found = unsafe {
        let bytes = _mm_loadu_si128(block.as_ptr().cast());
        let quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        let nuls = _mm_cmpeq_epi8(bytes, _mm_setzero_si128());
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, backslashes), nuls))
    };
    found.trailing_zeros() as usize
}

/// The offset of the first stopping byte, 16 without one.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn stop_in_block(block: &[u8; 16]) -> usize {
    for (index, word) in block.chunks_exact(8).enumerate() {
        let bytes = word.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        let found = zero_bytes(bytes)
            | zero_bytes(bytes ^ repeat(b'"'))
            | zero_bytes(bytes ^ repeat(b'\\'));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    16
}

#[cfg(not(target_arch = "x86_64"))]
const fn repeat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Bit 7 of each zero byte; bytes above the lowest zero byte may be marked wrongly.
#[cfg(not(target_arch = "x86_64"))]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeat(0x01)) & !word & repeat(0x80)
}

/// What stands after the backslash for each byte that JSON text escapes: `u` means four hexadecimal
/// digits, 0 that the byte stands for itself.
static ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        escapes[control] = b'u';
        control += 1;
    }
    escapes[0x08] = b'b';
    escapes[0x09] = b't';
    escapes[0x0a] = b'n';
    escapes[0x0c] = b'f';
    escapes[0x0d] = b'r';
    escapes[0x7f] = b'u';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes[b'/' as usize] = b'/';
    escapes
};

/// Appends `text` between quotes, escaped; a slash is escaped if `escape_slash`.
#[inline]
pub(crate) fn append_quoted(out: &mut Vec<u8>, text: &[u8], escape_slash: bool) {
    let slash = if escape_slash { b'/' } else { b'"' };
    out.reserve(text.len() + 2);
    let start = out.len();
    // SAFETY: there is room for the text and two quotes, and all of it is written before it counts.
    unsafe {
        let quote = out.as_mut_ptr().add(start);
        quote.write(b'"');
        if copy_plain(text, quote.add(1), slash) {
            quote.add(1 + text.len()).write(b'"');
            out.set_len(start + text.len() + 2);
            return;
        }
    }
    out.push(b'"');
    append_escaped(out, text, slash);
    out.push(b'"');
}

#[inline(never)]
fn append_escaped(out: &mut Vec<u8>, text: &[u8], slash: u8) {
    for block in text.chunks(32) {
        out.reserve(block.len());
        // SAFETY: there is room for the block, and all of it is written before it counts.
        unsafe {
            let end = out.len();
            if copy_plain(block, out.as_mut_ptr().add(end), slash) {
                out.set_len(end + block.len());
                continue;
            }
        }
        append_bytewise(out, block, slash);
    }
}

fn append_bytewise(out: &mut Vec<u8>, text: &[u8], slash: u8) {
    let mut copied = 0;
    for (at, &byte) in text.iter().enumerate() {
        if is_plain(byte, slash) {
            continue;
        }
        let escape = ESCAPES[usize::from(byte)];
        out.extend_from_slice(text.get(copied..at).unwrap_or_default());
        copied = at + 1;
        if escape == b'u' {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        } else {
            out.extend_from_slice(&[b'\\', escape]);
        }
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
}

/// Copies `text` to `to`, and says whether no byte of it needs escaping; where one does, what was copied is of no use.
///
/// The copy is of blocks of a fixed size, the last of which overlaps the one before: short texts need neither a loop
/// nor a call.
///
/// # Safety
/// There is room for the text at `to`.
#[inline]
unsafe fn copy_plain(text: &[u8], to: *mut u8, slash: u8) -> bool {
    /// The first and the last `N` bytes of a text of `N` to twice as many.
    #[inline]
    unsafe fn ends<const N: usize>(text: &[u8], to: *mut u8) -> [[u8; N]; 2] {
        let ends = [
            text.first_chunk().copied().unwrap_or([0; N]),
            text.last_chunk().copied().unwrap_or([0; N]),
        ];
        // SAFETY: both are parts of the text, which there is room for.
        unsafe {
            to.cast::<[u8; N]>().write(ends[0]);
            to.add(text.len() - N).cast::<[u8; N]>().write(ends[1]);
        }
        ends
    }
    let length = text.len();
    // SAFETY: the caller's promise; each part is as long as `ends` wants it.
    unsafe {
        match length {
            0..=3 => text.iter().enumerate().all(|(at, &byte)| {
                to.add(at).write(byte);
                is_plain(byte, slash)
            }),
            4..=7 => {
                let ends: [u8; 8] = join(ends::<4>(text, to));
                !has_special(&join([ends, ends]), slash)
            }
            8..=15 => !has_special(&join(ends::<8>(text, to)), slash),
            _ => {
                let mut at = 0;
                while at + 32 < length {
                    if ends::<16>(&text[at..at + 32], to.add(at))
                        .iter()
                        .any(|block| has_special(block, slash))
                    {
                        return false;
                    }
                    at += 32;
                }
                let at = at.min(length - 16);
                !ends::<16>(&text[at..], to.add(at)).iter().any(|block| has_special(block, slash))
            }
        }
    }
}

/// Two arrays as one of twice the length.
#[inline]
fn join<const N: usize, const TWICE: usize>(parts: [[u8; N]; 2]) -> [u8; TWICE] {
    let mut joined = [0; TWICE];
    let (first, last) = joined.split_at_mut(N);
    first.copy_from_slice(&parts[0]);
    last.copy_from_slice(&parts[1]);
    joined
}

#[inline]
fn is_plain(byte: u8, slash: u8) -> bool {
    ESCAPES[usize::from(byte)] == 0 || (byte == b'/' && slash != b'/')
}

/// Whether a byte of the block needs escaping.
#[cfg(target_arch = "x86_64")]
#[inline]
fn has_special(block: &[u8; 16], slash: u8) -> bool {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };
    // SAFETY: every x86_64 processor has SSE2, and the load reads just the block's 16 bytes.
    unsafe {
        let bytes = _mm_loadu_si128(block.as_ptr().cast::<__m128i>());
        let is = |byte: u8| _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8));
        let control = _mm_cmpeq_epi8(bytes, _mm_min_epu8(bytes, _mm_set1_epi8(0x1f)));
        let found = _mm_or_si128(
            _mm_or_si128(control, is(0x7f)),
            _mm_or_si128(_mm_or_si128(is(b'"'), is(b'\\')), is(slash)),
        );
        _mm_movemask_epi8(found) != 0
    }
}

/// Whether a byte of the block needs escaping.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn has_special(block: &[u8; 16], slash: u8) -> bool {
    block.iter().any(|&byte| !is_plain(byte, slash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stop_is_found_at_every_offset() {
        for length in 0..200 {
            for stop in [b'"', b'\\', 0] {
                for at in 0..length {
                    let mut data = vec![b'x'; length];
                    data[at] = stop;
                    data.push(0);
                    assert_eq!(string_stop(&data, 0), at);
                    assert_eq!(string_stop(&data, at), at);
                    assert_eq!(string_stop(&data, length), length);
                }
            }
        }
    }

    #[test]
    fn every_special_byte_is_escaped_at_every_offset() {
        for length in 1..100 {
            for byte in 0..=255 {
                let at = usize::from(byte) % length;
                let mut text = vec![b'x'; length];
                text[at] = byte;
                let mut out = Vec::new();
                append_quoted(&mut out, &text, byte % 2 == 0);
                let mut expected = Vec::from(b"\"");
                append_bytewise(&mut expected, &text, if byte % 2 == 0 { b'/' } else { b'"' });
                expected.push(b'"');
                assert_eq!(out, expected);
            }
        }
    }
}
