//! What must not stay half done because a store was away for a moment.

use std::time::Duration;

use super::AccountError;
use souk_retry::Backoff;

/// How often it is tried.
const ATTEMPTS: u32 = 5;
/// The pause after the first attempt; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// Tries again where a store does not answer. `what` it was about goes to the log where it fails in the end: somebody has
/// to look after it.
pub(super) async fn insist<T, Attempt>(
    what: &'static str,
    attempt: impl Fn() -> Attempt,
) -> Result<T, AccountError>
where
    Attempt: Future<Output = Result<T, AccountError>>,
{
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(AccountError::Store(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    what,
                    "it is tried again"
                );
            }
            done => return done,
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
    let last = attempt().await;
    if let Err(AccountError::Store(error)) = &last {
        tracing::error!(error = error as &dyn std::error::Error, what, "it stays undone");
    }
    last
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::stores::StoreError;

    /// How often something is tried that works from the attempt `works_from` on, and whether it worked.
    async fn tried(works_from: u32, error: fn() -> AccountError) -> (u32, bool) {
        let attempts = AtomicU32::new(0);
        let done = insist("test", async || {
            let number = attempts.fetch_add(1, Ordering::Relaxed) + 1;
            if number < works_from { Err(error()) } else { Ok(()) }
        })
        .await;
        (attempts.into_inner(), done.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_comes_back_is_asked_again_and_a_refusal_stands() {
        let away = || {
            AccountError::Store(StoreError::Unavailable {
                store: "sessions",
                cause: "gone".into(),
            })
        };
        assert_eq!(tried(1, away).await, (1, true));
        assert_eq!(tried(ATTEMPTS, away).await, (ATTEMPTS, true));
        assert_eq!(tried(ATTEMPTS + 1, away).await, (ATTEMPTS, false));
        assert_eq!(tried(2, || AccountError::BadToken).await, (1, false));
    }
}
