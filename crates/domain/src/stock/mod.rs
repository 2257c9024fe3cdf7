//! The stock of one SKU: what came in, what was sold, and what is held for orders under way.
//!
//! Nothing of it needs a memory of commands: every command names the order or the document that it belongs to, and
//! the same one counts once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::recent::Recent;
use super::{Aggregate, Decision, Kind, OrderId, Timestamp};
use returns::Returns;
pub use returns::{REPEATED_WITHIN, RETURN_LIMIT};

mod decide;
mod returns;
#[cfg(test)]
mod tests;

/// Most pieces on hand that a receipt or an adjustment may lead to.
pub const ON_HAND_LIMIT: u64 = 1_000_000_000;
/// Largest total of receipts, and largest adjustment in either direction: integers up to it are exact in every JSON
/// reader (2^53), and no sum of them overflows.
pub const TOTAL_LIMIT: u64 = 1 << 53;
/// Most open reservations of one SKU: they travel in its row.
pub const RESERVATION_LIMIT: usize = 4_096;
/// Longest reference of a receipt or an adjustment, in bytes.
pub const REFERENCE_LIMIT: usize = 255;
/// Longest reason of an adjustment, in bytes.
pub const REASON_LIMIT: usize = 500;
/// Most orders that one [`StockCommand::Overdue`] names.
pub const OVERDUE_LIMIT: usize = 256;
/// How many orders that took their pieces are remembered.
const TAKEN: usize = 64;
/// How many references of receipts, and of adjustments, are remembered, so that the same one counts once.
const REFERENCES: usize = 1_024;

/// Pieces held for one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// How many, at least 1.
    pub quantity: u32,
    /// When the order has to be asked whether it still needs them (invariant 11).
    pub expires_at: Timestamp,
}

/// The state of a SKU's stock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    received: u64,
    adjusted: i64,
    sold: u64,
    reservations: BTreeMap<OrderId, Reservation>,
    /// Orders whose pieces were sold: a late [`StockCommand::Reserve`] of theirs must hold nothing again.
    #[serde(default)]
    taken: Recent<OrderId, TAKEN>,
    /// Orders that gave their pieces back for good. What they had is sold to others by then: a repetition that is not known for
    /// one would sell it twice (invariants 1 and 2).
    #[serde(default)]
    returned: Returns,
    /// References of receipts.
    #[serde(default)]
    receipts: Recent<String, REFERENCES>,
    /// References of adjustments; apart from those of receipts, because a correction may name the same paper.
    #[serde(default)]
    adjustments: Recent<String, REFERENCES>,
}

/// What can be asked of a SKU's stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StockCommand {
    /// Nothing but the view.
    Get,
    /// Goods came in; the same reference counts once.
    Receive {
        /// Names the delivery: 1 to [`REFERENCE_LIMIT`] bytes.
        reference: String,
        /// How many, at least 1.
        quantity: u32,
    },
    /// A count or a loss; the same reference counts once.
    Adjust {
        /// How many more or fewer; not 0.
        delta: i64,
        /// Why, up to [`REASON_LIMIT`] bytes.
        reason: String,
        /// Names the adjustment: 1 to [`REFERENCE_LIMIT`] bytes.
        reference: String,
    },
    /// Holds pieces for an order. Repeated for an order that holds them already, or has taken them, it is done and
    /// changes nothing, the expiry included.
    Reserve {
        /// The order.
        order: OrderId,
        /// How many, at least 1.
        quantity: u32,
        /// When to ask the order again.
        expires_at: Timestamp,
    },
    /// Moves the expiry of a reservation later; never earlier.
    Extend {
        /// The order.
        order: OrderId,
        /// The new expiry.
        expires_at: Timestamp,
    },
    /// Gives a reservation back: the undo of `Reserve`, for an order that was never confirmed. Without one it is done.
    Release {
        /// The order.
        order: OrderId,
    },
    /// Sells what is reserved. Without a reservation it is done: an order takes only what it reserved, and the
    /// reservation of a confirmed order is never released but by `Return`.
    Take {
        /// The order.
        order: OrderId,
    },
    /// Gives back what a confirmed order has, once an order: its reservation where it is still open, else what it
    /// took. One command, because only the stock itself knows which of the two holds.
    Return {
        /// The order.
        order: OrderId,
        /// How many it had taken.
        quantity: u32,
    },
    /// Which orders' reservations have expired: the oldest first, at most [`OVERDUE_LIMIT`]. Reads only.
    Overdue,
}

