//! The boundary functions of the platform, under the rules of [`crate::api`].

pub mod append;
pub mod event;
pub mod read;
pub mod route;
pub mod write_proxy;
