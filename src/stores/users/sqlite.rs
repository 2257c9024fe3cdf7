//! Users in SQLite, in the database `users`.

use super::adapter::SqlUsers;
use crate::stores::sqlite::Database;

/// The schema of the database `users`: users, signing keys and revocations.
pub const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_users.sql"),
    include_str!("migrations/0002_keys_and_revocations.sql"),
];

/// The adapter.
pub type SqliteUsers = SqlUsers<Database>;

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
