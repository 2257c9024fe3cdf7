//! The events of a stock: its movements, and reservations that ended.

use serde::{Deserialize, Serialize};

use crate::{Event, OrderId};

/// What others learn of a stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "detail")]
pub enum StockEvent {
    /// Pieces came in.
    #[serde(rename = "stock.received")]
    Received {
        /// How many.
        quantity: u32,
        /// The document that they came with.
        reference: String,
        /// The stock after it.
        #[serde(flatten)]
        after: StockFigures,
    },
    /// A count or a loss.
    #[serde(rename = "stock.adjusted")]
    Adjusted {
        /// By how many.
        delta: i64,
        /// Why.
        reason: String,
        /// The request that asked for it.
        reference: String,
        /// The stock after it.
        #[serde(flatten)]
        after: StockFigures,
    },
    /// A reservation ended without a sale. No movement, since nothing left the shelf; but a badge may have been made in
    /// between (with the movement of another order), and nothing else would renew it (invariant 14).
    #[serde(rename = "stock.released")]
    Released {
        /// How many.
        quantity: u32,
        /// Whose reservation it was.
        order: OrderId,
        /// The stock after it.
        #[serde(flatten)]
        after: StockFigures,
    },
    /// Reserved pieces were sold.
    #[serde(rename = "stock.sold")]
    Sold {
        /// How many.
        quantity: u32,
        /// To which order.
        order: OrderId,
        /// The stock after it.
        #[serde(flatten)]
        after: StockFigures,
    },
    /// Sold pieces were given back.
    #[serde(rename = "stock.returned")]
    Returned {
        /// How many.
        quantity: u32,
        /// By which order.
        order: OrderId,
        /// The stock after it.
        #[serde(flatten)]
        after: StockFigures,
    },
}

impl Event for StockEvent {}

/// The stock after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockFigures {
    /// Pieces on hand.
    pub on_hand: u64,
    /// Of those, not reserved.
    pub available: u64,
}
