//! The actor that runs one checkout, with pauses between failed attempts.

use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::run::Checkout;
use souk_retry::Backoff;

/// The first pause after a failed step.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause. A step is retried until it succeeds or the order decides otherwise.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Failed attempts after which the order is read anew.
const ATTEMPTS_PER_READ: u32 = 2;

/// The message of a worker: run the checkout until there is nothing to do.
pub(super) struct Run;

impl ractor::Message for Run {}

/// The actor.
pub(super) struct Worker;

impl Actor for Worker {
    type Msg = Run;
    type State = Checkout;
    type Arguments = Checkout;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        checkout: Checkout,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.cast(Run)?;
        Ok(checkout)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        Run: Run,
        checkout: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let started = Instant::now();
        run(checkout).await;
        metrics::histogram!("souk_checkout_seconds").record(started.elapsed().as_secs_f64());
        myself.stop(Some("nothing is left to do".to_owned()));
        Ok(())
    }
}

async fn run(checkout: &mut Checkout) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        match checkout.advance().await {
            Ok(true) => backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            Ok(false) => return,
            Err(error) => {
                // Another service failed: there is no event to wait for.
                tokio::time::sleep(backoff.next_pause().max(error.least_pause())).await;
                if backoff.attempts() >= ATTEMPTS_PER_READ {
                    checkout.read_again();
                }
            }
        }
    }
}
