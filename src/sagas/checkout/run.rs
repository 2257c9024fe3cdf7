//! A run of a checkout: performs the next step of the table, and has the order decide where a step can't succeed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::services::Services;
use super::{CheckoutLimits, Trace, Traces, table};
use crate::actors::outcome::AskError;
use souk_domain::checkout::{Step, StepRecord};
use souk_domain::order::{FailureReason, OrderCommand, PlacedOrder};
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
    done: BTreeSet<Step>,
    records: Vec<StepRecord>,
    attempts: Option<Attempts>,
    pub(super) authorising_since: Option<Instant>,
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
            done: BTreeSet::new(),
            records: Vec::new(),
            attempts: None,
            authorising_since: None,
            traces,
        }
    }

    /// Performs the next step; `false` where there is nothing to do: the checkout is finished or waits for its shopper.
    ///
    /// # Errors
    /// [`StepError`] to be retried.
    pub(super) async fn advance(&mut self) -> Result<bool, StepError> {
        let result = self.perform_next().await;
        if let Err(error) = &result {
            tracing::debug!(order = %self.id, %error, "a step of a checkout will be retried");
            self.trace(|trace| trace.last_error = Some(error.to_string()));
        }
        result
    }

    /// Reads the order anew before the next step: it may have been cancelled, or changed by another worker.
    pub(super) fn read_again(&mut self) {
        self.order = None;
    }

    async fn perform_next(&mut self) -> Result<bool, StepError> {
        let order = match self.order.take() {
            Some(order) => order,
            None => match self.services.order(&self.id, OrderCommand::Get).await? {
                Some(order) => order,
                None => return Ok(false),
            },
        };
        let phase = &order.progress.phase;
        if phase.is_undecided() && self.services.now() >= order.placement.deadline {
            let reason = FailureReason::DeadlinePassed;
            let command = OrderCommand::Abandon { reason };
            self.order = self.services.order(&self.id, command).await?;
            return Ok(true);
        }
        let Some(action) = table::next(phase, &self.done) else {
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
        let order = self.services.order(&self.id, command).await?;
        let phase = order.as_ref().map(|order| &order.progress.phase);
        let next = phase.and_then(|phase| table::next(phase, &self.done));
        let is_stuck = next.is_some_and(|action| action.step == step);
        self.order = order;
        if is_stuck {
            return Err(StepError::retry("the order refused the decision"));
        }
        Ok(())
    }

    fn begin(&mut self, step: Step) {
        let attempts = match self.attempts.take() {
            Some(attempts) if attempts.step == step => Attempts {
                count: attempts.count.saturating_add(1),
                ..attempts
            },
            _ => Attempts {
                step,
                count: 1,
                started_at: self.services.now(),
            },
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
