//! The port of the coordination store: the numbered view of who is in the cluster, one row replaced by compare-and-set.

use std::error::Error;

use async_trait::async_trait;

use crate::view::View;

/// An adapter's own error. It is for the log only: whatever it is, the next attempt follows with the next interval.
pub type ViewsError = Box<dyn Error + Send + Sync>;

/// The port.
#[async_trait]
pub trait Views: Send + Sync + 'static {
    /// What it runs on, as in `sqlite`.
    fn technology(&self) -> &'static str;

    /// The view that counts. `None` before the first.
    async fn current(&self) -> Result<Option<View>, ViewsError>;

    /// Replaces view `view.number - 1` by `view` (the first has number 1). False when another was faster.
    async fn propose(&self, view: &View) -> Result<bool, ViewsError>;

    /// Shows that this incarnation of a node is alive: its count grows by one. Earlier incarnations are forgotten.
    async fn beat(&self, name: &str, incarnation: u64) -> Result<(), ViewsError>;

    /// Who has shown itself, as (name, incarnation, count). Counts are compared with each other, never with a clock.
    async fn beats(&self) -> Result<Vec<(String, u64, u64)>, ViewsError>;
}
