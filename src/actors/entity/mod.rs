//! The entity actor: one live cart, order or SKU.
//!
//! It decides each command on tentative state and replies when the write that contains the decision is durable. What it
//! decides while a write is in flight becomes the next write, so that a hot entity costs one row write per batch and not
//! one per command. After a conflict (another version in the store) it discards the tentative state, loads the row and
//! decides the same commands again.

mod pipeline;
mod record;

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use serde::Serialize;

use self::pipeline::{LoadError, Pipeline, Queued};
pub use self::record::Record;
use super::metrics::KindMetrics;
use super::outcome::{Ask, EntityStats, Failure, Outcome, Permit, ReplyTo};
use super::persistence::{Loaded, Persistence, Written};
use super::shard::ShardMessage;
use crate::clock::Clock;
use souk_cluster::ownership::Routing;
use souk_domain::Aggregate;
use souk_error_chain::Chain;

/// Side effects of durable states of a kind of entity: an unfinished order starts its checkout.
pub trait Effects<A: Aggregate>: Send + Sync + 'static {
    /// Called after a load or a write with the durable state of entity `id`.
    fn durable(&self, id: &str, state: &A);
}

/// No side effects.
pub struct NoEffects;

impl<A: Aggregate> Effects<A> for NoEffects {
    fn durable(&self, _id: &str, _state: &A) {}
}

/// Shared by all entities of a kind on a node.
pub struct EntityContext<A: Aggregate> {
    /// Their store.
    pub persistence: Persistence,
    /// Says whether the view is verified.
    pub routing: Arc<Routing>,
    /// Side effects of durable states.
    pub effects: Arc<dyn Effects<A>>,
    /// The time passed to decisions.
    pub clock: Clock,
    /// Counts for operators.
    pub metrics: Arc<KindMetrics>,
}

/// A command with its admission permit and the sender of its outcome.
pub struct Command<A: Aggregate> {
    /// The command and its conditions.
    pub ask: Ask<A>,
    /// Receives the outcome.
    pub reply_to: ReplyTo<A>,
    /// Counts it among the admitted commands.
    pub permit: Permit,
    /// How often its decision was discarded because of a conflict.
    pub conflicts: u8,
}

/// Messages of an entity.
pub enum EntityMessage<A: Aggregate> {
    /// Decide a command.
    Command(Box<Command<A>>),
    /// The load has finished.
    Loaded(Loaded),
    /// The write in flight has finished.
    Written(Written),
    /// The deadline of a caller that waits for the entity to settle is near.
    WaitersDue,
    /// Finish the write in flight and stop.
    Passivate,
    /// Describe the entity for an operator.
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
    /// The latest failure.
    pub last_error: Option<String>,
}

/// The actor. All state is in [`EntityState`].
pub struct Entity<A: Aggregate>(pub(super) PhantomData<A>);

/// Arguments of an entity.
pub struct EntityArguments<A: Aggregate> {
    /// Its identifier.
    pub id: Arc<str>,
    /// Its shard.
    pub shard: u16,
    /// Shared with the other entities of its kind.
    pub context: Arc<EntityContext<A>>,
    /// Read by others without asking the actor.
    pub stats: Arc<EntityStats>,
}

/// State of an entity.
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
        _myself: ActorRef<Self::Msg>,
        arguments: EntityArguments<A>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(EntityState {
            pipeline: Pipeline::new(),
            id: arguments.id,
            shard: arguments.shard,
            context: arguments.context,
            stats: arguments.stats,
            activated: Instant::now(),
            closing: false,
        })
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
            EntityMessage::Written(written) => state.written(&myself, written),
            EntityMessage::WaitersDue => state.pipeline.release_waiters(Instant::now()),
            EntityMessage::Passivate => state.closing = true,
            EntityMessage::Describe(port) => {
                // The operator may have disconnected.
                drop(port.send(state.describe()));
            }
        }
        if state.closing {
            // Including those whose command became durable just now: they wait at the next activation.
            state.pipeline.dismiss_waiters();
            if state.pipeline.is_idle() {
                myself.stop(Some("passivated".to_owned()));
            }
        } else if state.pipeline.is_useless()
            && let Some(shard) = myself.get_cell().try_get_supervisor()
        {
            // A shard that has stopped takes the entity with it.
            drop(shard.send_message(ShardMessage::<A>::Absent(Arc::clone(&state.id))));
        }
        Ok(())
    }
}

