//! The order: what was bought, for how much, and the decisions of its checkout.
//!
//! A worker runs the checkout's steps; the order makes and keeps the decisions, so that two workers of one checkout
//! can't decide differently.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::checkout::{Step, StepRecord};
use super::{Aggregate, Decision, Kind, Money, PaymentId, ProductId, Sku, Timestamp};

mod decide;
mod event;
mod lifecycle;
mod placement;
mod progress;
#[cfg(test)]
mod tests;

pub use event::{OrderEvent, OrderSummary, OrderedItem};
pub use lifecycle::{FulfilmentStatus, Lifecycle, OrderStatus, PaymentStatus};
pub use placement::Placement;
pub use progress::{Attention, FailureReason, Phase, Progress, TimelineEntry};

/// Most entries of a timeline. Beyond it the first is kept and the oldest of the others dropped.
pub const TIMELINE_LIMIT: usize = 100;
/// Most step records kept. Beyond it the oldest are dropped.
pub const STEP_RECORD_LIMIT: usize = 64;
/// Longest reason of a cancellation, in characters.
pub const REASON_LIMIT: usize = 500;
/// The due time of an order that waits for a decision: no time is that late, and the list of unfinished orders, which all
/// are due until then, has it.
pub const NEVER: Timestamp = Timestamp::from_millis(i64::MAX / 2);

/// The due time of a failed order that is kept until `keep_until`: as long after [`NEVER`], so that whoever looks for
/// unfinished orders does not meet the failed ones, of which there may be many more.
pub fn pruning_due(keep_until: Timestamp) -> Timestamp {
    let after_epoch = Duration::from_millis(u64::try_from(keep_until.as_millis()).unwrap_or(0));
    NEVER.plus(Duration::from_millis(1)).plus(after_epoch)
}

/// One line of an order, as it was sold: later changes of the catalogue do not affect it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderLine {
    /// The SKU.
    pub sku: Sku,
    /// The SKU's product.
    pub product_id: ProductId,
    /// The product's title.
    pub title: String,
    /// The variant's options: size, colour.
    pub options: BTreeMap<String, String>,
    /// How many.
    pub quantity: u32,
    /// Price of one.
    pub unit_price: Money,
    /// Weight of one, in grams.
    pub weight_grams: u32,
}

/// The state of the order entity: not yet placed, or a placed order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    id: String,
    placed: Option<PlacedOrder>,
    /// It must not be placed any more.
    #[serde(default)]
    forfeited: bool,
}

/// A placed order: what was submitted, and how far it has come. It holds personal data and the payment token: never
/// serialise it to a client as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacedOrder {
    /// What was submitted. Only a claim (the buyer), an erasure (personal data) and the decision on the payment (the token)
    /// change it.
    pub placement: Placement,
    /// How far it has come.
    pub progress: Progress,
}

/// Commands of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OrderCommand {
    /// Reads the order; refused as [`OrderRefusal::NotPlaced`] where there is none.
    Get,
    /// Places the order. Repeating the same submission changes nothing: [`OrderReply::AlreadyPlaced`].
    Place(Box<Placement>),
    /// Rules out that the order is placed later: whoever meant to place it claimed a cart and was not heard of again.
    /// Succeeds without a change where it has been placed.
    Forfeit,
    /// Decides that the order fails. Recorded before anything is returned; the first reason stays.
    Abandon {
        /// Why.
        reason: FailureReason,
    },
    /// Records that the shopper has to act at the payment provider.
    AwaitAction,
    /// Confirms the order: its stock is reserved and its payment authorised (invariant 5).
    Confirm {
        /// The payment.
        payment: PaymentId,
    },
    /// Records that a confirmed order's stock is taken and its cart cleared.
    Finish {
        /// Whether the money was captured too (it may be left for the shipment).
        captured: bool,
        /// The steps of this run.
        steps: Vec<StepRecord>,
    },
    /// Records that a failing order has returned everything.
    EndFailed {
        /// Whether a payment was voided.
        voided: bool,
        /// When it may be pruned.
        keep_until: Timestamp,
        /// The steps of this run.
        steps: Vec<StepRecord>,
    },
    /// Records that the payment provider refuses this step for good: a person has to decide.
    Escalate {
        /// The step: capture, void or refund.
        step: Step,
        /// Why, for operators.
        reason: String,
    },
    /// Attempts again what was refused, after somebody has dealt with the reason.
    Retry,
    /// Decides that the order is cancelled.
    Cancel {
        /// The buyer's reason, for the timeline.
        reason: String,
    },
    /// Transfers a guest's order to the account that owns the order's e-mail address.
    Claim {
        /// The account.
        buyer: String,
    },
    /// Removes personal data; what accounting needs stays.
    Erase,
    /// Records that a cancelled order has returned everything.
    EndCancelled {
        /// Whether money was refunded (else what was authorised was voided).
        refunded: bool,
        /// The steps of this run.
        steps: Vec<StepRecord>,
    },
    /// Prunes a failed order that has been kept for long enough: what is left is that it must not be placed any more.
    Prune,
}

