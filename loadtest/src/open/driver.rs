//! The loops: closed, where a client waits for one reply before its next request, and open, where arrivals keep to their
//! schedule.
//!
//! The open loop measures from the moment an arrival was due. A closed loop sends nothing while the server stalls, so that a
//! stall costs it one slow sample for each client ("coordinated omission"); in the open loop everything that was due in the
//! meantime waits, and is counted with its wait.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::schedule::Schedule;
use crate::failure::Failure;

/// Significant digits of latencies.
const DIGITS: u8 = 3;
/// Longest latency that is told from longer ones, in microseconds: an hour. Every wait ends before.
const LONGEST: u64 = 3_600_000_000;

/// What came of one arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was done.
    Accepted,
    /// It was accepted, and goes on behind the reply (202).
    Pending,
    /// The server was asked for more than it can do, and said how long to wait before the next try.
    Refused(Duration),
    /// Anything else, and what it was.
    Failed(String),
}

/// What one client does at each arrival.
pub trait Work: Send + 'static {
    /// Does it once.
    fn once(&mut self) -> impl Future<Output = Ending> + Send;
}

/// Counts of a run, and the latencies of what was accepted. Every arrival is in exactly one count.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Arrivals that were accepted.
    pub accepted: u64,
    /// Accepted, and still under way at the reply.
    pub pending: u64,
    /// Refused with a time to try again.
    pub refused: u64,
    /// Failed otherwise.
    pub failed: u64,
    /// Not started in time, because all clients were busy.
    pub missed: u64,
    /// The first failure.
    pub failure: Option<String>,
    /// The time that is counted.
    counted: Range<Instant>,
    /// What was accepted in that time, whenever it arrived.
    accepted_in_time: u64,
    /// Of what was accepted, in microseconds.
    latencies: Histogram<u64>,
}

impl Tally {
    /// Counts what arrives from `from` on, for `length`.
    fn new(from: Instant, length: Duration) -> Result<Self, Failure> {
        let latencies = Histogram::new_with_bounds(1, LONGEST, DIGITS)
            .map_err(|error| Failure::failed("no histogram can be made", error))?;
        Ok(Self {
            accepted: 0,
            pending: 0,
            refused: 0,
            failed: 0,
            missed: 0,
            failure: None,
            counted: from..from + length,
            accepted_in_time: 0,
            latencies,
        })
    }

    /// Counts what arrived at `arrived` and ends now. A failure is one in the warm-up as well.
    fn count(&mut self, arrived: Instant, ending: Ending) {
        let now = Instant::now();
        self.accepted_in_time += u64::from(ending == Ending::Accepted && self.counted.contains(&now));
        if arrived < self.counted.start && !matches!(ending, Ending::Failed(_)) {
            return;
        }
        let latency = now - arrived;
        match ending {
            Ending::Accepted => {
                self.accepted += 1;
                self.latencies
                    .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
            }
            Ending::Pending => self.pending += 1,
            Ending::Refused(_) => self.refused += 1,
            Ending::Failed(why) => {
                self.failed += 1;
                self.failure.get_or_insert(why);
            }
        }
    }

    /// All arrivals.
    pub fn offered(&self) -> u64 {
        self.accepted + self.pending + self.refused + self.failed + self.missed
    }

    /// What was accepted in each second of the counted time: neither what was accepted before it, nor a backlog that is worked
    /// off after it.
    pub fn goodput(&self) -> f64 {
        self.accepted_in_time as f64 / self.length().as_secs_f64()
    }

    /// The length of the counted time.
    pub fn length(&self) -> Duration {
        self.counted.end - self.counted.start
    }

    /// The latency that `part` (0 to 1) of what was accepted did not exceed.
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_micros(self.latencies.value_at_quantile(part))
    }

    /// The longest latency.
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.latencies.max())
    }
}

/// A tally that clients share. A client that panicked can't have left it half counted.
type Shared = Arc<Mutex<Tally>>;

fn locked(tally: &Shared) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets every client work for `length` after a warm-up that is not counted, without a pause but for those that a refusal asks
/// for; the clients are returned for the next run. Latencies are from the start of each piece of work.
///
/// # Errors
/// [`Failure`] where a client panics.
pub async fn closed<W: Work>(
    clients: Vec<W>,
    warm_up: Duration,
    length: Duration,
) -> Result<(Tally, Vec<W>), Failure> {
    let from = Instant::now() + warm_up;
    let until = from + length;
    let tally: Shared = Arc::new(Mutex::new(Tally::new(from, length)?));
    let mut running = JoinSet::new();
    for mut client in clients {
        let tally = Arc::clone(&tally);
        running.spawn(async move {
            while Instant::now() < until {
                let began = Instant::now();
                let ending = client.once().await;
                let pause = match ending {
                    Ending::Refused(retry_after) => Some(retry_after),
                    _ => None,
                };
                locked(&tally).count(began, ending);
                // The timer counts in milliseconds, so that a pause of nothing may take one.
                if let Some(pause) = pause {
                    sleep_until(until.min(Instant::now() + pause)).await;
                }
            }
            client
        });
    }
    finished(running, &tally).await
}

