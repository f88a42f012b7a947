//! What a chunk of a configuration is called in errors and tracebacks.

use std::ffi::CString;

/// LuaJIT shows 59 bytes of a chunk's name, the sign in front not counted.
const SHOWN: usize = 59;
const DOTS: &str = "...";

/// The name of the chunk that `tag` (such as `content_by_lua`) has on a line of a configuration file:
/// `=content_by_lua(conf.d/api.conf:12)`, where `=` says that it isn't a file's name.
///
/// A file `nginx.conf` is called just that, one below the folder `prefix` by its path from there; of what is
/// too long for LuaJIT to show, the end is kept: `=content_by_lua(...long/path/to.conf:12)`.
pub fn chunk_name(tag: &str, file: &[u8], prefix: &[u8], line: usize) -> CString {
    let line = line.to_string();
    let room = SHOWN.saturating_sub(tag.len() + line.len() + "(:)".len());
    let path = if file.ends_with(b"/nginx.conf") {
        b"nginx.conf"
    } else {
        file.strip_prefix(prefix).filter(|rest| !rest.is_empty()).unwrap_or(file)
    };
    let (dots, path) = if path.len() > room {
        (DOTS, &path[path.len() - room.saturating_sub(DOTS.len())..])
    } else {
        ("", path)
    };
    let name =
        [b"=", tag.as_bytes(), b"(", dots.as_bytes(), path, b":", line.as_bytes(), b")"].concat();
    CString::new(name).unwrap_or_else(|_| c"=(chunk)".into())
}
