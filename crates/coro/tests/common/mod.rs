//! A virtual machine whose coroutines are little scripts, as the scheduler's host, and a naive account of what has to
//! happen to them.

// Each test file is a crate of its own, and uses a part of this.
#![allow(dead_code)]

pub mod futures;
pub mod machine;
pub mod play;
mod run;
pub mod script;

pub use play::Play;
