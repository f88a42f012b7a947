//! Quoting for SQL.

/// Appends `text` as a literal of MySQL's, quotes included: the bytes that end or change a literal there are
/// escaped with a backslash.
///
/// Bytes from 0x80 on stay as they are, which is right for UTF-8 and for every character set whose characters hold no
/// ASCII byte; for GBK and the like it is not.
pub fn quote_sql_into(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'\'');
    for &byte in text {
        let escaped = match byte {
            b'\0' => b'0',
            0x08 => b'b',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x1a => b'Z',
            b'\\' | b'\'' | b'"' => byte,
            _ => {
                out.push(byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', escaped]);
    }
    out.push(b'\'');
}
