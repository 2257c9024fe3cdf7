//! One worker: asks the table what comes next, does it, and lets the order decide, until nothing is left to do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::{CheckoutContext, Trace};
use crate::actors::outcome::{Ask, AskError};
use souk_domain::checkout::{self, Step, StepRecord};
use souk_domain::order::{FailureReason, OrderCommand, OrderStatus, OrderView};
use souk_domain::{OrderId, Timestamp};
use souk_retry::Backoff;

/// The first pause after a step that failed; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: a step is repeated until it succeeds or the order decides otherwise.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a worker is told.
pub enum WorkerMessage {
    /// Drive the order until nothing is left to do.
    Run,
}

impl ractor::Message for WorkerMessage {}

/// The actor.
pub struct Worker;

/// What a worker keeps of its run.
pub struct WorkerState {
    pub(super) order: OrderId,
    pub(super) context: Arc<CheckoutContext>,
    pub(super) done: BTreeSet<Step>,
    records: Vec<StepRecord>,
    pub(super) started: Instant,
    pub(super) authorising_since: Option<Instant>,
    request_id: Arc<str>,
}

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Worth repeating.
    #[error("{0}")]
    Again(String),
    /// Worth repeating, but not before a while: whoever refused has said when.
    #[error("{0}")]
    Later(String, Duration),
    /// The order has to decide that it fails.
    #[error("the order can't be fulfilled: {}", .0.as_str())]
    Abandon(FailureReason),
    /// The shopper has to act at the provider.
    #[error("the shopper has to act at the payment provider")]
    AwaitAction,
}

impl From<AskError> for StepError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Busy { retry_after } => Self::Later(error.to_string(), retry_after),
            other => Self::Again(other.to_string()),
        }
    }
}

/// A step that is tried until it succeeds, or another one comes first.
struct Trial {
    step: Step,
    began: Timestamp,
    backoff: Backoff,
}

