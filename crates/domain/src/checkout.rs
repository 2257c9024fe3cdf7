//! The checkout as a table, and the pure driver that says which step comes next.
//!
//! A checkout is a saga (Garcia-Molina and Salem, "Sagas", 1987) whose decisions are kept by the order: placed,
//! abandoned, confirmed, cancelling, ended. Everything between two decisions is repeated after a crash; each step says
//! what makes its repetition harmless.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::order::{Phase, PlacedOrder};

#[cfg(test)]
mod tests;

/// A step of a checkout, or of its undoing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Hold every SKU of the order.
    Reserve,
    /// Have the provider hold the money.
    Authorise,
    /// Decide that the order will be delivered.
    Confirm,
    /// Turn what is reserved into what is sold.
    Take,
    /// Take the money.
    Capture,
    /// Take the ordered quantities out of the cart.
    Clear,
    /// Note that the checkout is complete.
    Finish,
    /// Let go what is held.
    Release,
    /// Let the money go, and see to it that none is held later.
    Void,
    /// Note that a failed order gave everything back.
    EndFailed,
    /// Give back what a confirmed order took or still holds.
    ReturnStock,
    /// Give back the money of a confirmed order: void what is held, refund what was captured.
    Refund,
    /// Note that a cancelled order gave everything back.
    EndCancelled,
}

impl Step {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Authorise => "authorise",
            Self::Confirm => "confirm",
            Self::Take => "take",
            Self::Capture => "capture",
            Self::Clear => "clear",
            Self::Finish => "finish",
            Self::Release => "release",
            Self::Void => "void",
            Self::EndFailed => "end_failed",
            Self::ReturnStock => "return_stock",
            Self::Refund => "refund",
            Self::EndCancelled => "end_cancelled",
        }
    }
}

/// What a worker did of one step, for those who look into a checkout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Which step.
    pub step: Step,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was first tried.
    pub started_at: Timestamp,
    /// When it succeeded.
    pub finished_at: Timestamp,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The step.
    pub step: Step,
    /// What it does.
    pub does: &'static str,
    /// The step that undoes it, where there is anything to undo.
    pub undo: Option<Step>,
    /// What makes its repetition harmless.
    pub idempotent_by: &'static str,
}

/// Every step, its undo beside it.
pub const TABLE: &[Row] = &[
    row(
        Step::Reserve,
        "holds every SKU of the order",
        Some(Step::Release),
        "order id and SKU",
    ),
    row(
        Step::Authorise,
        "writes the payment intent, asks the provider, writes its answer",
        Some(Step::Void),
        "order id and attempt; an unknown outcome is queried before anything is asked again",
    ),
    row(
        Step::Confirm,
        "decides that the order will be delivered",
        None,
        "the order's version",
    ),
    row(
        Step::Take,
        "turns what is reserved into what is sold",
        Some(Step::ReturnStock),
        "order id and SKU",
    ),
    row(Step::Capture, "takes the money", Some(Step::Refund), "payment id"),
    row(
        Step::Clear,
        "takes the ordered quantities out of the cart",
        None,
        "order id",
    ),
    row(
        Step::Finish,
        "notes that the checkout is complete",
        None,
        "the order's version",
    ),
    row(
        Step::Void,
        "lets the money go and refuses what would still hold it",
        None,
        "order id and attempt",
    ),
    row(
        Step::Release,
        "lets go what is held of every SKU",
        None,
        "order id and SKU",
    ),
    row(
        Step::EndFailed,
        "notes that everything was given back",
        None,
        "the order's version",
    ),
    row(
        Step::Refund,
        "voids what is held or refunds what was captured",
        None,
        "payment id",
    ),
    row(
        Step::ReturnStock,
        "gives back what was taken or is still held",
        None,
        "order id and SKU",
    ),
    row(
        Step::EndCancelled,
        "notes that everything was given back",
        None,
        "the order's version",
    ),
];

const fn row(step: Step, does: &'static str, undo: Option<Step>, idempotent_by: &'static str) -> Row {
    Row {
        step,
        does,
        undo,
        idempotent_by,
    }
}

/// A way through the steps that ends in a decision of the order.
struct Path {
    /// Repeated after a crash.
    steps: &'static [Step],
    /// Durable: once the order has noted it, it is on another path or finished.
    decision: Step,
}

const CONFIRMING: Path = Path {
    steps: &[Step::Reserve, Step::Authorise],
    decision: Step::Confirm,
};
const FULFILLING: Path = Path {
    steps: &[Step::Take, Step::Capture, Step::Clear],
    decision: Step::Finish,
};
const FAILING: Path = Path {
    steps: &[Step::Void, Step::Release],
    decision: Step::EndFailed,
};
const CANCELLING_BEFORE_CONFIRMATION: Path = Path {
    steps: &[Step::Void, Step::Release],
    decision: Step::EndCancelled,
};
const CANCELLING_AFTER_CONFIRMATION: Path = Path {
    steps: &[Step::Refund, Step::ReturnStock],
    decision: Step::EndCancelled,
};

/// The path that an order is on; `None` where it is finished or waits for its shopper.
fn path(order: &PlacedOrder) -> Option<&'static Path> {
    match &order.progress.phase {
        Phase::Confirming => Some(&CONFIRMING),
        Phase::Fulfilling { .. } => Some(&FULFILLING),
        Phase::Failing { .. } => Some(&FAILING),
        Phase::Cancelling { payment: None } => Some(&CANCELLING_BEFORE_CONFIRMATION),
        Phase::Cancelling { payment: Some(_) } => Some(&CANCELLING_AFTER_CONFIRMATION),
        // It continues when the provider reports, or is abandoned at its deadline.
        Phase::AwaitingAction
        | Phase::Confirmed { .. }
        | Phase::Completed { .. }
        | Phase::Failed { .. }
        | Phase::Cancelled { .. } => None,
    }
}

/// Which step comes next for `order`, when this run of its worker has `done` these; `None` when it is finished or
/// waits for its shopper.
///
/// A step that can't succeed is no matter of this function: the worker then has the order decide (`Abandon`), and asks
/// again with the order as it stands after that. A run that starts after a crash has done nothing yet.
pub fn next(order: &PlacedOrder, done: &BTreeSet<Step>) -> Option<Step> {
    path(order).map(|path| {
        path.steps
            .iter()
            .copied()
            .find(|step| !done.contains(step))
            .unwrap_or(path.decision)
    })
}
