//! The sweeper: finds what is due in the shards of this node and sees to it that it goes on.
//!
//! Unfinished orders are asked, and those that have something to do get a worker (invariant 12): so a node that takes
//! over a shard takes over its orders. Reservations past their time are released only after their order was asked
//! (invariant 11): a pending order extends its own, so that none is taken away under a payment that is about to succeed.

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
use souk_domain::order::OrderCommand;
use souk_domain::stock::{Stock, StockCommand, StockReply};
use souk_domain::{Aggregate, Order, OrderId};

/// Entities looked after in one round.
const ROUND_LIMIT: usize = 1_000;
/// After so many rounds a sweep begins with the oldest again, however many are due.
const ROUNDS: usize = 20;
/// Entities asked at once.
const CONCURRENCY: usize = 32;
/// How long one of them has.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// What the sweeper works with.
pub struct SweeperContext {
    /// The way to orders and stock.
    pub regions: Regions,
    /// Where due orders are found.
    pub orders: Arc<dyn DocumentStore>,
    /// Where due reservations are found.
    pub inventory: Arc<dyn DocumentStore>,
    /// What drives orders on.
    pub checkouts: StartCheckout,
    /// Which shards are this node's.
    pub routing: Arc<Routing>,
    /// The time.
    pub clock: Clock,
    /// How often.
    pub interval: Duration,
    /// How long a reservation is extended.
    pub reservation: Duration,
    /// Where replies are kept for repeated requests.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// How long they are kept.
    pub keep_replies: Duration,
    /// Whose sessions, codes, counters and revocations expire.
    pub stores: Stores,
    /// How long revocations and ended sessions are kept.
    pub keep_revocations: Duration,
}

/// What the sweeper is told.
pub enum SweeperMessage {
    /// Look now: by the clock, or because the node serves other shards than before.
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
            orders: Turn::default(),
            reservations: Turn::default(),
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

/// How far the sweeps of a store have come: where more is due than one round takes, the next sweep goes on behind it. What
/// can't be brought to an end must not hide what is due after it.
#[derive(Debug, Default)]
struct Turn(usize);

impl Turn {
    /// Those of all that are due, oldest first, whose turn it is. `due` gives at most as many as it is asked for.
    async fn take<F>(&mut self, due: impl FnOnce(usize) -> F) -> Result<Vec<String>, StoreError>
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

/// What the sweeper keeps.
pub struct SweeperState {
    context: Arc<SweeperContext>,
    orders: Turn,
    reservations: Turn,
}

impl SweeperContext {
    async fn due(&self, turn: &mut Turn, store: &Arc<dyn DocumentStore>, shards: &[u16]) -> Vec<String> {
        let due = turn.take(|limit| store.due(shards, (self.clock)(), limit));
        due.await.unwrap_or_else(|error| {
            tracing::warn!(store = store.name(), %error, "what is due could not be read; the next sweep tries again");
            Vec::new()
        })
    }

    /// Forgets replies that are too old to be given again.
    async fn sweep_replies(&self) {
        let before = (self.clock)().minus(self.keep_replies);
        if let Err(error) = self.idempotency.sweep(before, ROUND_LIMIT).await {
            tracing::warn!(%error, "old replies could not be removed; the next sweep tries again");
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
        Ask::new(command, Instant::now() + ASK_LIMIT, Arc::from("sweep"))
    }

    async fn sweep_orders(&self, turn: &mut Turn, shards: &[u16]) {
        let due = self.due(turn, &self.orders, shards).await;
        stream::iter(due)
            .for_each_concurrent(CONCURRENCY, |id| async move {
                let ask = Self::ask::<Order>(OrderCommand::Get);
                match self.regions.orders.ask(&id, ask).await {
                    // Not only those that this activates: one that is live may have waited for its shopper until now, found
                    // no place among the workers, or lost the one that it had. Those that moved away are another node's.
                    Ok(answer) if self.routing.owner(shard_of(&id)) == Owner::Local => {
                        if let Some(order) = &answer.view {
                            self.checkouts.ensure(order);
                        }
                    }
                    Ok(_) => {}
                    Err(error) => tracing::debug!(order = id, %error, "a due order did not answer"),
                }
            })
            .await;
    }

    async fn sweep_reservations(&self, turn: &mut Turn, shards: &[u16]) {
        let due = self.due(turn, &self.inventory, shards).await;
        stream::iter(due)
            .for_each_concurrent(CONCURRENCY, |sku| async move {
                if let Err(error) = self.sweep_sku(&sku).await {
                    tracing::debug!(sku, %error, "overdue reservations stay for the next sweep");
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
            let command = self.judge(&order).await?;
            metrics::counter!("souk_reservations_swept_total").increment(1);
            self.regions.skus.ask(sku, Self::ask::<Stock>(command)).await?;
        }
        Ok(())
    }

    /// An order that is under way keeps what it holds; an ended or unknown one lets it go.
    async fn judge(&self, order: &OrderId) -> Result<StockCommand, AskError> {
        let answer = self
            .regions
            .orders
            .ask(order.as_str(), Self::ask::<Order>(OrderCommand::Get))
            .await?;
        let order = order.clone();
        Ok(match answer.view {
            Some(view) if !view.finished => StockCommand::Extend {
                order,
                expires_at: (self.clock)().plus(self.reservation),
            },
            _ => StockCommand::Release { order },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_never_ends_does_not_hide_what_is_due_after_it() {
        let mut turn = Turn::default();
        let all: Vec<String> = (0..2 * ROUND_LIMIT + 5)
            .map(|number| number.to_string())
            .collect();
        let mut sweep = async || {
            let due = |limit: usize| std::future::ready(Ok(all[..limit.min(all.len())].to_vec()));
            turn.take(due).await.unwrap()
        };
        assert_eq!(sweep().await, all[..ROUND_LIMIT]);
        assert_eq!(sweep().await, all[ROUND_LIMIT..2 * ROUND_LIMIT]);
        assert_eq!(sweep().await, all[2 * ROUND_LIMIT..]);
        assert_eq!(sweep().await, all[..ROUND_LIMIT], "and from the beginning");
    }
}
