//! The function platform: functions, gateway and topics, as a module of nginx's own beside the runtime's.

pub mod access;
pub mod api;
pub mod conf;
pub mod function;
pub mod gateway;
pub mod module;
pub mod topics;
