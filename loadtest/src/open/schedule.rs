//! When arrivals are due: at a constant rate, whatever the server does.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Arrivals at a constant rate from a start on.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    rate: f64,
    count: u64,
    counted_from: Instant,
}

impl Schedule {
    /// `rate` arrivals a second over `length`, the first at `start`.
    pub fn new(start: Instant, rate: f64, length: Duration) -> Self {
        Self {
            start,
            rate,
            count: (rate * length.as_secs_f64()).round() as u64,
            counted_from: start,
        }
    }

    /// With as many more arrivals as come in `warm_up`, before those that are counted.
    #[must_use]
    pub fn with_warm_up(self, warm_up: Duration) -> Self {
        Self {
            count: self.count + (self.rate * warm_up.as_secs_f64()).round() as u64,
            counted_from: self.start + warm_up,
            ..self
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// From when on arrivals are counted.
    pub fn counted_from(&self) -> Instant {
        self.counted_from
    }

    /// When an arrival is due.
    pub fn due(&self, arrival: u64) -> Instant {
        self.start + Duration::from_secs_f64(arrival as f64 / self.rate)
    }

    /// How many are due at `now`.
    pub fn due_by(&self, now: Instant) -> u64 {
        match now.checked_duration_since(self.start) {
            None => 0,
            Some(passed) => self.count.min((passed.as_secs_f64() * self.rate) as u64 + 1),
        }
    }

    /// Gives `gate` a permit for each arrival when it is due, and `farewells` more after the last. Runs on a thread of its
    /// own, since tokio's timer counts in milliseconds.
    pub fn pace(&self, gate: &Semaphore, farewells: usize) {
        let mut released = 0;
        while released < self.count {
            let now = Instant::now();
            let due = self.due_by(now);
            gate.add_permits(usize::try_from(due - released).unwrap_or(usize::MAX));
            released = due;
            if released < self.count {
                std::thread::sleep(self.due(released).saturating_duration_since(Instant::now()));
            }
        }
        gate.add_permits(farewells);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_evenly_spaced() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 200.0, Duration::from_secs(3));
        assert_eq!(schedule.count(), 600);
        assert_eq!(schedule.due(0), start);
        assert_eq!(schedule.due(100) - start, Duration::from_millis(500));
        assert_eq!(schedule.due_by(start), 1);
        assert_eq!(schedule.due_by(start + Duration::from_millis(12)), 3);
        assert_eq!(schedule.due_by(start + Duration::from_secs(60)), 600);
        // A rate that is no whole number accumulates no error.
        let odd = Schedule::new(start, 333.3, Duration::from_secs(1_000));
        assert_eq!(odd.count(), 333_300);
        assert!(odd.due(333_299) - start < Duration::from_secs(1_000));
        let warmed = schedule.with_warm_up(Duration::from_secs(1));
        assert_eq!((warmed.count(), warmed.due(200)), (800, warmed.counted_from()));
    }

    #[test]
    fn every_arrival_gets_a_permit() {
        let gate = Semaphore::new(0);
        let began = Instant::now();
        let schedule = Schedule::new(began, 500.0, Duration::from_millis(100));
        schedule.pace(&gate, 7);
        assert_eq!(gate.available_permits(), 50 + 7);
        // The last of fifty is due after 49 intervals, and not before.
        assert!(began.elapsed() >= Duration::from_millis(98));
    }
}
