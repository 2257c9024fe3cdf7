//! The order: what was bought, for how much, and the durable record of the checkout that fulfils or undoes it.
//!
//! The checkout itself is driven by a worker (see [`checkout`](super::checkout)); the order is where its decisions are
//! made and kept, so that two drivers of one checkout can't go different ways.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checkout::StepRecord;
use super::{
    Address, Aggregate, CartId, Decision, EmailAddress, Kind, Money, OrderId, PaymentId, PaymentInstruction,
    ProductId, Sku, Timestamp,
};

mod decide;
mod lifecycle;
mod placement;
#[cfg(test)]
mod tests;

pub use lifecycle::{FulfilmentStatus, Lifecycle, OrderStatus, PaymentStatus};
pub use placement::Placement;

/// Most entries of a timeline; past it, the first stays and the oldest of the rest goes.
pub const TIMELINE_LIMIT: usize = 100;
/// Most step records kept; past it, the oldest go.
pub const STEP_RECORD_LIMIT: usize = 64;
/// Longest reason of a cancellation that is kept, in characters.
pub const REASON_LIMIT: usize = 500;

/// One line of an order, as it was sold: later changes of the catalogue do not reach it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderLine {
    /// What was sold.
    pub sku: Sku,
    /// Its product.
    pub product_id: ProductId,
    /// The product's title.
    pub title: String,
    /// What sets the variant apart.
    pub options: BTreeMap<String, String>,
    /// How many.
    pub quantity: u32,
    /// What one cost.
    pub unit_price: Money,
    /// What one weighs, in grams.
    pub weight_grams: u32,
}

/// Why an order came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// Not everything was there.
    OutOfStock {
        /// The SKUs that fell short, and how many of each were available.
        skus: Vec<(Sku, u32)>,
    },
    /// The provider said no.
    PaymentDeclined {
        /// The provider's reason.
        code: String,
    },
    /// The provider did not answer in time.
    PaymentTimedOut,
    /// The order's deadline passed before it could be confirmed.
    DeadlinePassed,
    /// The shop itself could not go on.
    Internal,
}

impl FailureReason {
    /// Its name, as in events and on the timeline.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::OutOfStock { .. } => "out_of_stock",
            Self::PaymentDeclined { .. } => "payment_declined",
            Self::PaymentTimedOut => "payment_timed_out",
            Self::DeadlinePassed => "deadline_passed",
            Self::Internal => "internal",
        }
    }
}

/// One thing that happened to an order, for those who look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What, in snake case: `placed`, `confirmed`, `paid`.
    pub event: String,
    /// The particulars; may be empty.
    pub detail: String,
}

/// The state of an order: not yet placed, or placed and under way or ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The identifier it was asked for under.
    id: String,
    placed: Option<Placed>,
}

/// A placed order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Placed {
    /// Hash of what was submitted: placing it again must be the same submission (invariant 9).
    fingerprint: String,
    order: OrderView,
}

/// A placed order as callers inside the shop see it. It holds the payment token and personal data, which debug output
/// leaves out; whoever shows it to a client picks the fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderView {
    /// Its identifier.
    pub id: OrderId,
    /// What people call it.
    pub number: String,
    /// Whose it is: an account, or the cart of a guest.
    pub buyer: String,
    /// The cart it was made from.
    pub cart: CartId,
    /// Where its letters go.
    pub email: EmailAddress,
    /// Where it stands as a whole.
    pub status: OrderStatus,
    /// What has become of the money.
    pub payment_status: PaymentStatus,
    /// What has become of the goods.
    pub fulfilment_status: FulfilmentStatus,
    /// What was bought; one line a SKU.
    pub lines: Vec<OrderLine>,
    /// The sum of the lines.
    pub subtotal: Money,
    /// Tax on top.
    pub tax: Money,
    /// Shipping on top.
    pub shipping: Money,
    /// What is paid.
    pub total: Money,
    /// How much of it went back.
    pub refunded: Money,
    /// Where it goes.
    pub address: Address,
    /// The chosen shipping option's id.
    pub shipping_option: String,
    /// Whom to charge.
    pub payment: PaymentInstruction,
    /// The payment that it was confirmed with.
    pub payment_id: Option<PaymentId>,
    /// The decision to let it fail; giving everything back may still be under way.
    pub abandoned: Option<FailureReason>,
    /// It is being called off; giving everything back is under way.
    pub cancelling: bool,
    /// The shopper has to do something at the payment provider before it goes on.
    pub awaiting_action: bool,
    /// Nothing is under way: the checkout, or its undoing, is complete.
    pub finished: bool,
    /// The steps of its checkout that are accounted for, in the order in which they were begun.
    pub steps: Vec<StepRecord>,
    /// What happened to it, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// When it was placed.
    pub created_at: Timestamp,
    /// When it is given up unless it is confirmed.
    pub deadline: Timestamp,
}

