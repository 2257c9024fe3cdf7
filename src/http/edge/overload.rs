//! Notices that a node is asked for more than it can do, and how many requests it can work on meanwhile.
//!
//! Beyond its capacity a node does as much as at it, and everything takes longer the more of it is in flight (Little's law). So
//! the requests in flight are limited such that commands to entities take no longer than they should: the limit falls in
//! proportion where they do, and rises slowly otherwise. A burst is worked off without a refusal: only what lasts is overload.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::actors::Regions;
use crate::actors::metrics::interpolated;

/// How often the latency is looked at.
const INTERVAL: Duration = Duration::from_millis(100);
/// Where commands are few, how long they are gathered for a look.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);
/// How long commands are slow before it is overload, how long nothing is refused before it is over, and how long few are in flight
/// before the node is quiet.
const SUSTAINED: Duration = Duration::from_secs(2);
/// Commands between two looks by which the latency can be told.
const LEAST_COMMANDS: u64 = 20;
/// A checkout is a series of commands of its worker: each of them has this part of the time.
const COMMANDS_OF_A_CHECKOUT: u32 = 3;
/// A slow disk is no overload: commands may take this many times as long as on the quiet node.
const TIMES_QUIET: u32 = 5;
/// In this time without a quieter moment, what counts as quiet doubles.
const QUIET_DOUBLES: Duration = Duration::from_secs(600);
/// The fewest requests that a node works on; with as many it is quiet.
const LEAST: usize = 8;
/// The largest step down, as a part of the limit.
const STEP_DOWN: f64 = 0.5;
/// The step up, as a part of the limit; and one.
const STEP_UP: f64 = 0.05;

/// The limit of requests in flight while a node is overloaded.
pub struct Overload {
    /// How long commands should take at most; `None` where any time is right.
    target: Option<Duration>,
    commands: Commands,
    /// `usize::MAX` without overload.
    limit: AtomicUsize,
    state: Mutex<State>,
}

/// Counts the commands of a node by what they took in microseconds, in buckets: all, and those of background workers.
type Commands = Box<dyn Fn() -> [Vec<u64>; 2] + Send + Sync>;

struct State {
    /// When the counters are looked at again: each look costs a sum over all of them.
    next: Instant,
    /// Since when is counted.
    looked: Instant,
    /// Since then.
    most_in_flight: usize,
    counts: [Vec<u64>; 2],
    control: Control,
}

impl Overload {
    /// Judges by the commands of these regions whether they take longer than `target`; zero for no limit.
    pub fn new(target: Duration, regions: Regions) -> Self {
        let commands = move || {
            let mut counts = [Vec::new(), Vec::new()];
            for region in regions.all() {
                let metrics = region.metrics();
                for (sum, of_kind) in counts
                    .iter_mut()
                    .zip([&metrics.latency, &metrics.background_latency])
                {
                    let of_kind = of_kind.counts();
                    sum.resize(of_kind.len(), 0);
                    sum.iter_mut().zip(of_kind).for_each(|(sum, count)| *sum += count);
                }
            }
            counts
        };
        Self {
            target: (!target.is_zero()).then_some(target),
            ..Self::by(Box::new(commands))
        }
    }

    /// A node that limits itself to `limit`.
    #[cfg(test)]
    pub fn limited(limit: usize) -> Self {
        let overload = Self::never();
        overload.limit.store(limit, Ordering::Relaxed);
        overload
    }

    /// A node that is never overloaded.
    pub fn never() -> Self {
        Self::by(Box::new(|| [Vec::new(), Vec::new()]))
    }

    fn by(commands: Commands) -> Self {
        let now = Instant::now();
        let state = State {
            next: now + INTERVAL,
            looked: now,
            most_in_flight: 0,
            counts: commands(),
            control: Control::default(),
        };
        Self {
            target: None,
            commands,
            limit: AtomicUsize::new(usize::MAX),
            state: Mutex::new(state),
        }
    }

