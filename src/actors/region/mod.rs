//! The region of a kind of entity: routes commands to the entities of that kind on all nodes.

mod any;
mod supervisor;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use ractor::ActorRef;
use tokio::time::timeout_at;

use super::RegionParts;
use super::entity::{Command, Effects, EntityContext, EntityMessage};
use super::handle::Handle;
use super::metrics::KindMetrics;
pub use super::outcome::{Answer, Ask, AskError};
use super::outcome::{EntityStats, Failure, InFlight, Origin, Outcome, Permit, ReplyTo};
use super::persistence::Persistence;
use super::remote::{Envelope, NodeTransport, PendingRequests, RemoteAsk};
use super::shard::ShardMessage;
use crate::config::Limits;
use crate::stores::documents::DocumentStore;
use crate::traces;
pub use any::AnyRegion;
use souk_cluster::lanes::SendError;
use souk_cluster::ownership::Owner;
use souk_cluster::placement::{SHARDS, shard_of};
use souk_domain::Aggregate;
use souk_retry::Backoff;
pub use supervisor::{RegionMessage, RegionState, RegionSupervisor};

/// First pause before a command without an owner is sent again. A change of the view ends it at once.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The `Retry-After` of a refused command.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The same, where only the entity has too many commands.
const ENTITY_RETRY_AFTER: Duration = Duration::from_millis(100);

/// The limits of a region; the configuration explains them.
#[derive(Clone, Copy, Debug)]
pub struct RegionLimits {
    /// Admitted commands of requests on this node.
    pub in_flight_per_kind: usize,
    /// Admitted commands of background workers on this node.
    pub in_flight_background: usize,
    /// Admitted commands of one entity.
    pub in_flight_per_entity: u32,
    /// Live entities of this kind on this node.
    pub live_entities: usize,
    /// An entity without a command for this long is passivated.
    pub idle: Duration,
    /// When a refused caller may try again.
    pub retry_after: Duration,
    /// Crashes within a minute after which an entity is parked.
    pub crashes: u32,
    /// How long a parked entity refuses commands.
    pub parked: Duration,
}

impl From<&Limits> for RegionLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            in_flight_per_kind: limits.in_flight_per_kind,
            in_flight_background: limits.in_flight_background,
            in_flight_per_entity: u32::try_from(limits.in_flight_per_entity).unwrap_or(u32::MAX),
            live_entities: limits.live_entities,
            idle: limits.idle_seconds.duration(),
            retry_after: RETRY_AFTER,
            crashes: limits.crashes,
            parked: limits.parked_seconds.duration(),
        }
    }
}

/// An entry of the directory of live entities.
pub struct Live<A: Aggregate> {
    /// Its address.
    pub actor: ActorRef<EntityMessage<A>>,
    /// Read without asking the actor.
    pub stats: Arc<EntityStats>,
}

impl<A: Aggregate> Live<A> {
    /// Sends a command to the entity, or refuses it where too many are waiting.
    ///
    /// # Errors
    /// The command, where the entity has stopped.
    pub fn offer(&self, mut command: Box<Command<A>>, limit: u32) -> Result<(), Box<Command<A>>> {
        if !command.permit.at_entity(&self.stats, limit) {
            command.reply_to.send(Outcome::busy(ENTITY_RETRY_AFTER));
            return Ok(());
        }
        match self.actor.send_message(EntityMessage::Command(command)) {
            Ok(()) => Ok(()),
            Err(ractor::MessagingErr::SendErr(EntityMessage::Command(command))) => Err(command),
            // Impossible but for an actor of another type; the dropped command is answered.
            Err(_) => Ok(()),
        }
    }
}

/// Shared by a region, its shards and its callers.
pub struct RegionContext<A: Aggregate> {
    /// Shared by its entities.
    pub entity: Arc<EntityContext<A>>,
    /// The live entities of this node.
    pub directory: DashMap<Arc<str>, Live<A>>,
    /// The shards that have been started on this node.
    pub shards: Vec<Handle<ShardMessage<A>>>,
    /// The limits.
    pub limits: RegionLimits,
    /// Admitted commands on this node.
    pub in_flight: Arc<InFlight>,
    /// Requests to other nodes that wait for their reply.
    pub requests: Arc<PendingRequests>,
    /// Sends items to other nodes.
    pub transport: Arc<dyn NodeTransport>,
    /// The number of started shards.
    pub started_shards: AtomicUsize,
    /// The supervisor of the shards.
    pub supervisor: Handle<RegionMessage<A>>,
}

