//! The row port that carts, orders, inventory, payments and the sandbox share: versioned documents. The [`outbox`] beside
//! it keeps the events of the stores that emit any.
//!
//! Every write names the version that it replaces (compare-and-set), so that no second activation of an entity can
//! lose an update whatever the cluster believes.
//!
//! An adapter implements [`DocumentStore`], and [`Outbox`] where its rows emit events; it passes the contract suite in
//! `contract.rs`, and is named in [`open`](mod@super::open).

mod batch;
#[cfg(test)]
pub mod contract;
#[cfg(test)]
pub mod faulty;
#[cfg(feature = "mongodb")]
pub mod mongodb;
#[cfg(feature = "mongodb")]
mod mongodb_lost;
#[cfg(feature = "mongodb")]
pub mod mongodb_transfer;
#[cfg(feature = "mssql")]
pub mod mssql;
#[cfg(feature = "mssql")]
mod mssql_outbox;
#[cfg(feature = "mssql")]
mod mssql_sql;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(feature = "mysql")]
mod mysql_outbox;
#[cfg(feature = "mysql")]
mod mysql_sql;
pub mod outbox;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "postgres")]
mod postgres_outbox;
#[cfg(feature = "postgres")]
mod postgres_sql;
mod rows;
pub mod sealed;
mod sql;
pub mod sqlite;
mod sqlite_outbox;

use std::ops::RangeInclusive;

use async_trait::async_trait;

pub use self::outbox::{Delivery, LedgerEvent, Outbox};
use super::StoreError;
use souk_domain::{NewEvent, Timestamp};

/// A document as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The entity's identifier; the primary key.
    pub id: String,
    /// The shard that the identifier hashes to; indexed, so that an owner finds what is unfinished.
    pub shard: u16,
    /// Counts the entity's changes without a gap (invariant 8).
    pub version: u64,
    /// The number of the view under which an entity's owner wrote it last (invariant 13); 0 where no owner has, as with
    /// payments and the rows of versions that knew no fence.
    pub fence: u64,
    /// When the entity must be looked at again; indexed.
    pub due_at: Option<Timestamp>,
    /// Whose it is; indexed.
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
    /// What goes to the outbox in the same transaction, in order.
    pub events: Vec<NewEvent>,
}

/// What became of one row of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is durable.
    Applied,
    /// Another version stands there; nothing of this row was written, its events neither.
    Conflict,
    /// The store can't hold this row, now or later, for this reason; nothing of it was written.
    Refused(String),
}

/// The identifier of a row, whether it can be read or not.
pub fn row_id(row: &Row) -> &str {
    match row {
        Ok(document) => &document.id,
        Err(unreadable) => &unreadable.id,
    }
}

/// Rows under compare-and-set.
///
/// What every adapter promises beyond its methods:
/// - Identifiers are compared and sorted byte by byte: `A-1` and `a-1` are two rows.
/// - A row is written in one transaction with its events. A batch may be applied in part.
/// - Reads come from the primary: they see everything that was acknowledged before they began.
/// - Every call ends within a time limit of the adapter's, in an error if need be. Deadlocks and serialisation failures
///   are retried inside.
/// - A list shows a row that can't be read in its place, as [`Unreadable`]; it fails only where the store does not answer.
#[async_trait]
pub trait DocumentStore: Send + Sync + 'static {
    /// The store's name, as in configuration and metrics: `carts`, `orders`, `inventory`, `payments`, `sandbox`.
    fn name(&self) -> &'static str;

    /// What it runs on, as in `sqlite`.
    fn technology(&self) -> &'static str;

    /// How many batches one writer may have in flight; more would gain nothing.
    fn batches_in_flight(&self) -> usize {
        1
    }

    /// Whether it answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Several rows, in no particular order; unknown ids are left out.
    async fn load_many(&self, ids: &[String]) -> Result<Vec<Row>, StoreError>;

    /// One document.
    ///
    /// # Errors
    /// Where the store does not answer, or the row can't be read.
    async fn load(&self, id: &str) -> Result<Option<Document>, StoreError> {
        let row = self.load_many(&[id.to_owned()]).await?.pop();
        row.transpose().map_err(|unreadable| unreadable.error)
    }

    /// Only the versions of rows, in the order of `ids`; 0 where there is none.
    async fn versions(&self, ids: &[String]) -> Result<Vec<u64>, StoreError>;

    /// The version of one row; 0 where there is none.
    ///
    /// # Errors
    /// As of [`DocumentStore::versions`].
    async fn version(&self, id: &str) -> Result<u64, StoreError> {
        let versions = self.versions(&[id.to_owned()]).await?;
        Ok(versions.first().copied().unwrap_or(0))
    }

    /// Writes a batch of at most [`BATCH_LIMIT`] rows: each on its own condition, one outcome a row in the order of
    /// `batch`. A row that is refused does not fail the others; of two rows with one id the second is refused, and so is a
    /// row whose version is not above the expected one, or that has events where the store keeps none.
    ///
    /// `mark` names this batch; an adapter stores it with each row that it applies.
    ///
    /// # Errors
    /// [`StoreError::OutcomeUnknown`] when the answer was lost: then [`DocumentStore::applied`] tells.
    async fn write(&self, mark: &str, batch: &[DocumentWrite]) -> Result<Vec<WriteOutcome>, StoreError>;

    /// After an unknown outcome: whether the batch `mark` is in the store, for each of `ids` (true where the row's
    /// latest write carries the mark). By the time of the answer the lost write has been applied or never will be.
    async fn applied(&self, mark: &str, ids: &[String]) -> Result<Vec<bool>, StoreError>;

    /// Ids of documents of these shards that are due at one of these times, the most overdue first.
    async fn due(
        &self,
        shards: &[u16],
        due: RangeInclusive<Timestamp>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError>;

    /// Documents of one owner, the latest created first; those created before the document `before` when given. Whoever copies a
    /// store writes its rows in the order of their creation.
    async fn by_owner(&self, owner: &str, before: Option<&str>, limit: usize)
    -> Result<Vec<Row>, StoreError>;

    /// All documents, ids ascending, above `after` when given.
    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Row>, StoreError>;
}

/// Most rows in one batch.
pub const BATCH_LIMIT: usize = crate::config::BATCH_ROWS_LIMIT;
