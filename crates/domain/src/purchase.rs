//! A purchase: an order in its buyer's history, projected from the order's events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Money, OrderId, OrderStatus, ProductId, Sku, Timestamp, UserId};

/// One line of a purchase, as it was sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurchasedItem {
    /// The SKU.
    pub sku: Sku,
    /// Its product.
    pub product_id: ProductId,
    /// The product's title.
    pub title: String,
    /// How many.
    pub quantity: u32,
    /// Price of one.
    pub unit_price: Money,
}

/// An order in its buyer's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {
    /// The order.
    pub order_id: OrderId,
    /// The buyer.
    pub user_id: UserId,
    /// The order's number, for people.
    pub number: String,
    /// The order's status.
    pub status: OrderStatus,
    /// The order's total.
    pub total: Money,
    /// Its lines.
    pub items: Vec<PurchasedItem>,
    /// When the order was placed.
    pub placed_at: Timestamp,
    /// When the order last changed.
    pub updated_at: Timestamp,
    /// The order's version; the projection accepts no older one (invariant 14).
    pub version: u64,
}
