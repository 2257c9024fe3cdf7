//! The auditor: recomputes the invariants from the stores alone, also while the shop runs.
//!
//! There is no moment at which several stores can be read at once, so that what looks wrong may only be under way. Two
//! things keep the auditor from crying wolf, and neither needs the shop to stand still:
//!
//! - A SKU's row is read before its ledger, and of the ledger only what is no younger than the row counts. Both are
//!   written in one transaction, so that they have to agree however busy the SKU is.
//! - An order is read before and after everything that belongs to it. Where it stands at the same version both times,
//!   all of that was read while the order stood so, and can be held against it. Otherwise it is read again.
//!
//! What an order is found guilty of must show in two such looks with a pause between them. An order that moves for as
//! long as [`Limits::patience`] is in flight, and no violation.
//!
//! What is overdue (invariants 11 and 12) may be so only because no node ran when its time came. So it is looked at for
//! as long as [`Limits::overdue_patience`]: nodes that run by now deal with it meanwhile.
//!
//! What is checked: invariants 1 to 6, 8, 11 and 12. The others speak of behaviour (acknowledgements, repetitions,
//! delivery, linearizability, convergence) that a look at what is stored can't show.

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
use crate::clock::{self, Clock};
use crate::config::{self, Config};
use crate::stores::{StoreError, Stores};

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Violation {
    /// Its number.
    pub invariant: u8,
    /// What breaks it, as in `order ord_1`.
    pub subject: String,
    /// How, with the figures.
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

/// Documents read in one go: some megabytes of orders.
const PAGE: usize = 500;
/// Between two looks at what seems wrong: about as long as a step of a checkout takes.
const PAUSE: Duration = Duration::from_millis(500);
/// For how long what moves is looked at again. A checkout rarely takes longer, and one that does is in flight.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much later than its time something may happen: a node that takes over may start, found a view and wait for the
/// former owners' time first.
const SLACK: Duration = Duration::from_secs(30);

/// What is said of something overdue.
const NOBODY_CAME: &str = "nobody dealt with it while the audit looked on, perhaps because no node runs";

/// How the auditor reads, and how long what is under way may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Documents read in one go.
    pub page: usize,
    /// Between two looks at what seems wrong.
    pub pause: Duration,
    /// For how long what moves is looked at again.
    pub patience: Duration,
    /// For how long what is overdue is looked at again: time for a node that has just started to deal with it.
    pub overdue_patience: Duration,
    /// How long an order may stay pending.
    pub order_deadline: Duration,
    /// How long all attempts at one payment may take together.
    pub payment_total: Duration,
    /// How often what is overdue is looked for.
    pub sweep: Duration,
    /// How much later than its time something may happen on a busy or a starting node.
    pub slack: Duration,
}

impl Limits {
    /// Those that go with a configuration.
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

/// Checks the invariants over the stores of a configuration, by the clock of this machine.
///
/// # Errors
/// [`StoreError`] where a store can't be opened or read: then nothing is known.
pub async fn run(config: &Config) -> Result<Vec<Violation>, StoreError> {
    let stores = crate::stores::open(&config.cluster, &config.sealing).await?;
    audit(&stores, &clock::system(), Limits::of(&config.limits)).await
}

/// Checks the invariants over these stores. The violations come sorted, each once.
///
/// # Errors
/// [`StoreError`] where a store can't be read: then nothing is known.
pub async fn audit(stores: &Stores, clock: &Clock, limits: Limits) -> Result<Vec<Violation>, StoreError> {
    let mut auditor = Auditor::new(stores, clock, limits);
    auditor.read().await?;
    auditor.examine_suspects().await?;
    Ok(auditor.violations())
}
