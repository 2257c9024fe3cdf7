//! The trait of every entity's state machine: from state and command to reply and change.

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

/// A state machine that the engine runs as one entity: one owner, one version, one row.
///
/// `decide` must be pure: the engine runs it on tentative state, and again on fresh state after a conflicting write.
pub trait Aggregate: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Which kind of entity this is.
    const KIND: Kind;
    /// How many of the latest commands are remembered with their replies, so that a repetition changes nothing
    /// (invariant 9). They are stored in the row: keep number and replies small.
    const REMEMBERED_COMMANDS: usize;

    /// Its commands.
    type Command: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// Its reply to a command: done, or refused and why.
    type Reply: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What every reply shows of the state.
    type View: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// What others learn of its changes; [`NoEvent`](super::event::NoEvent) where they learn nothing.
    type Event: Event;

    /// The state before the first command. The caller has validated `id`.
    fn initial(id: &str) -> Self;

    /// The reply to `command`, and the change that it makes, if any. `at` is the present.
    fn decide(&self, command: &Self::Command, at: Timestamp) -> Decision<Self>;

    /// What replies show.
    fn view(&self) -> Self::View;

    /// When the sweeper has to look at this entity: the deadline of an unfinished order, the expiry of the oldest
    /// reservation. Stored in an indexed column. `None`: never.
    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    /// Its owner, for listing by owner. Stored in an indexed column.
    fn owner(&self) -> Option<&str> {
        None
    }

    /// Whether a caller who waits for the outcome can be answered.
    fn settled(&self) -> bool {
        true
    }
}

/// The result of `decide`.
#[derive(Clone, Debug)]
pub struct Decision<A: Aggregate> {
    /// The reply.
    pub reply: A::Reply,
    /// What changes; `None` for reads, refusals and repetitions.
    pub change: Option<Change<A>>,
}

/// The state after a command, and its events.
#[derive(Clone, Debug)]
pub struct Change<A: Aggregate> {
    /// The next state, whole.
    pub state: A,
    /// Written to the outbox in the same transaction.
    pub events: Vec<A::Event>,
}

impl<A: Aggregate> Decision<A> {
    /// A reply without a change.
    pub fn keep(reply: A::Reply) -> Self {
        Self { reply, change: None }
    }

    /// A reply and a change without events.
    pub fn change(reply: A::Reply, state: A) -> Self {
        Self::change_with(reply, state, Vec::new())
    }

    /// A reply and a change with its events.
    pub fn change_with(reply: A::Reply, state: A, events: Vec<A::Event>) -> Self {
        Self {
            reply,
            change: Some(Change { state, events }),
        }
    }
}