impl<A: Aggregate> EntityState<A> {
    fn request_load(&self, myself: &ActorRef<EntityMessage<A>>) {
        let myself = myself.clone();
        self.context.persistence.load(self.id.to_string(), move |loaded| {
            // A stopped entity does not need it.
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
        self.decide_or_load(myself, command).await?;
        self.flush(myself);
        Ok(())
    }

    async fn decide_or_load(
        &mut self,
        myself: &ActorRef<EntityMessage<A>>,
        command: Box<Command<A>>,
    ) -> Result<(), ActorProcessingErr> {
        let presumes_absence = command.ask.presumes_absence && command.conflicts == 0;
        if !self.pipeline.must_load() || (presumes_absence && self.presume_absent()) {
            return self.decide(myself, command, false).await;
        }
        if self.pipeline.queue_for_load(command) {
            self.request_load(myself);
        }
        Ok(())
    }

    /// Goes on as if there were no row. False where this node does not own the shard, or a load is under way.
    fn presume_absent(&mut self) -> bool {
        let tenure = self.context.routing.tenure(self.shard);
        self.pipeline.presume_absent(&self.id, tenure)
    }

    async fn loaded(
        &mut self,
        myself: &ActorRef<EntityMessage<A>>,
        loaded: Loaded,
    ) -> Result<(), ActorProcessingErr> {
        let tenure = self.context.routing.tenure(self.shard);
        let Queued { before, later } = match self.pipeline.install(&self.id, loaded, tenure) {
            Ok(waiting) => waiting,
            Err(error) => {
                let cause = Chain(&error);
                tracing::warn!(kind = A::KIND.as_str(), id = %self.id, error = %cause, "an entity could not be loaded");
                if matches!(error, LoadError::NotOwner { .. }) {
                    self.context.routing.suspect();
                    self.closing = true;
                }
                return Ok(());
            }
        };
        if let Some(state) = self.pipeline.durable_state() {
            self.context.effects.durable(&self.id, state);
        }
        for command in before {
            self.decide(myself, command, true).await?;
        }
        for command in later {
            self.decide_or_load(myself, command).await?;
        }
        self.flush(myself);
        Ok(())
    }

    /// Decides one command on the tentative state. Reads are answered from memory only while the view is verified;
    /// otherwise the version is first compared with the one in the store, unless the command is older than the load.
    async fn decide(
        &mut self,
        myself: &ActorRef<EntityMessage<A>>,
        command: Box<Command<A>>,
        just_loaded: bool,
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
                command.reply_to.send(Outcome::Failed(Failure::Crashed));
                return Err(panicked.into());
            }
        };
        let rests_on_a_write = decided.changed || self.pipeline.awaits_write();
        if !rests_on_a_write && self.pipeline.presumed {
            self.pipeline.reload_with(command);
            self.request_load(myself);
            return Ok(());
        }
        let (routing, since) = (&self.context.routing, self.pipeline.since);
        if rests_on_a_write || just_loaded || routing.may_answer_from_memory(self.shard, since) {
            self.pipeline.deliver_or_hold(myself, decided, command);
            return Ok(());
        }
        // Unverified, and the answer does not depend on a pending write: ask the store.
        match self.context.persistence.store.version(&self.id).await {
            Ok(version) if version == self.pipeline.durable_version => {
                self.pipeline.deliver_or_hold(myself, decided, command);
            }
            Ok(_) => {
                self.context.metrics.reloads.fetch_add(1, Ordering::Relaxed);
                self.pipeline.reload_with(command);
                self.request_load(myself);
            }
            Err(error) => {
                tracing::warn!(kind = A::KIND.as_str(), id = %self.id, %error, "a version could not be read");
                command.reply_to.send(Outcome::Failed(Failure::Store));
            }
        }
        Ok(())
    }

    /// Writes everything decided since the last write, unless a write is in flight.
    fn flush(&mut self, myself: &ActorRef<EntityMessage<A>>) {
        match self.pipeline.next_write(&self.id, self.shard) {
            Ok(None) => {}
            Ok(Some(write)) => {
                let myself = myself.clone();
                self.context.persistence.write(write, move |written| {
                    // A stopped entity has answered its callers: their commands are lost.
                    drop(myself.cast(EntityMessage::Written(written)));
                });
            }
            Err(error) => {
                tracing::error!(kind = A::KIND.as_str(), id = %self.id, %error, "a state could not be encoded");
                self.pipeline.fail_all("the state could not be encoded");
                self.request_load(myself);
            }
        }
    }

    fn written(&mut self, myself: &ActorRef<EntityMessage<A>>, written: Written) {
        match written {
            Written::Applied => {
                if let Some(state) = self.pipeline.applied(&self.id, myself) {
                    self.context.effects.durable(&self.id, state);
                }
                return self.flush(myself);
            }
            Written::Conflict => {
                self.context.metrics.conflicts.fetch_add(1, Ordering::Relaxed);
                self.pipeline.conflicted(false);
            }
            Written::Unknown => self.pipeline.conflicted(true),
            Written::Refused => self.pipeline.fail_all("the store refused the row"),
            Written::Unavailable => self.pipeline.fail_all("the store was unavailable"),
        }
        self.request_load(myself);
    }

    fn describe(&self) -> Description {
        let state = self.pipeline.durable_state();
        Description {
            state: state
                .and_then(|state| serde_json::to_value(state).ok())
                .unwrap_or_default(),
            version: self.pipeline.durable_version,
            waiting: self.pipeline.waiting(),
            active_seconds: self.activated.elapsed().as_secs(),
            last_error: self.pipeline.last_error.clone().map(String::from),
        }
    }
}

#[cfg(test)]
mod fencing_tests;
#[cfg(test)]
mod tests;
