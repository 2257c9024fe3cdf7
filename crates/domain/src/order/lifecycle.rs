//! The three states of an order and the transitions that each allows (invariant 6).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A state with a table of transitions.
pub trait Lifecycle: Copy + PartialEq + Sized + 'static {
    /// The allowed transitions: from, to.
    const TRANSITIONS: &'static [(Self, Self)];

    /// Its name in JSON.
    fn as_str(self) -> &'static str;

    /// Whether the table allows the transition.
    fn may_become(self, next: Self) -> bool {
        Self::TRANSITIONS.contains(&(self, next))
    }
}

/// State of an order as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Placed, not confirmed yet.
    Pending,
    /// Confirmed: it will be delivered.
    Confirmed,
    /// Delivered.
    Completed,
    /// Failed; stock and money were returned.
    Failed,
    /// Cancelled; stock and money were returned.
    Cancelled,
}

/// State of an order's payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Nothing is authorised as far as the order knows.
    None,
    /// The total is authorised.
    Authorised,
    /// The total is captured.
    Captured,
    /// Some of it was refunded.
    PartiallyRefunded,
    /// All of it was refunded.
    Refunded,
    /// Voided: nothing is authorised, and nothing will be.
    Voided,
    /// The provider declined it.
    Declined,
}

/// State of an order's goods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FulfilmentStatus {
    /// Not yet handled.
    Unfulfilled,
    /// Being packed.
    Preparing,
    /// Handed to the carrier.
    Shipped,
    /// Delivered.
    Delivered,
    /// Returned to the warehouse.
    Returned,
}

impl Lifecycle for OrderStatus {
    const TRANSITIONS: &'static [(Self, Self)] = &[
        (Self::Pending, Self::Confirmed),
        (Self::Pending, Self::Failed),
        (Self::Pending, Self::Cancelled),
        (Self::Confirmed, Self::Completed),
        (Self::Confirmed, Self::Cancelled),
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Lifecycle for PaymentStatus {
    const TRANSITIONS: &'static [(Self, Self)] = &[
        (Self::None, Self::Authorised),
        (Self::None, Self::Declined),
        // An authorisation that the order was never confirmed with is recorded only when it is voided.
        (Self::None, Self::Voided),
        (Self::Authorised, Self::Captured),
        (Self::Authorised, Self::Voided),
        (Self::Captured, Self::PartiallyRefunded),
        (Self::Captured, Self::Refunded),
        (Self::PartiallyRefunded, Self::Refunded),
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Authorised => "authorised",
            Self::Captured => "captured",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Voided => "voided",
            Self::Declined => "declined",
        }
    }
}

impl Lifecycle for FulfilmentStatus {
    const TRANSITIONS: &'static [(Self, Self)] = &[
        (Self::Unfulfilled, Self::Preparing),
        (Self::Unfulfilled, Self::Shipped),
        (Self::Preparing, Self::Shipped),
        (Self::Shipped, Self::Delivered),
        (Self::Shipped, Self::Returned),
        (Self::Delivered, Self::Returned),
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Unfulfilled => "unfulfilled",
            Self::Preparing => "preparing",
            Self::Shipped => "shipped",
            Self::Delivered => "delivered",
            Self::Returned => "returned",
        }
    }
}
