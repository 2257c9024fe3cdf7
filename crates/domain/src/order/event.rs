//! The events of orders.

use serde::{Deserialize, Serialize};

use super::PaymentStatus;
use crate::{Event, Money, OrderId, ProductId, Sku};

/// What others learn of an order. One that is not yet confirmed concerns nobody else, and emits nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", content = "detail")]
pub enum OrderEvent {
    /// The stock is reserved and the payment authorised: the order is accepted.
    #[serde(rename = "order.confirmed")]
    Confirmed(OrderSummary),
    /// The payment was captured.
    #[serde(rename = "order.paid")]
    Paid(OrderSummary),
    /// A guest's order was taken over by an account.
    #[serde(rename = "order.claimed")]
    Claimed(OrderSummary),
    /// The personal data was erased.
    #[serde(rename = "order.erased")]
    Erased(OrderSummary),
    /// It ended without a confirmation.
    #[serde(rename = "order.failed")]
    Failed {
        /// The order.
        #[serde(flatten)]
        order: OrderSummary,
        /// The name of the reason, as in [`FailureReason::as_str`](super::FailureReason::as_str).
        reason: String,
    },
    /// It was cancelled, and everything returned.
    #[serde(rename = "order.cancelled")]
    Cancelled {
        /// The order.
        #[serde(flatten)]
        order: OrderSummary,
        /// What became of the payment.
        payment_status: PaymentStatus,
    },
}

impl Event for OrderEvent {}

/// What others may know of an order: nothing that identifies a person, nothing that pays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderSummary {
    /// The order.
    pub order: OrderId,
    /// Its number for people.
    pub number: String,
    /// What it costs.
    pub total: Money,
    /// What was ordered.
    pub lines: Vec<OrderedItem>,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderedItem {
    /// The SKU.
    pub sku: Sku,
    /// Its product.
    pub product_id: ProductId,
    /// How many.
    pub quantity: u32,
}
