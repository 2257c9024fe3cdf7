//! The stock of one SKU: received, sold and reserved units.
//!
//! Commands need no ids: each names its order or document, which makes its repetition harmless.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Aggregate, Decision, Kind, OrderId, Timestamp};
pub use event::{StockEvent, StockFigures};
use remembered::{Remembered, Window};
pub use reservations::{Reservation, Reservations};

mod decide;
mod event;
mod packed;
mod remembered;
mod reservations;
#[cfg(test)]
mod tests;

/// Most units on hand after a receipt or an adjustment.
pub const ON_HAND_LIMIT: u64 = 1_000_000_000;
/// Largest total of receipts, and largest adjustment in either direction: integers up to it are exact in every JSON
/// reader (2^53), and no sum of them overflows.
pub const TOTAL_LIMIT: u64 = 1 << 53;
/// Most open reservations of one SKU: they are stored in its row, about 27 bytes each.
pub const RESERVATION_LIMIT: usize = 4_096;
/// Longest reference of a receipt or an adjustment, in bytes.
pub const REFERENCE_LIMIT: usize = 255;
/// Longest reason of an adjustment, in bytes.
pub const REASON_LIMIT: usize = 500;
/// Most orders in a reply to [`StockCommand::Overdue`].
pub const OVERDUE_LIMIT: usize = 256;

/// How long an order that took its units is remembered. A worker that was overtaken may reserve again for it: it has read the
/// order within [`ORDER_KNOWN_FOR`], and its command expires within its time limit, well before this.
pub const TAKEN_FOR: Duration = Duration::from_secs(60);
/// How long a worker may act on an order without reading it again.
pub const ORDER_KNOWN_FOR: Duration = Duration::from_secs(5);
/// Most orders that take their units within [`TAKEN_FOR`]; further ones are refused for the moment.
pub const TAKEN_LIMIT: usize = 8_192;
/// How long a return may be repeated by a caller who missed the reply (a node crashed, a store was unavailable). No order
/// is forgotten earlier.
pub const REPEATED_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How long an order that returned its units is remembered at most, so that the row shrinks again.
pub const RETURN_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most orders that are remembered for their returns.
pub const RETURN_LIMIT: usize = 2_048;
/// Most references of receipts, and of adjustments, that are remembered; the oldest are forgotten first.
pub const REFERENCES: usize = 1_024;

const TAKEN: Window = Window {
    limit: TAKEN_LIMIT,
    within: TAKEN_FOR,
    kept: TAKEN_FOR,
};
const RETURNED: Window = Window {
    limit: RETURN_LIMIT,
    within: REPEATED_WITHIN,
    kept: RETURN_KEPT,
};
const REFERENCED: Window = Window {
    limit: REFERENCES,
    within: Duration::ZERO,
    kept: Duration::MAX,
};

/// The state of a SKU's stock. Its collections share what they have in common with their former state: every command makes
/// a copy, and a SKU on sale has thousands of reservations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    received: u64,
    adjusted: i64,
    sold: u64,
    reservations: Reservations,
    /// Orders whose units were sold: a late [`StockCommand::Reserve`] of theirs must not reserve again, or a late
    /// [`StockCommand::Take`] would sell to them twice.
    #[serde(default)]
    taken: Remembered,
    /// Orders that have returned their units. A repetition that is not recognised would return them twice (invariants 1
    /// and 2).
    #[serde(default)]
    returned: Remembered,
    /// References of receipts.
    #[serde(default)]
    receipts: Remembered,
    /// References of adjustments, separate because a correction may name the receipt's document.
    #[serde(default)]
    adjustments: Remembered,
}

/// Commands of a SKU's stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StockCommand {
    /// Reads the stock.
    Get,
    /// Adds received goods, once per reference.
    Receive {
        /// Identifies the delivery: 1 to [`REFERENCE_LIMIT`] bytes.
        reference: String,
        /// How many, at least 1.
        quantity: u32,
    },
    /// Corrects the stock after a count or a loss, once per reference.
    Adjust {
        /// How many more or fewer; not 0.
        delta: i64,
        /// Why, up to [`REASON_LIMIT`] bytes.
        reason: String,
        /// Identifies the adjustment: 1 to [`REFERENCE_LIMIT`] bytes.
        reference: String,
    },
    /// Reserves units for an order. Succeeds without a change, of the expiry too, if the order has reserved or taken
    /// them already.
    Reserve {
        /// The order.
        order: OrderId,
        /// How many, at least 1.
        quantity: u32,
        /// When the sweeper checks the order.
        expires_at: Timestamp,
    },
    /// Postpones the expiry of a reservation.
    Extend {
        /// The order.
        order: OrderId,
        /// The new expiry.
        expires_at: Timestamp,
    },
    /// Releases a reservation: the undo of `Reserve`, for an order that was never confirmed. Releasing an absent
    /// reservation succeeds.
    Release {
        /// The order.
        order: OrderId,
    },
    /// Sells the reserved units. Succeeds without a reservation: an order takes only what it reserved, and only `Return`
    /// releases the reservation of a confirmed order.
    Take {
        /// The order.
        order: OrderId,
    },
    /// Returns the units of a confirmed order, once per order: its reservation if that is open, else what it took. One
    /// command, because only the stock knows which of the two applies.
    Return {
        /// The order.
        order: OrderId,
        /// How many it took.
        quantity: u32,
    },
    /// Reads the orders whose reservations have expired: the oldest first, at most [`OVERDUE_LIMIT`].
    Overdue,
}

