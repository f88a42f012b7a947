//! Regular expressions as `ngx.re` has them, over PCRE2: the letters of its options, compiled patterns, matching within
//! limits, and what a match is replaced by. Knows neither nginx nor Lua; text is bytes, and positions are offsets.
//!
//! ```
//! use luare::{Flags, Matcher, Regex};
//!
//! let regex = Regex::compile(br"(\d+), (\d+) items", Flags::parse(b"j").unwrap()).unwrap();
//! let mut matcher = Matcher::new();
//! assert_eq!(matcher.find(&regex, b"order 1234, 56 items", 0), Ok(3));
//! assert_eq!(matcher.captures()[..6], [6, 20, 6, 10, 12, 14]);
//! ```
//!
//! Users know the errors of PCRE's first line, which `ngx.re` was built on, and look for them in what it returns. So
//! texts and numbers of errors are those, wherever PCRE2 has an error of that meaning ([`error`]), and a pattern that only
//! PCRE2 refuses is written the way it accepts ([`repair`]).

pub mod error;
mod flags;
mod matcher;
mod regex;
mod repair;
mod substitute;
mod template;

pub use error::{CompileError, MatchError};
pub use flags::{Flags, UnknownFlag};
pub use matcher::{Checked, Matcher, MIN_JIT_STACK};
pub use regex::Regex;
pub use substitute::{substitute, Substitution};
pub use template::{Template, TemplateError};
