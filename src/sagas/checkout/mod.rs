//! The checkout saga: a table of steps and compensations, and one worker per unfinished order that runs it.

mod payments;
mod run;
mod services;
mod steps;
mod table;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use serde::Serialize;
use tokio::sync::Notify;

use crate::actors::Regions;
use crate::actors::entity::Effects;
use crate::actors::handle::Handle;
use crate::actors::persistence::Persistence;
use crate::clock::Clock;
use crate::config::Limits;
use crate::gateways::Gateways;
use run::Checkout;
use services::NodeServices;
use souk_cluster::placement::shard_of;
use souk_domain::checkout::{Step, StepRecord};
use souk_domain::order::{Order, Phase, PlacedOrder};
use souk_domain::{OrderId, Timestamp};
use souk_retry::Backoff;
use worker::{Run, Worker};

/// Most workers of a node; further orders wait for the next sweep.
pub const WORKER_LIMIT: usize = 20_000;
/// The first pause before a failed worker is restarted.
const FIRST_REST: Duration = Duration::from_millis(200);
/// The longest such pause.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Time limits of a checkout.
#[derive(Clone, Copy, Debug)]
pub struct CheckoutLimits {
    /// One command to an entity.
    pub ask: Duration,
    /// One call to a payment provider.
    pub payment_call: Duration,
    /// All attempts at one authorisation.
    pub payment_total: Duration,
    /// A reservation, before the sweeper checks its order.
    pub reservation: Duration,
    /// How long a failed order is kept.
    pub keep_failed: Duration,
}

impl From<&Limits> for CheckoutLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            ask: limits.request_budget_ms.duration(),
            payment_call: limits.payment_call_ms.duration(),
            payment_total: limits.payment_total_ms.duration(),
            reservation: limits.reservation_seconds.duration(),
            keep_failed: limits.failed_orders_keep_days.duration(),
        }
    }
}

/// What all workers of a node share.
pub struct CheckoutContext {
    /// Carts, orders and stock.
    pub regions: Regions,
    /// The payments store.
    pub payments: Persistence,
    /// The payment providers by name.
    pub gateways: Gateways,
    /// The time.
    pub clock: Clock,
    /// The limits.
    pub limits: CheckoutLimits,
    /// The running checkouts, for operators.
    pub traces: Traces,
}

/// The running checkouts of a node by order id.
pub type Traces = Arc<DashMap<String, Trace>>;

/// A running checkout, for operators.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Trace {
    /// The current step.
    pub step: Option<Step>,
    /// Attempts at it.
    pub attempts: u32,
    /// When this worker started.
    pub started_at: Timestamp,
    /// The finished steps of this worker.
    pub done: Vec<StepRecord>,
    /// The latest error.
    pub last_error: Option<String>,
}

/// Starts the checkout of every order that becomes unfinished on this node.
pub struct StartCheckout {
    /// The supervisor of the workers.
    pub sagas: Handle<SagasMessage>,
    /// The time, for orders that wait for their deadline.
    pub clock: Clock,
}

impl StartCheckout {
    /// Makes sure that an order with something to do has a worker. Safe to repeat.
    pub fn ensure(&self, order: &PlacedOrder) {
        let PlacedOrder { placement, progress } = order;
        if !progress.has_work()
            || (progress.phase == Phase::AwaitingAction && (self.clock)() < placement.deadline)
        {
            return;
        }
        self.sagas.cast(SagasMessage::Ensure {
            order: placement.id.clone(),
            cancelling: progress.phase.is_cancelling(),
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

/// Messages of the supervisor of the workers.
pub enum SagasMessage {
    /// Make sure that this unfinished order has a worker.
    Ensure {
        /// The order.
        order: OrderId,
        /// Whether it is being cancelled, which a worker that is about to stop may have missed.
        cancelling: bool,
    },
    /// Other nodes own these shards now: stop their workers.
    Lost(Vec<u16>),
}

impl ractor::Message for SagasMessage {}

/// The supervisor of the workers.
pub struct Sagas;

struct Running {
    order: OrderId,
    actor: ActorRef<Run>,
    /// Tells the worker that the order was cancelled.
    cancelled: Arc<Notify>,
    /// The worker was told: it has to be started again when it stops, because it may have missed that.
    restart: bool,
}

/// The supervisor's state.
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
            SagasMessage::Ensure { order, cancelling } => state.ensure(&myself, order, cancelling).await,
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
        cancelling: bool,
    ) -> Result<(), ActorProcessingErr> {
        let actor = self.by_order.get(&order);
        if let Some(running) = actor.and_then(|actor| self.running.get_mut(actor)) {
            if cancelling && !running.restart {
                running.restart = true;
                running.cancelled.notify_one();
            }
            return Ok(());
        }
        if self.running.len() >= WORKER_LIMIT {
            // It stays due in the store, and a later sweep starts its worker.
            metrics::counter!("souk_checkouts_postponed_total").increment(1);
            return Ok(());
        }
        let context = &self.context;
        let trace = Trace {
            started_at: (context.clock)(),
            ..Trace::default()
        };
        context.traces.insert(order.as_str().to_owned(), trace);
        let services = NodeServices {
            context: Arc::clone(context),
            request_id: Arc::from(format!("checkout-{order}")),
        };
        let traces = Arc::clone(&context.traces);
        let checkout = Checkout::new(order.clone(), Arc::new(services), context.limits, traces);
        let cancelled = Arc::clone(&checkout.cancelled);
        let (actor, _) = Worker::spawn_linked(None, Worker, checkout, myself.get_cell()).await?;
        self.by_order.insert(order.clone(), actor.get_id());
        self.running.insert(
            actor.get_id(),
            Running {
                order,
                actor,
                cancelled,
                restart: false,
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
        if running.restart {
            self.ensure(myself, running.order, false).await?;
        }
        Ok(())
    }

    fn failed(&mut self, myself: &ActorRef<SagasMessage>, actor: ActorId, error: &ActorProcessingErr) {
        let Some(running) = self.remove(actor) else {
            return;
        };
        metrics::counter!("souk_checkout_worker_failures_total").increment(1);
        tracing::warn!(order = %running.order, %error, "the worker of a checkout failed and will be restarted");
        let backoff = self
            .failures
            .entry(running.order.clone())
            .or_insert_with(|| Backoff::new(FIRST_REST, LONGEST_REST));
        let order = running.order;
        myself.send_after(backoff.next_pause(), move || SagasMessage::Ensure {
            order,
            cancelling: false,
        });
    }
}
