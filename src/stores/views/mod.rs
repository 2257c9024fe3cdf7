//! The port of the coordination store: the numbered view of who is in the cluster, one row replaced by compare-and-set.

#[cfg(test)]
pub mod contract;
pub mod sqlite;

use async_trait::async_trait;

use super::StoreError;
use crate::cluster::view::View;

/// The port.
#[async_trait]
pub trait Views: Send + Sync + 'static {
    /// What it runs on, as in `sqlite`.
    fn technology(&self) -> &'static str;

    /// The view that counts. `None` before the first.
    async fn current(&self) -> Result<Option<View>, StoreError>;

    /// Replaces view `view.number - 1` by `view` (the first has number 1). False when another was faster.
    async fn propose(&self, view: &View) -> Result<bool, StoreError>;

    /// Shows that this incarnation of a node is alive: its count grows by one. Earlier incarnations are forgotten.
    async fn beat(&self, name: &str, incarnation: u64) -> Result<(), StoreError>;

    /// Who has shown itself, as (name, incarnation, count). Counts are compared with each other, never with a clock.
    async fn beats(&self) -> Result<Vec<(String, u64, u64)>, StoreError>;
}