/// Lets arrivals come by `schedule`. Each takes the next free client; one that is not started within `patience` is missed.
/// `pacer` gives the semaphore a permit for each arrival when it is due, and one more for each client at the end.
///
/// # Errors
/// [`Failure`] where a client panics.
pub async fn open<W: Work>(
    clients: Vec<W>,
    schedule: Schedule,
    length: Duration,
    patience: Duration,
    pacer: impl FnOnce(Arc<Semaphore>, usize),
) -> Result<(Tally, Vec<W>), Failure> {
    let tally: Shared = Arc::new(Mutex::new(Tally::new(schedule.counted_from(), length)?));
    let gate = Arc::new(Semaphore::new(0));
    let next = Arc::new(AtomicU64::new(0));
    pacer(Arc::clone(&gate), clients.len());
    let mut running = JoinSet::new();
    for mut client in clients {
        let (tally, gate, next) = (Arc::clone(&tally), Arc::clone(&gate), Arc::clone(&next));
        running.spawn(async move {
            // The semaphore is never closed.
            while let Ok(permit) = gate.acquire().await {
                permit.forget();
                // Permits stand for arrivals in their order, whoever takes them.
                let arrival = next.fetch_add(1, Ordering::Relaxed);
                if arrival >= schedule.count() {
                    break;
                }
                let due = schedule.due(arrival);
                if due.elapsed() > patience {
                    locked(&tally).missed += u64::from(due >= schedule.counted_from());
                    continue;
                }
                let ending = client.once().await;
                locked(&tally).count(due, ending);
            }
            client
        });
    }
    finished(running, &tally).await
}

