//! Spacer: an OpenResty-compatible Lua runtime and a function platform, as an nginx dynamic module.
//!
//! The folders are layers, each of which uses only those before it: [`nginx`] is nginx as Rust sees it, [`lua`] the VM,
//! [`conf`] the runtime's configuration and the table of phases, [`run`] coroutines on nginx's event loop, [`request`] what the
//! module knows of a request, [`phase`] the handlers, [`api`] the functions that Lua calls, [`platform`] functions,
//! gateway and topics. [`module`] joins their tables into nginx's.

mod api;
mod conf;
mod lua;
mod module;
mod nginx;
mod phase;
mod platform;
mod regex;
mod request;
mod run;
mod semaphore;
mod shared;
mod timer;
