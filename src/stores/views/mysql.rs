//! The coordination store in MariaDB and MySQL. Reads are linearizable as long as one server is the primary: the pool refuses one
//! that only reads, and a statement sees all that had been committed when it began.

use super::adapter::{SqlViews, Statements};
use crate::stores::StoreError;
use crate::stores::mysql::MysqlPool;

/// The schema: every migration, oldest first.
pub const MIGRATIONS: &[&str] = &[include_str!("migrations/mysql/0001_views.sql")];

/// Each proposal is followed by a look at what it did: nothing else returns a row.
const STATEMENTS: Statements = Statements {
    first: "INSERT IGNORE INTO views (singleton, number, body) VALUES (1, ?1, ?2); SELECT 1 FROM DUAL WHERE ROW_COUNT() = 1",
    next: "UPDATE views SET number = ?1, body = ?2 WHERE number = ?1 - 1; SELECT 1 FROM DUAL WHERE ROW_COUNT() = 1",
    // Assigned from left to right: the count by the former incarnation.
    beat: "INSERT INTO beats (name, incarnation, count) VALUES (?1, ?2, 1) \
         ON DUPLICATE KEY UPDATE \
             count = CASE WHEN incarnation = VALUES(incarnation) THEN count + 1 \
                 WHEN incarnation < VALUES(incarnation) THEN 1 ELSE count END, \
             incarnation = GREATEST(incarnation, VALUES(incarnation))",
};

/// The coordination store in MariaDB and MySQL.
pub type MysqlViews = SqlViews<MysqlPool>;

impl MysqlViews {
    /// Connects to the database of `url`.
    ///
    /// # Errors
    /// As of [`MysqlPool::open`].
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        Ok(Self {
            database: MysqlPool::open("views", url, MIGRATIONS).await?,
            statements: STATEMENTS,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stores::mysql::testing::TestDatabase;
    use crate::stores::views::contract;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let Some(database) = TestDatabase::create().await else {
            return;
        };
        let store = MysqlViews::open(database.url()).await.unwrap();
        contract::suite(Arc::new(store)).await;
    }
}
