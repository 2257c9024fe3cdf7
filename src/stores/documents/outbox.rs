//! The port of events: the ledger of what entities emitted, and the outbox of what waits for delivery.
//!
//! An event is written to both in the transaction of its row, and leaves the ledger only with an entity that is pruned. The outbox has one entry per event and consumer, deleted on
//! delivery; each consumer has its own attempts and dead letters, so that none holds up another (invariant 10).

use async_trait::async_trait;

use crate::stores::StoreError;
use souk_domain::{EncodedEvent, EventId, Timestamp};

/// The projection of stock badges.
pub const STOCK_BADGES: &str = "stock-badges";
/// The projection of purchase histories.
pub const PURCHASES: &str = "purchases";

/// The consumers of the orders' events. A consumer gets what is emitted from the time it is listed.
pub const ORDER_CONSUMERS: &[&str] = &[PURCHASES];
/// The consumers of the inventory's events.
pub const INVENTORY_CONSUMERS: &[&str] = &[STOCK_BADGES];

/// An event as the ledger has it.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerEvent {
    /// Grows with every event of an entity; what is delivered first.
    pub sequence: i64,
    /// Its identity.
    pub id: EventId,
    /// The entity's shard.
    pub shard: u16,
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    pub event: EncodedEvent,
}

/// An event on its way to one consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The event.
    pub event: LedgerEvent,
    /// How often its delivery failed so far.
    pub attempts: u32,
}

/// An event that a consumer could not take, with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The consumer.
    pub consumer: String,
    /// The event, with the attempts that failed.
    pub delivery: Delivery,
    /// Why the last attempt failed.
    pub reason: String,
}

/// A delivery that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedDelivery {
    /// The event's sequence.
    pub sequence: i64,
    /// Why.
    pub reason: String,
    /// When it is tried again; `None` where it becomes a dead letter.
    pub retry_at: Option<Timestamp>,
}

/// How much waits for one consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxDepth {
    /// The consumer.
    pub consumer: String,
    /// Not yet delivered.
    pub pending: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest pending event was written.
    pub oldest: Option<Timestamp>,
}

/// Events of one store. The promises of [`DocumentStore`](super::DocumentStore) hold here too.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// The name of the store whose rows emit the events.
    fn name(&self) -> &'static str;

    /// Who gets its events.
    fn consumers(&self) -> &'static [&'static str];

    /// Events of these shards that `consumer` can be offered at `now`, in order, at most `limit`: of an entity whose
    /// delivery failed, none before the time of the retry.
    async fn deliverable(
        &self,
        consumer: &str,
        shards: &[u16],
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError>;

    /// Deletes what was delivered from the consumer's outbox.
    async fn delivered(&self, consumer: &str, sequences: &[i64]) -> Result<(), StoreError>;

    /// Counts failed deliveries, and moves those that are not tried again to the dead letters. What no longer waits for
    /// delivery stays as it is.
    async fn failed(&self, consumer: &str, failures: &[FailedDelivery]) -> Result<(), StoreError>;

    /// How much waits for each consumer.
    async fn depth(&self) -> Result<Vec<OutboxDepth>, StoreError>;

    /// What waits for a consumer, across all shards, oldest first.
    async fn pending(&self, consumer: &str, limit: usize) -> Result<Vec<Delivery>, StoreError>;

    /// The dead letters of all consumers, newest first.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError>;

    /// Puts the dead letters of this event back into the outbox, or that of one consumer; whose they were. It is delivered
    /// after what was delivered meanwhile: consumers go by its version.
    async fn replay(&self, event: &EventId, consumer: Option<&str>) -> Result<Vec<String>, StoreError>;

    /// All events of one entity, delivered or not, oldest first, above `after_version`.
    async fn ledger(
        &self,
        entity: &str,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<LedgerEvent>, StoreError>;

    /// Removes the events of an entity that is pruned from the ledger, but for those that wait for a consumer or are among
    /// its dead letters; whether none is left. May be repeated.
    async fn forget(&self, entity: &str) -> Result<bool, StoreError>;
}
