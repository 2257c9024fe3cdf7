//! The body of a row: the state, and the replies to the latest commands.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::stores::documents::Document;
use souk_domain::{Aggregate, CommandId};

/// The body of a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Record<A: Aggregate> {
    /// The entity.
    pub state: A,
    /// The latest commands with their replies, oldest first; at most [`Aggregate::REMEMBERED_COMMANDS`].
    pub answered: VecDeque<(CommandId, A::Reply)>,
}

impl<A: Aggregate> Record<A> {
    /// Before the first command.
    pub fn initial(id: &str) -> Self {
        Self {
            state: A::initial(id),
            answered: VecDeque::new(),
        }
    }

    /// Decodes the body of a row.
    ///
    /// # Errors
    /// The body does not decode.
    pub fn decode(document: &Document) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&document.body)
    }

    /// The remembered reply to a command.
    pub fn recall(&self, command: &CommandId) -> Option<&A::Reply> {
        self.answered
            .iter()
            .rev()
            .find(|(id, _)| id == command)
            .map(|(_, reply)| reply)
    }

    /// Replaces the state, and remembers the command that led to it. Other holders of the record keep the old one; where
    /// there are none, nothing is copied.
    pub fn advance(record: &mut Arc<Self>, state: A, answered: Option<(CommandId, A::Reply)>) {
        if let Some(record) = Arc::get_mut(record) {
            record.state = state;
        } else {
            *record = Arc::new(Self {
                state,
                answered: record.answered.clone(),
            });
        }
        if let (Some((command, reply)), Some(record)) = (answered, Arc::get_mut(record)) {
            record.remember(command, reply);
        }
    }

    /// Remembers the reply to a command, and forgets the oldest beyond the limit.
    pub fn remember(&mut self, command: CommandId, reply: A::Reply) {
        self.answered.push_back((command, reply));
        let beyond = self.answered.len().saturating_sub(A::REMEMBERED_COMMANDS);
        self.answered.drain(..beyond);
    }
}
