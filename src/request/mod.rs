//! What the module knows of a request: its context and tasks, its body, its output, its subrequests.

pub mod body;
pub mod body_build;
pub mod body_filter;
pub mod capture;
pub mod chunked;
pub mod ctx;
pub mod current;
pub mod headers_in;
pub mod headers_out;
pub mod main_state;
pub mod method;
pub mod output;
pub mod raw_header;
pub mod slots;
pub mod status;
pub mod tasks;
pub mod var;
