//! Counters in SQLite, in the database `sessions`.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use super::{Counter, CounterStore};
use crate::stores::StoreError;
use crate::stores::sql::SqlDatabase;
use crate::stores::sqlite::Database;
use souk_domain::Timestamp;
use souk_embedded::Statement;

const HIT: &str = "INSERT INTO hits (key, starts_at, ends_at, count) VALUES (?1, ?2, ?3, ?4) \
     ON CONFLICT (key) DO UPDATE SET \
         count = iif(excluded.starts_at > starts_at, excluded.count, count + excluded.count), \
         starts_at = max(excluded.starts_at, starts_at), ends_at = max(excluded.ends_at, ends_at) \
     RETURNING count";
const COUNTS: &str =
    "SELECT key, count FROM hits WHERE key IN (SELECT value FROM json_each(?1)) AND ends_at > ?2";
const FORGET: &str = "DELETE FROM hits WHERE key = ?1";
const SWEEP: &str = "DELETE FROM hits WHERE rowid IN \
     (SELECT rowid FROM hits WHERE ends_at <= ?1 ORDER BY ends_at LIMIT ?2) RETURNING 1";

/// The adapter.
pub struct SqliteCounters(pub Database);

#[async_trait]
impl CounterStore for SqliteCounters {
    async fn hit(&self, key: &str, now: Timestamp, window: Duration, amount: u64) -> Result<u64, StoreError> {
        let length = i64::try_from(window.as_millis()).unwrap_or(i64::MAX).max(1);
        let starts_at = now.as_millis().saturating_sub(now.as_millis().rem_euclid(length));
        let statement = Statement::new(HIT)
            .bind(key)
            .bind(starts_at)
            .bind(starts_at.saturating_add(length))
            .bind(amount);
        let rows = self.0.transact_one(statement).await?;
        let count = self.0.decode(rows, |row| row.integer("count"))?.pop();
        count.ok_or_else(|| self.0.corrupt("a hit returned no count"))
    }

    async fn counts(&self, counters: &[Counter], now: Timestamp) -> Result<Vec<u64>, StoreError> {
        let keys: Vec<&str> = counters.iter().map(|counter| counter.key.as_str()).collect();
        let statement = Statement::new(COUNTS)
            .bind(self.0.json(&keys)?)
            .bind(now.as_millis());
        let rows = self.0.read(statement).await?;
        let found = self
            .0
            .decode(rows, |row| Ok((row.text("key")?, row.integer("count")?)))?;
        let found: HashMap<String, u64> = found.into_iter().collect();
        let count = |key: &str| found.get(key).copied().unwrap_or_default();
        Ok(keys.into_iter().map(count).collect())
    }

    async fn forget(&self, key: &str) -> Result<(), StoreError> {
        self.0
            .transact_one(Statement::new(FORGET).bind(key))
            .await
            .map(drop)
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.0.sweep(SWEEP, now, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::counters::contract;
    use crate::stores::testing::{Expiry, assert_indexed, open_database};

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let (database, _folder) = open_database("sessions").await;
        contract::suite(std::sync::Arc::new(SqliteCounters(database)), Expiry::BySweep).await;
    }

    #[tokio::test]
    async fn queries_use_indexes() {
        assert_indexed("sessions", &[COUNTS, FORGET, SWEEP]).await;
    }
}
