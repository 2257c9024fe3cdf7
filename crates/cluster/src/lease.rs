//! The lease: until when this node may answer from memory (invariant 13).
//!
//! A lease must not outlive a pause of the machine, and no clock alone shows every pause. The clock that runs since boot
//! counts the time in which the machine was suspended, but not that in which a hypervisor did not run it; the wall clock
//! is set right after both, but may be set back as well. So a lease ends by whichever clock says so first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Runs since boot, also while the machine is suspended where the system has such a clock.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SINCE_BOOT: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SINCE_BOOT: ClockId = ClockId::Monotonic;

/// A moment by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    since_boot: Duration,
    wall: Duration,
}

impl Moment {
    /// The present moment.
    pub fn now() -> Self {
        Self {
            since_boot: read(SINCE_BOOT),
            wall: read(ClockId::Realtime),
        }
    }
}

fn read(clock: ClockId) -> Duration {
    // Neither clock is negative, and an unknown one would end every lease.
    Duration::try_from(clock_gettime(clock)).unwrap_or(Duration::MAX)
}

/// The end of the lease by both clocks, in nanoseconds; 0 where there is none.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    until_since_boot: AtomicU64,
    until_wall: AtomicU64,
}

impl Lease {
    /// Whether it is valid. Read during a renewal, it may be taken for expired.
    pub(crate) fn holds(&self, now: Moment) -> bool {
        nanoseconds(now.since_boot) < self.until_since_boot.load(Ordering::Acquire)
            && nanoseconds(now.wall) < self.until_wall.load(Ordering::Acquire)
    }

    /// Makes it last for `length` from `began` on.
    pub(crate) fn renew(&self, began: Moment, length: Duration) {
        let until = |from: Duration| nanoseconds(from.saturating_add(length));
        self.until_since_boot
            .store(until(began.since_boot), Ordering::Release);
        self.until_wall.store(until(began.wall), Ordering::Release);
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.until_since_boot.store(0, Ordering::Release);
        self.until_wall.store(0, Ordering::Release);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds after the look that renewed the lease, by the clock since boot and by the wall clock.
    fn after(since_boot: i64, wall: i64) -> Moment {
        let at = |start: u64, milliseconds: i64| {
            Duration::from_millis(start.checked_add_signed(milliseconds).unwrap())
        };
        Moment {
            since_boot: at(7_000_000, since_boot),
            wall: at(1_700_000_000_000, wall),
        }
    }

    #[test]
    fn a_lease_does_not_outlive_a_pause() {
        let lease = Lease::default();
        assert!(!lease.holds(after(0, 0)), "never renewed");
        lease.renew(after(0, 0), Duration::from_secs(1));
        assert!(lease.holds(after(999, 999)));
        assert!(!lease.holds(after(1_000, 1_000)), "expired");
        assert!(!lease.holds(after(60_000, 60_000)), "suspended");
        assert!(!lease.holds(after(1, 60_000)), "the hypervisor paused it");
        // Somebody set the wall clock back.
        assert!(lease.holds(after(999, -60_000)));
        assert!(!lease.holds(after(1_000, -60_000)));
        lease.end();
        assert!(!lease.holds(after(1, 1)));
    }

    #[test]
    fn both_clocks_advance() {
        let lease = Lease::default();
        let began = Moment::now();
        lease.renew(began, Duration::from_secs(3_600));
        assert!(lease.holds(Moment::now()));
        lease.renew(began, Duration::ZERO);
        assert!(!lease.holds(Moment::now()));
    }
}
