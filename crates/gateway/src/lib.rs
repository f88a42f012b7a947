//! `app/gateway.lua`, read into a checked table of routes that answers "which function is this request for?".
//!
//! ```lua
//! return {
//!   {"GET", "/users/:id", "controllers/users/get"},
//!   {"ANY", "/files/*rest", "files"},
//! }
//! ```
//!
//! ```no_run
//! # use std::path::Path;
//! use gateway::{Answer, Method, Table};
//!
//! let table = Table::load(Path::new("blog/app/gateway.lua"), Path::new("blog"))?;
//! if let Some(found) = table.find(b"/users/7") {
//!     match found.entry.answer(Method::from_name(b"GET")) {
//!         Answer::Call(function) => println!("call {}", table.function(function)),
//!         Answer::Options => println!("Allow: {}", found.entry.allow()),
//!         Answer::NotAllowed => println!("405, Allow: {}", found.entry.allow()),
//!     }
//!     for (name, value) in found.params() {
//!         println!("{name} = {value:?}");
//!     }
//! }
//! # Ok::<(), gateway::Error>(())
//! ```
//!
//! The calls go downwards: `load` runs the file and checks each entry with `pattern` and `function`, finds lines with
//! `source`, and fills a `router`; `request` prepares a request's path for it. `check` compiles the functions that a table
//! names. Nothing here knows nginx.

mod check;
mod error;
mod function;
mod load;
mod method;
mod pattern;
mod request;
mod router;
mod source;
mod table;

pub use check::check_functions;
pub use error::Error;
pub use function::{function_file, function_name};
pub use method::{Method, Verb};
pub use request::Match;
pub use table::{Answer, Entry, FunctionId, Location, Route, Table};