    /// The most requests in flight now, of which there are `in_flight`.
    pub fn limit(&self, in_flight: usize) -> usize {
        // Where another request looks, or panicked while it did, the last limit holds.
        if let Some(target) = self.target
            && let Ok(mut state) = self.state.try_lock()
        {
            state.most_in_flight = state.most_in_flight.max(in_flight);
            let now = Instant::now();
            if state.next <= now {
                state.next = now + INTERVAL;
                self.look(&mut state, now, target);
            }
        }
        self.limit.load(Ordering::Relaxed)
    }

    fn look(&self, state: &mut State, now: Instant, target: Duration) {
        let elapsed = now.duration_since(state.looked);
        let counts = (self.commands)();
        let [all, background] = [0, 1].map(|of| difference(&counts[of], &state.counts[of]));
        let requests = median(&difference(&all, &background));
        let background = median(&background).map(|median| median * COMMANDS_OF_A_CHECKOUT);
        let latency = requests.max(background);
        if latency.is_none() && elapsed < LONGEST_INTERVAL {
            return;
        }
        let in_flight = std::mem::take(&mut state.most_in_flight);
        (state.looked, state.counts) = (now, counts);
        let was = state.control.limit;
        let limit = state.control.look(now, elapsed, target, latency, in_flight);
        self.limit.store(limit.unwrap_or(usize::MAX), Ordering::Relaxed);
        let latency_ms = latency.map(|latency| latency.as_millis());
        match (was, limit) {
            (None, Some(limit)) => {
                tracing::warn!(
                    in_flight,
                    limit,
                    latency_ms,
                    "the node is overloaded, and refuses requests"
                );
            }
            (Some(_), None) => tracing::info!(in_flight, latency_ms, "the overload is over"),
            _ => {}
        }
    }
}

/// What was counted between two states of counters.
fn difference(now: &[u64], before: &[u64]) -> Vec<u64> {
    let before = before.iter().chain(std::iter::repeat(&0));
    let pairs = now.iter().zip(before);
    pairs.map(|(now, before)| now.saturating_sub(*before)).collect()
}

/// The median latency; `None` for too few commands.
fn median(counts: &[u64]) -> Option<Duration> {
    let enough = counts.iter().sum::<u64>() >= LEAST_COMMANDS;
    let median = if enough { interpolated(counts, 50) } else { None };
    median.map(Duration::from_micros)
}

/// The control loop, without clock and counters.
#[derive(Debug, Default)]
struct Control {
    /// Since when commands are slow.
    slow_since: Option<Instant>,
    /// What commands take on the quiet node.
    quiet: Option<Duration>,
    /// When the node was not quiet for the last time.
    busy_at: Option<Instant>,
    /// When the next step down may be.
    steps_after: Option<Instant>,
    /// Since when the limit limits nothing.
    calm_since: Option<Instant>,
    /// The limit; `None` without overload.
    limit: Option<usize>,
}

impl Control {
    /// The limit after a look at the median `latency` of the commands of the last `elapsed`, with at most `in_flight` requests
    /// at once; `None` for hardly any commands.
    fn look(
        &mut self,
        now: Instant,
        elapsed: Duration,
        target: Duration,
        latency: Option<Duration>,
        in_flight: usize,
    ) -> Option<usize> {
        if elapsed >= SUSTAINED {
            // Each request looks: nobody asked for anything in the meantime, and these are the last commands of before.
            (self.limit, self.slow_since, self.calm_since) = (None, None, None);
            return None;
        }
        // A limited node has few in flight, and is not quiet: it works off what came before. So may one that was busy a moment ago.
        if in_flight > LEAST || self.limit.is_some() {
            self.busy_at = Some(now);
        }
        let is_quiet = self.busy_at.is_none_or(|at| now.duration_since(at) >= SUSTAINED);
        if is_quiet && let Some(latency) = latency {
            let growth = 1.0 + elapsed.as_secs_f64() / QUIET_DOUBLES.as_secs_f64();
            let quiet = self.quiet.map_or(latency, |quiet| quiet.mul_f64(growth));
            self.quiet = Some(quiet.min(latency));
        }
        let bound = self.quiet.map_or(target, |quiet| target.max(quiet * TIMES_QUIET));
        match latency.filter(|latency| *latency > bound) {
            Some(latency) => self.slow(now, bound, latency, in_flight),
            None => self.fast(now, in_flight),
        }
        self.limit
    }