impl Trial {
    fn new(step: Step, began: Timestamp) -> Self {
        Self {
            step,
            began,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// The number of the attempt that is made, or was made last.
    fn attempt(&self) -> u32 {
        self.backoff.attempts() + 1
    }
}

impl Actor for Worker {
    type Msg = WorkerMessage;
    type State = WorkerState;
    type Arguments = (OrderId, Arc<CheckoutContext>);

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        (order, context): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.cast(WorkerMessage::Run)?;
        let trace = Trace {
            step: None,
            attempts: 0,
            started_at: (context.clock)(),
            done: Vec::new(),
            last_error: None,
        };
        context.traces.insert(order.as_str().to_owned(), trace);
        Ok(WorkerState {
            request_id: Arc::from(format!("checkout-{order}")),
            order,
            context,
            done: BTreeSet::new(),
            records: Vec::new(),
            started: Instant::now(),
            authorising_since: None,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        WorkerMessage::Run: WorkerMessage,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.run().await;
        metrics::histogram!("souk_checkout_seconds").record(state.started.elapsed().as_secs_f64());
        myself.stop(Some("nothing is left to do".to_owned()));
        Ok(())
    }
}

impl WorkerState {
    async fn run(&mut self) {
        let mut order = None;
        let mut last: Option<Trial> = None;
        while let Some(step) = self.next(&mut order).await {
            let Some(view) = order.as_ref() else { return };
            // Its pauses go on growing for as long as it is the same step.
            let mut trial = last
                .take()
                .filter(|trial| trial.step == step)
                .unwrap_or_else(|| Trial::new(step, (self.context.clock)()));
            self.note(|trace| {
                trace.step = Some(step);
                trace.attempts = trial.attempt();
            });
            crate::fail::crash_around(step.as_str(), "before");
            let (error, least) = match self.perform(step, view, trial.began).await {
                Ok(next) => {
                    crate::fail::crash_around(step.as_str(), "after");
                    self.finished(&trial);
                    if next.is_some() {
                        order = next;
                    }
                    continue;
                }
                Err(StepError::Again(error)) => (error, Duration::ZERO),
                Err(StepError::Later(error, after)) => (error, after),
                Err(verdict @ (StepError::Abandon(_) | StepError::AwaitAction)) => {
                    let command = match verdict {
                        StepError::Abandon(reason) => OrderCommand::Abandon { reason },
                        _ => OrderCommand::AwaitAction,
                    };
                    if let Some(decided) = self.decide(command).await {
                        order = Some(decided);
                        continue;
                    }
                    ("the order did not answer".to_owned(), Duration::ZERO)
                }
            };
            tracing::debug!(order = %self.order, step = step.as_str(), error, "a step is tried again");
            self.note(|trace| trace.last_error = Some(error));
            // What failed is another service: there is no event to wait for, only time.
            tokio::time::sleep(trial.backoff.next_pause().max(least)).await;
            // It may have been called off, or overtaken by another worker, meanwhile.
            if trial.backoff.attempts() >= 2 {
                order = None;
            }
            last = Some(trial);
        }
    }

    /// The step that comes next, after reading the order where it is not at hand and giving it up at its deadline.
    async fn next(&mut self, order: &mut Option<OrderView>) -> Option<Step> {
        loop {
            let view = match order.take() {
                Some(view) => view,
                None => self.read().await?,
            };
            let undecided =
                view.status == OrderStatus::Pending && view.abandoned.is_none() && !view.cancelling;
            if undecided && (self.context.clock)() >= view.deadline {
                let reason = FailureReason::DeadlinePassed;
                *order = self.decide(OrderCommand::Abandon { reason }).await;
                if order.is_none() {
                    // It can be read and not be written: only time helps.
                    tokio::time::sleep(LONGEST_PAUSE).await;
                }
                continue;
            }
            let step = checkout::next(&view, &self.done);
            *order = Some(view);
            return step;
        }
    }

    /// Reads the order; `None` where there is none. Repeats until an answer comes.
    async fn read(&mut self) -> Option<OrderView> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            match self
                .context
                .regions
                .orders
                .ask(self.order.as_str(), self.ask(OrderCommand::Get))
                .await
            {
                Ok(answer) => return answer.view,
                Err(error) => {
                    self.note(|trace| trace.last_error = Some(error.to_string()));
                    // As above: only time helps.
                    tokio::time::sleep(backoff.next_pause()).await;
                }
            }
        }
    }

    /// Has the order decide; what it decided, or a refusal because it decided otherwise before, shows in its view.
    /// `None` where no answer came: it has to be read.
    pub(super) async fn decide(&mut self, command: OrderCommand) -> Option<OrderView> {
        match self
            .context
            .regions
            .orders
            .ask(self.order.as_str(), self.ask(command))
            .await
        {
            Ok(answer) => answer.view,
            Err(error) => {
                self.note(|trace| trace.last_error = Some(error.to_string()));
                None
            }
        }
    }

    /// An ask of this checkout; every command that a worker sends is harmless to repeat.
    pub(super) fn ask<A: souk_domain::Aggregate>(&self, command: A::Command) -> Ask<A> {
        Ask::new(
            command,
            Instant::now() + self.context.limits.ask,
            Arc::clone(&self.request_id),
        )
    }

    pub(super) fn steps(&self, ending: Step, began: Timestamp) -> Vec<StepRecord> {
        let mut steps = self.records.clone();
        steps.push(StepRecord {
            step: ending,
            attempts: 1,
            started_at: began,
            finished_at: (self.context.clock)(),
        });
        steps
    }

    fn finished(&mut self, trial: &Trial) {
        let record = StepRecord {
            step: trial.step,
            attempts: trial.attempt(),
            started_at: trial.began,
            finished_at: (self.context.clock)(),
        };
        self.done.insert(trial.step);
        self.records.push(record);
        self.note(|trace| trace.done.push(record));
    }

    fn note(&self, change: impl FnOnce(&mut Trace)) {
        if let Some(mut trace) = self.context.traces.get_mut(self.order.as_str()) {
            change(&mut trace);
        }
    }
}
