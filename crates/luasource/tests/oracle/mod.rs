//! The end of a block by a reader that has the whole text at hand and goes from token to token. It shares
//! nothing with the scanner.

/// The index of the closing brace, or the long bracket that is missing; an empty one for the brace itself.
pub fn end_of_block(text: &[u8]) -> Result<usize, String> {
    let mut at = 0;
    let mut depth = 1;
    while at < text.len() {
        let rest = &text[at..];
        if let Some(level) = long_bracket(rest) {
            at += long(rest, level)?;
        } else if rest.starts_with(b"--") {
            at += match long_bracket(&rest[2..]) {
                Some(level) => 2 + long(&rest[2..], level)?,
                None => rest.iter().position(|c| b"\r\n".contains(c)).unwrap_or(rest.len()),
            };
        } else if matches!(rest[0], b'"' | b'\'') {
            at += quoted(rest);
        } else {
            depth += match rest[0] {
                b'{' => 1,
                b'}' => -1,
                _ => 0,
            };
            if depth == 0 {
                return Ok(at);
            }
            at += 1;
        }
    }
    Err(String::new())
}

/// The level of the long bracket that opens here.
fn long_bracket(text: &[u8]) -> Option<usize> {
    let level = text.strip_prefix(b"[")?.iter().take_while(|&&c| c == b'=').count();
    (text.get(1 + level) == Some(&b'[')).then_some(level)
}

/// The length of the long bracket that opens here.
fn long(text: &[u8], level: usize) -> Result<usize, String> {
    let closing = format!("]{}]", "=".repeat(level));
    let inside = 2 + level;
    let found = text[inside..].windows(closing.len()).position(|w| w == closing.as_bytes());
    found.map(|n| inside + n + closing.len()).ok_or(closing)
}

/// The length of the quoted string that starts here, or of what stands before the line end that breaks it.
fn quoted(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with(b"\\z") {
            let space = rest[2..].iter().take_while(|c| b" \t\n\x0b\x0c\r".contains(c)).count();
            at += 2 + space;
        } else if rest.starts_with(b"\\\r\n") || rest.starts_with(b"\\\n\r") {
            at += 3;
        } else if rest[0] == b'\\' {
            at += 2;
        } else if rest[0] == text[0] || b"\r\n".contains(&rest[0]) {
            return at + 1;
        } else {
            at += 1;
        }
    }
    text.len()
}
