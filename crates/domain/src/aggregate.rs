//! The shape of every entity's brain: from state and command to reply and change.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

use super::{Event, Timestamp};

/// A kind of entity, by its name in URLs, logs and metrics. Each kind has its own region, shards and store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Kind(pub &'static str);

impl Kind {
    /// Its name, in lower case.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// A state machine that the engine keeps as one entity: one owner, one version, one row.
///
/// `decide` must be pure: the engine runs it on tentative state, drops what came of it when a write conflicts, and
/// runs it again on fresh state. Everything that varies comes in as an argument.
pub trait Aggregate: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Which kind of entity this is.
    const KIND: Kind;
    /// How many of the latest commands are remembered with their replies, so that a repetition changes nothing
    /// (invariant 9). They travel in the same row as the state: keep the number small and the replies slim.
    const REMEMBERED_COMMANDS: usize;

    /// What can be asked of it.
    type Command: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// The slim verdict on a command: done, or refused and why.
    type Reply: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What a caller gets to see of the state, with every reply.
    type View: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The state before the first command. `id` has been validated by the caller.
    fn initial(id: &str) -> Self;

    /// The verdict on `command`, and the change that it makes if any. `at` is the present.
    fn decide(&self, command: &Self::Command, at: Timestamp) -> Decision<Self>;

    /// What callers see.
    fn view(&self) -> Self::View;

    /// When this entity has to be looked at although nobody asks: the deadline of an unfinished order, the expiry of
    /// the oldest reservation. Stored beside the row and indexed. `None`: never.
    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    /// Whose it is, for listing by owner; stored beside the row and indexed.
    fn owner(&self) -> Option<&str> {
        None
    }

    /// Whether a caller who waits for an outcome need not wait any longer.
    fn settled(&self) -> bool {
        true
    }
}

/// What `decide` answers.
#[derive(Clone, Debug)]
pub struct Decision<A: Aggregate> {
    /// The verdict.
    pub reply: A::Reply,
    /// What changes; `None` for reads, refusals and repetitions.
    pub change: Option<Change<A>>,
}

/// The state after a command, and what others are told.
#[derive(Clone, Debug)]
pub struct Change<A> {
    /// The next state, whole.
    pub state: A,
    /// Written to the outbox in the same transaction.
    pub events: Vec<Event>,
}

impl<A: Aggregate> Decision<A> {
    /// A verdict that changes nothing.
    pub fn keep(reply: A::Reply) -> Self {
        Self { reply, change: None }
    }

    /// A verdict with a change that nobody else is told of.
    pub fn change(reply: A::Reply, state: A) -> Self {
        Self::change_with(reply, state, Vec::new())
    }

    /// A verdict with a change and its events.
    pub fn change_with(reply: A::Reply, state: A, events: Vec<Event>) -> Self {
        Self {
            reply,
            change: Some(Change { state, events }),
        }
    }
}
