//! The body of an order: without the payment token, the e-mail address and internal bookkeeping.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use souk_domain::{
    Address, FulfilmentStatus, Money, OrderId, OrderLine, OrderStatus, OrderView, PaymentStatus, ProductId,
    Sku,
};

/// An order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Order)]
pub struct OrderBody<'a> {
    id: &'a OrderId,
    /// For people.
    number: &'a str,
    status: OrderStatus,
    payment_status: PaymentStatus,
    fulfilment_status: FulfilmentStatus,
    items: Vec<Item<'a>>,
    subtotal: Money,
    tax: Money,
    shipping: Money,
    total: Money,
    refunded: Money,
    address: &'a Address,
    /// Not recorded as yet.
    #[schema(value_type = Vec<Object>)]
    shipments: [(); 0],
    timeline: Vec<Entry<'a>>,
    /// The entity tag begins with it.
    version: u64,
    #[schema(format = DateTime)]
    created_at: String,
}

/// A line of an order, as it was sold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrderItem)]
struct Item<'a> {
    sku: &'a Sku,
    product_id: &'a ProductId,
    title: &'a str,
    options: &'a BTreeMap<String, String>,
    quantity: u32,
    unit_price: Money,
    /// It fitted when the order was placed, as its subtotal did.
    #[schema(required)]
    line_total: Option<Money>,
}

/// An event of an order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineEntry)]
struct Entry<'a> {
    #[schema(format = DateTime)]
    at: String,
    event: &'a str,
    detail: &'a str,
}

impl<'a> OrderBody<'a> {
    /// The order at `version`.
    pub fn new(order: &'a OrderView, version: u64) -> Self {
        let item = |line: &'a OrderLine| Item {
            sku: &line.sku,
            product_id: &line.product_id,
            title: &line.title,
            options: &line.options,
            quantity: line.quantity,
            unit_price: line.unit_price,
            line_total: line.unit_price.times(line.quantity).ok(),
        };
        let timeline = order.timeline.iter().map(|entry| Entry {
            at: entry.at.to_rfc3339(),
            event: &entry.event,
            detail: &entry.detail,
        });
        Self {
            id: &order.id,
            number: &order.number,
            status: order.status,
            payment_status: order.payment_status,
            fulfilment_status: order.fulfilment_status,
            items: order.lines.iter().map(item).collect(),
            subtotal: order.subtotal,
            tax: order.tax,
            shipping: order.shipping,
            total: order.total,
            refunded: order.refunded,
            address: &order.address,
            shipments: [],
            timeline: timeline.collect(),
            version,
            created_at: order.created_at.to_rfc3339(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_support::order;

    #[test]
    fn an_order_has_the_documented_fields() {
        let order = order();
        let body = serde_json::to_value(OrderBody::new(&order, 4)).unwrap();
        let mut names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "address",
                "created_at",
                "fulfilment_status",
                "id",
                "items",
                "number",
                "payment_status",
                "refunded",
                "shipments",
                "shipping",
                "status",
                "subtotal",
                "tax",
                "timeline",
                "total",
                "version"
            ]
        );
        assert_eq!(body["status"], "pending");
        assert_eq!(body["shipments"], serde_json::json!([]));
        assert_eq!(body["created_at"], "2026-11-22T10:00:00.000Z");
        assert_eq!(body["timeline"][0]["event"], "placed");
        assert_eq!(body["items"][0]["line_total"]["amount"], 2_000);
        let text = body.to_string();
        assert!(
            !text.contains(&order.payment.token) && !text.contains(order.email.as_str()),
            "{text}"
        );
    }
}
