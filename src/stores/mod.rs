//! Stores: one port (trait) a store, one file an adapter, one contract suite a port.

pub mod at_rest;
pub mod catalogue;
pub mod documents;
pub mod error;
pub mod idempotency;
pub mod open;
pub mod parts;
pub mod ping;
pub mod sessions;
pub mod sqlite;
#[cfg(test)]
pub(crate) mod testing;
pub mod users;
pub mod views;

pub use error::StoreError;
pub use open::{Stores, open};
