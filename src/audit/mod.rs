//! The auditor: recomputes the invariants from the stores alone, also while the shop runs.
//!
//! Several stores can't be read at one moment, so that an apparent violation may be a change in progress. Two rules avoid
//! false alarms on a running shop:
//!
//! - A SKU's row is read before its ledger, and only ledger entries up to the row's version are used. Both are written in
//!   one transaction, so they must agree however busy the SKU is.
//! - An order is read before and after everything that belongs to it. If its version is the same both times, all of that
//!   was read while the order was in this state, and is checked against it. Otherwise it is read again.
//!
//! A violation of an order is reported when two such checks with a pause in between show it. An order that changes for
//! longer than [`Limits::patience`] is in flight, and no violation.
//!
//! Something may be overdue (invariants 11 and 12) only because no node was running. So it is checked again for
//! [`Limits::overdue_patience`], in which running nodes deal with it.
//!
//! Checked are the invariants 1 to 6, 8, 11, 12 and 15, and of 13 that no row was written under a view that is still to come. The others are about behaviour (acknowledgements, repetitions, delivery,
//! linearizability, convergence), which stored data can't show.

mod auditor;
mod orders;
mod payments;
mod rows;
mod stock;
mod suspects;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::auditor::Auditor;
use crate::clock::Clock;
use crate::config;
use crate::stores::{StoreError, Stores};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Violation {
    /// Its number.
    pub invariant: u8,
    /// The violating object, as in `order ord_1`.
    pub subject: String,
    /// What is wrong, with the numbers.
    pub detail: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "invariant {}: {}: {}",
            self.invariant, self.subject, self.detail
        )
    }
}

/// Rows of one read: some megabytes of orders.
const PAGE: usize = 500;
/// Pause between two checks of the same suspect: about as long as a step of a checkout takes.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a changing order is checked again. A checkout rarely takes longer, and one that does is in flight.
const PATIENCE: Duration = Duration::from_secs(30);
/// How late something may be: a node that takes over may first start, establish a view and wait until the former owners'
/// time has passed.
const SLACK: Duration = Duration::from_secs(30);

/// Explanation of everything overdue.
const OVERDUE_REASON: &str = "no node dealt with it during the audit; is one running?";

/// How the auditor reads, and how long work in progress may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows of one read.
    pub page: usize,
    /// Pause between two checks of the same suspect.
    pub pause: Duration,
    /// How long a changing order is checked again.
    pub patience: Duration,
    /// How long something overdue is checked again: time for a node that has just started to deal with it.
    pub overdue_patience: Duration,
    /// How long an order may stay pending.
    pub order_deadline: Duration,
    /// How long all attempts at one payment may take together.
    pub payment_total: Duration,
    /// Interval at which nodes look for overdue work.
    pub sweep: Duration,
    /// How late something may be on a busy or a starting node.
    pub slack: Duration,
}

impl Limits {
    /// The limits for nodes with this configuration.
    pub fn of(limits: &config::Limits) -> Self {
        let sweep = limits.sweep_interval_ms.duration();
        Self {
            page: PAGE,
            pause: PAUSE,
            patience: PATIENCE,
            overdue_patience: sweep + SLACK,
            order_deadline: limits.order_deadline_seconds.duration(),
            payment_total: limits.payment_total_ms.duration(),
            sweep,
            slack: SLACK,
        }
    }
}

/// Checks the invariants in these stores. Returns the violations sorted and without duplicates.
///
/// # Errors
/// [`StoreError`] where a store can't be read.
pub async fn audit(stores: &Stores, clock: &Clock, limits: Limits) -> Result<Vec<Violation>, StoreError> {
    let mut auditor = Auditor::new(stores, clock, limits);
    auditor.read().await?;
    auditor.examine_suspects().await?;
    Ok(auditor.violations())
}
