//! The sweeper: finds due orders and expired reservations in the shards of this node, and removes expired records.
//!
//! An unfinished order gets a worker (invariant 12), so that a node that takes over a shard takes over its orders. An
//! expired reservation is released only if its order has finished (invariant 11), and extended otherwise, so that no
//! order loses its stock while its payment is about to succeed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::actors::Regions;
use crate::actors::outcome::{Ask, AskError};
use crate::clock::Clock;
use crate::sagas::checkout::StartCheckout;
use crate::stores::documents::DocumentStore;
use crate::stores::idempotency::IdempotencyStore;
use crate::stores::{StoreError, Stores};
use souk_cluster::ownership::{Owner, Routing};
use souk_cluster::placement::shard_of;
use souk_domain::order::{OrderCommand, PlacedOrder};
use souk_domain::stock::{Stock, StockCommand, StockReply};
use souk_domain::{Aggregate, Order, OrderId, Timestamp};

/// Entities per sweep.
const ROUND_LIMIT: usize = 1_000;
/// Sweeps after which the next one starts with the oldest again, however many are due.
const ROUNDS: usize = 20;
/// Entities asked concurrently.
const CONCURRENCY: usize = 32;
/// Time limit of one command.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// The sweeper's parts and settings.
pub struct SweeperContext {
    /// Orders and stock.
    pub regions: Regions,
    /// The store of orders.
    pub orders: Arc<dyn DocumentStore>,
    /// The store of stock.
    pub inventory: Arc<dyn DocumentStore>,
    /// Starts the workers of orders.
    pub checkouts: StartCheckout,
    /// The shards of this node.
    pub routing: Arc<Routing>,
    /// The time.
    pub clock: Clock,
    /// Time between sweeps.
    pub interval: Duration,
    /// By how long a reservation is extended.
    pub reservation: Duration,
    /// The replies kept for repeated requests.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// How long a reply is kept.
    pub keep_replies: Duration,
    /// Whose sessions, codes, counters and revocations expire.
    pub stores: Stores,
    /// How long revocations and ended sessions are kept.
    pub keep_revocations: Duration,
}

/// Messages of the sweeper.
pub enum SweeperMessage {
    /// Sweep now: the interval has passed, or the node serves other shards than before.
    Sweep,
}

impl ractor::Message for SweeperMessage {}

/// The actor.
pub struct Sweeper;

