//! What a node keeps in memory as the store has it: looked at again and again, and warned of once for a whole absence.

use std::error::Error as StdError;
use std::time::Duration;

use metrics::Counter;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// What is said of a following.
pub(super) struct Words {
    /// Once, when it fails after it worked.
    pub(super) failing: &'static str,
    /// Once, when it works again.
    pub(super) again: &'static str,
    /// Counts each failure.
    pub(super) failures: Counter,
}

/// Takes `step` every `interval` until `stop`, which cuts one that is under way.
pub(super) async fn follow<E: StdError + 'static, F: Future<Output = Result<(), E>>>(
    interval: Duration,
    stop: CancellationToken,
    words: Words,
    mut step: impl FnMut() -> F,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        let taken = stop.run_until_cancelled(async {
            ticks.tick().await;
            step().await
        });
        let Some(taken) = taken.await else { return };
        match &taken {
            Ok(()) if failing => tracing::info!("{}", words.again),
            Ok(()) => {}
            Err(error) => {
                words.failures.increment(1);
                if !failing {
                    tracing::warn!(error = error as &dyn StdError, "{}", words.failing);
                }
            }
        }
        failing = taken.is_err();
    }
}
