//! The entity actor: one cart, one order or one SKU, alive.
//!
//! It decides each command on tentative state, gathers what was decided while its last write is in flight, and replies
//! only when the write that carries the decision is durable. So one hot entity costs one row write a batch, not one a
//! command. A write that meets another version in the store throws the tentative state away: the entity loads what
//! stands there and decides the same commands again.

mod pipeline;
mod record;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use serde::Serialize;

use self::pipeline::Pipeline;
pub use self::record::Record;
use super::metrics::KindMetrics;
use super::outcome::{Ask, EntityStats, Outcome, ReplyTo, Slot};
use super::persistence::{Loaded, Persistence, Written};
use crate::clock::Clock;
use souk_cluster::ownership::Routing;
use souk_domain::Aggregate;

/// What an entity kind does in the world once something is durable: an unfinished order starts its checkout.
pub trait Effects<A: Aggregate>: Send + Sync + 'static {
    /// `state` of entity `id` is durable at this moment: after a load or a write.
    fn durable(&self, id: &str, state: &A);
}

/// An entity kind that does nothing.
pub struct NoEffects;

impl<A: Aggregate> Effects<A> for NoEffects {
    fn durable(&self, _id: &str, _state: &A) {}
}

/// What all entities of a kind on a node share.
pub struct EntityContext<A: Aggregate> {
    /// Their store.
    pub persistence: Persistence,
    /// Whether the view is verified.
    pub routing: Arc<Routing>,
    /// What happens in the world.
    pub effects: Arc<dyn Effects<A>>,
    /// The time for decisions.
    pub clock: Clock,
    /// Counts for operators.
    pub metrics: Arc<KindMetrics>,
}

/// A command on its way, with the place that it takes and the way back.
pub struct Command<A: Aggregate> {
    /// What is asked.
    pub ask: Ask<A>,
    /// Where the outcome goes.
    pub reply_to: ReplyTo<A>,
    /// Its place in the count of what waits; free when it is dropped.
    pub slot: Slot,
    /// How often its decision was thrown away because of another version in the store.
    pub conflicts: u8,
}

/// What an entity is told.
pub enum EntityMessage<A: Aggregate> {
    /// Decide.
    Command(Box<Command<A>>),
    /// The row has been read.
    Loaded(Loaded),
    /// The write in flight has ended.
    Written(Written),
    /// Some who wait for the entity to settle have reached their deadline.
    WaitersDue,
    /// Finish what is in flight and stop.
    Passivate,
    /// Tell an operator about yourself.
    Describe(RpcReplyPort<Description>),
}

impl<A: Aggregate> ractor::Message for EntityMessage<A> {}

/// An entity as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// The state as JSON, not yet redacted; `null` while loading.
    pub state: serde_json::Value,
    /// The durable version.
    pub version: u64,
    /// Commands decided and not yet durable, plus those that wait for the load.
    pub waiting: usize,
    /// Seconds since it was activated.
    pub active_seconds: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// The actor.
pub struct Entity<A: Aggregate>(std::marker::PhantomData<A>);

impl<A: Aggregate> Entity<A> {
    /// The handler; all state is in [`EntityState`].
    pub fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<A: Aggregate> Default for Entity<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// What an entity is started with.
pub struct EntityArguments<A: Aggregate> {
    /// Its identifier.
    pub id: Arc<str>,
    /// Its shard.
    pub shard: u16,
    /// What it shares.
    pub context: Arc<EntityContext<A>>,
    /// What others see of it without asking.
    pub stats: Arc<EntityStats>,
}

/// What an entity keeps.
pub struct EntityState<A: Aggregate> {
    id: Arc<str>,
    shard: u16,
    context: Arc<EntityContext<A>>,
    stats: Arc<EntityStats>,
    activated: Instant,
    pipeline: Pipeline<A>,
    closing: bool,
}

/// Ends the actor so that its supervisor counts a crash.
#[derive(Debug, thiserror::Error)]
#[error("deciding a command panicked: {0}")]
pub struct DecisionPanicked(pub String);

impl<A: Aggregate> Actor for Entity<A> {
    type Msg = EntityMessage<A>;
    type State = EntityState<A>;
    type Arguments = EntityArguments<A>;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: EntityArguments<A>,
    ) -> Result<Self::State, ActorProcessingErr> {
        let state = EntityState {
            pipeline: Pipeline::new(),
            id: arguments.id,
            shard: arguments.shard,
            context: arguments.context,
            stats: arguments.stats,
            activated: Instant::now(),
            closing: false,
        };
        state.request_load(&myself);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            EntityMessage::Command(command) => state.accept(&myself, command).await?,
            EntityMessage::Loaded(loaded) => state.loaded(&myself, loaded).await?,
            EntityMessage::Written(written) => state.written(&myself, written)?,
            EntityMessage::WaitersDue => state.pipeline.release_waiters(Instant::now()),
            EntityMessage::Passivate => state.closing = true,
            EntityMessage::Describe(port) => {
                // The operator may have gone away.
                drop(port.send(state.describe()));
            }
        }
        if state.closing {
            // Also those whose order was placed only now: whoever owns the shard next can be waited at as well.
            state.pipeline.dismiss_waiters();
            if state.pipeline.is_idle() {
                myself.stop(Some("passivated".to_owned()));
            }
        }
        Ok(())
    }
}

