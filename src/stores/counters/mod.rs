//! The port for counters in fixed time windows: failed logins and rate limits.

#[cfg(test)]
pub mod contract;
#[cfg(feature = "redis")]
pub mod redis;
pub mod sqlite;

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::Timestamp;

/// A counter. A key must always be used with the same window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// What is counted.
    pub key: String,
    /// The length of a window.
    pub window: Duration,
}

/// The port. Part of `stores.sessions`, whose ping covers it.
#[async_trait]
pub trait CounterStore: Send + Sync + 'static {
    /// Adds `amount` to `key` in the window that contains `now` and returns the window's new count. Windows are steps of
    /// `window` from the Unix epoch and never go back: a clock that lags counts in the latest one. A repeated call counts
    /// again.
    async fn hit(&self, key: &str, now: Timestamp, window: Duration, amount: u64) -> Result<u64, StoreError>;
    /// The counts of the windows that contain `now`, in the order of `counters`.
    async fn counts(&self, counters: &[Counter], now: Timestamp) -> Result<Vec<u64>, StoreError>;
    /// Resets a key. Resetting an unknown one succeeds.
    async fn forget(&self, key: &str) -> Result<(), StoreError>;
    /// Removes at most `limit` counters whose windows have ended; returns how many.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64, StoreError>;
}
