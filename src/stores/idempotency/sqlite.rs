//! Idempotent replies in SQLite, in the database `idempotency`. A claim is one statement that takes the key or not, and a read
//! of its row, in one transaction: no two requests both find it free.

use std::time::Duration;

use async_trait::async_trait;

use super::{Claim, IdempotencyStore, KeptReply};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::sqlite::{Columns, Database, has_row};
use souk_domain::Timestamp;
use souk_embedded::Statement;

/// The schema.
pub const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_idempotency.sql")];

/// Takes a key that is new, too old to count (claimed at or before `?6`), or without a reply and either held by the same
/// request (a repeated claim) or past its lease. Returns a row where it was taken.
const CLAIM: &str = "INSERT INTO idempotency (key, fingerprint, holder, claimed_at, lease_until) VALUES (?1, ?2, ?3, ?4, ?5) \
     ON CONFLICT (key) DO UPDATE SET \
         claimed_at = iif(claimed_at <= ?6, excluded.claimed_at, claimed_at), \
         fingerprint = excluded.fingerprint, holder = excluded.holder, lease_until = excluded.lease_until, \
         status = NULL, headers = NULL, body = NULL \
     WHERE claimed_at <= ?6 \
         OR (status IS NULL AND fingerprint = excluded.fingerprint \
             AND (lease_until <= ?4 OR holder = excluded.holder)) \
     RETURNING key";
const LOOK: &str = "SELECT fingerprint, status, headers, body FROM idempotency WHERE key = ?1";
const ANSWER: &str = "UPDATE idempotency SET status = ?3, headers = ?4, body = ?5 \
     WHERE key = ?1 AND holder = ?2 AND status IS NULL";
const RELEASE: &str = "DELETE FROM idempotency WHERE key = ?1 AND holder = ?2 AND status IS NULL";
const AT_REST: &str =
    "SELECT key, body FROM idempotency WHERE key > ?1 AND status IS NOT NULL ORDER BY key LIMIT ?2";
const RESEAL: &str = "UPDATE idempotency SET body = ?3 WHERE key = ?1 AND body = ?2 RETURNING key";
const SWEEP: &str = "DELETE FROM idempotency WHERE key IN \
     (SELECT key FROM idempotency WHERE claimed_at < ?1 ORDER BY claimed_at LIMIT ?2) RETURNING 1";

/// The adapter.
pub struct SqliteIdempotency(pub Database);

impl SqliteIdempotency {
    /// The outcome of a claim with this fingerprint that did not take the key, by the key's row.
    fn found(&self, row: &mut Columns, fingerprint: &str) -> Result<Claim, StoreError> {
        if row.text("fingerprint")? != fingerprint {
            return Ok(Claim::OtherBody);
        }
        let Some(status) = row.optional_integer("status")? else {
            return Ok(Claim::Running);
        };
        Ok(Claim::Answered(KeptReply {
            status: u16::try_from(status)
                .map_err(|_| self.0.corrupt(format!("{status} is not an HTTP status")))?,
            headers: serde_json::from_str(&row.text("headers")?)
                .map_err(|error| self.0.corrupt(format!("the headers of a reply: {error}")))?,
            body: row.optional_blob("body")?.unwrap_or_default(),
        }))
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl IdempotencyStore for SqliteIdempotency {
    fn technology(&self) -> &'static str {
        "sqlite"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.0.ping().await
    }

    async fn claim(
        &self,
        key: &str,
        fingerprint: &str,
        holder: &str,
        now: Timestamp,
        lease: Duration,
        keep: Duration,
    ) -> Result<Claim, StoreError> {
        let take = Statement::new(CLAIM)
            .bind(key)
            .bind(fingerprint)
            .bind(holder)
            .bind(now.as_millis())
            .bind(now.plus(lease).as_millis())
            .bind(now.as_millis().saturating_sub(milliseconds(keep)));
        let look = Statement::new(LOOK).bind(key);
        let mut results = self.0.transact(vec![take, look]).await?;
        if has_row(&results, 0) {
            return Ok(Claim::Ours);
        }
        let rows = results.pop().unwrap_or_default();
        let mut found = self.0.decode(rows, |row| self.found(row, fingerprint))?;
        // A key that was not taken exists: the two statements saw the same state.
        found
            .pop()
            .ok_or_else(|| self.0.corrupt(format!("key {key:?} is neither free nor taken")))
    }

    async fn answer(&self, key: &str, holder: &str, reply: &KeptReply) -> Result<(), StoreError> {
        let headers = self.0.json(&reply.headers)?;
        let statement = Statement::new(ANSWER)
            .bind(key)
            .bind(holder)
            .bind(u32::from(reply.status))
            .bind(headers)
            .bind(reply.body.clone());
        self.0.transact_one(statement).await.map(|_| ())
    }

    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError> {
        let statement = Statement::new(RELEASE).bind(key).bind(holder);
        self.0.transact_one(statement).await.map(|_| ())
    }

    async fn sweep(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.0.sweep(SWEEP, before, limit).await
    }
}

#[async_trait]
impl RowsAtRest for SqliteIdempotency {
    fn store(&self) -> &'static str {
        self.0.name()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        // No key is empty, so every key sorts above the empty one.
        let statement = Statement::new(AT_REST)
            .bind(after.unwrap_or_default())
            .bind(limit);
        let rows = self.0.read(statement).await?;
        self.0.decode(rows, |row| {
            Ok(RowAtRest {
                id: row.text("key")?,
                content: row.optional_blob("body")?.unwrap_or_default(),
            })
        })
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        let statements = rows
            .iter()
            .map(|Resealed { row, content }| {
                Statement::new(RESEAL)
                    .bind(row.id.as_str())
                    .bind(row.content.clone())
                    .bind(content.clone())
            })
            .collect();
        let replaced = self.0.transact(statements).await?;
        Ok(replaced.into_iter().map(|rows| !rows.is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::KEY_BYTES;
    use crate::sealing::{Key, Keyring};
    use crate::stores::idempotency::contract;
    use crate::stores::idempotency::sealed::SealedReplies;
    use crate::stores::testing::open_database;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let (database, _folder) = open_database("idempotency").await;
        let store = Arc::new(SqliteIdempotency(database));
        contract::suite(Arc::clone(&store) as Arc<dyn IdempotencyStore>).await;
        contract::reseals(&*store).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract_with_sealed_bodies() {
        let (database, _folder) = open_database("idempotency").await;
        let store = Arc::new(SqliteIdempotency(database));
        let keyring = Keyring::new(Key::new("k1", &[1; KEY_BYTES]).unwrap(), Vec::new());
        let sealed = SealedReplies::before(
            Arc::clone(&store) as Arc<dyn IdempotencyStore>,
            &Arc::new(keyring),
        );
        contract::suite(sealed).await;
        let rows = store.rows_at_rest(None, 100).await.unwrap();
        assert!(!rows.is_empty());
        assert!(rows.iter().all(|row| row.content.starts_with(b"sealed:v1:k1:")));
    }
}
