//! Metrics of entities and stores on this node, counted without locks: for the operator's interface and for Prometheus.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use souk_domain::Kind;

/// Crashes that are kept for operators.
const CRASHES_KEPT: usize = 32;

/// A crash of an entity.
#[derive(Clone, Debug, Serialize)]
pub struct Crash {
    /// The entity.
    pub id: String,
    /// The message of the panic.
    pub reason: String,
}

/// Metrics of one kind of entity, since the node started.
#[derive(Debug)]
pub struct KindMetrics {
    /// The kind.
    pub kind: Kind,
    /// Entities in memory.
    pub live: AtomicUsize,
    /// Activations.
    pub activations: AtomicU64,
    /// Passivations, of idle entities or above the cap.
    pub passivations: AtomicU64,
    /// Restarts after a crash.
    pub restarts: AtomicU64,
    /// Writes that conflicted with another version.
    pub conflicts: AtomicU64,
    /// Reads that found a newer version in the store.
    pub reloads: AtomicU64,
    /// Commands refused as busy.
    pub refused: AtomicU64,
    /// Microseconds from a command to its reply.
    pub latency: Distribution,
    /// The same, of the commands of background workers alone.
    pub background_latency: Distribution,
    crashes: Mutex<VecDeque<Crash>>,
    started: Instant,
}