/// What can be asked of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OrderCommand {
    /// Nothing but the view; refused as [`OrderRefusal::NotPlaced`] where there is none.
    Get,
    /// Makes it. The same submission again is done and changes nothing.
    Place(Box<Placement>),
    /// Decides that it fails. Recorded before anything is given back; the first reason stays.
    Abandon {
        /// Why.
        reason: FailureReason,
    },
    /// Notes that the shopper has to act at the payment provider.
    AwaitAction,
    /// Decides that it will be delivered: stock is reserved and the payment authorised (invariant 5).
    Confirm {
        /// The payment.
        payment: PaymentId,
    },
    /// Notes that a confirmed order's stock is taken and its cart cleared.
    Finish {
        /// Whether the money was captured too (it may be left for the shipment).
        captured: bool,
        /// What the run did.
        steps: Vec<StepRecord>,
    },
    /// Notes that an abandoned order gave everything back.
    EndFailed {
        /// Whether a payment was voided.
        voided: bool,
        /// What the run did.
        steps: Vec<StepRecord>,
    },
    /// Decides to call it off.
    Cancel {
        /// Why, for the timeline.
        reason: String,
    },
    /// Hands a guest's order to the account of the address that it was placed with.
    Claim {
        /// The account.
        buyer: String,
    },
    /// Takes out what identifies its buyer; the books keep the rest.
    Erase,
    /// Notes that a cancelled order gave everything back.
    EndCancelled {
        /// Whether money went back (else what was held was voided).
        refunded: bool,
        /// What the run did.
        steps: Vec<StepRecord>,
    },
}

/// An order's verdict on a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderReply {
    /// It holds now, whether by this command or by an earlier one.
    Done,
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
    /// The submission contradicts itself: totals that do not add up, no lines, a SKU twice.
    #[error("the order contradicts itself")]
    InvalidPlacement,
    /// It is confirmed (for a second confirmation: with another payment).
    #[error("the order has been confirmed")]
    AlreadyConfirmed,
    /// It has been decided that it ends without being confirmed.
    #[error("the order has been abandoned")]
    Abandoned,
    /// It is being called off.
    #[error("the order is being cancelled")]
    Cancelling,
    /// It is not a guest's, or another account's by now.
    #[error("the order is somebody else's")]
    NotAGuests,
    /// Its checkout, or the undoing of it, goes on.
    #[error("the order is still under way")]
    UnderWay,
    /// It has been shipped or has ended.
    #[error("it is too late for that")]
    TooLate,
    /// What is noted was never decided, or the tables do not allow it (invariant 6).
    #[error("the order does not stand where this could happen")]
    OutOfOrder,
    /// Money was captured and has not gone back (invariant 5).
    #[error("the order's money has not been given back")]
    MoneyNotReturned,
}

impl Order {
    /// The placed order; `None` before.
    pub fn placed(&self) -> Option<&OrderView> {
        self.placed.as_ref().map(|placed| &placed.order)
    }
}

impl Aggregate for Order {
    const KIND: Kind = Kind("order");
    const REMEMBERED_COMMANDS: usize = 8;

    type Command = OrderCommand;
    type Reply = OrderReply;
    /// `None` until it is placed.
    type View = Option<OrderView>;

    fn initial(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            placed: None,
        }
    }

    fn decide(&self, command: &Self::Command, at: Timestamp) -> Decision<Self> {
        match decide::outcome(self, command, at) {
            Ok(None) => Decision::keep(OrderReply::Done),
            Ok(Some((state, events))) => Decision::change_with(OrderReply::Done, state, events),
            Err(refusal) => Decision::keep(OrderReply::Refused(refusal)),
        }
    }

    fn view(&self) -> Self::View {
        self.placed().cloned()
    }

    /// An unfinished order is due from its beginning, so that whoever takes over its shard finds it at once; one that
    /// waits for its shopper is due at its deadline.
    fn due_at(&self) -> Option<Timestamp> {
        let order = self.placed().filter(|order| !order.finished)?;
        Some(if order.awaiting_action {
            order.deadline
        } else {
            order.created_at
        })
    }

    fn owner(&self) -> Option<&str> {
        self.placed().map(|order| order.buyer.as_str())
    }

    fn settled(&self) -> bool {
        self.placed()
            .is_none_or(|order| order.finished || order.awaiting_action)
    }
}
