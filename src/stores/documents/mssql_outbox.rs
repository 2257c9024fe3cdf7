//! Events in SQL Server, beside the documents that emit them.

use async_trait::async_trait;

use super::mssql::{MssqlDocuments, list};
use super::mssql_sql::{
    DEAD_LETTERS, DELIVERABLE, DELIVERED, DEPTH, FAILED, FORGET, LEDGER, PENDING, REPLAY,
};
use super::outbox::{DeadLetter, Delivery, FailedDelivery, LedgerEvent, Outbox, OutboxDepth};
use super::rows::{self, number};
use crate::stores::StoreError;
use crate::stores::mssql::values::{Query, tuples};
use crate::stores::sql::SqlDatabase;
use souk_domain::{EventId, Timestamp};
use souk_embedded::Rows;

/// Deliveries that one statement is about.
const DELIVERIES: usize = 500;

impl MssqlDocuments {
    fn deliveries(&self, rows: Rows) -> Result<Vec<Delivery>, StoreError> {
        self.pool.decode(rows, |row| rows::delivery(&self.pool, row))
    }
}

#[async_trait]
impl Outbox for MssqlDocuments {
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
        let sql = self.pool.sql(DELIVERABLE).replace("{shards}", &list(shards));
        let rows = self.pool.fetch(|| {
            Query::new(sql.as_str())
                .bind(consumer)
                .bind(now.as_millis())
                .bind(rows::limit(limit))
        });
        self.deliveries(rows.await?)
    }

    async fn delivered(&self, consumer: &str, sequences: &[i64]) -> Result<(), StoreError> {
        for sequences in sequences.chunks(DELIVERIES) {
            let list = tiberius::Query::placeholders(2, sequences.len());
            let sql = self.pool.sql(DELIVERED).replace("{sequences}", &list);
            let delivered = self.pool.execute(|| {
                let query = Query::new(sql.as_str()).bind(consumer);
                query.bind_all(sequences.iter().copied())
            });
            delivered.await?;
        }
        Ok(())
    }

    async fn failed(&self, consumer: &str, failures: &[FailedDelivery]) -> Result<(), StoreError> {
        for failures in failures.chunks(DELIVERIES) {
            let sql = self
                .pool
                .sql(FAILED)
                .replace("{failures}", &tuples(1, failures.len(), 3));
            let failed = self.pool.execute(|| {
                let query = Query::new(sql.as_str()).bind(consumer);
                failures.iter().fold(query, |query, failure| {
                    query
                        .bind(failure.sequence)
                        .bind(failure.retry_at.map(Timestamp::as_millis))
                        .bind(failure.reason.as_str())
                })
            });
            failed.await?;
        }
        Ok(())
    }

    async fn depth(&self) -> Result<Vec<OutboxDepth>, StoreError> {
        let sql = self.pool.sql(DEPTH);
        let mut depths = Vec::new();
        for consumer in self.consumers {
            let rows = self
                .pool
                .fetch(|| Query::new(sql.as_str()).bind(*consumer))
                .await?;
            depths.append(&mut self.pool.decode(rows, rows::depth)?);
        }
        Ok(depths)
    }

    async fn pending(&self, consumer: &str, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        let sql = self.pool.sql(PENDING);
        let rows = self
            .pool
            .fetch(|| Query::new(sql.as_str()).bind(consumer).bind(rows::limit(limit)));
        self.deliveries(rows.await?)
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let sql = self.pool.sql(DEAD_LETTERS);
        let rows = self
            .pool
            .fetch(|| Query::new(sql.as_str()).bind(rows::limit(limit)));
        self.pool
            .decode(rows.await?, |row| rows::dead_letter(&self.pool, row))
    }

    async fn replay(&self, event: &EventId, consumer: Option<&str>) -> Result<Vec<String>, StoreError> {
        let sql = self.pool.sql(REPLAY);
        let replayed = self.pool.execute(|| {
            Query::new(sql.as_str())
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
        let sql = self.pool.sql(LEDGER);
        let rows = self.pool.fetch(|| {
            Query::new(sql.as_str())
                .bind(entity)
                .bind(number(after_version))
                .bind(rows::limit(limit))
        });
        self.pool.decode(rows.await?, |row| rows::event(&self.pool, row))
    }

    async fn forget(&self, entity: &str) -> Result<bool, StoreError> {
        let consumers: Vec<String> = self.consumer_literals().collect();
        let sql = self
            .pool
            .sql(FORGET)
            .replace("{consumers}", &consumers.join(", "));
        let forgotten = self.pool.execute(|| Query::new(sql.as_str()).bind(entity));
        let is_empty = self
            .pool
            .decode(forgotten.await?, |row| row.integer::<i64>("is_empty"))?;
        Ok(is_empty == [1])
    }
}
