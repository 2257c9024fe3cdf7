//! An actor around something that runs until it is told to stop: the HTTP listeners.

use std::sync::Arc;

use futures::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio_util::sync::CancellationToken;

/// What runs; it ends when the token is cancelled. Otherwise its end is a failure.
pub type Run =
    Arc<dyn Fn(CancellationToken) -> BoxFuture<'static, Result<(), ActorProcessingErr>> + Send + Sync>;

/// What a service is told.
pub enum ServiceMessage {
    /// What runs has ended.
    Ended(Result<(), ActorProcessingErr>),
}

impl ractor::Message for ServiceMessage {}

/// The actor.
pub struct Service;

/// What a service is started with.
#[derive(Clone)]
pub struct ServiceArguments {
    /// What runs.
    pub run: Run,
    /// Cancelled when the node wants it to end.
    pub shutdown: CancellationToken,
    /// Cancelled when it has ended after that.
    pub ended: CancellationToken,
}

/// What a service keeps.
pub struct ServiceState {
    arguments: ServiceArguments,
    /// Ends what runs when the actor is gone.
    _guard: tokio_util::sync::DropGuard,
}

impl Actor for Service {
    type Msg = ServiceMessage;
    type State = ServiceState;
    type Arguments = ServiceArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: ServiceArguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let token = arguments.shutdown.child_token();
        let running = (arguments.run)(token.clone());
        tokio::spawn(async move {
            let result = running.await;
            // A stopped actor has no use for it.
            let _ = myself.cast(ServiceMessage::Ended(result));
        });
        Ok(ServiceState {
            arguments,
            _guard: token.drop_guard(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        ServiceMessage::Ended(result): ServiceMessage,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if state.arguments.shutdown.is_cancelled() {
            state.arguments.ended.cancel();
            return Ok(());
        }
        result?;
        Err("it ended without being told to".into())
    }
}
