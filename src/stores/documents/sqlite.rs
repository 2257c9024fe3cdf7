//! Documents in SQLite: one file a store, all the same schema.
//!
//! A batch travels in as few parameters as one row would, so that its statements are prepared once whatever its size.

use std::collections::HashSet;
use std::path::Path;

use async_trait::async_trait;
use serde::Serialize;

use super::batch::{Emitted, Exchange, Lines, parts};
use super::sql::{
    APPLIED, AT_REST, BY_OWNER, BY_OWNER_BEFORE, DEAD_LETTERS, DELIVERED, DEPTH, DUE, EMIT, FAILED, INSERT,
    LEDGER, LOAD, LOAD_MANY, PENDING, REPLAY, RESEAL, SCAN, UNDELIVERED, UPDATE, VERSION,
};
use super::{
    BATCH_LIMIT, DeadLetter, Document, DocumentStore, DocumentWrite, OutboxDepth, OutboxEvent, WriteOutcome,
};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::sqlite::Columns;
use crate::stores::sqlite::Database;
use souk_domain::{Event, Timestamp};
use souk_embedded::{Rows, Statement, Writer};

/// The schema: every migration, oldest first.
pub const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_documents.sql")];

/// One of the document stores (`carts`, `orders`, `inventory`, `payments`) in SQLite.
pub struct SqliteDocuments {
    database: Database,
}

impl SqliteDocuments {
    /// Opens the database `name` of `directory`.
    ///
    /// # Errors
    /// As of [`Database::open`].
    pub async fn open(writer: &Writer, directory: &Path, name: &'static str) -> Result<Self, StoreError> {
        Ok(Self {
            database: Database::open(writer, directory, name).await?,
        })
    }

    fn refused(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Refused {
            store: self.database.name(),
            cause: cause.into(),
        }
    }

    fn json(&self, value: &impl Serialize) -> Result<String, StoreError> {
        serde_json::to_string(value).map_err(|error| self.refused(error))
    }

    fn documents(&self, rows: Rows) -> Result<Vec<Document>, StoreError> {
        self.database.decode(rows, document)
    }

    fn events(&self, rows: Rows) -> Result<Vec<OutboxEvent>, StoreError> {
        self.database.decode(rows, |row| self.event(row))
    }

    fn event(&self, row: &mut Columns) -> Result<OutboxEvent, StoreError> {
        Ok(OutboxEvent {
            sequence: row.integer("sequence")?,
            id: row.text("event_id")?,
            entity: row.text("entity")?,
            shard: row.integer("shard")?,
            version: row.integer("version")?,
            at: Timestamp::from_millis(row.integer("at")?),
            attempts: row.integer("attempts")?,
            event: Event {
                name: row.text("name")?,
                detail: serde_json::from_str(&row.text("detail")?)
                    .map_err(|error| self.database.corrupt(format!("the detail of an event: {error}")))?,
            },
        })
    }

    /// What would break the rules of the port, which no statement could then keep.
    fn check(&self, batch: &[DocumentWrite]) -> Result<(), StoreError> {
        if batch.len() > BATCH_LIMIT {
            return Err(self.refused(format!("a batch of {} rows is too large", batch.len())));
        }
        let mut ids = HashSet::with_capacity(batch.len());
        for write in batch {
            let Document { id, version, .. } = &write.document;
            if !ids.insert(id) {
                return Err(self.refused(format!("{id} stands twice in one batch")));
            }
            if *version <= write.expected {
                return Err(self.refused(format!("{id}: version {version} can't follow {}", write.expected)));
            }
        }
        Ok(())
    }

    /// Writes rows in one transaction and returns the ids of those that were applied.
    async fn write_part(&self, mark: &str, part: &[DocumentWrite]) -> Result<HashSet<String>, StoreError> {
        let lines = |created: bool| {
            let of_kind = move |write: &&DocumentWrite| (write.expected == 0) == created;
            Lines::of(part.iter().filter(of_kind))
        };
        let (created, updated) = (lines(true), lines(false));
        let emitted: Vec<Emitted<'_>> = part.iter().flat_map(Emitted::of).collect();
        let mut statements = Vec::with_capacity(3);
        for (sql, lines) in [(UPDATE, updated), (INSERT, created)] {
            if !lines.is_empty() {
                let (lines, bodies) = lines.encode().map_err(|error| self.refused(error))?;
                statements.push(Statement::new(sql).bind(lines).bind(bodies).bind(mark));
            }
        }
        if !emitted.is_empty() {
            statements.push(Statement::new(EMIT).bind(self.json(&emitted)?).bind(mark));
        }
        let results = self.database.transact(statements).await?;
        // The events return no rows.
        let rows = results.into_iter().flatten().collect();
        let ids = self.database.decode(rows, |row| row.text("id"))?;
        Ok(ids.into_iter().collect())
    }
}