impl<A: Aggregate> RegionContext<A> {
    /// One shard's part of the node's cap on live entities.
    pub fn entities_per_shard(&self) -> usize {
        (self.limits.live_entities / self.started_shards.load(Ordering::Relaxed).max(1)).max(1)
    }

    /// Admits a command; `None` where too many of its origin are in flight.
    fn admit(&self, origin: Origin) -> Option<Permit> {
        let limit = match origin {
            Origin::Request => self.limits.in_flight_per_kind,
            Origin::Background => self.limits.in_flight_background,
        };
        Permit::admit(&self.in_flight, origin, limit)
    }

    /// The outcome of a command beyond a limit.
    pub fn busy(&self) -> Outcome<A> {
        self.entity.metrics.refused.fetch_add(1, Ordering::Relaxed);
        Outcome::busy(self.limits.retry_after)
    }
}

/// Routes commands to the entities of a kind.
pub struct Region<A: Aggregate>(Arc<RegionContext<A>>);

impl<A: Aggregate> Clone for Region<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Aggregate> Region<A> {
    /// A region without its supervisor yet; see [`RegionSupervisor`].
    pub fn new(parts: &RegionParts, store: Arc<dyn DocumentStore>, effects: Arc<dyn Effects<A>>) -> Self {
        Self(Arc::new(RegionContext {
            entity: Arc::new(EntityContext {
                persistence: Persistence::new(store, parts.batch_rows),
                routing: Arc::clone(&parts.routing),
                effects,
                clock: Arc::clone(&parts.clock),
                metrics: Arc::new(KindMetrics::new(A::KIND)),
            }),
            directory: DashMap::new(),
            shards: (0..SHARDS).map(|_| Handle::default()).collect(),
            limits: parts.limits,
            in_flight: Arc::default(),
            requests: Arc::clone(&parts.requests),
            transport: Arc::clone(&parts.transport),
            started_shards: AtomicUsize::new(0),
            supervisor: Handle::default(),
        }))
    }

    /// Shared with its shards.
    pub fn context(&self) -> &Arc<RegionContext<A>> {
        &self.0
    }

