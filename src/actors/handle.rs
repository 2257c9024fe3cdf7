//! The address of an actor across its restarts.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, Message, SpawnErr};

/// Starts an actor below a parent.
pub type Start = Arc<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> + Send + Sync>;

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
    /// Starts an actor and makes it the current incarnation, each time it is called. `make` gives its handler and arguments.
    pub fn starter<Handler: Actor<Msg = M>>(
        &self,
        make: impl Fn() -> Result<(Handler, Handler::Arguments), ActorProcessingErr> + Send + Sync + 'static,
    ) -> Start {
        let handle = self.clone();
        Arc::new(move |parent| {
            let (handle, made) = (handle.clone(), make());
            async move {
                let (handler, arguments) = made.map_err(SpawnErr::StartupFailed)?;
                let (actor, _) = Handler::spawn_linked(None, handler, arguments, parent).await?;
                handle.point_at(actor.clone());
                Ok(actor.get_cell())
            }
            .boxed()
        })
    }

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
