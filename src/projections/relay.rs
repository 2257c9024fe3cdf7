//! The relay: one delivery task per store and consumer takes the events of this node's shards to the consumer, in order
//! per entity, at least once (invariant 10). What can't be delivered becomes one of the consumer's dead letters.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::panics;
use crate::stores::StoreError;
use crate::stores::documents::outbox::FailedDelivery;
use crate::stores::documents::{DocumentStore, LedgerEvent, Outbox, Row, row_id};
use souk_cluster::ownership::Routing;
use souk_error_chain::Chain;
use souk_retry::Backoff;

/// Most events of one round.
const ROUND_LIMIT: usize = 500;
/// The pause after a write of events, in which further events gather.
const GATHERING: Duration = Duration::from_millis(500);
/// How often the outbox is read although this node wrote nothing: for events that others wrote, and for retries.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long a consumer has for one round.
const CONSUMER_LIMIT: Duration = Duration::from_secs(30);
/// Pauses before a failed delivery is tried again, and while a consumer is unavailable.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The consumer has taken it.
    Delivered,
    /// The consumer can't take this event: why.
    Failed(String),
}

/// A consumer can take no event now, which is no event's fault: why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub String);

/// A projection, or whatever else follows from events. Consumers recognise repetitions by the event's id or by the
/// entity's version.
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// Its name in the outbox, in logs and dead letters.
    fn name(&self) -> &'static str;

    /// Takes events in order; one receipt for each. After a failure, what follows of the same entity is offered again
    /// whatever its receipt says.
    async fn consume(&self, events: &[LedgerEvent]) -> Result<Vec<Receipt>, Unavailable>;
}

/// Errors that belong to single entities.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<String, String>);

impl Failures {
    /// Notes what befell one entity.
    ///
    /// # Errors
    /// Where the store does not answer: that concerns all of them.
    pub(super) fn note(&mut self, entity: &str, error: &StoreError) -> Result<(), Unavailable> {
        if error.is_transient() {
            return Err(unavailable(error));
        }
        self.0.insert(entity.to_owned(), Chain(error).to_string());
        Ok(())
    }

    /// The receipts of these events: failed where their entity has failed.
    pub(super) fn receipts(&self, events: &[LedgerEvent]) -> Vec<Receipt> {
        let receipt = |event: &LedgerEvent| match self.0.get(&event.id.entity) {
            None => Receipt::Delivered,
            Some(reason) => Receipt::Failed(reason.clone()),
        };
        events.iter().map(receipt).collect()
    }
}

fn unavailable(error: &StoreError) -> Unavailable {
    Unavailable(Chain(error).to_string())
}

/// The rows of the entities that emitted these events, with the entities' ids.
pub(super) async fn rows(
    store: &dyn DocumentStore,
    events: &[LedgerEvent],
) -> Result<Vec<(String, Row)>, Unavailable> {
    let entities: HashSet<&str> = events.iter().map(|event| event.id.entity.as_str()).collect();
    let ids: Vec<String> = entities.into_iter().map(str::to_owned).collect();
    let rows = store.load_many(&ids).await.map_err(|error| unavailable(&error))?;
    Ok(rows
        .into_iter()
        .map(|row| (row_id(&row).to_owned(), row))
        .collect())
}

/// The delivery of one store's events to one consumer.
pub struct DeliveryTask {
    /// The events.
    pub outbox: Arc<dyn Outbox>,
    /// Who gets them.
    pub consumer: Arc<dyn Consumer>,
    /// Which shards are this node's.
    pub routing: Arc<Routing>,
    /// Changes when a batch with events was written.
    pub written: watch::Sender<()>,
    /// The time.
    pub clock: Clock,
    /// How often an event is offered before it becomes a dead letter.
    pub attempts: u32,
}

/// How a round ended.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// There may be more to deliver.
    Full,
    /// All that could be delivered was offered.
    Done,
    /// The store or the consumer did not answer.
    Unavailable,
}

