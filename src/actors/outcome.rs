//! Commands to entities and their outcomes. Every command gets an outcome, even one that is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tracing::Span;

use super::remote::ReturnPath;
use souk_domain::{Aggregate, CommandId};

/// A command for an entity, with the conditions of its caller. Other nodes get its fields in this order: to change them is to
/// change what nodes say to each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Ask<A: Aggregate> {
    /// The command to decide.
    pub command: A::Command,
    /// Identifies the command, so that its repetition changes nothing (invariant 9). A command without an id must be
    /// harmless to repeat, because the region repeats lost commands.
    pub command_id: Option<CommandId>,
    /// Decide only at this version of the entity (`If-Match`).
    pub expected_version: Option<u64>,
    /// After this moment the caller has given up, and the command does not run. Sent to another node as the remaining time,
    /// because clocks differ.
    #[serde(with = "remaining_ms")]
    pub deadline: Instant,
    /// Identifies the request of the shopper in the logs of all nodes.
    pub request_id: Arc<str>,
    /// Delay the answer until the entity has settled, or the deadline is near.
    pub wait_until_settled: bool,
    /// Whose budget it draws on.
    pub origin: Origin,
    /// The entity is presumed to have no row yet, so that the command is decided without a look. Where there is one, the
    /// write finds it, and the command is decided again.
    pub presumes_absence: bool,
}

impl<A: Aggregate> Ask<A> {
    /// An ask without an id, a condition or waiting.
    pub fn new(command: A::Command, deadline: Instant, request_id: Arc<str>) -> Self {
        Self {
            command,
            command_id: None,
            expected_version: None,
            deadline,
            request_id,
            wait_until_settled: false,
            origin: Origin::Request,
            presumes_absence: false,
        }
    }

    /// The same, on the budget of background workers.
    #[must_use]
    pub fn in_background(mut self) -> Self {
        self.origin = Origin::Background;
        self
    }

    /// The same, with an id.
    #[must_use]
    pub fn with_id(mut self, id: CommandId) -> Self {
        self.command_id = Some(id);
        self
    }
}

/// A moment as the milliseconds that remain until then.
mod remaining_ms {
    use std::time::{Duration, Instant};

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(moment: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
        let remaining = moment.saturating_duration_since(Instant::now());
        serializer.serialize_u64(super::milliseconds(remaining))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Instant, D::Error> {
        let remaining = Duration::from_millis(u64::deserialize(deserializer)?);
        let moment = Instant::now().checked_add(remaining);
        moment.ok_or_else(|| D::Error::custom("a time that is too far away"))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where a command comes from. Each origin has a budget of its own, so that neither keeps the other from its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A request of a client.
    Request,
    /// A background worker: a checkout, the sweeper.
    Background,
}

/// An entity's answer. What it says is durable.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Answer<A: Aggregate> {
    /// The reply to the command.
    pub reply: A::Reply,
    /// The version of the view.
    pub version: u64,
    /// The entity after the command.
    pub view: A::View,
}

/// Why a command failed inside the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// Deciding it panicked; the entity restarts from the store.
    Crashed,
    /// The entity's store did not answer.
    Store,
    /// It could not be decoded by the owner.
    Undecodable,
}

/// The outcome of a command. The region turns it into an [`Answer`] or an [`AskError`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Outcome<A: Aggregate> {
    /// Decided and durable.
    Reply(Answer<A>),
    /// The entity is at another version than the caller expected.
    VersionConflict {
        /// Its version.
        current: u64,
    },
    /// Too many commands are waiting; it was not queued.
    Busy {
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// This node does not own the entity, or may not serve it yet; with the owner, as far as this node knows it.
    NotOwner(Option<String>),
    /// Its deadline passed before it ran.
    Expired,
    /// The activation ended before the command ran, or before its write was known to be durable: to be repeated.
    Lost,
    /// The command failed.
    Failed(Failure),
}

impl<A: Aggregate> Outcome<A> {
    /// Refused for so long.
    pub fn busy(retry_after: Duration) -> Self {
        Self::Busy {
            retry_after_ms: milliseconds(retry_after),
        }
    }

    /// States another version: the state has been written again without a change.
    pub fn at_version(&mut self, written: u64) {
        match self {
            Self::Reply(Answer { version, .. }) | Self::VersionConflict { current: version } => {
                *version = written;
            }
            _ => {}
        }
    }
}

