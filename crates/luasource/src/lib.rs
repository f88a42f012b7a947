//! Lua as text, before it is compiled: where a `{ Lua }` block of a configuration ends, what of a file is Lua, how a
//! chunk is written as a plain function, and what a chunk is called.
//!
//! ```
//! use luasource::Scanner;
//!
//! let mut scanner = Scanner::new();
//! assert_eq!(scanner.scan(br#" ngx.say("}") -- } "#), None);
//! assert_eq!(scanner.scan(b"\n } location /next {"), Some(2));
//! ```
//!
//! Everything here works on bytes: Lua has no encoding, and a string or a comment may hold any byte, NUL among them.
//! Nothing here knows nginx, and nothing compiles; what a text means is LuaJIT's to say, and the tests ask it.

mod block;
mod chunk;
mod name;

pub use block::{Scanner, Unclosed};
pub use chunk::{as_function, is_bytecode, without_shebang};
pub use name::chunk_name;