    /// Asks an entity on any node and waits for its answer. Commands that are lost because a node dies or a shard moves
    /// are sent again until the deadline.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask(&self, id: &str, ask: Ask<A>) -> Result<Answer<A>, AskError> {
        let (started, origin) = (Instant::now(), ask.origin);
        let answer = self.ask_until_answered(id, ask).await;
        let (took, metrics) = (started.elapsed(), &self.0.entity.metrics);
        metrics.latency.record_duration(took);
        if origin == Origin::Background {
            metrics.background_latency.record_duration(took);
        }
        answer
    }

    /// Whether the store has a row of this entity now, without a word to the entity.
    ///
    /// # Errors
    /// [`AskError::Store`].
    pub async fn has_row(&self, id: &str) -> Result<bool, AskError> {
        let store = &self.0.entity.persistence.store;
        let version = store.version(id).await.map_err(|error| {
            tracing::warn!(kind = A::KIND.as_str(), id, %error, "a version could not be read");
            AskError::Store
        })?;
        Ok(version > 0)
    }

    async fn ask_until_answered(&self, id: &str, ask: Ask<A>) -> Result<Answer<A>, AskError> {
        let shard = shard_of(id);
        let routing = &self.0.entity.routing;
        let mut changes = routing.subscribe();
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut owner_seen = false;
        loop {
            changes.mark_unchanged();
            let outcome = match routing.owner(shard) {
                Owner::Local => self.ask_here(shard, id, ask.clone()).await,
                Owner::Remote(node) => self.ask_there(node, id, ask.clone()).await,
                Owner::AcquiringLease | Owner::Nobody => Outcome::NotOwner(None),
            };
            owner_seen |= !matches!(outcome, Outcome::NotOwner(_));
            match outcome {
                Outcome::Reply(answer) => return Ok(answer),
                Outcome::VersionConflict { current } => return Err(AskError::VersionConflict { current }),
                Outcome::Busy { retry_after_ms } => {
                    return Err(AskError::Busy {
                        retry_after: Duration::from_millis(retry_after_ms),
                    });
                }
                Outcome::Expired => return Err(AskError::Expired),
                Outcome::Failed(Failure::Crashed) => return Err(AskError::Crashed),
                Outcome::Failed(Failure::Store | Failure::Undecodable) => return Err(AskError::Store),
                Outcome::NotOwner(_) | Outcome::Lost => {}
            }
            let now = Instant::now();
            let mut again = now + backoff.next_pause();
            let serve_from = routing.serve_from(shard);
            if now < serve_from && serve_from <= again {
                // The owner's wait ends about then, by its own clock.
                again = serve_from;
                backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
            }
            if again >= ask.deadline {
                return Err(if owner_seen {
                    AskError::Expired
                } else {
                    AskError::Unavailable
                });
            }
            // Ends early when the view changes.
            drop(timeout_at(again.into(), changes.changed()).await);
        }
    }

    async fn ask_here(&self, shard: u16, id: &str, ask: Ask<A>) -> Outcome<A> {
        let Some(permit) = self.0.admit(ask.origin) else {
            return self.0.busy();
        };
        let deadline = ask.deadline;
        let (reply_to, outcome) = ReplyTo::here();
        let command = Box::new(Command {
            ask,
            reply_to,
            permit,
            conflicts: 0,
        });
        self.dispatch(shard, id, command);
        match timeout_at(deadline.into(), outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::Lost,
            Err(_) => Outcome::Expired,
        }
    }

    /// Sends a command to the entity where it is live, else to its shard, else to the region's supervisor.
    pub(super) fn dispatch(&self, shard: u16, id: &str, mut command: Box<Command<A>>) {
        if let Some(live) = self.0.directory.get(id) {
            match live.offer(command, self.0.limits.in_flight_per_entity) {
                Ok(()) => return,
                Err(back) => command = back,
            }
        }
        let id: Arc<str> = Arc::from(id);
        let message = ShardMessage::Deliver { id, command };
        let message = match self.0.shards[usize::from(shard)].get() {
            Some(actor) => match actor.send_message(message) {
                Ok(()) => return,
                Err(ractor::MessagingErr::SendErr(message)) => message,
                // The dropped command is answered.
                Err(_) => return,
            },
            None => message,
        };
        // Without a supervisor the command is dropped, and thereby answered as lost.
        self.0.supervisor.cast(RegionMessage::Deliver { shard, message });
    }

    async fn ask_there(&self, node: Arc<str>, id: &str, ask: Ask<A>) -> Outcome<A> {
        let deadline = ask.deadline;
        let mut request = self.0.requests.register(Arc::clone(&node));
        let remote = RemoteAsk {
            ask,
            trace: traces::current(),
        };
        let item = souk_wire::encode(&remote).and_then(|body| {
            souk_wire::encode(&Envelope::Command {
                correlation: request.correlation,
                kind: A::KIND.as_str().to_owned(),
                id: id.to_owned(),
                body,
            })
        });
        let sent = match item {
            Ok(item) => self.0.transport.send(&node, item),
            Err(error) => {
                tracing::warn!(%error, kind = A::KIND.as_str(), "a command could not be encoded");
                return Outcome::Failed(Failure::Undecodable);
            }
        };
        match sent {
            Ok(()) => {}
            Err(SendError::NoLink) => return Outcome::NotOwner(None),
            Err(SendError::Busy) => return self.0.busy(),
            Err(error @ SendError::TooLarge(_)) => {
                tracing::warn!(%error, kind = A::KIND.as_str(), id, "a command could not be sent");
                return Outcome::Failed(Failure::Undecodable);
            }
        }
        match timeout_at(deadline.into(), &mut request.receiver).await {
            Ok(Ok(body)) => souk_wire::decode(&body).unwrap_or_else(|error| {
                tracing::warn!(%error, %node, "a reply could not be decoded");
                Outcome::Failed(Failure::Undecodable)
            }),
            Ok(Err(_)) => Outcome::Lost,
            Err(_) => Outcome::Expired,
        }
    }
}

#[cfg(test)]
mod tests;
