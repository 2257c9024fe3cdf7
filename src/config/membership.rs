//! `[membership]`: how fast the cluster notices that nodes come and go.

use super::error::Problems;
use super::section::{Milliseconds, Settings, numbers};

numbers! {
    /// `[membership]`: how fast the cluster notices that nodes come and go.
    Membership "membership" {
        /// Interval at which a node gossips.
        gossip_interval_ms: Milliseconds = 120, 20..=5000;
        /// Interval at which a node reads the view from the coordination store.
        look_interval_ms: Milliseconds = 150, 20..=10000;
        /// How long a view that was read counts as verified: meanwhile a node may answer from memory.
        verified_ms: Milliseconds = 600, 100..=60000;
        /// How much longer than the majority the minority waits before it proposes a view.
        minority_wait_ms: Milliseconds = 4000, 0..=600000;
        /// Of two nodes that hear each other by gossip and have had no link for this long, one leaves the view.
        unreachable_ms: Milliseconds = 5000, 1000..=600000;
    }
}

impl Settings for Membership {
    fn check(&self, problems: &mut Problems) {
        self.check_ranges(problems);
        // The view must be read at least twice while it counts as verified, or every late read sends entities' reads to
        // the store.
        if self.look_interval_ms.0.saturating_mul(2) > self.verified_ms.0 {
            problems.add(
                "membership.look_interval_ms",
                format!(
                    "({}) is more than half of membership.verified_ms ({})",
                    self.look_interval_ms, self.verified_ms
                ),
                "lower the former or raise the latter: otherwise one late read keeps the node from answering from memory",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_is_read_twice_while_it_is_verified() {
        let mut problems = Problems::default();
        Membership {
            look_interval_ms: Milliseconds(600),
            ..Membership::default()
        }
        .check(&mut problems);
        assert_eq!(problems.keys(), ["membership.look_interval_ms"]);
    }
}
