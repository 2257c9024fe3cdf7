//! Counts that operators see: per kind of entity, since the node started.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use souk_domain::Kind;

/// How many crashes are kept for operators to look at.
const CRASHES_KEPT: usize = 32;

/// One crash of an entity.
#[derive(Clone, Debug, Serialize)]
pub struct Crash {
    /// Which entity.
    pub id: String,
    /// What the panic said.
    pub reason: String,
}

/// Counts of one kind of entity on this node.
#[derive(Debug)]
pub struct KindFigures {
    /// The kind.
    pub kind: Kind,
    /// Live now.
    pub live: AtomicUsize,
    /// Ever activated.
    pub activations: AtomicU64,
    /// Ever passivated, for idleness or the cap.
    pub passivations: AtomicU64,
    /// Ever started again after a crash.
    pub restarts: AtomicU64,
    /// Writes that met another version.
    pub conflicts: AtomicU64,
    /// Reads that found the memory stale.
    pub reloads: AtomicU64,
    /// Commands refused because too many waited.
    pub refused: AtomicU64,
    crashes: Mutex<VecDeque<Crash>>,
    latency: Mutex<Option<Histogram<u64>>>,
    started: Instant,
}

impl KindFigures {
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
            crashes: Mutex::new(VecDeque::new()),
            // Two significant digits up to a minute; such bounds are valid.
            latency: Mutex::new(Histogram::new_with_bounds(1, 60_000_000, 2).ok()),
            started: Instant::now(),
        }
    }

    /// Seconds since the node started: coarse, for idleness.
    pub fn seconds(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    /// An entity crashed.
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

    /// A command was answered after `took`.
    pub fn answered(&self, took: Duration) {
        if let Ok(mut latency) = self.latency.lock()
            && let Some(histogram) = latency.as_mut()
        {
            histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Microseconds from ask to answer at the quantiles 0.5, 0.99 and 1.
    pub fn latency_quantiles(&self) -> [u64; 3] {
        let latency = self.latency.lock().ok();
        let histogram = latency.as_ref().and_then(|latency| latency.as_ref());
        [0.5, 0.99, 1.0]
            .map(|quantile| histogram.map_or(0, |histogram| histogram.value_at_quantile(quantile)))
    }

    /// One count, for the operator's answer.
    pub fn read(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
