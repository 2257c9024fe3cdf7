//! The sweeper: finds due orders and expired reservations in the shards of this node, and removes expired records.
//!
//! An unfinished order gets a worker (invariant 12), so that a node that takes over a shard takes over its orders. An
//! expired reservation is released only if its order has finished (invariant 11), and extended otherwise, so that no
//! order loses its stock while its payment is about to succeed. A failed order that has been kept for long enough is pruned:
//! it costs its buyer nothing, and must not stay for ever.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::AbortHandle;

use crate::actors::Regions;
use crate::actors::outcome::{Ask, AskError};
use crate::clock::Clock;
use crate::sagas::checkout::StartCheckout;
use crate::stores::documents::DocumentStore;
use crate::stores::{StoreError, Stores};
use souk_cluster::ownership::{Owner, Routing};
use souk_cluster::placement::shard_of;
use souk_domain::order::{OrderCommand, OrderReply, PlacedOrder, pruning_due};
use souk_domain::stock::{Stock, StockCommand, StockReply};
use souk_domain::{Aggregate, Order, OrderId, Timestamp};

/// Entities per sweep.
const ROUND_LIMIT: usize = 1_000;
/// Sweeps after which the next one starts with the oldest again, however many are due.
const ROUNDS: usize = 20;
/// Entities asked concurrently.
const CONCURRENCY: usize = 32;
/// Orders of one SKU asked concurrently.
const ORDERS_AT_ONCE: usize = 8;
/// Before all times.
const EARLIEST: Timestamp = Timestamp::from_millis(i64::MIN);
/// Time limit of one command.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// The sweeper's parts and settings.
pub struct SweeperContext {
    /// Orders and stock.
    pub regions: Regions,
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
    /// How long a reply is kept.
    pub keep_replies: Duration,
    /// Where orders and reservations are due; kept replies, sessions, codes, counters and revocations expire.
    pub stores: Stores,
    /// How long revocations and ended sessions are kept.
    pub keep_revocations: Duration,
}

/// The message of the sweeper. Sweep now: the interval has passed, or the node serves other shards than before.
pub struct Sweep;

impl ractor::Message for Sweep {}

/// The actor.
pub struct Sweeper;

