//! What stands around every route: the listener and its limits, TLS, headers that all replies have, problems.

pub mod admission;
pub mod client_address;
pub mod compression;
mod connections;
pub mod context;
pub mod conventions;
pub mod cors;
mod head_timeout;
pub mod headers;
pub mod overload;
pub mod problem;
mod replies;
pub mod security;
pub mod server;
pub mod settings;
pub mod shares;
mod slow_reader;
pub mod tls;
mod unread;