/// Why a caller gets no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Too many commands are waiting; nothing was done.
    #[error("too many commands are waiting")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// No answer in time. Whether the command took effect is unknown; repeating it under its id is safe.
    #[error("no answer came in time")]
    Expired,
    /// The entity is at another version than expected; nothing was done.
    #[error("the entity is at version {current}")]
    VersionConflict {
        /// Its version.
        current: u64,
    },
    /// No node owns the entity at the moment.
    #[error("no node owns the entity at the moment")]
    Unavailable,
    /// Deciding the command crashed the entity.
    #[error("the entity crashed over this command")]
    Crashed,
    /// The entity's store did not answer.
    #[error("the entity's store did not answer")]
    Store,
}

/// The admitted commands of one kind of entity on this node (a bulkhead: the other kinds have their own).
#[derive(Debug, Default)]
pub struct InFlight {
    requests: AtomicUsize,
    background: AtomicUsize,
}

impl InFlight {
    fn of(&self, origin: Origin) -> &AtomicUsize {
        match origin {
            Origin::Request => &self.requests,
            Origin::Background => &self.background,
        }
    }

    /// How many there are, of every origin.
    pub fn total(&self) -> usize {
        self.requests.load(Ordering::Relaxed) + self.background.load(Ordering::Relaxed)
    }
}

/// Admits a command, and counts it against the limits of its kind and of the entity until it is dropped.
#[derive(Debug)]
pub struct Permit {
    in_flight: Arc<InFlight>,
    origin: Origin,
    entity: Option<Arc<EntityStats>>,
}

impl Permit {
    /// A permit for a command of this origin; `None` where `limit` permits are in use.
    pub fn admit(in_flight: &Arc<InFlight>, origin: Origin, limit: usize) -> Option<Self> {
        let permit = Self {
            in_flight: Arc::clone(in_flight),
            origin,
            entity: None,
        };
        (in_flight.of(origin).fetch_add(1, Ordering::AcqRel) < limit).then_some(permit)
    }

    /// Extends it to the entity; `false` where `limit` permits of the entity are in use.
    pub fn at_entity(&mut self, stats: &Arc<EntityStats>, limit: u32) -> bool {
        if self.entity.is_some() {
            return true;
        }
        let taken = stats.waiting.fetch_add(1, Ordering::AcqRel);
        self.entity = Some(Arc::clone(stats));
        taken < limit
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.of(self.origin).fetch_sub(1, Ordering::AcqRel);
        if let Some(stats) = &self.entity {
            stats.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// What is known of a live entity without asking it.
#[derive(Debug, Default)]
pub struct EntityStats {
    /// Commands that wait for it or for its write.
    pub waiting: AtomicU32,
    /// Seconds since the node started, at its latest command.
    pub touched: AtomicU32,
}

/// Sends the outcome to the caller: [`Outcome::Lost`] where it is dropped without one.
#[derive(Debug)]
pub struct ReplyTo<A: Aggregate>(Option<Way<A>>);

#[derive(Debug)]
enum Way<A: Aggregate> {
    Here(oneshot::Sender<Outcome<A>>),
    /// With the span that ends when the outcome is sent.
    There(ReturnPath, Span),
}

impl<A: Aggregate> ReplyTo<A> {
    /// To a caller in this process.
    pub fn here() -> (Self, oneshot::Receiver<Outcome<A>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(Way::Here(sender))), receiver)
    }

    /// To a caller on another node.
    pub fn there(path: ReturnPath) -> Self {
        Self(Some(Way::There(path, Span::none())))
    }

    /// The same, recorded as `span` until the outcome is sent.
    #[must_use]
    pub fn within(mut self, span: Span) -> Self {
        if let Some(Way::There(_, recorded)) = &mut self.0 {
            *recorded = span;
        }
        self
    }

    /// Sends the outcome. It is no error where the caller has given up.
    pub fn send(mut self, outcome: Outcome<A>) {
        self.deliver(outcome);
    }

    fn deliver(&mut self, outcome: Outcome<A>) {
        match self.0.take() {
            // The receiver is dropped when its caller has given up.
            Some(Way::Here(sender)) => drop(sender.send(outcome)),
            Some(Way::There(path, _span)) => path.send(&outcome),
            None => {}
        }
    }
}

impl<A: Aggregate> Drop for ReplyTo<A> {
    fn drop(&mut self) {
        self.deliver(Outcome::Lost);
    }
}
