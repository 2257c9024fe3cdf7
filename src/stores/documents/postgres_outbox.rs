//! Events in PostgreSQL, in the schema of the documents that emit them.

use async_trait::async_trait;
use sqlx::query;

use super::outbox::{DeadLetter, Delivery, FailedDelivery, LedgerEvent, Outbox, OutboxDepth};
use super::postgres::PostgresDocuments;
use super::postgres_sql::{
    DEAD_LETTERS, DELIVERABLE, DELIVERED, DEPTH, FAILED, FORGET, LEDGER, PENDING, REPLAY,
};
use super::rows::{self, number};
use crate::stores::StoreError;
use crate::stores::sql::SqlDatabase;
use souk_domain::{EventId, Timestamp};
use souk_embedded::Rows;

impl PostgresDocuments {
    fn deliveries(&self, rows: Rows) -> Result<Vec<Delivery>, StoreError> {
        self.pool.decode(rows, |row| rows::delivery(&self.pool, row))
    }
}

#[async_trait]
impl Outbox for PostgresDocuments {
    fn name(&self) -> &'static str {
        self.pool.name()
    }

    fn consumers(&self) -> &'static [&'static str] {
        self.consumers
    }

    async fn deliverable(
        &self,
        consumer: &str,
        shards: &[u16],
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let shards: Vec<i64> = shards.iter().copied().map(i64::from).collect();
        let rows = self.pool.fetch(|| {
            query(DELIVERABLE)
                .bind(consumer)
                .bind(&shards[..])
                .bind(now.as_millis())
                .bind(rows::limit(limit))
        });
        self.deliveries(rows.await?)
    }

    async fn delivered(&self, consumer: &str, sequences: &[i64]) -> Result<(), StoreError> {
        let delivered = self
            .pool
            .execute(|| query(DELIVERED).bind(consumer).bind(sequences));
        delivered.await.map(drop)
    }

    async fn failed(&self, consumer: &str, failures: &[FailedDelivery]) -> Result<(), StoreError> {
        let (mut sequences, mut retries, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for failure in failures {
            sequences.push(failure.sequence);
            retries.push(failure.retry_at.map(Timestamp::as_millis));
            // A reason is for people; PostgreSQL has no character of the number 0.
            reasons.push(failure.reason.replace('\0', "\u{FFFD}"));
        }
        let failed = self.pool.execute(|| {
            query(FAILED)
                .bind(consumer)
                .bind(&sequences[..])
                .bind(&retries[..])
                .bind(&reasons[..])
        });
        failed.await.map(drop)
    }

    async fn depth(&self) -> Result<Vec<OutboxDepth>, StoreError> {
        let rows = self.pool.fetch(|| query(DEPTH).bind(self.consumers)).await?;
        self.pool.decode(rows, rows::depth)
    }

    async fn pending(&self, consumer: &str, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        let rows = self
            .pool
            .fetch(|| query(PENDING).bind(consumer).bind(rows::limit(limit)));
        self.deliveries(rows.await?)
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let rows = self
            .pool
            .fetch(|| query(DEAD_LETTERS).bind(rows::limit(limit)))
            .await?;
        self.pool.decode(rows, |row| rows::dead_letter(&self.pool, row))
    }

    async fn replay(&self, event: &EventId, consumer: Option<&str>) -> Result<Vec<String>, StoreError> {
        let replayed = self.pool.execute(|| {
            query(REPLAY)
                .bind(event.entity.as_str())
                .bind(number(event.version))
                .bind(i64::from(event.ordinal))
                .bind(consumer)
        });
        self.pool.decode(replayed.await?, |row| row.text("consumer"))
    }

    async fn ledger(
        &self,
        entity: &str,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<LedgerEvent>, StoreError> {
        let rows = self.pool.fetch(|| {
            query(LEDGER)
                .bind(entity)
                .bind(number(after_version))
                .bind(rows::limit(limit))
        });
        self.pool.decode(rows.await?, |row| rows::event(&self.pool, row))
    }

    async fn forget(&self, entity: &str) -> Result<bool, StoreError> {
        let forgotten = self
            .pool
            .execute(|| query(FORGET).bind(entity).bind(self.consumers));
        let is_empty = self
            .pool
            .decode(forgotten.await?, |row| row.integer::<i64>("is_empty"))?;
        Ok(is_empty == [1])
    }
}