/// A stock's verdict on a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StockReply {
    /// It holds now, whether by this command or by an earlier one.
    Done,
    /// The answer to [`StockCommand::Overdue`].
    Overdue(Vec<OrderId>),
    /// Nothing changed.
    Refused(StockRefusal),
}

/// Why a stock refuses a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StockRefusal {
    /// Fewer are available than asked for (invariant 1).
    #[error("only {available} are available")]
    OutOfStock {
        /// How many are.
        available: u32,
    },
    /// The order holds no reservation, or has given its pieces back already.
    #[error("the order holds no reservation")]
    NotReserved,
    /// The adjustment would leave fewer on hand than are reserved (invariant 1).
    #[error("fewer would be on hand than are reserved")]
    BelowReserved,
    /// A quantity, reference or reason outside its limits, or a repetition with another quantity.
    #[error("a quantity, a reference or a reason lies outside its limits")]
    OutOfRange,
    /// [`RESERVATION_LIMIT`] is reached; some will be taken or released soon.
    #[error("too many orders hold reservations at the moment")]
    TooManyReservations,
    /// [`RETURN_LIMIT`] is reached within [`REPEATED_WITHIN`]: until it is over, an order that were forgotten now might be
    /// counted twice.
    #[error("too many orders have given pieces back within a short time")]
    TooManyReturns,
}

/// What callers see of a stock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockLevel {
    /// How many ever came in.
    pub received: u64,
    /// The sum of all adjustments.
    pub adjusted: i64,
    /// How many are sold, less what came back.
    pub sold: u64,
    /// received + adjusted − sold (invariant 2).
    pub on_hand: u64,
    /// The sum of the open reservations (invariant 3).
    pub reserved: u64,
    /// on_hand − reserved (invariant 1).
    pub available: u64,
    /// How many orders hold a reservation.
    pub reservations: u32,
}

impl Stock {
    /// The figures.
    pub fn level(&self) -> StockLevel {
        // No subtraction below can go under zero: decide() keeps invariants 1 and 2.
        let on_hand = self
            .received
            .saturating_add_signed(self.adjusted)
            .saturating_sub(self.sold);
        let reserved = self
            .reservations
            .values()
            .map(|reservation| u64::from(reservation.quantity))
            .sum();
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
    pub fn reservations(&self) -> &BTreeMap<OrderId, Reservation> {
        &self.reservations
    }
}

impl Aggregate for Stock {
    const KIND: Kind = Kind("sku");
    const REMEMBERED_COMMANDS: usize = 0;

    type Command = StockCommand;
    type Reply = StockReply;
    type View = StockLevel;

    fn initial(_id: &str) -> Self {
        Self::default()
    }

    fn decide(&self, command: &Self::Command, at: Timestamp) -> Decision<Self> {
        let outcome = match command {
            StockCommand::Get => Ok(None),
            StockCommand::Overdue => return Decision::keep(StockReply::Overdue(self.overdue(at))),
            StockCommand::Receive { reference, quantity } => self.receive(reference, *quantity),
            StockCommand::Adjust {
                delta,
                reason,
                reference,
            } => self.adjust(*delta, reason, reference),
            StockCommand::Reserve {
                order,
                quantity,
                expires_at,
            } => self.reserve(order, *quantity, *expires_at),
            StockCommand::Extend { order, expires_at } => self.extend(order, *expires_at),
            StockCommand::Release { order } => self.release(order),
            StockCommand::Take { order } => self.take(order),
            StockCommand::Return { order, quantity } => self.give_back(order, *quantity, at),
        };
        match outcome {
            Ok(None) => Decision::keep(StockReply::Done),
            Ok(Some((state, events))) => Decision::change_with(StockReply::Done, state, events),
            Err(refusal) => Decision::keep(StockReply::Refused(refusal)),
        }
    }

    fn view(&self) -> Self::View {
        self.level()
    }

    fn due_at(&self) -> Option<Timestamp> {
        self.reservations
            .values()
            .map(|reservation| reservation.expires_at)
            .min()
    }
}
