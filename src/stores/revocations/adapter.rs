//! Revocations in a SQL database: one adapter for SQLite and PostgreSQL, whose statements both understand.

use async_trait::async_trait;

use super::{RevocationPage, RevocationStore};
use crate::stores::StoreError;
use crate::stores::sql::SqlDatabase;
use souk_domain::{SessionId, Timestamp};
use souk_embedded::Statement;

const ADD: &str =
    "INSERT INTO revocations (session_id, revoked_at) VALUES (?1, ?2) ON CONFLICT (session_id) DO NOTHING";
pub(super) const SINCE: &str =
    "SELECT sequence, session_id FROM revocations WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
pub(super) const SWEEP: &str = "DELETE FROM revocations WHERE sequence IN \
     (SELECT sequence FROM revocations WHERE revoked_at <= ?1 ORDER BY revoked_at LIMIT ?2) RETURNING 1";

/// The adapter.
pub struct SqlRevocations<D>(pub D);

#[async_trait]
impl<D: SqlDatabase> RevocationStore for SqlRevocations<D> {
    async fn add(&self, sessions: &[SessionId], now: Timestamp) -> Result<(), StoreError> {
        let runs = sessions
            .iter()
            .map(|session| vec![session.as_str().into(), now.as_millis().into()])
            .collect();
        // One after the other: a number is seen only when all below it are.
        let statements = vec![Statement::each(ADD, runs)];
        self.0.transact_alone("revocations", statements).await.map(drop)
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
