//! `%XX` for the bytes that may not stand as they are, and back.

use std::borrow::Cow;

/// What is escaped where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Escape {
    /// A whole URI's path.
    Uri,
    /// A whole query.
    Args,
    /// A query that holds escapes already: only what would end the request line that it is sent in.
    ArgsLine,
    /// One component of a URI, such as an argument's name or value.
    Component,
    Html,
    /// The `Refresh` header.
    Refresh,
    /// A key of memcached's; nginx's mail module has the same rule for what it tells an authentication server.
    Memcached,
    HeaderName,
    HeaderValue,
}

impl Escape {
    /// The kind that `ngx.escape_uri` knows by a number, nginx's: 0 to 6.
    pub fn from_type(number: i32) -> Option<Escape> {
        Some(match number {
            0 => Escape::Uri,
            1 => Escape::Args,
            2 => Escape::Component,
            3 => Escape::Html,
            4 => Escape::Refresh,
            5 | 6 => Escape::Memcached,
            _ => return None,
        })
    }

    const fn escapes(self, byte: u8) -> bool {
        match self {
            Escape::Uri => byte <= b' ' || byte >= 0x7f || matches!(byte, b'#' | b'%' | b'?'),
            Escape::Args => {
                byte <= b' ' || byte >= 0x7f || matches!(byte, b'#' | b'%' | b'?' | b'+')
            }
            Escape::ArgsLine => byte <= b' ' || byte == 0x7f,
            // Everything that RFC 3986 does not call unreserved, but for what `encodeURIComponent` leaves alone.
            Escape::Component => {
                !byte.is_ascii_alphanumeric()
                    && !matches!(
                        byte,
                        b'-' | b'.' | b'_' | b'~' | b'!' | b'*' | b'\'' | b'(' | b')'
                    )
            }
            Escape::Html => {
                byte <= b' ' || byte >= 0x7f || matches!(byte, b'"' | b'#' | b'%' | b'\'')
            }
            Escape::Refresh => byte <= b' ' || byte >= 0x7f || matches!(byte, b'"' | b'%' | b'\''),
            Escape::Memcached => byte <= b' ' || byte == b'%',
            Escape::HeaderName => {
                byte <= b' '
                    || byte >= 0x7f
                    || matches!(
                        byte,
                        b'"' | b'(' | b')' | b',' | b'/' | b':'
                            ..=b'@' | b'[' | b'\\' | b']' | b'{' | b'}'
                    )
            }
            Escape::HeaderValue => (byte < b' ' && byte != b'\t') || byte == 0x7f,
        }
    }

    /// [`Escape::escapes`] for every byte.
    const fn table(self) -> [bool; 256] {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = self.escapes(byte as u8);
            byte += 1;
        }
        table
    }

    fn escaped(self) -> &'static [bool; 256] {
        const TABLES: [[bool; 256]; 9] = [
            Escape::Uri.table(),
            Escape::Args.table(),
            Escape::ArgsLine.table(),
            Escape::Component.table(),
            Escape::Html.table(),
            Escape::Refresh.table(),
            Escape::Memcached.table(),
            Escape::HeaderName.table(),
            Escape::HeaderValue.table(),
        ];
        &TABLES[self as usize]
    }
}

/// `text` with the bytes that `kind` escapes as `%XX`, in capital letters.
pub fn escape(text: &[u8], kind: Escape) -> Cow<'_, [u8]> {
    let table = kind.escaped();
    let is_plain = kind == Escape::HeaderValue && is_printable(text);
    if is_plain || !text.iter().any(|&byte| table[byte as usize]) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() * 2);
    escape_into(&mut out, text, kind);
    Cow::Owned(out)
}

/// Whether no byte is a control's, which is looked for in many bytes at once.
fn is_printable(text: &[u8]) -> bool {
    !text.iter().fold(false, |control, &byte| control | (byte < b' ') | (byte == 0x7f))
}

/// Appends what [`escape`] gives.
pub fn escape_into(out: &mut Vec<u8>, text: &[u8], kind: Escape) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let table = kind.escaped();
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| table[byte as usize]) {
        let byte = rest[at];
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'%', HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends `text` with its `%XX` decoded and `+` as a space. A `%` without two digits behind it stays as it is. Never
/// appends more bytes than `text` has.
pub fn unescape_into(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| matches!(byte, b'%' | b'+')) {
        out.extend_from_slice(&rest[..at]);
        let found = &rest[at..];
        let (byte, len) = match *found {
            [b'+', ..] => (b' ', 1),
            [_, high, low, ..] => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            _ => (b'%', 1),
        };
        out.push(byte);
        rest = &found[len..];
    }
    out.extend_from_slice(rest);
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}