impl Actor for Sweeper {
    type Msg = Sweep;
    type State = SweeperState;
    type Arguments = Arc<SweeperContext>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        context: Arc<SweeperContext>,
    ) -> Result<Self::State, ActorProcessingErr> {
        let next = schedule(&myself, context.interval);
        Ok(SweeperState {
            context,
            next,
            orders: Cursor::default(),
            reservations: Cursor::default(),
            failed: Cursor::default(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        Sweep: Sweep,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // One sweep is scheduled at a time, after the one before has ended: however long that takes, none pile up.
        state.next.abort();
        state.sweep().await;
        state.next = schedule(&myself, state.context.interval);
        Ok(())
    }
}

fn schedule(myself: &ActorRef<Sweep>, after: Duration) -> AbortHandle {
    myself.send_after(after, || Sweep).abort_handle()
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
    /// Sends the next message.
    next: AbortHandle,
    orders: Cursor,
    reservations: Cursor,
    failed: Cursor,
}

impl SweeperState {
    async fn sweep(&mut self) {
        let context = &self.context;
        context.sweep_replies().await;
        context.sweep_expired().await;
        let shards = context.routing.served();
        if !shards.is_empty() {
            context.sweep_orders(&mut self.orders, &shards).await;
            context.sweep_reservations(&mut self.reservations, &shards).await;
            context.sweep_failed(&mut self.failed, &shards).await;
        }
    }
}

impl SweeperContext {
    async fn due(
        &self,
        cursor: &mut Cursor,
        store: &Arc<dyn DocumentStore>,
        shards: &[u16],
        range: RangeInclusive<Timestamp>,
    ) -> Vec<String> {
        let due = cursor.next(|limit| store.due(shards, range, limit));
        due.await.unwrap_or_else(|error| {
            tracing::warn!(store = store.name(), %error, "due entities could not be read; the next sweep tries again");
            Vec::new()
        })
    }

    /// Removes kept replies that have expired.
    async fn sweep_replies(&self) {
        let before = (self.clock)().minus(self.keep_replies);
        if let Err(error) = self.stores.idempotency.sweep(before, ROUND_LIMIT).await {
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
        let due = self
            .due(cursor, &self.stores.orders, shards, EARLIEST..=(self.clock)())
            .await;
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

    /// Prunes failed orders. Their events go first: without its order no sweep would find them again.
    async fn sweep_failed(&self, cursor: &mut Cursor, shards: &[u16]) {
        let range = pruning_due(EARLIEST)..=pruning_due((self.clock)());
        let due = self.due(cursor, &self.stores.orders, shards, range).await;
        stream::iter(due)
            .for_each_concurrent(CONCURRENCY, |id| async move {
                match self.stores.order_events.forget(&id).await {
                    Ok(true) => {}
                    // A consumer still has to get them, or an operator to decide about a dead letter.
                    Ok(false) => return,
                    Err(error) => {
                        tracing::debug!(order = id, %error, "the events of a failed order could not be removed");
                        return;
                    }
                }
                // Through the entity: nothing that it remembers outlives the row's content.
                match self.regions.orders.ask(&id, Self::ask::<Order>(OrderCommand::Prune)).await {
                    Ok(answer) if answer.reply == OrderReply::Done => {
                        metrics::counter!("souk_orders_pruned_total").increment(1);
                    }
                    Ok(answer) => tracing::warn!(order = id, reply = ?answer.reply, "a failed order was not pruned"),
                    Err(error) => tracing::debug!(order = id, %error, "a failed order did not reply"),
                }
            })
            .await;
    }

    async fn sweep_reservations(&self, cursor: &mut Cursor, shards: &[u16]) {
        let due = self
            .due(cursor, &self.stores.inventory, shards, EARLIEST..=(self.clock)())
            .await;
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
        stream::iter(orders)
            .map(Ok)
            .try_for_each_concurrent(ORDERS_AT_ONCE, |order| self.sweep_reservation(sku, order))
            .await
    }

    async fn sweep_reservation(&self, sku: &str, order: OrderId) -> Result<(), AskError> {
        let until = (self.clock)().plus(self.reservation);
        let ask = Self::ask::<Order>(OrderCommand::Get);
        let command = match self.regions.orders.ask(order.as_str(), ask).await {
            Ok(answer) => judge(order, answer.view.as_ref(), until),
            Err(error) => {
                // It keeps its stock, and later ones come first the next time: they must not wait for it (invariant 11).
                tracing::debug!(sku, %order, %error, "an order with an expired reservation did not reply");
                StockCommand::Extend {
                    order,
                    expires_at: until,
                }
            }
        };
        metrics::counter!("souk_reservations_swept_total").increment(1);
        self.regions.skus.ask(sku, Self::ask::<Stock>(command)).await?;
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
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::actors::handle::Handle;
    use crate::actors::region::Region;
    use crate::clock;
    use crate::stores::documents::outbox::PURCHASES;
    use crate::stores::documents::{Document, DocumentWrite};
    use crate::stores::testing::embedded_stores;
    use souk_domain::fixtures::{at, order_id, payment_id, placement};
    use souk_domain::order::{FailureReason, NEVER, OrderRefusal};

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

    async fn change(region: &Region<Stock>, command: StockCommand) -> StockReply {
        let ask = SweeperContext::ask::<Stock>(command);
        region.ask("SKU-0", ask).await.unwrap().reply
    }

    fn context(regions: &Regions, stores: Stores, clock: Clock) -> SweeperContext {
        SweeperContext {
            routing: Routing::new("here"),
            regions: regions.clone(),
            checkouts: StartCheckout {
                sagas: Handle::default(),
                clock: Arc::clone(&clock),
            },
            clock,
            interval: Duration::from_secs(5),
            reservation: Duration::from_secs(900),
            keep_replies: Duration::from_secs(1),
            keep_revocations: Duration::from_secs(1),
            stores,
        }
    }

    /// An order that ran through these commands; its row has its events.
    async fn order(regions: &Regions, index: usize, commands: Vec<OrderCommand>) -> OrderId {
        let lines = vec![1; if index == 1 { 100 } else { 1 }];
        let place = OrderCommand::Place(Box::new(placement(index, &lines)));
        for command in std::iter::once(place).chain(commands) {
            let ask = SweeperContext::ask::<Order>(command);
            let answer = regions.orders.ask(order_id(index).as_str(), ask).await.unwrap();
            assert_eq!(answer.reply, OrderReply::Done);
        }
        order_id(index)
    }

    #[tokio::test]
    async fn failed_orders_are_pruned_in_time() {
        const KEPT: i64 = 30 * 24 * 3_600;
        let (stores, _folder) = embedded_stores().await;
        let (carts, orders, inventory) = (&stores.carts, &stores.orders, &stores.inventory);
        let regions = Regions::over(Arc::clone(carts), Arc::clone(orders), Arc::clone(inventory)).await;
        let abandon = || OrderCommand::Abandon {
            reason: FailureReason::PaymentTimedOut,
        };
        let end = |keep_until| OrderCommand::EndFailed {
            voided: true,
            keep_until: at(keep_until),
            steps: Vec::new(),
        };
        let failed = order(&regions, 1, vec![abandon(), end(KEPT)]).await;
        let later = order(&regions, 2, vec![abandon(), end(KEPT + 1)]).await;
        let failing = order(&regions, 3, vec![abandon()]).await;
        let payment = payment_id(4);
        let confirmed = order(&regions, 4, vec![OrderCommand::Confirm { payment }]).await;
        let waiting = order(&regions, 5, vec![abandon(), end(KEPT)]).await;
        // Its consumer has got everything but the events of one order.
        let shards: Vec<u16> = (0..souk_cluster::placement::SHARDS).collect();
        let events = &stores.order_events;
        let pending = events.deliverable(PURCHASES, &shards, at(0), 100).await.unwrap();
        let of_others = pending
            .iter()
            .filter(|delivery| delivery.event.id.entity != waiting.as_str());
        let of_others: Vec<i64> = of_others.map(|delivery| delivery.event.sequence).collect();
        events.delivered(PURCHASES, &of_others).await.unwrap();

        let now = Arc::new(AtomicI64::new(at(KEPT - 1).as_millis()));
        let clock = Arc::clone(&now);
        let clock: Clock = Arc::new(move || Timestamp::from_millis(clock.load(Ordering::Relaxed)));
        let context = context(&regions, stores.clone(), clock);
        let sweep = async || {
            let mut cursor = Cursor::default();
            context.sweep_failed(&mut cursor, &shards).await;
            let mut placed = Vec::new();
            for id in [&failed, &later, &failing, &confirmed, &waiting] {
                let ask = SweeperContext::ask::<Order>(OrderCommand::Get);
                placed.push(regions.orders.ask(id.as_str(), ask).await.unwrap().view.is_some());
            }
            placed
        };
        let size = async |id: &OrderId| orders.load(id.as_str()).await.unwrap().unwrap().body.len();
        let before = size(&failed).await;
        assert_eq!(sweep().await, [true; 5], "too early");
        now.store(at(KEPT).as_millis(), Ordering::Relaxed);
        assert_eq!(sweep().await, [false, true, true, true, true]);
        println!(
            "a failed order of 100 lines: {before} bytes, pruned {}",
            size(&failed).await
        );
        assert!(before > 10_000 && size(&failed).await < 200);
        assert!(events.ledger(failed.as_str(), 0, 10).await.unwrap().is_empty());
        assert_eq!(events.ledger(later.as_str(), 0, 10).await.unwrap().len(), 1);
        let owner = placement(1, &[1]).buyer;
        assert!(orders.by_owner(&owner, None, 10).await.unwrap().is_empty());
        // A repeated request finds no place for it.
        let place = OrderCommand::Place(Box::new(placement(1, &[1])));
        let ask = SweeperContext::ask::<Order>(place);
        let again = regions.orders.ask(failed.as_str(), ask).await.unwrap();
        assert_eq!(again.reply, OrderReply::Refused(OrderRefusal::Forfeited));
        // Later, and when its events have been delivered.
        now.store(at(KEPT + 1).as_millis(), Ordering::Relaxed);
        assert_eq!(sweep().await, [false, false, true, true, true]);
        let rest: Vec<i64> = pending.iter().map(|delivery| delivery.event.sequence).collect();
        events.delivered(PURCHASES, &rest).await.unwrap();
        assert_eq!(sweep().await, [false, false, true, true, false]);
        // What is unfinished is due as before, and nothing else is.
        let due = orders.due(&shards, EARLIEST..=NEVER, 10).await.unwrap();
        assert_eq!(due, [failing.to_string(), confirmed.to_string()]);
        let all = EARLIEST..=Timestamp::from_millis(i64::MAX);
        assert_eq!(orders.due(&shards, all, 10).await.unwrap().len(), 2);
    }

    fn reserve(order: &str, expires_at: Timestamp) -> StockCommand {
        StockCommand::Reserve {
            order: OrderId::parse(order).unwrap(),
            quantity: 1,
            expires_at,
        }
    }

    /// Invariant 11: the reservation of an order that was never placed ends, though an older one's order can't be read.
    #[tokio::test]
    async fn an_unreadable_order_does_not_keep_later_reservations() {
        let (stores, _folder) = embedded_stores().await;
        let broken = DocumentWrite {
            document: Document {
                id: "ord_broken".to_owned(),
                shard: shard_of("ord_broken"),
                version: 1,
                due_at: None,
                owner: None,
                fence: 0,
                body: "{}".to_owned(),
            },
            expected: 0,
            events: Vec::new(),
        };
        stores.orders.write("mark", &[broken]).await.unwrap();
        let (carts, orders, inventory) = (&stores.carts, &stores.orders, &stores.inventory);
        let regions = Regions::over(Arc::clone(carts), Arc::clone(orders), Arc::clone(inventory)).await;
        let now = clock::system()();
        let (reference, quantity) = ("opening".to_owned(), 2);
        change(&regions.skus, StockCommand::Receive { reference, quantity }).await;
        for (order, age) in [("ord_broken", 60), ("ord_unknown", 30)] {
            let expired = now.minus(Duration::from_secs(age));
            assert_eq!(
                change(&regions.skus, reserve(order, expired)).await,
                StockReply::Done
            );
        }
        let context = context(&regions, stores, clock::system());
        context.sweep_sku("SKU-0").await.unwrap();
        let overdue = change(&regions.skus, StockCommand::Overdue).await;
        assert_eq!(overdue, StockReply::Overdue(Vec::new()));
        let ask = SweeperContext::ask::<Stock>(StockCommand::Get);
        let left = regions.skus.ask("SKU-0", ask).await.unwrap().view;
        assert_eq!(
            (left.reservations, left.available),
            (1, 1),
            "the unreadable order keeps its own"
        );
    }
}
