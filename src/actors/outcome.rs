//! What goes to an entity and what comes back: never silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tracing::Span;

use super::remote::ReturnPath;
use souk_domain::{Aggregate, CommandId};

/// A command for an entity, with what the caller expects of the answer.
#[derive(Clone, Debug)]
pub struct Ask<A: Aggregate> {
    /// What to decide.
    pub command: A::Command,
    /// Names the command, so that its repetition changes nothing (invariant 9). Without one, only a command that is
    /// harmless to repeat may be sent: the region repeats what got lost on the way.
    pub command_id: Option<CommandId>,
    /// Decide only if the entity stands at this version (`If-Match`).
    pub expected_version: Option<u64>,
    /// After this moment nobody waits for the answer, and the command does not run.
    pub deadline: Instant,
    /// Follows the shopper's request through logs on every node.
    pub request_id: Arc<str>,
    /// Hold the answer back until the entity has settled, or the deadline is near.
    pub wait_until_settled: bool,
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
        }
    }

    /// The same, with an id.
    #[must_use]
    pub fn with_id(mut self, id: CommandId) -> Self {
        self.command_id = Some(id);
        self
    }
}

/// An entity's answer, given only after what it says is durable.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Answer<A: Aggregate> {
    /// The verdict.
    pub reply: A::Reply,
    /// The version that the view shows.
    pub version: u64,
    /// The entity as it stands after the command.
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

/// Everything that can come back for a command. The region turns it into an [`Answer`] or an [`AskError`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Outcome<A: Aggregate> {
    /// Decided and durable.
    Reply(Answer<A>),
    /// The entity stands at another version than the caller expected.
    VersionConflict {
        /// Where it stands.
        current: u64,
    },
    /// Refused before it was queued.
    Busy {
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// This node does not own the entity, or not yet; the name of who does, as far as this node knows.
    NotOwner(Option<String>),
    /// Its deadline passed before it ran.
    Expired,
    /// Its activation went away before it ran or before its write was known to have landed: to be repeated.
    Lost,
    /// It failed.
    Failed(Failure),
}

/// What a caller gets instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Too much is waiting; nothing was done.
    #[error("too many commands are waiting")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// No answer in time. Whether the command took effect is unknown; repeating it under its id is safe.
    #[error("no answer came in time")]
    Expired,
    /// The entity stands at another version than expected; nothing was done.
    #[error("the entity stands at version {current}")]
    VersionConflict {
        /// Where it stands.
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

/// Counts a command against the node's and the entity's limit for as long as it lives.
#[derive(Debug)]
pub struct Slot {
    node: Arc<AtomicUsize>,
    entity: Option<Arc<EntityStats>>,
}

impl Slot {
    /// Takes a place on the node; `None` where `limit` are taken.
    pub fn on_node(node: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let slot = Self {
            node: Arc::clone(node),
            entity: None,
        };
        (node.fetch_add(1, Ordering::AcqRel) < limit).then_some(slot)
    }

    /// Takes a place at the entity too; `false` where `limit` are taken.
    pub fn at_entity(&mut self, stats: &Arc<EntityStats>, limit: u32) -> bool {
        if self.entity.is_some() {
            return true;
        }
        let taken = stats.waiting.fetch_add(1, Ordering::AcqRel);
        self.entity = Some(Arc::clone(stats));
        taken < limit
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.node.fetch_sub(1, Ordering::AcqRel);
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

/// Where an outcome goes. Dropped without one, it says [`Outcome::Lost`]: a caller always hears something.
#[derive(Debug)]
pub struct ReplyTo<A: Aggregate>(Option<Way<A>>);

#[derive(Debug)]
enum Way<A: Aggregate> {
    Here(oneshot::Sender<Outcome<A>>),
    /// With the span that ends when the outcome is on its way.
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

    /// The same, recorded as `span` until the outcome is given.
    #[must_use]
    pub fn within(mut self, span: Span) -> Self {
        if let Some(Way::There(_, recorded)) = &mut self.0 {
            *recorded = span;
        }
        self
    }

    /// Gives the outcome. A caller who has gone away is no error.
    pub fn send(mut self, outcome: Outcome<A>) {
        self.deliver(outcome);
    }

    fn deliver(&mut self, outcome: Outcome<A>) {
        match self.0.take() {
            // The receiver is dropped when its caller's deadline passed: nobody is left to be told.
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
