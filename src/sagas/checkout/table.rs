//! The table of the checkout saga: every step beside the step that compensates it. Workers run this table.
//!
//! A saga (Garcia-Molina and Salem, "Sagas", 1987) whose decisions the order keeps. Steps between two decisions are
//! repeated after a crash, which is safe because every step is idempotent.

use std::collections::BTreeSet;

use futures::future::{BoxFuture, FutureExt};

use super::run::{Checkout, StepError};
use souk_domain::checkout::Step;
use souk_domain::order::{Phase, PlacedOrder};

/// The function of a step.
type Run = for<'a> fn(&'a mut Checkout, &'a PlacedOrder) -> BoxFuture<'a, Result<(), StepError>>;

/// A step and its function.
pub(super) struct Action {
    pub(super) step: Step,
    pub(super) run: Run,
}

/// A row of the table.
pub(super) struct Row {
    /// `None` for the claim, which the request makes before it places the order: a claim whose order is placed is never
    /// without a worker that ends it.
    pub(super) action: Option<Action>,
    /// The step that compensates it.
    pub(super) undo: Option<Action>,
}

/// The rows between two decisions of the order.
pub(super) struct Stage {
    pub(super) rows: &'static [Row],
    /// The decision that ends the stage.
    pub(super) decision: Action,
}

macro_rules! action {
    ($step:ident, $method:ident) => {
        Action {
            step: Step::$step,
            run: |checkout, order| checkout.$method(order).boxed(),
        }
    };
}

/// From the placed order to the point of no return.
pub(super) static CONFIRMING: Stage = Stage {
    rows: &[
        // Idempotent by order id.
        Row {
            action: None,
            undo: Some(action!(Unclaim, unclaim)),
        },
        // Idempotent by order id and SKU.
        Row {
            action: Some(action!(Reserve, reserve)),
            undo: Some(action!(Release, release)),
        },
        // Idempotent by order id and attempt; an unknown outcome is queried before anything is repeated.
        Row {
            action: Some(action!(Authorise, authorise)),
            undo: Some(action!(Void, void)),
        },
    ],
    decision: action!(Confirm, confirm),
};

/// From the point of no return to the end; the buyer waits for none of it. The undo steps also compensate the stage before:
/// [`Step::Refund`] voids what was only authorised, [`Step::ReturnStock`] releases what was only reserved, and
/// [`Step::Unclaim`] ends a claim that was not cleared. The cart comes first, because its owner looks at it next.
pub(super) static FULFILLING: Stage = Stage {
    rows: &[
        // Idempotent by order id.
        Row {
            action: Some(action!(Clear, clear)),
            undo: Some(action!(Unclaim, unclaim)),
        },
        // Idempotent by order id and SKU.
        Row {
            action: Some(action!(Take, take)),
            undo: Some(action!(ReturnStock, return_stock)),
        },
        // Idempotent by payment id.
        Row {
            action: Some(action!(Capture, capture)),
            undo: Some(action!(Refund, refund)),
        },
    ],
    decision: action!(Finish, finish),
};

static END_FAILED: Action = action!(EndFailed, end_failed);
static END_CANCELLED: Action = action!(EndCancelled, end_cancelled);

impl Stage {
    fn forward(&'static self) -> Vec<&'static Action> {
        let actions = self.rows.iter().filter_map(|row| row.action.as_ref());
        actions.chain([&self.decision]).collect()
    }

    /// The compensations in reverse order, then the decision that ends them.
    fn backward(&'static self, decision: &'static Action) -> Vec<&'static Action> {
        let undos = self.rows.iter().rev().filter_map(|row| row.undo.as_ref());
        undos.chain([decision]).collect()
    }
}

/// The actions of a phase, the last of which is a decision; empty where there is nothing to do.
pub(super) fn path(phase: &Phase) -> Vec<&'static Action> {
    match phase {
        Phase::Confirming => CONFIRMING.forward(),
        Phase::Fulfilling { .. } => FULFILLING.forward(),
        Phase::Failing { .. } => CONFIRMING.backward(&END_FAILED),
        Phase::Cancelling { payment: None } => CONFIRMING.backward(&END_CANCELLED),
        Phase::Cancelling { payment: Some(_) } => FULFILLING.backward(&END_CANCELLED),
        // Continues when the provider reports, or fails at its deadline.
        Phase::AwaitingAction
        | Phase::Confirmed { .. }
        | Phase::Completed { .. }
        | Phase::Failed { .. }
        | Phase::Cancelled { .. } => Vec::new(),
    }
}

/// The next action in `phase` for a run that has `done` these steps; `None` where there is nothing to do.
pub(super) fn next(phase: &Phase, done: &BTreeSet<Step>) -> Option<&'static Action> {
    let path = path(phase);
    let decision = path.last().copied();
    path.into_iter()
        .find(|action| !done.contains(&action.step))
        .or(decision)
}