/// Waits for all clients.
async fn finished<W: Work>(mut running: JoinSet<W>, tally: &Shared) -> Result<(Tally, Vec<W>), Failure> {
    let mut clients = Vec::new();
    while let Some(ended) = running.join_next().await {
        clients.push(ended.map_err(|error| Failure::failed("a client ended early", error))?);
    }
    Ok((locked(tally).clone(), clients))
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    /// A server that answers after a millisecond, and not at all during a stall.
    #[derive(Clone)]
    struct Stalling {
        stall: (Instant, Instant),
    }

    impl Work for Stalling {
        async fn once(&mut self) -> Ending {
            let (from, until) = self.stall;
            sleep(Duration::from_millis(1)).await;
            if (from..until).contains(&Instant::now()) {
                sleep_until(until).await;
            }
            Ending::Accepted
        }
    }

    /// The pacing of a paused clock: a thread would sleep in real time.
    fn paced(schedule: Schedule) -> impl FnOnce(Arc<Semaphore>, usize) {
        move |gate, farewells| {
            tokio::spawn(async move {
                for arrival in 0..schedule.count() {
                    sleep_until(schedule.due(arrival)).await;
                    gate.add_permits(1);
                }
                gate.add_permits(farewells);
            });
        }
    }

    const LENGTH: Duration = Duration::from_secs(10);
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A second of ten without an answer: the closed loop sees one slow reply among thousands, the open loop all those that
    /// were due.
    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_hides_a_stall_and_the_open_loop_does_not() {
        let stalling = || {
            let from = Instant::now() + Duration::from_secs(4);
            Stalling {
                stall: (from, from + Duration::from_secs(1)),
            }
        };
        let (hidden, _) = closed(vec![stalling()], Duration::ZERO, LENGTH).await.unwrap();
        assert!(hidden.accepted > 4_000);
        assert!(hidden.longest() >= Duration::from_millis(990));
        assert!(
            hidden.quantile(0.999) < Duration::from_millis(10),
            "{:?}",
            hidden.quantile(0.999)
        );

        let schedule = Schedule::new(Instant::now(), 100.0, LENGTH);
        let (seen, _) = open(vec![stalling(); 200], schedule, LENGTH, PATIENCE, paced(schedule))
            .await
            .unwrap();
        assert_eq!((seen.accepted, seen.missed), (1_000, 0));
        // A tenth of all arrivals was due within the stall, and waited half a second on average.
        assert!(
            seen.quantile(0.95) > Duration::from_millis(300),
            "{:?}",
            seen.quantile(0.95)
        );
        assert!(seen.quantile(0.5) < Duration::from_millis(10));
    }

    /// With one client, arrivals wait for it: their latency is from when they were due.
    #[tokio::test(start_paused = true)]
    async fn latency_counts_from_the_scheduled_start() {
        let from = Instant::now();
        let stalling = Stalling {
            stall: (from, from + Duration::from_secs(1)),
        };
        let schedule = Schedule::new(from, 10.0, Duration::from_secs(1));
        let (tally, _) = open(
            vec![stalling],
            schedule,
            Duration::from_secs(1),
            PATIENCE,
            paced(schedule),
        )
        .await
        .unwrap();
        assert_eq!(tally.accepted, 10);
        // The third was due after 200 ms and answered after the stall of 1 s.
        let near = |latency: Duration, expected: u64| {
            latency.abs_diff(Duration::from_millis(expected)) < Duration::from_millis(15)
        };
        assert!(near(tally.longest(), 1_000), "{:?}", tally.longest());
        assert!(near(tally.quantile(0.75), 803), "{:?}", tally.quantile(0.75));
    }

    #[tokio::test(start_paused = true)]
    async fn a_warm_up_is_not_counted() {
        let from = Instant::now();
        let stalling = Stalling {
            stall: (from, from + Duration::from_secs(1)),
        };
        let schedule = Schedule::new(from, 10.0, LENGTH).with_warm_up(Duration::from_secs(2));
        let (tally, _) = open(vec![stalling; 20], schedule, LENGTH, PATIENCE, paced(schedule))
            .await
            .unwrap();
        assert_eq!((tally.accepted, tally.goodput()), (100, 10.0));
        assert!(
            tally.longest() < Duration::from_millis(10),
            "{:?}",
            tally.longest()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_started_in_time_is_missed_and_counted() {
        let from = Instant::now();
        let stalling = Stalling {
            stall: (from, from + Duration::from_secs(5)),
        };
        let schedule = Schedule::new(from, 10.0, LENGTH);
        let patience = Duration::from_secs(1);
        let (tally, clients) = open(vec![stalling; 2], schedule, LENGTH, patience, paced(schedule))
            .await
            .unwrap();
        // Two clients are caught in the stall; those due up to a second before its end start at its end.
        assert_eq!(tally.offered(), 100);
        assert!((37..=39).contains(&tally.missed), "{}", tally.missed);
        assert_eq!(tally.accepted, 100 - tally.missed);
        assert_eq!(clients.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_of_the_closed_loop_waits_as_long_as_a_refusal_says() {
        let refused = vec![Ending::Refused(Duration::from_secs(4)); 2];
        let (tally, _) = closed(vec![Each(refused)], Duration::ZERO, LENGTH).await.unwrap();
        assert_eq!(tally.refused, 2);
        assert!((1_900..2_000).contains(&tally.accepted), "{}", tally.accepted);
    }

    /// What goes on at the end of the warm-up is capacity of the counted time, and what is worked off afterwards is not.
    #[tokio::test(start_paused = true)]
    async fn goodput_is_what_ends_in_the_counted_time() {
        let from = Instant::now();
        let warm_up = Duration::from_secs(5);
        let schedule = Schedule::new(from, 10.0, LENGTH).with_warm_up(warm_up);
        let slow = || Stalling {
            stall: (from + warm_up + LENGTH / 2, from + warm_up + LENGTH * 2),
        };
        let clients = (0..200).map(|_| slow()).collect();
        let (tally, _) = open(clients, schedule, LENGTH, PATIENCE, paced(schedule))
            .await
            .unwrap();
        assert_eq!((tally.accepted, tally.goodput()), (100, 5.0));
    }

    struct Each(Vec<Ending>);

    impl Work for Each {
        async fn once(&mut self) -> Ending {
            sleep(Duration::from_millis(1)).await;
            self.0.pop().unwrap_or(Ending::Accepted)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_ending_has_its_count() {
        let failed = |why: &str| Ending::Failed(why.to_owned());
        let endings = vec![
            failed("second"),
            failed("first"),
            Ending::Refused(Duration::ZERO),
            Ending::Pending,
        ];
        let schedule = Schedule::new(Instant::now(), 10.0, Duration::from_secs(1));
        let (tally, _) = open(
            vec![Each(endings)],
            schedule,
            Duration::from_secs(1),
            PATIENCE,
            paced(schedule),
        )
        .await
        .unwrap();
        assert_eq!(
            (tally.accepted, tally.pending, tally.refused, tally.failed),
            (6, 1, 1, 2)
        );
        assert_eq!((tally.offered(), tally.failure.as_deref()), (10, Some("first")));
        assert_eq!(tally.goodput(), 6.0);
    }
}
