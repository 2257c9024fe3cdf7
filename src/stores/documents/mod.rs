//! The port that carts, orders, inventory and payments share: versioned documents with an outbox.
//!
//! Every write names the version that it replaces (compare-and-set), so that no second activation of an entity can
//! lose an update whatever the cluster believes. A batch is one statement to the store, with one outcome a row.

mod batch;
#[cfg(test)]
pub mod contract;
#[cfg(test)]
pub mod memory;
pub mod sealed;
mod sql;
pub mod sqlite;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::{Event, Timestamp};

/// A document as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The entity's identifier; the primary key.
    pub id: String,
    /// The shard that the identifier hashes to; indexed, so that an owner finds what is unfinished.
    pub shard: u16,
    /// Counts the entity's changes without a gap (invariant 8).
    pub version: u64,
    /// When the entity must be looked at again; indexed.
    pub due_at: Option<Timestamp>,
    /// Whose it is; indexed with `id` descending.
    pub owner: Option<String>,
    /// The state and the remembered commands, as JSON text.
    pub body: String,
}

/// A row that can't be read although its store answers: a key is missing, or somebody changed it.
#[derive(Debug)]
pub struct Unreadable {
    /// The document's identifier.
    pub id: String,
    /// When the entity must be looked at again, where that is known.
    pub due_at: Option<Timestamp>,
    /// Why; names the row, and nothing of what it holds.
    pub error: StoreError,
}

/// A document, or why this one can't be read.
pub type Row = Result<Document, Unreadable>;

/// One row of a batch.
#[derive(Clone, Debug)]
pub struct DocumentWrite {
    /// The document as it shall stand; its version lies above `expected`, by one for every command in the write.
    pub document: Document,
    /// The version that this write replaces; 0 where no row may exist yet.
    pub expected: u64,
    /// What goes to the outbox in the same transaction, in order, each with the version that emitted it.
    pub events: Vec<(u64, Event)>,
}

/// What became of one row of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is durable.
    Applied,
    /// Another version stands there; nothing of this row was written, its events neither.
    Conflict,
}

/// An event in the outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxEvent {
    /// Grows with every event of the store; the order of delivery within an entity.
    pub sequence: i64,
    /// Consumers recognise a repetition by it: unique, the same at every delivery.
    pub id: String,
    /// The entity that emitted it.
    pub entity: String,
    /// The entity's shard.
    pub shard: u16,
    /// The entity's version after the change.
    pub version: u64,
    /// When it was written.
    pub at: Timestamp,
    /// How often its delivery failed so far.
    pub attempts: u32,
    /// What happened.
    pub event: Event,
}

/// An event that could not be delivered, with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The event.
    pub event: OutboxEvent,
    /// Why it was given up.
    pub reason: String,
}

/// How much stands in an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxDepth {
    /// Not yet delivered.
    pub pending: u64,
    /// Given up.
    pub dead: u64,
    /// When the oldest pending one was written.
    pub oldest: Option<Timestamp>,
}

/// Where a row stands among others, whether it can be read or not.
pub fn row_id(row: &Row) -> &str {
    match row {
        Ok(document) => &document.id,
        Err(unreadable) => &unreadable.id,
    }
}

/// The port. Batches are at most [`BATCH_LIMIT`] rows; ids within a batch are unique and sorted by the adapter.
#[async_trait]
pub trait DocumentStore: Send + Sync + 'static {
    /// The store's name, as in configuration and metrics: `carts`, `orders`, `inventory`, `payments`.
    fn name(&self) -> &'static str;

    /// What it runs on, as in `sqlite`.
    fn technology(&self) -> &'static str;

    /// Whether it answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// One document.
    async fn load(&self, id: &str) -> Result<Option<Document>, StoreError>;

    /// Several documents, in no particular order; unknown ids are left out.
    async fn load_many(&self, ids: &[String]) -> Result<Vec<Document>, StoreError>;

    /// [`DocumentStore::load_many`] for those who go on with the others where one of them can't be read.
    ///
    /// # Errors
    /// Where the store does not answer; what is wrong with a row stands in its place.
    async fn load_each(&self, ids: &[String]) -> Result<Vec<Row>, StoreError> {
        match self.load_many(ids).await {
            Ok(documents) => return Ok(documents.into_iter().map(Ok).collect()),
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => {}
        }
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            match self.load(id).await {
                Ok(document) => rows.extend(document.map(Ok)),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => rows.push(Err(Unreadable {
                    id: id.clone(),
                    due_at: None,
                    error,
                })),
            }
        }
        Ok(rows)
    }

    /// Only the version of a document; 0 where there is none.
    async fn version(&self, id: &str) -> Result<u64, StoreError>;

    /// Writes a batch in one transaction: each row on its own condition, one outcome a row in the order of `batch`.
    ///
    /// `mark` names this batch; an adapter stores it with each row that it applies.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] when the answer was lost: then [`DocumentStore::applied`] tells.
    async fn write(&self, mark: &str, batch: &[DocumentWrite]) -> Result<Vec<WriteOutcome>, StoreError>;

    /// After an unknown outcome: whether the batch `mark` is in the store, for each of `ids` (true where the row's
    /// latest write carries the mark).
    async fn applied(&self, mark: &str, ids: &[String]) -> Result<Vec<bool>, StoreError>;

    /// Ids of documents of these shards that are due at or before `until`, the most overdue first.
    async fn due(&self, shards: &[u16], until: Timestamp, limit: usize) -> Result<Vec<String>, StoreError>;

    /// Documents of one owner, ids descending, below `before` when given.
    async fn by_owner(
        &self,
        owner: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError>;

    /// [`DocumentStore::by_owner`] for those who go on with the others where one of them can't be read.
    ///
    /// # Errors
    /// As of [`DocumentStore::load_each`].
    async fn each_by_owner(
        &self,
        owner: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let documents = self.by_owner(owner, before, limit).await?;
        Ok(documents.into_iter().map(Ok).collect())
    }

    /// All documents, ids ascending, above `after` when given: for the auditor.
    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Document>, StoreError>;

    /// [`DocumentStore::scan`] for those who go on with the others where one of them can't be read.
    ///
    /// # Errors
    /// As of [`DocumentStore::load_each`].
    async fn scan_each(&self, after: Option<&str>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let documents = self.scan(after, limit).await?;
        Ok(documents.into_iter().map(Ok).collect())
    }

    /// Undelivered events of these shards in order, at most `limit`.
    async fn undelivered(&self, shards: &[u16], limit: usize) -> Result<Vec<OutboxEvent>, StoreError>;

    /// Marks events as delivered. They stay as the entity's ledger.
    async fn delivered(&self, sequences: &[i64], at: Timestamp) -> Result<(), StoreError>;

    /// Counts a failed delivery; with `dead`, moves the event to the dead letters for this reason.
    async fn undeliverable(&self, sequence: i64, reason: &str, dead: bool) -> Result<(), StoreError>;

    /// How much stands in the outbox.
    async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError>;

    /// Pending events across all shards, oldest first: for the operator.
    async fn pending(&self, limit: usize) -> Result<Vec<OutboxEvent>, StoreError>;

    /// The dead letters, newest first.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError>;

    /// Puts a dead letter back into the outbox. False where there is none with this event id.
    async fn replay(&self, event_id: &str) -> Result<bool, StoreError>;

    /// The ledger: all events of one entity, oldest first, above `after_version` when given.
    async fn ledger(
        &self,
        id: &str,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<OutboxEvent>, StoreError>;
}

/// Most rows in one batch.
pub const BATCH_LIMIT: usize = crate::config::BATCH_ROWS_LIMIT;