    fn slow(&mut self, now: Instant, bound: Duration, latency: Duration, in_flight: usize) {
        self.calm_since = None;
        let since = *self.slow_since.get_or_insert(now);
        if self.limit.is_none() && now.duration_since(since) < SUSTAINED {
            return;
        }
        // What was admitted before the last step is slow whatever is done now.
        if self.steps_after.is_none_or(|after| after <= now) {
            let from = self.limit.map_or(in_flight, |limit| limit.min(in_flight));
            let step = (bound.as_secs_f64() / latency.as_secs_f64()).max(STEP_DOWN);
            self.limit = Some(scaled(from, step).max(LEAST));
            self.steps_after = Some(now + latency.min(LONGEST_INTERVAL));
        }
    }

    fn fast(&mut self, now: Instant, in_flight: usize) {
        self.slow_since = None;
        let Some(limit) = self.limit else { return };
        let raised = scaled(limit, 1.0 + STEP_UP) + 1;
        // Where twice as many may be in flight as are, the limit limits nothing.
        if raised <= 2 * in_flight.max(LEAST) {
            (self.limit, self.calm_since) = (Some(raised), None);
        } else if now.duration_since(*self.calm_since.get_or_insert(now)) >= SUSTAINED {
            (self.limit, self.calm_since) = (None, None);
        }
    }
}

