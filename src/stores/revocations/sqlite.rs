//! Revocations in SQLite, in the database `users`.

use async_trait::async_trait;

use super::{RevocationPage, RevocationStore};
use crate::stores::StoreError;
use crate::stores::sqlite::Database;
use souk_domain::{SessionId, Timestamp};
use souk_embedded::Statement;

const ADD: &str = "INSERT INTO revocations (session_id, revoked_at) SELECT value, ?2 FROM json_each(?1) \
     WHERE true ON CONFLICT (session_id) DO NOTHING";
const SINCE: &str =
    "SELECT sequence, session_id FROM revocations WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
const SWEEP: &str = "DELETE FROM revocations WHERE sequence IN \
     (SELECT sequence FROM revocations WHERE revoked_at <= ?1 ORDER BY revoked_at LIMIT ?2) RETURNING 1";

/// The adapter.
pub struct SqliteRevocations(pub Database);

#[async_trait]
impl RevocationStore for SqliteRevocations {
    async fn add(&self, sessions: &[SessionId], now: Timestamp) -> Result<(), StoreError> {
        let ids: Vec<&str> = sessions.iter().map(SessionId::as_str).collect();
        let statement = Statement::new(ADD).bind(self.0.json(&ids)?).bind(now.as_millis());
        self.0.transact_one(statement).await.map(drop)
    }

    async fn since(&self, sequence: i64, limit: usize) -> Result<RevocationPage, StoreError> {
        let statement = Statement::new(SINCE).bind(sequence).bind(limit);
        let rows = self.0.read(statement).await?;
        let rows: Vec<(i64, SessionId)> = self.0.decode(rows, |row| {
            let sequence = row.integer("sequence")?;
            let session = SessionId::parse(&row.text("session_id")?)
                .map_err(|error| self.0.corrupt(error.to_string()))?;
            Ok((sequence, session))
        })?;
        Ok(RevocationPage {
            sequence: rows.last().map_or(sequence, |(last, _)| *last),
            sessions: rows.into_iter().map(|(_, session)| session).collect(),
        })
    }

    async fn sweep(&self, until: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.0.sweep(SWEEP, until, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::revocations::contract;
    use crate::stores::testing::{assert_indexed, open_database};

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let (database, _folder) = open_database("users").await;
        contract::suite(std::sync::Arc::new(SqliteRevocations(database))).await;
    }

    #[tokio::test]
    async fn queries_use_indexes() {
        assert_indexed("users", &[SINCE, SWEEP]).await;
    }
}
