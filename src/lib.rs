//! Spacer: an OpenResty-compatible Lua runtime and a function platform, as an nginx dynamic module.
//!
//! The folders, in the order of who calls whom: [`module`] and [`conf`] are nginx's view (tables and directives),
//! [`vm`] the Lua state, [`sched`] the coroutines of a request and what they wait for, [`phase`] the nginx phases
//! that run Lua, [`api`] the functions that Lua calls ([`output`] and [`capture`] do the work of the two largest), [`gateway`], [`function`] and [`topics`] the platform on top.

mod api;
mod capture;
mod chunked;
mod conf;
mod ctx;
mod function;
mod gateway;
mod module;
mod ngx;
mod output;
mod phase;
mod sched;
mod topics;
mod vm;
