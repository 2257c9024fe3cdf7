//! The port of the coordination store: the view, which is one row replaced by compare-and-set, and the nodes' heartbeats.

use std::error::Error;

use async_trait::async_trait;

use crate::view::View;

/// An adapter's own error. It is only logged: the next attempt follows at the next interval, whatever the error is.
pub type ViewsError = Box<dyn Error + Send + Sync>;

/// The port.
#[async_trait]
pub trait Views: Send + Sync + 'static {
    /// The technology, for example `sqlite`.
    fn technology(&self) -> &'static str;

    /// The current view. `None` before the first.
    async fn current(&self) -> Result<Option<View>, ViewsError>;

    /// Replaces view `view.number - 1` by `view` (the first has number 1). False when another proposal was faster.
    async fn propose(&self, view: &View) -> Result<bool, ViewsError>;

    /// Increments the heartbeat counter of this incarnation of a node. Earlier incarnations are forgotten.
    async fn beat(&self, name: &str, incarnation: u64) -> Result<(), ViewsError>;

    /// All heartbeats as (name, incarnation, counter). Counters are compared with each other, never with a clock.
    async fn beats(&self) -> Result<Vec<(String, u64, u64)>, ViewsError>;
}
