//! The one retry policy: pauses that double up to a limit, with jitter so that clients which failed together do not
//! retry together.

use std::error::Error;
use std::time::Duration;

use rand::Rng;

/// Pauses between attempts.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempt: u32,
}

impl Backoff {
    /// From `first`, doubling up to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            attempt: 0,
        }
    }

    /// The next pause: between half of it and all of it.
    pub fn next_pause(&mut self) -> Duration {
        let full = self
            .first
            .saturating_mul(2u32.saturating_pow(self.attempt))
            .min(self.longest);
        self.attempt = self.attempt.saturating_add(1);
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// How many pauses were asked for.
    pub const fn attempts(&self) -> u32 {
        self.attempt
    }
}

/// How often an operation is attempted, and the pauses in between.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Attempts in all.
    pub attempts: u32,
    /// The pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

/// Attempts `operation` until it succeeds, fails with an error that is not transient, or has used up the policy's
/// attempts. Logs each failed attempt under the name `what`.
///
/// # Errors
/// That of the last attempt.
pub async fn retry<T, E, F>(
    what: &'static str,
    policy: RetryPolicy,
    is_transient: impl Fn(&E) -> bool,
    operation: impl Fn() -> F,
) -> Result<T, E>
where
    E: Error + 'static,
    F: Future<Output = Result<T, E>>,
{
    let mut backoff = Backoff::new(policy.first_pause, policy.longest_pause);
    loop {
        let error = match operation().await {
            Err(error) if is_transient(&error) => error,
            done => return done,
        };
        let failed = backoff.attempts() + 1;
        if failed >= policy.attempts {
            tracing::error!(
                error = &error as &dyn Error,
                what,
                attempts = failed,
                "operation failed"
            );
            return Err(error);
        }
        tracing::warn!(error = &error as &dyn Error, what, "attempt failed; retrying");
        tokio::time::sleep(backoff.next_pause()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    use super::*;

    #[test]
    fn pauses_grow_up_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let pauses: Vec<Duration> = (0..40).map(|_| backoff.next_pause()).collect();
        assert!(pauses[0] <= Duration::from_millis(100) && pauses[0] >= Duration::from_millis(50));
        assert!(
            pauses
                .iter()
                .skip(5)
                .all(|pause| *pause >= Duration::from_millis(500) && *pause <= Duration::from_secs(1))
        );
        assert_eq!(backoff.attempts(), 40);
    }

    /// Attempts made, and whether one succeeded, for an operation that fails with `kind` before attempt `succeeds_at`.
    async fn attempts(succeeds_at: u32, kind: io::ErrorKind) -> (u32, bool) {
        let policy = RetryPolicy {
            attempts: 3,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_millis(800),
        };
        let made = Cell::new(0);
        let is_transient = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        let result = retry("test", policy, is_transient, async || {
            made.set(made.get() + 1);
            if made.get() < succeeds_at {
                Err(kind.into())
            } else {
                Ok(())
            }
        })
        .await;
        (made.get(), result.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn only_transient_errors_are_retried() {
        assert_eq!(attempts(1, io::ErrorKind::TimedOut).await, (1, true));
        assert_eq!(attempts(3, io::ErrorKind::TimedOut).await, (3, true));
        assert_eq!(attempts(4, io::ErrorKind::TimedOut).await, (3, false));
        assert_eq!(attempts(2, io::ErrorKind::NotFound).await, (1, false));
    }
}
