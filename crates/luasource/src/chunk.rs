//! What of a file is Lua, and a chunk written as a plain function.

/// What bytecode starts with.
const ESCAPE: u8 = 0x1b;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Whether `text` is what `string.dump` makes.
pub fn is_bytecode(text: &[u8]) -> bool {
    text.first() == Some(&ESCAPE)
}

/// A file's text without a first line that starts with `#`, which is for the shell. Its line end stays, so that lines
/// are counted as in the file, but in front of bytecode, which has none.
pub fn without_shebang(text: &[u8]) -> &[u8] {
    if text.first() != Some(&b'#') {
        return text;
    }
    let end = text.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(text.len());
    let rest = &text[end..];
    let behind = [&b"\r\n"[..], b"\n", b"\r"].iter().find_map(|end| rest.strip_prefix(*end));
    behind.filter(|text| is_bytecode(text)).unwrap_or(rest)
}

/// The chunk `text` as one that returns a plain function with `text` as its body; `None` for bytecode.
///
/// A chunk is a vararg function, which LuaJIT never compiles from its start; the function that this one returns
/// it does compile. Lines are the same in both.
///
/// **Compile `text` by itself first**, and take its error if there is one. `end) f = (function()` is no chunk, but
/// would be well-formed here; whatever is a chunk means here what it means by itself. A chunk that uses `...` is refused by the
/// compiler in this form, so that it has to be run as it was compiled by itself.
pub fn as_function(text: &[u8]) -> Option<Vec<u8>> {
    if is_bytecode(text) {
        return None;
    }
    // What LuaJIT skips at the start of a chunk, and nowhere else: a mark there would be taken for part of a name.
    let text = without_shebang(text.strip_prefix(BOM).unwrap_or(text));
    Some([b"return function() ", text, b"\nend"].concat())
}
