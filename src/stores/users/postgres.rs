//! Users in PostgreSQL, in the schema `souk_users`.

use super::adapter::SqlUsers;
use crate::stores::postgres::PostgresPool;

/// The schema `souk_users`: users, signing keys and revocations.
pub const MIGRATIONS: &[&str] = &[include_str!("migrations/postgres/0001_users.sql")];

/// The adapter.
pub type PostgresUsers = SqlUsers<PostgresPool>;

#[cfg(test)]
#[path = "postgres_tests.rs"]
mod tests;
