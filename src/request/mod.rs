//! What the module knows of a request: its context, its body, its output, its subrequests.

pub mod capture;
pub mod chunked;
pub mod ctx;
pub mod output;
pub mod slots;
