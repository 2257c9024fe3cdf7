//! The checkout's workers: one an unfinished order, driven by the table in [`souk_domain::checkout`].
//!
//! A worker keeps nothing that must not be lost. What it has done between two decisions of the order is done again by
//! whoever takes over, and each step says what makes that harmless.

mod payments;
mod steps;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use serde::Serialize;

use crate::actors::Regions;
use crate::actors::entity::Effects;
use crate::actors::handle::Handle;
use crate::actors::persistence::Persistence;
use crate::clock::Clock;
use crate::config::Limits;
use crate::gateways::Gateways;
use souk_cluster::placement::shard_of;
use souk_domain::checkout::{Step, StepRecord};
use souk_domain::order::{Order, OrderView};
use souk_domain::{OrderId, Timestamp};
use souk_retry::Backoff;
pub use worker::Worker;

/// Workers at once on one node; further orders wait for the next sweep.
pub const WORKER_LIMIT: usize = 20_000;
/// The first pause before a worker that failed starts again.
const FIRST_REST: Duration = Duration::from_millis(200);
/// The longest such pause.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// How long a checkout's calls may take.
#[derive(Clone, Copy, Debug)]
pub struct CheckoutLimits {
    /// One command to an entity.
    pub ask: Duration,
    /// One call to a payment provider.
    pub payment_call: Duration,
    /// All attempts at one authorisation together.
    pub payment_total: Duration,
    /// A reservation, before its order is asked again.
    pub reservation: Duration,
}

impl From<&Limits> for CheckoutLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            ask: limits.request_budget_ms.duration(),
            payment_call: limits.payment_call_ms.duration(),
            payment_total: limits.payment_total_ms.duration(),
            reservation: limits.reservation_seconds.duration(),
        }
    }
}

/// What all workers of a node share.
pub struct CheckoutContext {
    /// The way to carts, orders and stock.
    pub regions: Regions,
    /// The payments store.
    pub payments: Persistence,
    /// The payment providers by name.
    pub gateways: Gateways,
    /// The time.
    pub clock: Clock,
    /// The limits.
    pub limits: CheckoutLimits,
    /// What is under way, for operators.
    pub traces: Arc<DashMap<String, Trace>>,
}

/// A checkout under way on this node, as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// The step at work.
    pub step: Option<Step>,
    /// How often it was tried.
    pub attempts: u32,
    /// When this worker began.
    pub started_at: Timestamp,
    /// The steps that this worker has finished.
    pub done: Vec<StepRecord>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// Starts the checkout of every order that becomes unfinished on this node.
pub struct StartCheckout {
    /// Who starts it.
    pub sagas: Handle<SagasMessage>,
    /// The time, for orders that wait until their deadline.
    pub clock: Clock,
}

impl StartCheckout {
    /// Sees to it that an order that has something to do has a worker. Harmless to repeat.
    pub fn ensure(&self, order: &OrderView) {
        if order.finished {
            return;
        }
        let waits = order.awaiting_action && !order.cancelling && order.abandoned.is_none();
        if waits && (self.clock)() < order.deadline {
            return;
        }
        self.sagas.cast(SagasMessage::Ensure {
            order: order.id.clone(),
            called_off: order.cancelling,
        });
    }
}

impl Effects<Order> for StartCheckout {
    fn durable(&self, _id: &str, state: &Order) {
        if let Some(order) = state.placed() {
            self.ensure(order);
        }
    }
}

/// What the supervisor of the workers is told.
pub enum SagasMessage {
    /// This order is unfinished: see to it that a worker drives it.
    Ensure {
        /// Which.
        order: OrderId,
        /// It is being called off, which a worker that is about to end may have missed.
        called_off: bool,
    },
    /// Other nodes own these shards now: leave their orders alone.
    Lost(Vec<u16>),
}

impl ractor::Message for SagasMessage {}

/// The supervisor of the workers.
pub struct Sagas;

struct Running {
    order: OrderId,
    actor: ActorRef<worker::WorkerMessage>,
    again: bool,
}

/// What the supervisor keeps.
pub struct SagasState {
    context: Arc<CheckoutContext>,
    running: HashMap<ActorId, Running>,
    by_order: HashMap<OrderId, ActorId>,
    failures: HashMap<OrderId, Backoff>,
}

impl Actor for Sagas {
    type Msg = SagasMessage;
    type State = SagasState;
    type Arguments = Arc<CheckoutContext>;

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        context: Arc<CheckoutContext>,
    ) -> Result<Self::State, ActorProcessingErr> {
        context.traces.clear();
        Ok(SagasState {
            context,
            running: HashMap::new(),
            by_order: HashMap::new(),
            failures: HashMap::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SagasMessage::Ensure { order, called_off } => state.ensure(&myself, order, called_off).await,
            SagasMessage::Lost(shards) => {
                for running in state.running.values() {
                    if shards.contains(&shard_of(running.order.as_str())) {
                        running.actor.get_cell().kill();
                    }
                }
                Ok(())
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, _) => state.ended(&myself, cell.get_id()).await,
            SupervisionEvent::ActorFailed(cell, error) => {
                state.failed(&myself, cell.get_id(), &error);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl SagasState {
    async fn ensure(
        &mut self,
        myself: &ActorRef<SagasMessage>,
        order: OrderId,
        called_off: bool,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(running) = self
            .by_order
            .get(&order)
            .and_then(|actor| self.running.get_mut(actor))
        {
            running.again |= called_off;
            return Ok(());
        }
        if self.running.len() >= WORKER_LIMIT {
            // It stays due in the store, and the next sweep comes back to it.
            metrics::counter!("souk_checkouts_postponed_total").increment(1);
            return Ok(());
        }
        let arguments = (order.clone(), Arc::clone(&self.context));
        let (actor, _) = Worker::spawn_linked(None, Worker, arguments, myself.get_cell()).await?;
        self.by_order.insert(order.clone(), actor.get_id());
        self.running.insert(
            actor.get_id(),
            Running {
                order,
                actor,
                again: false,
            },
        );
        Ok(())
    }

    fn remove(&mut self, actor: ActorId) -> Option<Running> {
        let running = self.running.remove(&actor)?;
        self.by_order.remove(&running.order);
        self.context.traces.remove(running.order.as_str());
        Some(running)
    }

    async fn ended(
        &mut self,
        myself: &ActorRef<SagasMessage>,
        actor: ActorId,
    ) -> Result<(), ActorProcessingErr> {
        let Some(running) = self.remove(actor) else {
            return Ok(());
        };
        self.failures.remove(&running.order);
        if running.again {
            self.ensure(myself, running.order, false).await?;
        }
        Ok(())
    }

    fn failed(&mut self, myself: &ActorRef<SagasMessage>, actor: ActorId, error: &ActorProcessingErr) {
        let Some(running) = self.remove(actor) else {
            return;
        };
        metrics::counter!("souk_checkout_worker_failures_total").increment(1);
        tracing::warn!(order = %running.order, %error, "a checkout's worker failed; it starts again");
        let backoff = self
            .failures
            .entry(running.order.clone())
            .or_insert_with(|| Backoff::new(FIRST_REST, LONGEST_REST));
        let order = running.order;
        myself.send_after(backoff.next_pause(), move || SagasMessage::Ensure {
            order,
            called_off: false,
        });
    }
}
