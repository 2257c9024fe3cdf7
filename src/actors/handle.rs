//! A way to an actor that stays valid when its supervisor starts it anew.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use ractor::{ActorRef, Message};

/// Points at the present incarnation of an actor; empty while there is none.
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
    /// From now on this is the actor.
    pub fn point_at(&self, actor: ActorRef<M>) {
        self.0.store(Some(Arc::new(actor)));
    }

    /// There is no actor any more.
    pub fn clear(&self) {
        self.0.store(None);
    }

    /// The actor, where there is one.
    pub fn get(&self) -> Option<ActorRef<M>> {
        self.0.load_full().map(|actor| (*actor).clone())
    }

    /// Sends a message. Where there is no actor, or it has just stopped, the message is dropped: messages that must
    /// be answered carry something that answers when it is dropped.
    pub fn cast(&self, message: M) -> bool {
        self.0
            .load()
            .as_ref()
            .is_some_and(|actor| actor.send_message(message).is_ok())
    }
}
