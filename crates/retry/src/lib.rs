//! The one retry policy: pauses that double up to a limit, with jitter so that those who failed together do not come
//! back together.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_below_the_limit() {
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
}
