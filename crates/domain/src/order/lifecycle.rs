//! The tables along which an order's three states move (invariant 6).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A state that moves along a table.
pub trait Lifecycle: Copy + PartialEq + Sized + 'static {
    /// The allowed moves: from, to. What is not listed does not happen.
    const MOVES: &'static [(Self, Self)];

    /// As in JSON and on the API.
    fn as_str(self) -> &'static str;

    /// Whether the table allows the move.
    fn may_become(self, next: Self) -> bool {
        Self::MOVES.contains(&(self, next))
    }
}

/// Where an order stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Placed; stock and money are being secured.
    Pending,
    /// It will be delivered.
    Confirmed,
    /// It has been delivered.
    Completed,
    /// It came to nothing; everything was given back.
    Failed,
    /// It was called off; everything was given back.
    Cancelled,
}

/// What has become of the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Nothing is known to be held.
    None,
    /// The total is held for us.
    Authorised,
    /// The total is ours.
    Captured,
    /// Some went back.
    PartiallyRefunded,
    /// All went back.
    Refunded,
    /// Nothing is held any more, and nothing will be.
    Voided,
    /// The provider said no.
    Declined,
}

/// What has become of the goods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FulfilmentStatus {
    /// Nobody has touched them.
    Unfulfilled,
    /// They are being packed.
    Preparing,
    /// They are on the way.
    Shipped,
    /// They have arrived.
    Delivered,
    /// They have come back.
    Returned,
}

impl Lifecycle for OrderStatus {
    const MOVES: &'static [(Self, Self)] = &[
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
    const MOVES: &'static [(Self, Self)] = &[
        (Self::None, Self::Authorised),
        (Self::None, Self::Declined),
        // An authorisation that no order was confirmed with is only ever seen by its undo.
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
    const MOVES: &'static [(Self, Self)] = &[
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
