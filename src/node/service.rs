//! An actor around something that runs until it is told to stop: the HTTP listeners, and whatever follows a store or a file.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio_util::sync::CancellationToken;

use crate::panics;

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
            // A panic ends it as an error does, or nobody would start it again. What it shares with others is whole after
            // every step.
            let result = AssertUnwindSafe(running).catch_unwind().await;
            let result = result.unwrap_or_else(|panic| {
                let message = panics::message(&*panic);
                Err(format!("it panicked: {message}").into())
            });
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn arguments(run: Run) -> ServiceArguments {
        ServiceArguments {
            run,
            shutdown: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn what_panics_ends_its_service_with_an_error() {
        let run: Run = Arc::new(|_| {
            async {
                tokio::task::yield_now().await;
                panic!("by intention")
            }
            .boxed()
        });
        let (service, ended) = Actor::spawn(None, Service, arguments(run)).await.unwrap();
        tokio::time::timeout(Duration::from_secs(30), ended)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(service.get_status(), ractor::ActorStatus::Stopped);
    }

    #[tokio::test]
    async fn what_panics_while_the_node_ends_has_ended() {
        let run: Run = Arc::new(|shutdown| {
            async move {
                shutdown.cancelled().await;
                panic!("by intention")
            }
            .boxed()
        });
        let arguments = arguments(run);
        let (_service, _) = Actor::spawn(None, Service, arguments.clone()).await.unwrap();
        arguments.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(30), arguments.ended.cancelled())
            .await
            .unwrap();
    }
}
