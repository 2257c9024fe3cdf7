//! Idempotent replies in SQLite, in the database `idempotency`. A claim is one statement that takes the key or not, and a read
//! of its row, in one transaction: no two requests both find it free.

use std::time::Duration;

use async_trait::async_trait;

use super::{Attempt, Claim, IdempotencyStore, KeptReply};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::sql::{Columns, SqlDatabase, has_row};
use crate::stores::sqlite::Database;
use souk_domain::Timestamp;
use souk_embedded::Statement;

/// The schema.
pub const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_idempotency.sql"),
    include_str!("migrations/0002_owners.sql"),
];

/// Takes a key that is new, too old to count (claimed at or before `?6`), or without a reply and either held by the same
/// request (a repeated claim) or past its lease. A new key is not taken where its owner or network has reached its quota. Returns a
/// row where it was taken.
const CLAIM: &str = "INSERT INTO idempotency (key, fingerprint, holder, claimed_at, lease_until, owner, network) \
     SELECT ?1, ?2, ?3, ?4, ?5, ?7, ?8 \
     WHERE EXISTS (SELECT 1 FROM idempotency WHERE key = ?1) \
         OR NOT EXISTS (SELECT 1 FROM kept_bytes WHERE who = ?7 AND bytes >= ?9 OR who = ?8 AND bytes >= ?10) \
     ON CONFLICT (key) DO UPDATE SET \
         claimed_at = iif(claimed_at <= ?6, excluded.claimed_at, claimed_at), \
         fingerprint = excluded.fingerprint, holder = excluded.holder, lease_until = excluded.lease_until, \
         owner = excluded.owner, network = excluded.network, \
         status = NULL, headers = NULL, body = NULL \
     WHERE claimed_at <= ?6 \
         OR (status IS NULL AND fingerprint = excluded.fingerprint \
             AND (lease_until <= ?4 OR holder = excluded.holder)) \
     RETURNING key";
const LOOK: &str = "SELECT fingerprint, status, headers, body FROM idempotency WHERE key = ?1";
const ANSWER: &str = "UPDATE idempotency SET status = ?3, headers = ?4, body = ?5, owner = coalesce(?6, owner) \
     WHERE key = ?1 AND holder = ?2 AND status IS NULL";
const RELEASE: &str = "DELETE FROM idempotency WHERE key = ?1 AND holder = ?2 AND status IS NULL";
const FORGET: &str = "DELETE FROM idempotency WHERE key IN \
     (SELECT key FROM idempotency WHERE owner = ?1 LIMIT ?2) RETURNING 1";
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
        attempt: &Attempt<'_>,
        now: Timestamp,
        lease: Duration,
        keep: Duration,
    ) -> Result<Claim, StoreError> {
        let take = Statement::new(CLAIM)
            .bind(attempt.key)
            .bind(attempt.fingerprint)
            .bind(attempt.holder)
            .bind(now.as_millis())
            .bind(now.plus(lease).as_millis())
            .bind(now.as_millis().saturating_sub(milliseconds(keep)))
            .bind(attempt.owner)
            .bind(attempt.network)
            .bind(attempt.quota.per_owner)
            .bind(attempt.quota.per_network);
        let look = Statement::new(LOOK).bind(attempt.key);
        let mut results = self.0.transact(vec![take, look]).await?;
        if has_row(&results, 0) {
            return Ok(Claim::Ours);
        }
        let rows = results.pop().unwrap_or_default();
        let mut found = self.0.decode(rows, |row| self.found(row, attempt.fingerprint))?;
        // The two statements saw the same state: a key that was not taken exists, unless a quota refused it.
        Ok(found.pop().unwrap_or(Claim::OverQuota))
    }

    async fn answer(
        &self,
        key: &str,
        holder: &str,
        owner: Option<&str>,
        reply: &KeptReply,
    ) -> Result<(), StoreError> {
        let headers = self.0.json(&reply.headers)?;
        let statement = Statement::new(ANSWER)
            .bind(key)
            .bind(holder)
            .bind(u32::from(reply.status))
            .bind(headers)
            .bind(reply.body.clone())
            .bind(owner);
        self.0.transact_one(statement).await.map(|_| ())
    }

    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError> {
        let statement = Statement::new(RELEASE).bind(key).bind(holder);
        self.0.transact_one(statement).await.map(|_| ())
    }

    async fn forget(&self, owner: &str, limit: usize) -> Result<u64, StoreError> {
        self.0.count(Statement::new(FORGET).bind(owner).bind(limit)).await
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
    use crate::stores::idempotency::contract;
    use crate::stores::sqlite::in_process_writer;
    use crate::stores::testing::{assert_indexed, open_database};

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let (database, _folder) = open_database("idempotency").await;
        let store = Arc::new(SqliteIdempotency(database));
        contract::suite(Arc::clone(&store) as Arc<dyn IdempotencyStore>).await;
        contract::reseals(&*store).await;
    }

    /// The sums are those of the rows after everything that the contract does.
    #[tokio::test(flavor = "multi_thread")]
    async fn sums_follow_the_rows() {
        let (database, _folder) = open_database("idempotency").await;
        let store = Arc::new(SqliteIdempotency(database));
        contract::suite(Arc::clone(&store) as Arc<dyn IdempotencyStore>).await;
        contract::kept_for(&*store, 5).await;
        let differences = Statement::new(
            "WITH whose AS (SELECT owner AS who, body FROM idempotency UNION ALL SELECT network, body FROM idempotency), \
                 sums AS (SELECT who, sum(512 + coalesce(length(body), 0)) AS bytes FROM whose WHERE who IS NOT NULL GROUP BY who) \
             SELECT * FROM (SELECT * FROM sums EXCEPT SELECT * FROM kept_bytes) \
             UNION ALL SELECT * FROM (SELECT * FROM kept_bytes EXCEPT SELECT * FROM sums)",
        );
        assert!(store.0.read(differences).await.unwrap().is_empty());
        let count = Statement::new("SELECT who FROM kept_bytes");
        assert!(store.0.read(count).await.unwrap().len() >= 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn statements_use_indexes() {
        assert_indexed("idempotency", &[CLAIM, LOOK, ANSWER, RELEASE, FORGET, SWEEP]).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn replies_of_the_version_before_are_taken_over() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = rusqlite::Connection::open(folder.path().join("idempotency.db")).unwrap();
        file.execute_batch(MIGRATIONS[0]).unwrap();
        file.execute_batch(
            "INSERT INTO idempotency VALUES ('old', 'body', 'one', 1700000000000, 1700000000000, 200, '[]', x'7b7d');
             PRAGMA user_version = 1",
        )
        .unwrap();
        drop(file);
        let writer = in_process_writer(folder.path()).unwrap();
        let database = Database::open(&writer, folder.path(), "idempotency")
            .await
            .unwrap();
        let store = SqliteIdempotency(database);
        let claim = store
            .claim(
                &contract::attempt("old", "body", "two"),
                Timestamp::from_millis(1_700_000_001_000),
                Duration::from_secs(30),
                Duration::from_secs(60),
            )
            .await
            .unwrap();
        let reply = KeptReply {
            status: 200,
            headers: Vec::new(),
            body: b"{}".to_vec(),
        };
        assert_eq!(claim, Claim::Answered(reply));
        let after = Timestamp::from_millis(1_700_000_000_001);
        assert_eq!(store.sweep(after, 9).await.unwrap(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract_with_sealed_bodies() {
        let (database, _folder) = open_database("idempotency").await;
        contract::sealed(Arc::new(SqliteIdempotency(database))).await;
    }
}