/// Reply of a stock to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StockReply {
    /// The command has taken effect, now or earlier.
    Done,
    /// Reply to [`StockCommand::Overdue`].
    Overdue(Vec<OrderId>),
    /// Nothing changed.
    Refused(StockRefusal),
}

/// Why a stock refuses a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StockRefusal {
    /// Fewer are available than asked for (invariant 1).
    #[error("only {available} available")]
    OutOfStock {
        /// How many are.
        available: u32,
    },
    /// The order has no reservation, or has returned its units.
    #[error("the order has no reservation")]
    NotReserved,
    /// The adjustment would leave fewer on hand than are reserved (invariant 1).
    #[error("fewer units would be on hand than are reserved")]
    BelowReserved,
    /// A quantity, reference or reason is outside its limits, or a repetition has another quantity.
    #[error("a quantity, reference or reason is outside its limits")]
    OutOfRange,
    /// [`RESERVATION_LIMIT`] is reached for the moment.
    #[error("too many reservations")]
    TooManyReservations,
    /// [`RETURN_LIMIT`] is reached within [`REPEATED_WITHIN`]: forgetting an order so early could count its return twice.
    #[error("too many returns within a short time")]
    TooManyReturns,
    /// [`TAKEN_LIMIT`] is reached within [`TAKEN_FOR`]: forgetting an order so early could sell to it twice.
    #[error("too many sales within a short time")]
    TooManySales,
}

/// What replies show of a stock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockLevel {
    /// Units received in all.
    pub received: u64,
    /// The sum of all adjustments.
    pub adjusted: i64,
    /// Units sold, less returns.
    pub sold: u64,
    /// received + adjusted − sold (invariant 2).
    pub on_hand: u64,
    /// The sum of the open reservations (invariant 3).
    pub reserved: u64,
    /// on_hand − reserved (invariant 1).
    pub available: u64,
    /// How many orders have a reservation.
    pub reservations: u32,
}

impl Stock {
    /// The figures.
    pub fn level(&self) -> StockLevel {
        // No subtraction goes below zero: decide() keeps invariants 1 and 2.
        let on_hand = self
            .received
            .saturating_add_signed(self.adjusted)
            .saturating_sub(self.sold);
        let reserved = self.reservations.quantity();
        StockLevel {
            received: self.received,
            adjusted: self.adjusted,
            sold: self.sold,
            on_hand,
            reserved,
            available: on_hand.saturating_sub(reserved),
            reservations: u32::try_from(self.reservations.len()).unwrap_or(u32::MAX),
        }
    }

    /// The open reservations, for the auditor (invariant 3).
    pub fn reservations(&self) -> &Reservations {
        &self.reservations
    }
}

impl Aggregate for Stock {
    const KIND: Kind = Kind("sku");
    const REMEMBERED_COMMANDS: usize = 0;

    type Command = StockCommand;
    type Reply = StockReply;
    type View = StockLevel;
    type Event = StockEvent;

    fn initial(_id: &str) -> Self {
        Self::default()
    }

    fn decide(&self, command: &Self::Command, at: Timestamp) -> Decision<Self> {
        let mut next = self.clone();
        let outcome = match command {
            StockCommand::Get => Ok(None),
            StockCommand::Overdue => {
                return Decision::keep(StockReply::Overdue(self.reservations.expired(at, OVERDUE_LIMIT)));
            }
            StockCommand::Receive { reference, quantity } => next.receive(reference, *quantity, at),
            StockCommand::Adjust {
                delta,
                reason,
                reference,
            } => next.adjust(*delta, reason, reference, at),
            StockCommand::Reserve {
                order,
                quantity,
                expires_at,
            } => next.reserve(order, *quantity, *expires_at),
            StockCommand::Extend { order, expires_at } => next.extend(order, *expires_at),
            StockCommand::Release { order } => next.release(order),
            StockCommand::Take { order } => next.take(order, at),
            StockCommand::Return { order, quantity } => next.give_back(order, *quantity, at),
        };
        match outcome {
            Ok(None) => Decision::keep(StockReply::Done),
            Ok(Some(events)) => Decision::change_with(StockReply::Done, next, events),
            Err(refusal) => Decision::keep(StockReply::Refused(refusal)),
        }
    }

    fn view(&self) -> Self::View {
        self.level()
    }

    fn due_at(&self) -> Option<Timestamp> {
        self.reservations.first_expiry()
    }
}
