//! The embedded store: SQLite files that several processes of one machine share.
//!
//! SQLite lets one process write at a time and polls for the lock, unfairly; and a process that is stopped in the
//! middle of a write would hold the lock of everybody. Therefore all writes to a data directory go through one
//! [`Engine`], which lives in one store process ([`server`]) that the others reach over a Unix domain socket
//! ([`client::Writer`]). Reads go straight to the files: in write-ahead-log mode a reader sees every transaction that
//! was acknowledged before it began, and neither blocks nor is blocked.
//!
//! ```text
//!  adapter ── read ──────────> Database: read-only pool ──────────────> carts.db
//!     └── transact ──> Writer ──socket──> server ──> Engine: one lane a file: many transactions, one COMMIT
//! ```

pub mod client;
mod commit;
mod connection;
pub mod database;
pub mod engine;
mod failure;
mod frame;
mod link;
mod schema;
pub mod server;
pub mod statement;
#[cfg(test)]
mod tests;

pub use client::Writer;
pub use database::Database;
pub use engine::Engine;
pub use failure::{Failure, FailureKind};
pub use schema::{Schema, schema};
pub use statement::{Row, Rows, Statement, Transaction, Value};
