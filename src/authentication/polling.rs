//! Refreshes in-memory state from a store periodically, and logs once per outage.

use std::error::Error;
use std::time::Duration;

use metrics::Counter;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Log messages and metrics of a poller.
pub(super) struct Reporting {
    /// Logged when polling fails after a success.
    pub(super) failing: &'static str,
    /// Logged when polling succeeds after a failure.
    pub(super) recovered: &'static str,
    /// Counts failures.
    pub(super) failures: Counter,
}

/// Runs `refresh` every `interval` until `stop`, which cancels one that is in progress.
pub(super) async fn poll<E: Error + 'static, F: Future<Output = Result<(), E>>>(
    interval: Duration,
    stop: CancellationToken,
    reporting: Reporting,
    mut refresh: impl FnMut() -> F,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        let refreshed = stop.run_until_cancelled(async {
            ticks.tick().await;
            refresh().await
        });
        let Some(result) = refreshed.await else { return };
        match &result {
            Ok(()) if failing => tracing::info!("{}", reporting.recovered),
            Ok(()) => {}
            Err(error) => {
                reporting.failures.increment(1);
                if !failing {
                    tracing::warn!(error = error as &dyn Error, "{}", reporting.failing);
                }
            }
        }
        failing = result.is_err();
    }
}
