//! The address of an actor across its restarts.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use ractor::{ActorRef, Message};

/// Refers to the current incarnation of an actor; empty while there is none.
pub struct Handle<M: Message>(Arc<ArcSwapOption<ActorRef<M>>>);

impl<M: Message> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Message> Default for Handle<M> {
    fn default() -> Self {
        Self(Arc::new(ArcSwapOption::empty()))
    }
}

impl<M: Message> Handle<M> {
    /// Sets the current incarnation.
    pub fn point_at(&self, actor: ActorRef<M>) {
        self.0.store(Some(Arc::new(actor)));
    }

    /// Removes the current incarnation.
    pub fn clear(&self) {
        self.0.store(None);
    }

    /// The current incarnation, if any.
    pub fn get(&self) -> Option<ActorRef<M>> {
        self.0.load_full().map(|actor| (*actor).clone())
    }

    /// Sends a message; false where there is no actor or it has stopped. The message is dropped then: messages that
    /// require an answer contain a value whose destructor gives one.
    pub fn cast(&self, message: M) -> bool {
        self.0
            .load()
            .as_ref()
            .is_some_and(|actor| actor.send_message(message).is_ok())
    }
}
