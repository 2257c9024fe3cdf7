//! A purchase: an order as its buyer's history shows it. A projection of the order, made from its events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Money, OrderId, OrderStatus, ProductId, Sku, Timestamp, UserId};

/// One line of a purchase, as it was sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurchasedItem {
    /// What was sold.
    pub sku: Sku,
    /// Its product.
    pub product_id: ProductId,
    /// The product's title.
    pub title: String,
    /// How many.
    pub quantity: u32,
    /// What one cost.
    pub unit_price: Money,
}

/// An order in its buyer's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {
    /// The order.
    pub order_id: OrderId,
    /// Whose it is.
    pub user_id: UserId,
    /// The order's number, for people.
    pub number: String,
    /// Where the order stands.
    pub status: OrderStatus,
    /// What it cost in all.
    pub total: Money,
    /// What was bought.
    pub items: Vec<PurchasedItem>,
    /// When the order was placed.
    pub placed_at: Timestamp,
    /// When it became what it is here.
    pub updated_at: Timestamp,
    /// The order's version that this shows; a projection takes no older one (invariant 14).
    pub version: u64,
}
