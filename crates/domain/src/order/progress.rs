//! How far an order has come: its phase, payment, fulfilment and timeline.

use serde::{Deserialize, Serialize};

use super::{FulfilmentStatus, OrderStatus, PaymentStatus};
use crate::checkout::{Step, StepRecord};
use crate::{Money, PaymentId, Sku, Timestamp};

/// The timeline's event of the confirmation.
pub(super) const CONFIRMED: &str = "confirmed";

/// Everything about a placed order that changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The phase of its checkout.
    pub phase: Phase,
    /// Set while the checkout waits for a person's decision.
    #[serde(default)]
    pub attention: Option<Attention>,
    /// The state of its payment.
    pub payment_status: PaymentStatus,
    /// The state of its goods.
    pub fulfilment_status: FulfilmentStatus,
    /// How much of the total was refunded.
    pub refunded: Money,
    /// The recorded steps of its checkout, in the order in which they began.
    pub steps: Vec<StepRecord>,
    /// The timeline, oldest entry first.
    pub timeline: Vec<TimelineEntry>,
    /// When it was placed.
    pub created_at: Timestamp,
    /// When it may be pruned; set once it has failed.
    #[serde(default)]
    pub keep_until: Option<Timestamp>,
}

/// Why a checkout waits for a person: the payment provider refused what must be done, and would refuse it again. It goes
/// on when somebody asks for another attempt, or cancels the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// The step that was refused.
    pub step: Step,
    /// Why, for operators.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// The phase of an order's checkout. The order's status follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Stock is being reserved and the payment authorised.
    Confirming,
    /// The same, waiting until the shopper has acted at the payment provider.
    AwaitingAction,
    /// Confirmed: stock is being taken, the payment captured, the cart cleared.
    Fulfilling {
        /// The payment that it was confirmed with.
        payment: PaymentId,
    },
    /// Confirmed, its checkout finished.
    Confirmed {
        /// The payment that it was confirmed with.
        payment: PaymentId,
    },
    /// Delivered.
    Completed {
        /// The payment that it was confirmed with.
        payment: PaymentId,
    },
    /// It will fail: stock is being released and the payment voided.
    Failing {
        /// Why.
        reason: FailureReason,
    },
    /// Failed, everything returned.
    Failed {
        /// Why.
        reason: FailureReason,
    },
    /// It will be cancelled: stock and money are being returned.
    Cancelling {
        /// The payment that it had been confirmed with; `None` before confirmation.
        payment: Option<PaymentId>,
    },
    /// Cancelled, everything returned.
    Cancelled {
        /// The payment that it had been confirmed with; `None` before confirmation.
        payment: Option<PaymentId>,
    },
}

impl Phase {
    /// The order's status in this phase.
    pub const fn status(&self) -> OrderStatus {
        match self {
            Self::Confirming
            | Self::AwaitingAction
            | Self::Failing { .. }
            | Self::Cancelling { payment: None } => OrderStatus::Pending,
            Self::Fulfilling { .. } | Self::Confirmed { .. } | Self::Cancelling { payment: Some(_) } => {
                OrderStatus::Confirmed
            }
            Self::Completed { .. } => OrderStatus::Completed,
            Self::Failed { .. } => OrderStatus::Failed,
            Self::Cancelled { .. } => OrderStatus::Cancelled,
        }
    }

    /// Whether neither confirmation, failure nor cancellation has been decided.
    pub const fn is_undecided(&self) -> bool {
        matches!(self, Self::Confirming | Self::AwaitingAction)
    }

    /// Whether a cancellation has been decided and is not finished.
    pub const fn is_cancelling(&self) -> bool {
        matches!(self, Self::Cancelling { .. })
    }

    /// Whether the checkout, or its compensation, has nothing left to do.
    pub const fn is_finished(&self) -> bool {
        matches!(
            self,
            Self::Confirmed { .. } | Self::Completed { .. } | Self::Failed { .. } | Self::Cancelled { .. }
        )
    }

    /// Whether the order can still be confirmed, or is.
    pub const fn may_be_fulfilled(&self) -> bool {
        self.is_undecided()
            || matches!(
                self,
                Self::Fulfilling { .. } | Self::Confirmed { .. } | Self::Completed { .. }
            )
    }

    /// The payment that the order was confirmed with; `None` where it never was.
    pub const fn payment(&self) -> Option<&PaymentId> {
        match self {
            Self::Fulfilling { payment } | Self::Confirmed { payment } | Self::Completed { payment } => {
                Some(payment)
            }
            Self::Cancelling { payment } | Self::Cancelled { payment } => payment.as_ref(),
            Self::Confirming | Self::AwaitingAction | Self::Failing { .. } | Self::Failed { .. } => None,
        }
    }

    /// Why the order fails or has failed.
    pub const fn failure(&self) -> Option<&FailureReason> {
        match self {
            Self::Failing { reason } | Self::Failed { reason } => Some(reason),
            _ => None,
        }
    }
}

/// Why an order failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// Not everything was available.
    OutOfStock {
        /// The SKUs that fell short, and how many of each were available.
        skus: Vec<(Sku, u32)>,
    },
    /// The provider declined the payment.
    PaymentDeclined {
        /// The provider's reason.
        code: String,
    },
    /// The provider did not answer in time.
    PaymentTimedOut,
    /// The order's deadline passed before it was confirmed.
    DeadlinePassed,
    /// The checkout failed for a reason within the shop.
    Internal,
}

impl FailureReason {
    /// Its name in events and on the timeline.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::OutOfStock { .. } => "out_of_stock",
            Self::PaymentDeclined { .. } => "payment_declined",
            Self::PaymentTimedOut => "payment_timed_out",
            Self::DeadlinePassed => "deadline_passed",
            Self::Internal => "internal",
        }
    }
}

impl Progress {
    /// Whether a worker has something to do for the order.
    pub const fn has_work(&self) -> bool {
        !self.phase.is_finished() && self.attention.is_none()
    }

    /// What it was when the order was confirmed, but for the recorded steps, and how many changes the order had had by then: until
    /// it is confirmed, each has an entry of the timeline. `None` where it never was, or where that entry has been dropped
    /// ([`TIMELINE_LIMIT`](super::TIMELINE_LIMIT)).
    pub fn when_confirmed(&self) -> Option<(Self, usize)> {
        let payment = self.phase.payment()?.clone();
        let entry = self.timeline.iter().position(|entry| entry.event == CONFIRMED)?;
        let progress = Self {
            phase: Phase::Fulfilling { payment },
            attention: None,
            payment_status: PaymentStatus::Authorised,
            fulfilment_status: FulfilmentStatus::Unfulfilled,
            refunded: Money::zero(self.refunded.currency),
            timeline: self.timeline[..=entry].to_vec(),
            keep_until: None,
            ..self.clone()
        };
        Some((progress, entry + 1))
    }
}

/// An entry of an order's timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What happened, in snake case: `placed`, `confirmed`, `paid`.
    pub event: String,
    /// Details; may be empty.
    pub detail: String,
}
