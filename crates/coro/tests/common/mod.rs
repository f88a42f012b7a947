//! A virtual machine whose coroutines are little scripts, as the scheduler's host, and an oracle that says what has to happen
//! when they run.

// Each test file is a crate of its own, and uses a part of this.
#![allow(dead_code)]

pub mod futures;
pub mod machine;
pub mod oracle;
pub mod play;
mod run;
pub mod script;

pub use play::Play;
