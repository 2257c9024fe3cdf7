//! Events in SQLite, in the file of the documents that emit them.

use async_trait::async_trait;

use super::outbox::{DeadLetter, Delivery, FailedDelivery, LedgerEvent, Outbox, OutboxDepth};
use super::rows;
use super::sql::{
    BURY, DEAD_LETTERS, DELIVERABLE, DELIVERED, DEPTH, FORGET_EVENTS, HAS_EVENTS, LEDGER, PENDING,
    REMOVE_BURIED, REMOVE_REPLAYED, REPLAY, RETRY,
};
use super::sqlite::SqliteDocuments;
use crate::stores::StoreError;
use crate::stores::sql::SqlDatabase;
use souk_domain::{EventId, Timestamp};
use souk_embedded::Statement;

impl SqliteDocuments {
    async fn deliveries(&self, statement: Statement) -> Result<Vec<Delivery>, StoreError> {
        let rows = self.database.read(statement).await?;
        self.database
            .decode(rows, |row| rows::delivery(&self.database, row))
    }
}

#[async_trait]
impl Outbox for SqliteDocuments {
    fn name(&self) -> &'static str {
        self.database.name()
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
        let statement = self
            .statement(DELIVERABLE)
            .bind(consumer)
            .bind(self.database.json(&shards)?)
            .bind(now.as_millis())
            .bind(limit);
        self.deliveries(statement).await
    }

    async fn delivered(&self, consumer: &str, sequences: &[i64]) -> Result<(), StoreError> {
        let statement = self
            .statement(DELIVERED)
            .bind(consumer)
            .bind(self.database.json(&sequences)?);
        self.database.transact_one(statement).await.map(|_| ())
    }

    async fn failed(&self, consumer: &str, failures: &[FailedDelivery]) -> Result<(), StoreError> {
        let lines: Vec<_> = failures
            .iter()
            .map(|failure| (failure.sequence, failure.retry_at, &failure.reason))
            .collect();
        let lines = self.database.json(&lines)?;
        let statements = [RETRY, BURY, REMOVE_BURIED]
            .map(|sql| self.statement(sql).bind(consumer).bind(lines.as_str()))
            .into();
        self.database.transact(statements).await.map(|_| ())
    }

    async fn depth(&self) -> Result<Vec<OutboxDepth>, StoreError> {
        let statement = self.statement(DEPTH).bind(self.database.json(&self.consumers)?);
        let rows = self.database.read(statement).await?;
        self.database.decode(rows, rows::depth)
    }

    async fn pending(&self, consumer: &str, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.deliveries(self.statement(PENDING).bind(consumer).bind(limit))
            .await
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let statement = self.statement(DEAD_LETTERS).bind(limit);
        let rows = self.database.read(statement).await?;
        self.database
            .decode(rows, |row| rows::dead_letter(&self.database, row))
    }

    async fn replay(&self, event: &EventId, consumer: Option<&str>) -> Result<Vec<String>, StoreError> {
        let statements = [REPLAY, REMOVE_REPLAYED]
            .map(|sql| {
                self.statement(sql)
                    .bind(event.entity.as_str())
                    .bind(event.version)
                    .bind(event.ordinal)
                    .bind(consumer)
            })
            .into();
        let replayed = self.database.transact(statements).await?;
        let rows = replayed.into_iter().next().unwrap_or_default();
        self.database.decode(rows, |row| row.text("consumer"))
    }

    async fn ledger(
        &self,
        entity: &str,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<LedgerEvent>, StoreError> {
        let statement = self
            .statement(LEDGER)
            .bind(entity)
            .bind(after_version)
            .bind(limit);
        let rows = self.database.read(statement).await?;
        self.database.decode(rows, |row| rows::event(&self.database, row))
    }

    async fn forget(&self, entity: &str) -> Result<bool, StoreError> {
        let consumers = self.database.json(&self.consumers)?;
        let statements = vec![
            self.statement(FORGET_EVENTS).bind(entity).bind(consumers),
            self.statement(HAS_EVENTS).bind(entity),
        ];
        let left = self.database.transact(statements).await?.pop();
        Ok(left.is_none_or(|left| left.into_iter().next().is_none()))
    }
}

#[cfg(test)]
mod tests {
    use souk_embedded::{Database, Engine, Schema, Writer};
    use tempfile::TempDir;

    use super::*;
    use crate::stores::documents::DocumentStore;
    use crate::stores::documents::outbox::{INVENTORY_CONSUMERS, STOCK_BADGES};
    use crate::stores::documents::sqlite::FORMER_MIGRATIONS;
    use crate::stores::sqlite;

    static BEFORE: &[Schema] = &[Schema {
        name: "inventory",
        migrations: &[FORMER_MIGRATIONS[0]],
        formers: &[],
    }];

    /// What waited in the first schema, or was dead, does so for the one consumer that there was. Rows have no fence yet.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_file_of_a_store_in_its_first_schema_is_taken_over() {
        let directory = TempDir::new().unwrap();
        let engine = Engine::open(directory.path(), BEFORE).unwrap();
        let writer = Writer::in_process(engine);
        let insert = "INSERT INTO outbox (entity, version, ordinal, shard, at, name, detail, attempts, delivered_at, dead_reason) \
             VALUES ('A-1', 1, 0, 7, 10, 'stock.received', '{}', 0, 11, NULL), \
                 ('A-1', 2, 0, 7, 12, 'stock.sold', '{\"quantity\":1}', 3, NULL, NULL), \
                 ('B-1', 1, 0, 8, 13, 'stock.sold', '{}', 10, NULL, 'it broke')";
        let database = Database::open(&writer, directory.path(), "inventory")
            .await
            .unwrap();
        let row = "INSERT INTO documents (id, shard, version, due_at, owner, mark, body) VALUES ('A-1', 7, 2, NULL, NULL, 'm', '{}')";
        let statements = [insert, row].map(Statement::new).into();
        database.transact(statements).await.unwrap();
        drop((database, writer));

        // The engine closes its files in the background.
        let writer = loop {
            match sqlite::in_process_writer(directory.path()) {
                Ok(writer) => break writer,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        };
        let store = SqliteDocuments::open(&writer, directory.path(), "inventory", INVENTORY_CONSUMERS)
            .await
            .unwrap();
        let now = Timestamp::from_millis(20);
        let pending = store.deliverable(STOCK_BADGES, &[7, 8], now, 10).await.unwrap();
        let pending: Vec<_> = pending
            .iter()
            .map(|delivery| (delivery.event.id.to_string(), delivery.attempts))
            .collect();
        assert_eq!(pending, [("A-1.2.0".to_owned(), 3)]);
        let dead = store.dead_letters(10).await.unwrap();
        assert_eq!(dead.len(), 1);
        assert_eq!(dead[0].delivery.event.id.to_string(), "B-1.1.0");
        assert_eq!(
            (dead[0].consumer.as_str(), dead[0].reason.as_str()),
            (STOCK_BADGES, "it broke")
        );
        assert_eq!(store.ledger("A-1", 0, 10).await.unwrap().len(), 2);
        let row = store.load("A-1").await.unwrap().unwrap();
        assert_eq!((row.version, row.fence), (2, 0));
        assert!(!directory.path().join("inventory.db").exists());
    }
}