impl Actor for Sweeper {
    type Msg = SweeperMessage;
    type State = SweeperState;
    type Arguments = Arc<SweeperContext>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        context: Arc<SweeperContext>,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.send_interval(context.interval, || SweeperMessage::Sweep);
        Ok(SweeperState {
            context,
            orders: Cursor::default(),
            reservations: Cursor::default(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        SweeperMessage::Sweep: SweeperMessage,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let context = &state.context;
        context.sweep_replies().await;
        context.sweep_expired().await;
        let shards = context.routing.served();
        if shards.is_empty() {
            return Ok(());
        }
        context.sweep_orders(&mut state.orders, &shards).await;
        context.sweep_reservations(&mut state.reservations, &shards).await;
        Ok(())
    }
}

/// How many sweeps of a store have passed since it was swept from the oldest on. If more is due than one sweep takes,
/// the next one continues after it: an order that can't be finished must not hide those that are due after it.
#[derive(Debug, Default)]
struct Cursor(usize);

impl Cursor {
    /// The next of all that are due, oldest first. `due` returns at most the given number.
    async fn next<F>(&mut self, due: impl FnOnce(usize) -> F) -> Result<Vec<String>, StoreError>
    where
        F: Future<Output = Result<Vec<String>, StoreError>>,
    {
        let round = self.0;
        let wanted = (round + 1) * ROUND_LIMIT;
        let mut ids = due(wanted).await?;
        let there_are_more = ids.len() >= wanted && round + 1 < ROUNDS;
        self.0 = if there_are_more { round + 1 } else { 0 };
        Ok(ids.split_off((round * ROUND_LIMIT).min(ids.len())))
    }
}

/// The sweeper's state.
pub struct SweeperState {
    context: Arc<SweeperContext>,
    orders: Cursor,
    reservations: Cursor,
}

impl SweeperContext {
    async fn due(&self, cursor: &mut Cursor, store: &Arc<dyn DocumentStore>, shards: &[u16]) -> Vec<String> {
        let due = cursor.next(|limit| store.due(shards, (self.clock)(), limit));
        due.await.unwrap_or_else(|error| {
            tracing::warn!(store = store.name(), %error, "due entities could not be read; the next sweep tries again");
            Vec::new()
        })
    }

    /// Removes kept replies that have expired.
    async fn sweep_replies(&self) {
        let before = (self.clock)().minus(self.keep_replies);
        if let Err(error) = self.idempotency.sweep(before, ROUND_LIMIT).await {
            tracing::warn!(%error, "expired replies could not be removed; the next sweep tries again");
        }
    }

    /// Removes expired sessions, codes, counters and revocations.
    async fn sweep_expired(&self) {
        let swept = self
            .stores
            .sweep_expired((self.clock)(), self.keep_revocations, ROUND_LIMIT)
            .await;
        if let Err(error) = swept {
            tracing::warn!(%error, "expired sessions could not be removed; the next sweep tries again");
        }
    }

    fn ask<A: Aggregate>(command: A::Command) -> Ask<A> {
        Ask::new(command, Instant::now() + ASK_LIMIT, Arc::from("sweep")).in_background()
    }

    async fn sweep_orders(&self, cursor: &mut Cursor, shards: &[u16]) {
        let due = self.due(cursor, &self.orders, shards).await;
        stream::iter(due)
            .for_each_concurrent(CONCURRENCY, |id| async move {
                let ask = Self::ask::<Order>(OrderCommand::Get);
                match self.regions.orders.ask(&id, ask).await {
                    // Live orders too: one may have waited for its shopper, found no free worker, or lost its worker.
                    // An order that has moved away is another node's.
                    Ok(answer) if self.routing.owner(shard_of(&id)) == Owner::Local => {
                        if let Some(order) = &answer.view {
                            self.checkouts.ensure(order);
                        }
                    }
                    Ok(_) => {}
                    Err(error) => tracing::debug!(order = id, %error, "a due order did not reply"),
                }
            })
            .await;
    }

    async fn sweep_reservations(&self, cursor: &mut Cursor, shards: &[u16]) {
        let due = self.due(cursor, &self.inventory, shards).await;
        stream::iter(due)
            .for_each_concurrent(CONCURRENCY, |sku| async move {
                if let Err(error) = self.sweep_sku(&sku).await {
                    tracing::debug!(sku, %error, "expired reservations are left for the next sweep");
                }
            })
            .await;
    }

    async fn sweep_sku(&self, sku: &str) -> Result<(), AskError> {
        let answer = self
            .regions
            .skus
            .ask(sku, Self::ask::<Stock>(StockCommand::Overdue))
            .await?;
        let StockReply::Overdue(orders) = answer.reply else {
            return Ok(());
        };
        for order in orders {
            let ask = Self::ask::<Order>(OrderCommand::Get);
            let view = self.regions.orders.ask(order.as_str(), ask).await?.view;
            let command = judge(order, view.as_ref(), (self.clock)().plus(self.reservation));
            metrics::counter!("souk_reservations_swept_total").increment(1);
            self.regions.skus.ask(sku, Self::ask::<Stock>(command)).await?;
        }
        Ok(())
    }
}

/// What becomes of an expired reservation: an unfinished order keeps it, a finished or unknown one loses it.
pub(super) fn judge(id: OrderId, order: Option<&PlacedOrder>, expires_at: Timestamp) -> StockCommand {
    match order {
        Some(order) if !order.progress.phase.is_finished() => StockCommand::Extend {
            order: id,
            expires_at,
        },
        _ => StockCommand::Release { order: id },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn unfinished_entities_do_not_hide_later_ones() {
        let mut cursor = Cursor::default();
        let all: Vec<String> = (0..2 * ROUND_LIMIT + 5)
            .map(|number| number.to_string())
            .collect();
        let mut sweep = async || {
            let due = |limit: usize| std::future::ready(Ok(all[..limit.min(all.len())].to_vec()));
            cursor.next(due).await.unwrap()
        };
        assert_eq!(sweep().await, all[..ROUND_LIMIT]);
        assert_eq!(sweep().await, all[ROUND_LIMIT..2 * ROUND_LIMIT]);
        assert_eq!(sweep().await, all[2 * ROUND_LIMIT..]);
        assert_eq!(sweep().await, all[..ROUND_LIMIT], "starts again");
    }
}