/// A small count times a small factor: neither is too large for the other.
fn scaled(count: usize, factor: f64) -> usize {
    (count as f64 * factor) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(100);

    /// A node that works on whatever is in flight, one by one: what a command takes grows with what is in flight.
    struct Node {
        control: Control,
        now: Instant,
        each: Duration,
        limit: Option<usize>,
    }

    impl Node {
        fn new(each: Duration) -> Self {
            let mut node = Self {
                control: Control::default(),
                now: Instant::now(),
                each,
                limit: None,
            };
            node.run(Duration::from_secs(1), 1);
            node
        }

        /// For so long, so many requests would be in flight; the greatest number that are at the end.
        fn run(&mut self, length: Duration, offered: usize) -> usize {
            let (until, mut in_flight) = (self.now + length, 0);
            while self.now < until {
                self.now += INTERVAL;
                in_flight = self.limit.map_or(offered, |limit| offered.min(limit));
                let took = self.each * u32::try_from(in_flight).unwrap();
                self.limit = self
                    .control
                    .look(self.now, INTERVAL, TARGET, Some(took), in_flight);
            }
            in_flight
        }
    }

    /// A control that is given the latency in ms, what is in flight, and how often it looks; its limit after that.
    fn looks() -> impl FnMut(u64, usize, u32) -> Option<usize> {
        let mut control = Control::default();
        let mut now = Instant::now();
        move |latency, in_flight, looks| {
            let latency = Some(Duration::from_millis(latency));
            for _ in 0..looks {
                now += INTERVAL;
                control.look(now, INTERVAL, TARGET, latency, in_flight);
            }
            control.limit
        }
    }

    #[test]
    fn a_burst_is_worked_off() {
        let mut node = Node::new(Duration::from_millis(1));
        assert_eq!(node.run(SUSTAINED - INTERVAL, 3_000), 3_000);
        assert_eq!(node.run(INTERVAL, 10), 10);
        assert_eq!(node.run(SUSTAINED - INTERVAL, 3_000), 3_000);
        assert_eq!(node.limit, None);
    }

    #[test]
    fn lasting_overload_is_limited_to_what_is_answered_in_time() {
        let mut node = Node::new(Duration::from_millis(1));
        node.run(SUSTAINED + Duration::from_secs(4), 3_000);
        for _ in 0..100 {
            let in_flight = node.run(INTERVAL, 3_000);
            assert!((70..=110).contains(&in_flight), "{in_flight} of about 100");
        }
    }

    #[test]
    fn the_limit_ends_with_the_overload() {
        let mut node = Node::new(Duration::from_millis(1));
        node.run(Duration::from_secs(10), 3_000);
        assert!(node.limit.is_some());
        node.run(Duration::from_secs(5), 20);
        assert_eq!(node.limit, None);
    }

    #[test]
    fn a_slow_disk_is_no_overload() {
        let mut node = Node::new(Duration::from_millis(40));
        assert_eq!(node.run(Duration::from_secs(10), 5), 5);
        assert_eq!(node.limit, None, "five times of what one takes");
        node.run(Duration::from_secs(10), 50);
        assert!(node.limit.is_some());
    }

    #[test]
    fn a_node_that_works_off_its_backlog_is_not_taken_for_a_quiet_one() {
        let mut look = looks();
        // It starts under load, and knows no quiet moment.
        assert!(look(400, 90, 40).is_some());
        assert_eq!(look(400, LEAST, 10), Some(LEAST));
        assert_eq!(look(150, LEAST, 10), Some(LEAST), "still above the target");
    }

    #[test]
    fn a_lull_is_not_taken_for_a_quiet_moment() {
        let mut look = looks();
        assert_eq!(look(140, 100, 10), None);
        assert_eq!(look(30, LEAST, 19), None);
        assert!(look(140, 100, 21).is_some(), "less than five times of 30");
    }

    #[test]
    fn what_came_before_a_pause_is_not_taken_for_a_quiet_moment() {
        let mut control = Control::default();
        let begin = Instant::now();
        let slow = Some(Duration::from_millis(400));
        control.look(begin, INTERVAL, TARGET, slow, 100);
        let after = begin + SUSTAINED * 3;
        control.look(after, SUSTAINED * 3, TARGET, slow, 1);
        for looks in 1..=21 {
            control.look(after + INTERVAL * looks, INTERVAL, TARGET, slow, 100);
        }
        assert!(control.limit.is_some());
    }

    #[test]
    fn one_step_down_is_waited_for_before_the_next() {
        let mut control = Control::default();
        let begin = Instant::now();
        let slow = Duration::from_millis(500);
        let limits: Vec<_> = (0..=25)
            .map(|look| control.look(begin + INTERVAL * look, INTERVAL, TARGET, Some(slow), 100))
            .collect();
        assert_eq!(limits[20], Some(50));
        assert_eq!(limits[24], Some(50), "what was admitted before is slow anyway");
        assert_eq!(limits[25], Some(25));
    }

    #[test]
    fn the_limit_ends_only_where_nothing_is_refused_for_a_while() {
        let mut look = looks();
        let limit = look(400, 100, 21).unwrap();
        assert!(look(10, LEAST, 10).is_some(), "a lull of a second");
        assert!(look(10, limit, 5).is_some());
        assert!(look(10, LEAST, 19).is_some());
        assert_eq!(look(10, LEAST, 10), None);
    }

    #[test]
    fn the_limit_ends_with_the_last_request() {
        let mut control = Control::default();
        let begin = Instant::now();
        let slow = Some(Duration::from_millis(400));
        let mut look = |at, elapsed| control.look(begin + at, elapsed, TARGET, slow, 100);
        for looks in 0..=20 {
            look(INTERVAL * looks, INTERVAL);
        }
        assert!(look(SUSTAINED + INTERVAL, INTERVAL).is_some());
        // The next request comes after a pause, and finds the last slow commands of before: it may be the first of a burst.
        assert_eq!(look(SUSTAINED * 3, SUSTAINED), None);
        assert_eq!(look(SUSTAINED * 3 + INTERVAL, INTERVAL), None);
    }

    #[test]
    fn some_requests_are_always_worked_on() {
        let mut node = Node::new(Duration::from_millis(1));
        node.each = Duration::from_secs(5);
        assert_eq!(node.run(Duration::from_secs(60), 1_000), LEAST);
    }

    #[test]
    fn a_node_without_a_target_has_no_limit() {
        assert_eq!(Overload::never().limit(1_000_000), usize::MAX);
    }
}
