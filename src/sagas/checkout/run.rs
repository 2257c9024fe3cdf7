//! A run of a checkout: performs the next step of the table, and has the order decide where a step can't succeed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::services::Services;
use super::table::Action;
use super::{CheckoutLimits, Trace, Traces, table};
use crate::actors::outcome::AskError;
use souk_domain::checkout::{Step, StepRecord};
use souk_domain::order::{FailureReason, OrderCommand, PlacedOrder};
use souk_domain::payment::Payment;
use souk_domain::stock::ORDER_KNOWN_FOR;
use souk_domain::{OrderId, Timestamp};

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// To be retried.
    #[error("{0}")]
    Retry(String),
    /// To be retried, but not before this time has passed.
    #[error("{0}")]
    RetryAfter(String, Duration),
    /// The order can't be fulfilled and has to fail.
    #[error("the order can't be fulfilled: {}", .0.as_str())]
    Abandon(FailureReason),
    /// The shopper has to act at the payment provider.
    #[error("the shopper has to act at the payment provider")]
    AwaitAction,
    /// The payment provider will not do it, now or later: a person has to decide.
    #[error("a person has to decide: {0}")]
    Escalate(String),
    /// The order was cancelled during a call to the payment provider.
    #[error("the order was cancelled meanwhile")]
    Cancelled,
}

impl StepError {
    pub(super) fn retry(error: impl ToString) -> Self {
        Self::Retry(error.to_string())
    }

    /// The shortest pause before the next attempt.
    pub(super) const fn least_pause(&self) -> Duration {
        match self {
            Self::RetryAfter(_, pause) => *pause,
            _ => Duration::ZERO,
        }
    }
}

impl From<AskError> for StepError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Busy { retry_after } => Self::RetryAfter(error.to_string(), retry_after),
            other => Self::retry(other),
        }
    }
}

/// The attempts at one step.
struct Attempts {
    step: Step,
    count: u32,
    started_at: Timestamp,
}

/// The run of one checkout. It keeps nothing that must not be lost: a run that starts after a crash has done nothing,
/// and every step is safe to repeat.
pub(super) struct Checkout {
    pub(super) id: OrderId,
    pub(super) services: Arc<dyn Services>,
    pub(super) limits: CheckoutLimits,
    /// The order as it was read or decided last; `None`: to be read.
    order: Option<PlacedOrder>,
    /// When that was.
    known_since: Instant,
    done: BTreeSet<Step>,
    records: Vec<StepRecord>,
    attempts: Option<Attempts>,
    pub(super) authorising_since: Option<Instant>,
    /// The provider's reference of a payment that was authorised in this run.
    pub(super) reference: Option<String>,
    /// The payment and its version, as this run has begun it: nobody else writes it as a rule.
    pub(super) begun: Option<(Payment, u64)>,
    /// Notified when the order is cancelled, so that no call to the provider delays it.
    pub(super) cancelled: Arc<Notify>,
    traces: Traces,
}

impl Checkout {
    pub(super) fn new(
        id: OrderId,
        services: Arc<dyn Services>,
        limits: CheckoutLimits,
        traces: Traces,
    ) -> Self {
        Self {
            id,
            services,
            limits,
            order: None,
            known_since: Instant::now(),
            done: BTreeSet::new(),
            records: Vec::new(),
            attempts: None,
            authorising_since: None,
            reference: None,
            begun: None,
            cancelled: Arc::default(),
            traces,
        }
    }

    /// Performs the next step; `false` where there is nothing to do: the checkout is finished or waits for its shopper.
    ///
    /// # Errors
    /// [`StepError`] to be retried.
    pub(super) async fn advance(&mut self) -> Result<bool, StepError> {
        match self.perform_next().await {
            Err(StepError::Cancelled) => {
                self.read_again();
                Ok(true)
            }
            Err(error) => {
                tracing::debug!(order = %self.id, %error, "a step of a checkout will be retried");
                self.trace(|trace| trace.last_error = Some(error.to_string()));
                Err(error)
            }
            done => done,
        }
    }

    /// Sends a command to the order, and keeps the order as it is after it.
    async fn ask_order(&mut self, command: OrderCommand) -> Result<(), StepError> {
        self.known_since = Instant::now();
        self.order = self.services.order(&self.id, command).await?;
        Ok(())
    }

