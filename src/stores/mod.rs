//! Stores: one port (trait) per noun, one file per adapter, one contract suite per port.
//!
//! Every port promises:
//! - A read sees every write that was acknowledged before it began: it goes to the primary. Only
//!   [`search`] may lag.
//! - Identifiers and keys compare and sort bytewise: `A-1` and `a-1` are two.
//! - Every call has a time limit of its own. Past it a read is [`StoreError::Unavailable`] and a write
//!   [`StoreError::OutcomeUnknown`].
//! - Deadlocks and serialisation failures are retried inside the adapter.
//! - A write that returned [`StoreError::OutcomeUnknown`] may have been applied; its method says what a repeated call does.

pub mod at_rest;
pub mod backup;
pub mod codes;
pub mod counters;
pub mod documents;
#[cfg(feature = "elasticsearch")]
pub mod elasticsearch;
pub mod error;
pub mod export;
pub mod idempotency;
pub mod migration;
#[cfg(feature = "mongodb")]
pub mod mongodb;
#[cfg(feature = "mssql")]
pub mod mssql;
#[cfg(feature = "mysql")]
pub mod mysql;
mod new_folder;
pub mod open;
pub mod parts;
pub mod ping;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod products;
#[cfg(feature = "redis")]
pub mod redis;
pub mod revocations;
pub mod rotation;
pub mod search;
pub mod sessions;
pub mod signing_keys;
pub mod sql;
#[cfg(any(feature = "mssql", feature = "mysql", feature = "postgres"))]
pub mod sql_pool;
pub mod sqlite;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tls_tests;
mod token_hash;
pub mod transfer;
pub mod users;
pub mod views;

pub use error::StoreError;
pub use open::{Stores, open};
pub use token_hash::TokenHash;
