//! The coordination store in SQLite.

use std::path::Path;

use super::adapter::{SqlViews, Statements};
use crate::stores::StoreError;
use crate::stores::sqlite::Database;
use souk_embedded::Writer;

/// The schema: every migration, oldest first.
pub const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_views.sql"),
    include_str!("migrations/0002_shop.sql"),
];

/// The coordination store in SQLite.
pub type SqliteViews = SqlViews<Database>;

impl SqliteViews {
    /// Opens the database `views` of `directory`.
    ///
    /// # Errors
    /// As of [`Database::open`].
    pub async fn open(writer: &Writer, directory: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            database: Database::open(writer, directory, "views").await?,
            statements: Statements::WITH_RETURNING,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::stores::sqlite;
    use crate::stores::views::contract;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_contract_is_kept() {
        let directory = TempDir::new().unwrap();
        let writer = sqlite::in_process_writer(directory.path()).unwrap();
        let store = SqliteViews::open(&writer, directory.path()).await.unwrap();
        contract::suite(Arc::new(store)).await;
    }
}
