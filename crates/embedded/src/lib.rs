//! The embedded store: SQLite files that several processes of one machine share.
//!
//! SQLite lets one process write at a time and polls for the lock, unfairly; and a process that is stopped in the
//! middle of a write would hold the lock of everybody. Therefore all writes to a data directory go through one
//! [`Engine`], which lives in one store process ([`server`]) that the others reach over a Unix domain socket
//! ([`Writer`]). Reads go straight to the files: in write-ahead-log mode a reader sees every transaction that was
//! acknowledged before it began, and neither blocks nor is blocked.
//!
//! ```text
//!  adapter ── read ──────────> Database: read-only pool ──────────────> shop.db
//!     └── transact ──> Writer ──socket──> server ──> Engine: one queue per file, many transactions per COMMIT
//! ```

mod client;
mod commit;
mod database;
mod engine;
mod error;
mod limits;
mod options;
mod pause;
mod protocol;
mod remote;
mod restore;
mod schema;
pub mod server;
mod snapshot;
#[cfg(test)]
mod snapshot_tests;
mod statement;
#[cfg(test)]
mod tests;

pub use client::{Spawner, Writer, socket_path};
pub use database::Database;
pub use engine::{Engine, OpenError};
pub use error::{Error, ErrorKind};
pub use restore::{RestoreError, restore};
pub use schema::{Former, Schema};
pub use snapshot::Snapshot;
pub use statement::{Row, Rows, Statement, Value};