/// Reply of an order to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderReply {
    /// The command has taken effect, now or earlier.
    Done,
    /// The same submission was placed earlier.
    AlreadyPlaced,
    /// Nothing changed.
    Refused(OrderRefusal),
}

/// Why an order refuses a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum OrderRefusal {
    /// There is no such order.
    #[error("the order has not been placed")]
    NotPlaced,
    /// Another submission was placed under this identifier (invariant 9).
    #[error("another order was placed under this identifier")]
    OtherPlacement,
    /// The order was not placed in time, and its cart went to another.
    #[error("the order was not placed in time")]
    Forfeited,
    /// The submission is inconsistent: wrong totals, no lines, a quantity outside its limits, a duplicate SKU.
    #[error("the order's lines or totals are inconsistent")]
    InvalidPlacement,
    /// The order is confirmed (for a second confirmation: with another payment).
    #[error("the order has been confirmed")]
    Confirmed,
    /// The order has failed, or is returning what it holds because it will.
    #[error("a failed order can't be cancelled: nothing was charged")]
    Failed,
    /// The order has been cancelled, or is returning what it holds because it will be.
    #[error("the order has been cancelled")]
    Cancelled,
    /// The goods have left the warehouse.
    #[error("a {} order can't be cancelled", .0.as_str())]
    Shipped(FulfilmentStatus),
    /// The order belongs to another account.
    #[error("the order belongs to an account")]
    NotAGuestOrder,
    /// The order's checkout, or its cancellation, is still running.
    #[error("the order's checkout has not finished")]
    Unfinished,
    /// The order's state or its tables (invariant 6) do not allow what was to be recorded.
    #[error("the order's state does not allow this")]
    NotAllowed,
    /// Money was captured and has not been refunded (invariant 5).
    #[error("the order's payment has not been refunded")]
    NotRefunded,
}

impl Order {
    /// The placed order; `None` before.
    pub fn placed(&self) -> Option<&PlacedOrder> {
        self.placed.as_ref()
    }
}

impl Aggregate for Order {
    const KIND: Kind = Kind("order");
    const REMEMBERED_COMMANDS: usize = 8;

    type Command = OrderCommand;
    type Reply = OrderReply;
    /// `None` until the order is placed.
    type View = Option<PlacedOrder>;
    type Event = OrderEvent;

    fn initial(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            placed: None,
            forfeited: false,
        }
    }

    fn decide(&self, command: &Self::Command, at: Timestamp) -> Decision<Self> {
        match decide::outcome(self, command, at) {
            Ok(None) if matches!(command, OrderCommand::Place(_)) => {
                Decision::keep(OrderReply::AlreadyPlaced)
            }
            Ok(None) => Decision::keep(OrderReply::Done),
            Ok(Some((state, events))) => Decision::change_with(OrderReply::Done, state, events),
            Err(refusal) => Decision::keep(OrderReply::Refused(refusal)),
        }
    }

    fn view(&self) -> Self::View {
        self.placed.clone()
    }

    /// An unfinished order is due from its creation, so that the next owner of its shard finds it at once; one that
    /// waits for its shopper is due at its deadline, and one that waits for a decision never. A failed order is due when it
    /// may be pruned ([`pruning_due`]).
    fn due_at(&self) -> Option<Timestamp> {
        let PlacedOrder { placement, progress } = self.placed()?;
        match &progress.phase {
            Phase::Failed { .. } => progress.keep_until.map(pruning_due),
            phase if phase.is_finished() => None,
            _ if progress.attention.is_some() => Some(NEVER),
            Phase::AwaitingAction => Some(placement.deadline),
            _ => Some(progress.created_at),
        }
    }

    fn owner(&self) -> Option<&str> {
        self.placed().map(|order| order.placement.buyer.as_str())
    }

    /// From its confirmation on an order is what its buyer waits for: what follows can't fail.
    fn settled(&self) -> bool {
        self.placed().is_none_or(|order| {
            !order.progress.has_work()
                || matches!(
                    order.progress.phase,
                    Phase::AwaitingAction | Phase::Fulfilling { .. }
                )
        })
    }
}
