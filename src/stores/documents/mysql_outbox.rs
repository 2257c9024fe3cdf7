//! Events in MariaDB and MySQL, beside the documents that emit them.

use async_trait::async_trait;

use super::mysql::{MysqlDocuments, is_event};
use super::mysql_sql::{
    BURY, DEAD_LETTERS, DELIVERABLE, DELIVERED, DEPTH, FORGET, LEDGER, LOCK_DEAD_LETTERS, PENDING, REPLAY,
    RETRY,
};
use super::outbox::{DeadLetter, Delivery, FailedDelivery, LedgerEvent, Outbox, OutboxDepth};
use super::rows;
use crate::stores::StoreError;
use crate::stores::mysql::{Decision, values};
use crate::stores::sql::SqlDatabase;
use crate::stores::sql_pool::Access;
use souk_domain::{EventId, Timestamp};
use souk_embedded::Rows;

impl MysqlDocuments {
    fn deliveries(&self, rows: Rows) -> Result<Vec<Delivery>, StoreError> {
        self.pool.decode(rows, |row| rows::delivery(&self.pool, row))
    }
}

#[async_trait]
impl Outbox for MysqlDocuments {
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
        let literals = [
            values::text(consumer),
            values::list(shards.iter().map(u16::to_string)),
            now.as_millis().to_string(),
            limit.to_string(),
        ];
        self.deliveries(self.fetch(DELIVERABLE, &literals).await?)
    }

    async fn delivered(&self, consumer: &str, sequences: &[i64]) -> Result<(), StoreError> {
        // In one order, as all that locks several rows.
        let mut sequences = sequences.to_vec();
        sequences.sort_unstable();
        let sequences = values::list(sequences.iter().map(i64::to_string));
        let delivered = self.pool.sql(DELIVERED, &[values::text(consumer), sequences]);
        self.pool.execute_all(&[delivered]).await.map(drop)
    }

    async fn failed(&self, consumer: &str, failures: &[FailedDelivery]) -> Result<(), StoreError> {
        let mut failures: Vec<&FailedDelivery> = failures.iter().collect();
        failures.sort_unstable_by_key(|failure| failure.sequence);
        let mut statements = Vec::new();
        for failure in failures {
            let (consumer, sequence) = (values::text(consumer), failure.sequence.to_string());
            let (sql, last) = match failure.retry_at {
                Some(time) => (&[RETRY][..], time.as_millis().to_string()),
                None => (BURY, values::text(&failure.reason)),
            };
            statements.append(&mut self.each(sql, &[consumer, sequence, last]));
        }
        if statements.is_empty() {
            return Ok(());
        }
        self.pool.execute_all(&statements).await.map(drop)
    }

    async fn depth(&self) -> Result<Vec<OutboxDepth>, StoreError> {
        let mut depths = Vec::new();
        for consumer in self.consumers {
            let rows = self.fetch(DEPTH, &[values::text(consumer)]).await?;
            depths.append(&mut self.pool.decode(rows, rows::depth)?);
        }
        Ok(depths)
    }

    async fn pending(&self, consumer: &str, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        let literals = [values::text(consumer), limit.to_string()];
        self.deliveries(self.fetch(PENDING, &literals).await?)
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let rows = self.fetch(DEAD_LETTERS, &[limit.to_string()]).await?;
        self.pool.decode(rows, |row| rows::dead_letter(&self.pool, row))
    }

    async fn replay(&self, event: &EventId, consumer: Option<&str>) -> Result<Vec<String>, StoreError> {
        let allowed = match consumer {
            Some(consumer) => format!("d.consumer = {}", values::text(consumer)),
            None => "TRUE".to_owned(),
        };
        let lock = self
            .pool
            .sql(LOCK_DEAD_LETTERS, &[is_event("l.", event), allowed]);
        let decide = |rows: Rows| {
            let dead = self.pool.decode(rows, |row| {
                Ok((row.text("consumer")?, row.integer::<i64>("sequence")?))
            })?;
            let (mut statements, mut consumers) = (Vec::new(), Vec::new());
            for (consumer, sequence) in dead {
                statements.append(&mut self.each(REPLAY, &[values::text(&consumer), sequence.to_string()]));
                consumers.push(consumer);
            }
            if consumers.is_empty() {
                return Ok((Decision::Nothing, consumers));
            }
            Ok((Decision::Write(statements), consumers))
        };
        self.pool.decide(Access::Write, lock, decide).await
    }

    async fn ledger(
        &self,
        entity: &str,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<LedgerEvent>, StoreError> {
        let literals = [values::text(entity), after_version.to_string(), limit.to_string()];
        let rows = self.fetch(LEDGER, &literals).await?;
        self.pool.decode(rows, |row| rows::event(&self.pool, row))
    }

    async fn forget(&self, entity: &str) -> Result<bool, StoreError> {
        let literals = [
            values::text(entity),
            values::texts(self.consumers.iter().copied()),
        ];
        let rows = self.pool.execute_all(&self.each(FORGET, &literals)).await?;
        let is_empty = self.pool.decode(rows, |row| row.integer::<i64>("is_empty"))?;
        Ok(is_empty == [1])
    }
}
