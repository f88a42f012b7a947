//! The text of HTTP as bytes: escaping, argument lists, base64, quoting for SQL, and digests.
//!
//! ```
//! use httptext::{escape, Escape};
//!
//! assert_eq!(escape(b"a b/c", Escape::Component).as_ref(), b"a%20b%2Fc");
//! assert_eq!(httptext::base64::decode(b"aGVsbG8"), Ok(b"hello".to_vec()));
//! ```
//!
//! Every function takes any bytes and ends: none panics, none asks for UTF-8, and the only failure is text that is no
//! base64. Semantics are those of nginx and of lua-nginx-module's `ngx.*` functions of the same names.
//! Functions `..._into` append to a buffer that the caller keeps, so that a hot path allocates nothing.

pub mod args;
pub mod base64;
pub mod digest;
mod escape;
mod sql;

pub use escape::{escape, escape_into, unescape_into, Escape};
pub use sql::quote_sql_into;
