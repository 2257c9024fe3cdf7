//! The outbox relay: delivers the events of this node's shards to their consumers, in order per entity, at least once
//! (invariant 10), and puts what can't be delivered into the dead letters with its reason.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::stores::StoreError;
use crate::stores::documents::{DocumentStore, OutboxEvent, Row, row_id};
use souk_cluster::ownership::Routing;
use souk_error_chain::Chain;

/// Events delivered in one round.
const ROUND_LIMIT: usize = 500;
/// The pause after a round, in which further events gather.
const GATHERING: Duration = Duration::from_millis(100);
/// How often the outbox is looked at although nothing was heard: events of other nodes' time, failed deliveries.
const INTERVAL: Duration = Duration::from_secs(2);

/// Someone who wants to hear of events. Consumers recognise repetitions by the event's id or by the entity's version.
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// Its name in logs and dead letters.
    fn name(&self) -> &'static str;

    /// Takes events in order.
    async fn consume(&self, events: &[OutboxEvent]) -> Result<(), Undelivered>;
}

/// Why a consumer did not take all events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// One of them can't be taken. Those before it have been.
    Refused {
        /// The position of the first such event.
        position: usize,
        /// Why.
        reason: String,
    },
    /// A store is away: that is the fault of no event, and all of them come again.
    Away {
        /// What is known of it.
        reason: String,
    },
}

impl Undelivered {
    /// What a store's error means where it befell the event at `position`.
    pub fn by(error: &StoreError, position: usize) -> Self {
        let reason = Chain(error).to_string();
        if error.is_transient() {
            Self::Away { reason }
        } else {
            Self::Refused { position, reason }
        }
    }
}

/// The rows of the entities that these events speak of, each with the position of the entity's first event, in their order.
/// What is gone has none.
pub(super) async fn rows(
    store: &dyn DocumentStore,
    events: &[OutboxEvent],
) -> Result<Vec<(usize, Row)>, Undelivered> {
    let mut first = HashMap::new();
    let mut ids = Vec::new();
    for (position, event) in events.iter().enumerate() {
        first.entry(event.entity.as_str()).or_insert_with(|| {
            ids.push(event.entity.clone());
            position
        });
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let found = store.load_each(&ids).await;
    let mut rows: Vec<(usize, Row)> = found
        .map_err(|error| Undelivered::by(&error, 0))?
        .into_iter()
        .filter_map(|row| Some((*first.get(row_id(&row))?, row)))
        .collect();
    rows.sort_unstable_by_key(|(position, _)| *position);
    Ok(rows)
}

/// One store's outbox with its consumers.
pub struct RelayContext {
    /// The store.
    pub store: Arc<dyn DocumentStore>,
    /// Who hears of its events.
    pub consumers: Vec<Arc<dyn Consumer>>,
    /// Which shards are this node's.
    pub routing: Arc<Routing>,
    /// Rings when a batch with events was written.
    pub written: Arc<Notify>,
    /// The time.
    pub clock: Clock,
    /// How often an event is offered before it is given up.
    pub attempts: u32,
}

/// What a relay is told.
pub enum RelayMessage {
    /// Deliver what has gathered.
    Deliver,
}

impl ractor::Message for RelayMessage {}

/// The actor: one a store.
pub struct Relay;

impl Actor for Relay {
    type Msg = RelayMessage;
    type State = Arc<RelayContext>;
    type Arguments = Arc<RelayContext>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        context: Arc<RelayContext>,
    ) -> Result<Self::State, ActorProcessingErr> {
        let written = Arc::clone(&context.written);
        tokio::spawn(async move {
            // Ends with the actor.
            while myself.cast(RelayMessage::Deliver).is_ok() {
                tokio::select! {
                    () = written.notified() => tokio::time::sleep(GATHERING).await,
                    () = tokio::time::sleep(INTERVAL) => {}
                }
            }
        });
        Ok(context)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        RelayMessage::Deliver: RelayMessage,
        context: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let shards = context.routing.served();
        if !shards.is_empty() && context.deliver(&shards).await {
            // There may be more than one round's worth.
            context.written.notify_one();
        }
        Ok(())
    }
}

impl RelayContext {
    /// One round. True where there may be more.
    async fn deliver(&self, shards: &[u16]) -> bool {
        let events = match self.store.undelivered(shards, ROUND_LIMIT).await {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(store = self.store.name(), %error, "the outbox could not be read");
                return false;
            }
        };
        let full = events.len() == ROUND_LIMIT;
        let mut blocked: HashSet<String> = HashSet::new();
        let mut failed: Vec<(i64, String)> = Vec::new();
        for consumer in &self.consumers {
            let mut rest: Vec<OutboxEvent> = events
                .iter()
                .filter(|event| !blocked.contains(&event.entity))
                .cloned()
                .collect();
            while let Err(undelivered) = consumer.consume(&rest).await {
                let (position, reason) = match undelivered {
                    Undelivered::Refused { position, reason } => (position, reason),
                    Undelivered::Away { reason } => {
                        tracing::warn!(
                            store = self.store.name(),
                            consumer = consumer.name(),
                            reason,
                            "events could not be delivered; they come again"
                        );
                        blocked.extend(rest.into_iter().map(|event| event.entity));
                        break;
                    }
                };
                let Some(event) = rest.get(position) else {
                    break;
                };
                // In order per entity: what comes after it from the same entity has to wait for it.
                failed.push((event.sequence, format!("{}: {reason}", consumer.name())));
                blocked.insert(event.entity.clone());
                rest = rest.split_off(position);
                rest.retain(|event| !blocked.contains(&event.entity));
            }
        }
        let delivered: Vec<i64> = events
            .iter()
            .filter(|event| !blocked.contains(&event.entity))
            .map(|event| event.sequence)
            .collect();
        self.mark(&events, &delivered, &failed).await;
        full && !delivered.is_empty()
    }

    async fn mark(&self, events: &[OutboxEvent], delivered: &[i64], failed: &[(i64, String)]) {
        if !delivered.is_empty()
            && let Err(error) = self.store.delivered(delivered, (self.clock)()).await
        {
            tracing::warn!(store = self.store.name(), %error, "delivered events could not be marked; they come again");
        }
        for (sequence, reason) in failed {
            let attempts = events
                .iter()
                .find(|event| event.sequence == *sequence)
                .map_or(0, |event| event.attempts);
            let dead = attempts + 1 >= self.attempts;
            metrics::counter!("souk_deliveries_failed_total", "store" => self.store.name()).increment(1);
            if let Err(error) = self.store.undeliverable(*sequence, reason, dead).await {
                tracing::warn!(store = self.store.name(), %error, "a failed delivery could not be noted");
            }
        }
    }
}
