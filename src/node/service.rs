//! An actor around a future that runs until shutdown: HTTP listeners, polling of stores and files.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio_util::sync::CancellationToken;

use crate::panics;

/// Makes the future. It ends when the token is cancelled; ending before that is a failure.
pub type Run =
    Arc<dyn Fn(CancellationToken) -> BoxFuture<'static, Result<(), ActorProcessingErr>> + Send + Sync>;

/// Runs a future that ends with its token, and can't fail.
pub fn until_cancelled<Running>(make: impl Fn(CancellationToken) -> Running + Send + Sync + 'static) -> Run
where
    Running: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |shutdown| make(shutdown).map(Ok).boxed())
}

/// Runs a future that never ends by itself, and has nothing to finish.
pub fn endless<Running>(make: impl Fn() -> Running + Send + Sync + 'static) -> Run
where
    Running: Future<Output = ()> + Send + 'static,
{
    until_cancelled(move |shutdown| shutdown.run_until_cancelled_owned(make()).map(drop))
}

/// The message of a service: its future has ended.
pub struct Ended(Result<(), ActorProcessingErr>);

impl ractor::Message for Ended {}

/// The service actor.
pub struct Service;

/// Arguments of a service.
#[derive(Clone)]
pub struct ServiceArguments {
    /// Makes the future.
    pub run: Run,
    /// Cancelled at shutdown.
    pub shutdown: CancellationToken,
    /// Cancelled by the service when its future has ended after shutdown.
    pub ended: CancellationToken,
}

/// State of a service.
pub struct ServiceState {
    arguments: ServiceArguments,
    /// Cancels the future when the actor ends.
    _guard: tokio_util::sync::DropGuard,
}

impl Actor for Service {
    type Msg = Ended;
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
            // A panic counts as an error, so that the supervisor restarts the service. State shared with others is
            // consistent after every step.
            let result = AssertUnwindSafe(running).catch_unwind().await;
            let result = result.unwrap_or_else(|panic| {
                let message = panics::message(&*panic);
                Err(format!("panicked: {message}").into())
            });
            // Fails only if the actor has stopped.
            let _ = myself.cast(Ended(result));
        });
        Ok(ServiceState {
            arguments,
            _guard: token.drop_guard(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        Ended(result): Ended,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if state.arguments.shutdown.is_cancelled() {
            state.arguments.ended.cancel();
            return Ok(());
        }
        result?;
        Err("ended before shutdown".into())
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
    async fn a_panic_ends_the_service_with_an_error() {
        let run: Run = Arc::new(|_| {
            async {
                tokio::task::yield_now().await;
                panic!("on purpose")
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
    async fn a_panic_during_shutdown_counts_as_ended() {
        let run: Run = Arc::new(|shutdown| {
            async move {
                shutdown.cancelled().await;
                panic!("on purpose")
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