fn document(row: &mut Columns) -> Result<Document, StoreError> {
    Ok(Document {
        id: row.text("id")?,
        shard: row.integer("shard")?,
        version: row.integer("version")?,
        due_at: row.optional_integer("due_at")?.map(Timestamp::from_millis),
        owner: row.optional_text("owner")?,
        body: row.text("body")?,
    })
}

#[async_trait]
impl DocumentStore for SqliteDocuments {
    fn name(&self) -> &'static str {
        self.database.name()
    }

    fn technology(&self) -> &'static str {
        "sqlite"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.database.ping().await
    }

    async fn load(&self, id: &str) -> Result<Option<Document>, StoreError> {
        let rows = self.database.read(Statement::new(LOAD).bind(id)).await?;
        Ok(self.documents(rows)?.pop())
    }

    async fn load_many(&self, ids: &[String]) -> Result<Vec<Document>, StoreError> {
        let statement = Statement::new(LOAD_MANY).bind(self.json(&ids)?);
        self.documents(self.database.read(statement).await?)
    }

    async fn version(&self, id: &str) -> Result<u64, StoreError> {
        let rows = self.database.read(Statement::new(VERSION).bind(id)).await?;
        let versions = self.database.decode(rows, |row| row.integer("version"))?;
        Ok(versions.first().copied().unwrap_or(0))
    }

    async fn write(&self, mark: &str, batch: &[DocumentWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        self.check(batch)?;
        let mut applied = HashSet::with_capacity(batch.len());
        for (number, part) in parts(batch).into_iter().enumerate() {
            match self.write_part(mark, part).await {
                Ok(ids) => applied.extend(ids),
                Err(error) if number == 0 => return Err(error),
                // Some rows are durable: of the batch as a whole nothing less can be said.
                Err(error) => {
                    return Err(StoreError::OutcomeUnknown {
                        store: self.database.name(),
                        cause: Box::new(error),
                    });
                }
            }
        }
        Ok(batch
            .iter()
            .map(|write| {
                if applied.contains(&write.document.id) {
                    WriteOutcome::Applied
                } else {
                    WriteOutcome::Conflict
                }
            })
            .collect())
    }

    async fn applied(&self, mark: &str, ids: &[String]) -> Result<Vec<bool>, StoreError> {
        // Through the writer, and so behind whatever it has accepted: the lost write is decided before this answers.
        let statement = Statement::new(APPLIED).bind(self.json(&ids)?).bind(mark);
        let rows = self.database.transact_one(statement).await?;
        let found: HashSet<String> = self
            .database
            .decode(rows, |row| row.text("id"))?
            .into_iter()
            .collect();
        Ok(ids.iter().map(|id| found.contains(id)).collect())
    }

    async fn due(&self, shards: &[u16], until: Timestamp, limit: usize) -> Result<Vec<String>, StoreError> {
        let statement = Statement::new(DUE)
            .bind(until.as_millis())
            .bind(self.json(&shards)?)
            .bind(limit);
        let rows = self.database.read(statement).await?;
        self.database.decode(rows, |row| row.text("id"))
    }

    async fn by_owner(
        &self,
        owner: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let statement = match before {
            Some(before) => Statement::new(BY_OWNER_BEFORE)
                .bind(owner)
                .bind(limit)
                .bind(before),
            None => Statement::new(BY_OWNER).bind(owner).bind(limit),
        };
        self.documents(self.database.read(statement).await?)
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Document>, StoreError> {
        // No id is empty, so that every id lies above the empty one.
        let statement = Statement::new(SCAN).bind(after.unwrap_or_default()).bind(limit);
        self.documents(self.database.read(statement).await?)
    }

    async fn undelivered(&self, shards: &[u16], limit: usize) -> Result<Vec<OutboxEvent>, StoreError> {
        let statement = Statement::new(UNDELIVERED).bind(self.json(&shards)?).bind(limit);
        self.events(self.database.read(statement).await?)
    }

    async fn delivered(&self, sequences: &[i64], at: Timestamp) -> Result<(), StoreError> {
        let statement = Statement::new(DELIVERED)
            .bind(self.json(&sequences)?)
            .bind(at.as_millis());
        self.database.transact_one(statement).await.map(|_| ())
    }

    async fn undeliverable(&self, sequence: i64, reason: &str, dead: bool) -> Result<(), StoreError> {
        let statement = Statement::new(FAILED).bind(sequence).bind(reason).bind(dead);
        self.database.transact_one(statement).await.map(|_| ())
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError> {
        let rows = self.database.read(Statement::new(DEPTH)).await?;
        let depth = self.database.decode(rows, |row| {
            Ok(OutboxDepth {
                pending: row.integer("pending")?,
                dead: row.integer("dead")?,
                oldest: row.optional_integer("oldest")?.map(Timestamp::from_millis),
            })
        })?;
        Ok(depth.into_iter().next().unwrap_or_default())
    }

    async fn pending(&self, limit: usize) -> Result<Vec<OutboxEvent>, StoreError> {
        self.events(self.database.read(Statement::new(PENDING).bind(limit)).await?)
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let rows = self
            .database
            .read(Statement::new(DEAD_LETTERS).bind(limit))
            .await?;
        self.database.decode(rows, |row| {
            Ok(DeadLetter {
                event: self.event(row)?,
                reason: row.text("dead_reason")?,
            })
        })
    }

    async fn replay(&self, event_id: &str) -> Result<bool, StoreError> {
        let rows = self
            .database
            .transact_one(Statement::new(REPLAY).bind(event_id))
            .await?;
        Ok(!rows.is_empty())
    }

    async fn ledger(
        &self,
        id: &str,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<OutboxEvent>, StoreError> {
        let statement = Statement::new(LEDGER).bind(id).bind(after_version).bind(limit);
        self.events(self.database.read(statement).await?)
    }
}

#[async_trait]
impl RowsAtRest for SqliteDocuments {
    fn store(&self) -> &'static str {
        self.database.name()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        let statement = Statement::new(AT_REST)
            .bind(after.unwrap_or_default())
            .bind(limit);
        let rows = self.database.read(statement).await?;
        self.database.decode(rows, |row| {
            Ok(RowAtRest {
                id: row.text("id")?,
                content: row.text("body")?.into_bytes(),
            })
        })
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|error| self.refused(error));
        let exchanges = rows
            .iter()
            .map(|resealed| {
                Ok(Exchange {
                    id: &resealed.row.id,
                    before: text(&resealed.row.content)?,
                    now: text(&resealed.content)?,
                })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        let statement = Statement::new(RESEAL).bind(self.json(&exchanges)?);
        let replaced = self.database.transact_one(statement).await?;
        let replaced: HashSet<String> = self
            .database
            .decode(replaced, |row| row.text("id"))?
            .into_iter()
            .collect();
        Ok(rows
            .iter()
            .map(|resealed| replaced.contains(&resealed.row.id))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::stores::documents::contract;
    use crate::stores::sqlite;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_document_store_keeps_the_contract() {
        let directory = TempDir::new().unwrap();
        let writer = sqlite::in_process_writer(directory.path()).unwrap();
        for name in ["carts", "payments"] {
            let store = SqliteDocuments::open(&writer, directory.path(), name)
                .await
                .unwrap();
            assert_eq!(store.name(), name);
            let store = Arc::new(store);
            contract::suite(Arc::clone(&store) as Arc<dyn DocumentStore>).await;
            contract::reseals(&*store).await;
        }
    }

    /// The queries that run all the time must not walk a table that grows for ever.
    #[tokio::test]
    async fn frequent_queries_go_by_an_index() {
        let directory = TempDir::new().unwrap();
        let writer = sqlite::in_process_writer(directory.path()).unwrap();
        let store = SqliteDocuments::open(&writer, directory.path(), "orders")
            .await
            .unwrap();
        for sql in [
            LOAD,
            LOAD_MANY,
            VERSION,
            APPLIED,
            DUE,
            BY_OWNER,
            BY_OWNER_BEFORE,
            SCAN,
            UNDELIVERED,
            PENDING,
            DEAD_LETTERS,
            LEDGER,
            UPDATE,
            EMIT,
            DELIVERED,
            REPLAY,
            RESEAL,
            AT_REST,
        ] {
            let plan = store
                .database
                .read(Statement::new(format!("EXPLAIN QUERY PLAN {sql}")))
                .await
                .unwrap();
            let plan = format!("{plan:?}");
            assert!(!plan.contains("SCAN documents\""), "{sql}: {plan}");
            assert!(!plan.contains("SCAN d\""), "{sql}: {plan}");
            assert!(!plan.contains("SCAN outbox\""), "{sql}: {plan}");
        }
    }
}