impl<A: Aggregate> EntityState<A> {
    fn request_load(&self, myself: &ActorRef<EntityMessage<A>>) {
        let myself = myself.clone();
        self.context.persistence.load(self.id.to_string(), move |loaded| {
            // A stopped entity has no use for it.
            drop(myself.cast(EntityMessage::Loaded(loaded)));
        });
    }

    async fn accept(
        &mut self,
        myself: &ActorRef<EntityMessage<A>>,
        command: Box<Command<A>>,
    ) -> Result<(), ActorProcessingErr> {
        self.stats
            .touched
            .store(self.context.metrics.seconds(), Ordering::Relaxed);
        if self.pipeline.is_loading() {
            if self.pipeline.queue_for_load(command) {
                self.request_load(myself);
            }
            return Ok(());
        }
        self.decide(myself, command).await?;
        self.flush(myself);
        Ok(())
    }

    async fn loaded(
        &mut self,
        myself: &ActorRef<EntityMessage<A>>,
        loaded: Loaded,
    ) -> Result<(), ActorProcessingErr> {
        let waiting = match self.pipeline.install(&self.id, loaded) {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!(kind = A::KIND.as_str(), id = %self.id, %error, "an entity could not be loaded");
                return Ok(());
            }
        };
        if let Some(state) = self.pipeline.durable_state() {
            self.context.effects.durable(&self.id, state);
        }
        for command in waiting {
            // One of them may have found out that what was read is stale: the others wait for the next reading.
            if self.pipeline.is_loading() {
                self.pipeline.queue_for_load(command);
            } else {
                self.decide(myself, command).await?;
            }
        }
        self.flush(myself);
        Ok(())
    }

    /// Decides one command on the tentative state. Reads are answered from memory only while the view is verified;
    /// otherwise the version is compared with the store's first.
    async fn decide(
        &mut self,
        myself: &ActorRef<EntityMessage<A>>,
        command: Box<Command<A>>,
    ) -> Result<(), ActorProcessingErr> {
        if command.ask.deadline <= Instant::now() {
            command.reply_to.send(Outcome::Expired);
            return Ok(());
        }
        let decided = self
            .pipeline
            .decide(&self.id, &command.ask, (self.context.clock)());
        let decided = match decided {
            Ok(decided) => decided,
            Err(panicked) => {
                self.context.metrics.crashed(&self.id, &panicked.0);
                command
                    .reply_to
                    .send(Outcome::Failed(super::outcome::Failure::Crashed));
                return Err(panicked.into());
            }
        };
        let rests_on_a_write = decided.changed || !self.pipeline.is_clean();
        if rests_on_a_write || self.context.routing.may_answer_from_memory(self.shard) {
            self.pipeline.deliver_or_hold(myself, decided, command);
            return Ok(());
        }
        // Unverified, and the answer rests on nothing that is about to be written: ask the store.
        match self.context.persistence.store.version(&self.id).await {
            Ok(version) if version == self.pipeline.version() => {
                self.pipeline.deliver_or_hold(myself, decided, command);
            }
            Ok(_) => {
                self.context.metrics.reloads.fetch_add(1, Ordering::Relaxed);
                self.pipeline.reload_with(command);
                self.request_load(myself);
            }
            Err(error) => {
                tracing::warn!(kind = A::KIND.as_str(), id = %self.id, %error, "a version could not be read");
                command
                    .reply_to
                    .send(Outcome::Failed(super::outcome::Failure::Store));
            }
        }
        Ok(())
    }

    /// Starts a write of everything that has gathered, unless one is in flight.
    fn flush(&mut self, myself: &ActorRef<EntityMessage<A>>) {
        match self.pipeline.next_write(&self.id, self.shard) {
            Ok(None) => {}
            Ok(Some(write)) => {
                let myself = myself.clone();
                self.context.persistence.write(write, move |written| {
                    // A stopped entity has told its callers that their commands were lost.
                    drop(myself.cast(EntityMessage::Written(written)));
                });
            }
            Err(error) => {
                tracing::error!(kind = A::KIND.as_str(), id = %self.id, %error, "a state could not be encoded");
                self.pipeline.fail_all();
                self.request_load(myself);
            }
        }
    }

    fn written(
        &mut self,
        myself: &ActorRef<EntityMessage<A>>,
        written: Written,
    ) -> Result<(), ActorProcessingErr> {
        match written {
            Written::Applied => {
                if let Some(state) = self.pipeline.applied(&self.id, myself) {
                    self.context.effects.durable(&self.id, state);
                }
                self.flush(myself);
            }
            Written::Conflict | Written::Unknown => {
                if written == Written::Conflict {
                    self.context.metrics.conflicts.fetch_add(1, Ordering::Relaxed);
                }
                self.pipeline.conflicted(written == Written::Unknown);
                self.request_load(myself);
            }
            Written::Unavailable => {
                self.pipeline.fail_all();
                self.request_load(myself);
            }
        }
        Ok(())
    }

    fn describe(&self) -> Description {
        let state = self.pipeline.durable_state();
        Description {
            state: state
                .and_then(|state| serde_json::to_value(state).ok())
                .unwrap_or_default(),
            version: self.pipeline.version(),
            waiting: self.pipeline.waiting(),
            active_seconds: self.activated.elapsed().as_secs(),
            last_error: self.pipeline.last_error().map(str::to_owned),
        }
    }
}