impl KindMetrics {
    /// All zero.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            live: AtomicUsize::new(0),
            activations: AtomicU64::new(0),
            passivations: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            latency: Distribution::default(),
            background_latency: Distribution::default(),
            crashes: Mutex::default(),
            started: Instant::now(),
        }
    }

    /// Seconds since the node started: coarse, for idleness.
    pub fn seconds(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    /// Counts, logs and keeps a crash.
    pub fn crashed(&self, id: &str, reason: &str) {
        metrics::counter!("souk_entity_crashes_total", "kind" => self.kind.as_str()).increment(1);
        tracing::warn!(kind = self.kind.as_str(), id, reason, "an entity crashed");
        if let Ok(mut crashes) = self.crashes.lock() {
            if crashes.len() >= CRASHES_KEPT {
                crashes.pop_front();
            }
            crashes.push_back(Crash {
                id: id.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }

    /// The latest crashes, oldest first.
    pub fn crashes(&self) -> Vec<Crash> {
        self.crashes
            .lock()
            .map(|crashes| crashes.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Hands the present values to the recorder of metrics.
    pub fn export(&self) {
        let kind = self.kind.as_str();
        metrics::gauge!("souk_entities", "kind" => kind).set(self.live.load(Ordering::Relaxed) as f64);
        for (name, counter) in [
            ("souk_entity_activations_total", &self.activations),
            ("souk_entity_passivations_total", &self.passivations),
            ("souk_entity_restarts_total", &self.restarts),
            ("souk_entity_conflicts_total", &self.conflicts),
            ("souk_entity_refusals_total", &self.refused),
        ] {
            metrics::counter!(name, "kind" => kind).absolute(counter.load(Ordering::Relaxed));
        }
    }
}

/// Metrics of the writes to one store, since the node started.
#[derive(Debug, Default)]
pub struct WriteMetrics {
    /// Batches written.
    pub batches: AtomicU64,
    /// Rows written.
    pub rows: AtomicU64,
    /// Rows refused because of their version.
    pub conflicts: AtomicU64,
    /// Batches that failed.
    pub errors: AtomicU64,
    /// Rows of a batch.
    pub batch_rows: Distribution,
    /// Microseconds of a batch.
    pub batch_microseconds: Distribution,
}

/// Bits of a value that its bucket keeps after the highest one: bounds of buckets are at most an eighth apart.
const PRECISION: u32 = 3;

/// Buckets for every value of 64 bits.
const BUCKETS: usize = ((u64::BITS - PRECISION + 1) << PRECISION) as usize;

/// How often values occurred: exact below 16, within an eighth above.
#[derive(Debug)]
pub struct Distribution {
    buckets: [AtomicU64; BUCKETS],
    max: AtomicU64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            max: AtomicU64::new(0),
        }
    }
}

/// Quantiles of a distribution: zero where it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The greatest value.
    pub max: u64,
}

impl Distribution {
    /// Counts a value.
    pub fn record(&self, value: u64) {
        self.buckets[bucket(value)].fetch_add(1, Ordering::Relaxed);
        self.max.fetch_max(value, Ordering::Relaxed);
    }

    /// Counts a duration in microseconds.
    pub fn record_duration(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// The quantiles of the values so far, by nearest rank.
    pub fn quantiles(&self) -> Quantiles {
        let counts = self.counts();
        let max = self.max.load(Ordering::Relaxed);
        let at = |percent| quantile(&counts, percent).unwrap_or(0).min(max);
        Quantiles {
            p50: at(50),
            p99: at(99),
            max,
        }
    }

    /// How often a value of each bucket occurred so far.
    pub fn counts(&self) -> Vec<u64> {
        let buckets = self.buckets.iter();
        buckets.map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

/// The bucket with the value that `percent` of these counts do not exceed, by nearest rank, and its rank there; `None` without any.
fn reached(counts: &[u64], percent: u64) -> Option<(usize, u64)> {
    let mut rank = (counts.iter().sum::<u64>() * percent).div_ceil(100);
    if rank == 0 {
        return None;
    }
    for (bucket, count) in counts.iter().enumerate() {
        if rank <= *count {
            return Some((bucket, rank));
        }
        rank -= count;
    }
    None
}

/// The greatest value of the bucket that `percent` of these counts do not exceed, by nearest rank; `None` without any.
fn quantile(counts: &[u64], percent: u64) -> Option<u64> {
    reached(counts, percent).map(|(bucket, _)| greatest(bucket))
}

/// The value that `percent` of these counts do not exceed, as if those of a bucket lay evenly between its bounds; `None` without any.
pub fn interpolated(counts: &[u64], percent: u64) -> Option<u64> {
    let (bucket, rank) = reached(counts, percent)?;
    let least = if bucket == 0 { 0 } else { greatest(bucket - 1) + 1 };
    let part = rank as f64 / counts[bucket] as f64;
    let value = (least as f64 + (greatest(bucket) - least) as f64 * part) as u64;
    // Large numbers are rounded.
    Some(value.clamp(least, greatest(bucket)))
}

impl FromIterator<u64> for Distribution {
    fn from_iter<T: IntoIterator<Item = u64>>(values: T) -> Self {
        let distribution = Self::default();
        values.into_iter().for_each(|value| distribution.record(value));
        distribution
    }
}

/// The bucket of a value: its highest bits, and how many others were left out.
fn bucket(value: u64) -> usize {
    let omitted = (u64::BITS - value.leading_zeros()).saturating_sub(PRECISION + 1);
    ((u64::from(omitted) << PRECISION) + (value >> omitted)) as usize
}

/// The greatest value of a bucket.
fn greatest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let omitted = (bucket >> PRECISION).saturating_sub(1);
    let highest = bucket - (omitted << PRECISION);
    (highest << omitted) | ((1 << omitted) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let quantiles = |values: std::ops::RangeInclusive<u64>| values.collect::<Distribution>().quantiles();
        let expected = |p50, p99, max| Quantiles { p50, p99, max };
        assert_eq!(Distribution::default().quantiles(), expected(0, 0, 0));
        assert_eq!(quantiles(7..=7), expected(7, 7, 7));
        assert_eq!(quantiles(1..=10), expected(5, 10, 10));
        let hundred = quantiles(1..=100);
        assert!((50..=56).contains(&hundred.p50) && hundred.p99 >= 99 && hundred.max == 100);
    }

    #[test]
    fn values_within_a_bucket_are_told_apart() {
        // One bucket, from 81,920 to 90,111.
        let values: Distribution = (81_920..=90_111).collect();
        let at = |percent| interpolated(&values.counts(), percent).unwrap();
        assert!((86_000..=86_030).contains(&at(50)), "{}", at(50));
        assert_eq!(at(100), 90_111);
        assert_eq!(interpolated(&Distribution::default().counts(), 50), None);
    }

    proptest! {
        #[test]
        fn an_interpolated_quantile_is_of_the_same_bucket(values: Vec<u64>, percent in 1_u64..=100) {
            let counts = values.into_iter().collect::<Distribution>().counts();
            prop_assert_eq!(
                interpolated(&counts, percent).map(bucket),
                quantile(&counts, percent).map(bucket)
            );
        }

        #[test]
        fn buckets_are_an_eighth_wide(value: u64) {
            let greatest = greatest(bucket(value));
            prop_assert!(greatest >= value && greatest - value <= value / 8);
            prop_assert_eq!(bucket(greatest), bucket(value));
            prop_assert!(bucket(value) < BUCKETS);
        }
    }
}