impl DeliveryTask {
    /// Delivers for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let mut written = self.written.subscribe();
        let mut pauses = RETRY;
        loop {
            written.borrow_and_update();
            match self.round().await {
                Round::Full => pauses = RETRY,
                Round::Done => {
                    pauses = RETRY;
                    tokio::select! {
                        // The sender is a field of this task.
                        _ = written.changed() => tokio::time::sleep(GATHERING).await,
                        () = tokio::time::sleep(INTERVAL) => {}
                    }
                }
                Round::Unavailable => tokio::time::sleep(pauses.next_pause()).await,
            }
        }
    }

    async fn round(&self) -> Round {
        let shards = self.routing.served();
        if shards.is_empty() {
            return Round::Done;
        }
        let consumer = self.consumer.name();
        let deliveries = self
            .outbox
            .deliverable(consumer, &shards, (self.clock)(), ROUND_LIMIT)
            .await;
        let (events, attempts): (Vec<LedgerEvent>, Vec<u32>) = match deliveries {
            Ok(deliveries) => deliveries
                .into_iter()
                .map(|delivery| (delivery.event, delivery.attempts))
                .unzip(),
            Err(error) => return self.store_failed("the outbox could not be read", &error),
        };
        if events.is_empty() {
            return Round::Done;
        }
        let receipts = match self.offer(&events).await {
            Ok(receipts) => receipts,
            Err(Unavailable(reason)) => {
                tracing::warn!(
                    store = self.outbox.name(),
                    consumer,
                    reason,
                    "a consumer is unavailable; its events wait"
                );
                return Round::Unavailable;
            }
        };
        let (mut delivered, mut failed) = (Vec::new(), Vec::new());
        let mut blocked = HashSet::new();
        for ((event, attempts), receipt) in events.iter().zip(attempts).zip(receipts) {
            // In order per entity: what follows a failed event of the same entity waits for it.
            if blocked.contains(event.id.entity.as_str()) {
                continue;
            }
            match receipt {
                Receipt::Delivered => delivered.push(event.sequence),
                Receipt::Failed(reason) => {
                    blocked.insert(event.id.entity.as_str());
                    failed.push(self.failure(event, attempts, reason));
                }
            }
        }
        if !delivered.is_empty()
            && let Err(error) = self.outbox.delivered(consumer, &delivered).await
        {
            return self.store_failed("deliveries could not be recorded, and are repeated", &error);
        }
        if !failed.is_empty()
            && let Err(error) = self.outbox.failed(consumer, &failed).await
        {
            return self.store_failed("failed deliveries could not be recorded", &error);
        }
        if events.len() == ROUND_LIMIT {
            Round::Full
        } else {
            Round::Done
        }
    }

    /// Offers events to the consumer; a panic or a silence of its own makes it unavailable.
    async fn offer(&self, events: &[LedgerEvent]) -> Result<Vec<Receipt>, Unavailable> {
        let offered = AssertUnwindSafe(self.consumer.consume(events)).catch_unwind();
        let receipts = tokio::time::timeout(CONSUMER_LIMIT, offered)
            .await
            .map_err(|_| Unavailable(format!("no answer within {} s", CONSUMER_LIMIT.as_secs())))?
            .map_err(|panic| Unavailable(format!("it panicked: {}", panics::message(&*panic))))??;
        if receipts.len() == events.len() {
            Ok(receipts)
        } else {
            let (given, wanted) = (receipts.len(), events.len());
            Err(Unavailable(format!(
                "it gave {given} receipts for {wanted} events"
            )))
        }
    }

    fn failure(&self, event: &LedgerEvent, attempts: u32, reason: String) -> FailedDelivery {
        let (store, consumer) = (self.outbox.name(), self.consumer.name());
        metrics::counter!("souk_deliveries_failed_total", "store" => store, "consumer" => consumer)
            .increment(1);
        let is_last = attempts + 1 >= self.attempts;
        tracing::warn!(store, consumer, event = %event.id, reason, is_last, "an event could not be delivered");
        let retry_at = || (self.clock)().plus(RETRY.after(attempts).next_pause());
        FailedDelivery {
            sequence: event.sequence,
            retry_at: (!is_last).then(retry_at),
            reason,
        }
    }

    fn store_failed(&self, what: &'static str, error: &StoreError) -> Round {
        let (store, consumer) = (self.outbox.name(), self.consumer.name());
        tracing::warn!(store, consumer, error = %Chain(error), "{what}");
        Round::Unavailable
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