    /// The next action; `None` where there is nothing to do, or a person has to decide first.
    fn next_action(&self, order: &PlacedOrder) -> Option<&'static Action> {
        let progress = &order.progress;
        let next = || table::next(&progress.phase, &self.done);
        progress.has_work().then(next).flatten()
    }

    /// Reads the order anew before the next step: it may have been cancelled, or changed by another worker.
    pub(super) fn read_again(&mut self) {
        self.order = None;
    }

    async fn perform_next(&mut self) -> Result<bool, StepError> {
        // What it knows of the order must be fresh: the stock remembers for a limited time what an order has taken.
        if self.order.is_none() || self.known_since.elapsed() > ORDER_KNOWN_FOR {
            self.ask_order(OrderCommand::Get).await?;
        }
        let Some(order) = self.order.take() else {
            return Ok(false);
        };
        if order.progress.phase.is_undecided() && self.services.now() >= order.placement.deadline {
            let reason = FailureReason::DeadlinePassed;
            self.ask_order(OrderCommand::Abandon { reason }).await?;
            return Ok(true);
        }
        let Some(action) = self.next_action(&order) else {
            return Ok(false);
        };
        self.begin(action.step);
        crate::fail::crash_around(action.step.as_str(), "before");
        let decision = match (action.run)(self, &order).await {
            Ok(()) => {
                crate::fail::crash_around(action.step.as_str(), "after");
                self.finished(action.step);
                // A decision has put the order in place already.
                self.order.get_or_insert(order);
                return Ok(true);
            }
            Err(StepError::Abandon(reason)) => OrderCommand::Abandon { reason },
            Err(StepError::AwaitAction) => OrderCommand::AwaitAction,
            Err(StepError::Escalate(reason)) => {
                metrics::counter!("souk_checkouts_escalated_total").increment(1);
                tracing::error!(order = %self.id, step = action.step.as_str(), reason, "a checkout waits for a decision: \
                    see `souk inspect sagas`");
                OrderCommand::Escalate {
                    step: action.step,
                    reason,
                }
            }
            Err(error) => {
                self.order.get_or_insert(order);
                return Err(error);
            }
        };
        self.decide(action.step, decision).await?;
        Ok(true)
    }

    /// Has the order decide. Fails where it refuses and `step` would come next again: without a pause that would be an
    /// endless loop.
    pub(super) async fn decide(&mut self, step: Step, command: OrderCommand) -> Result<(), StepError> {
        self.ask_order(command).await?;
        let next = self.order.as_ref().and_then(|order| self.next_action(order));
        if next.is_some_and(|action| action.step == step) {
            return Err(StepError::retry("the order refused the decision"));
        }
        Ok(())
    }

    fn begin(&mut self, step: Step) {
        let earlier = self.attempts.take().filter(|earlier| earlier.step == step);
        let attempts = Attempts {
            step,
            count: earlier
                .as_ref()
                .map_or(0, |earlier| earlier.count)
                .saturating_add(1),
            started_at: earlier.map_or_else(|| self.services.now(), |earlier| earlier.started_at),
        };
        self.trace(|trace| {
            trace.step = Some(step);
            trace.attempts = attempts.count;
        });
        self.attempts = Some(attempts);
    }

    fn finished(&mut self, step: Step) {
        let record = self.step_record(step);
        self.done.insert(step);
        self.records.push(record);
        self.attempts = None;
        self.trace(|trace| trace.done.push(record));
    }

    fn step_record(&self, step: Step) -> StepRecord {
        let now = self.services.now();
        let attempts = self.attempts.as_ref();
        StepRecord {
            step,
            attempts: attempts.map_or(1, |attempts| attempts.count),
            started_at: attempts.map_or(now, |attempts| attempts.started_at),
            finished_at: now,
        }
    }

    /// The steps of this run with the decision that ends it.
    pub(super) fn step_records(&self, ending: Step) -> Vec<StepRecord> {
        let mut records = self.records.clone();
        records.push(self.step_record(ending));
        records
    }

    fn trace(&self, change: impl FnOnce(&mut Trace)) {
        if let Some(mut trace) = self.traces.get_mut(self.id.as_str()) {
            change(&mut trace);
        }
    }
}
