//! The coordination store in PostgreSQL. Reads are linearizable as long as one server is the primary: the pool refuses a standby,
//! and a statement sees all that had been committed when it began.

use super::adapter::{SqlViews, Statements};
use crate::stores::StoreError;
use crate::stores::postgres::PostgresPool;

/// The schema: every migration, oldest first.
pub const MIGRATIONS: &[&str] = &[include_str!("migrations/postgres/0001_views.sql")];

/// The coordination store in PostgreSQL.
pub type PostgresViews = SqlViews<PostgresPool>;

impl PostgresViews {
    /// Connects to the database of `url`.
    ///
    /// # Errors
    /// As of [`PostgresPool::open`].
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Ok(Self {
            database: PostgresPool::open("views", url, MIGRATIONS).await?,
            statements: Statements::WITH_RETURNING,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stores::postgres::testing::TestDatabase;
    use crate::stores::views::contract;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let Some(database) = TestDatabase::create().await else {
            return;
        };
        let store = PostgresViews::open(database.url()).await.unwrap();
        contract::suite(Arc::new(store)).await;
    }
}
