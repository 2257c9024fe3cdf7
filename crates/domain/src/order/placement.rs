//! What is submitted to make an order.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{FulfilmentStatus, OrderLine, OrderStatus, OrderView, PaymentStatus, TimelineEntry};
use crate::cart::{LINE_LIMIT, QUANTITY_LIMIT};
use crate::{Address, CartId, EmailAddress, Money, OrderId, PaymentInstruction, Timestamp};

/// A submission: everything about an order that does not change any more. Prices, titles and weights come from the
/// catalogue, never from the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The order's identifier, derived from buyer and idempotency key.
    pub id: OrderId,
    /// What people will call it.
    pub number: String,
    /// Whose it is: an account, or the cart of a guest.
    pub buyer: String,
    /// The cart it is made from.
    pub cart: CartId,
    /// Where its letters go.
    pub email: EmailAddress,
    /// Hash of what the client submitted.
    pub fingerprint: String,
    /// What is bought; one line a SKU.
    pub lines: Vec<OrderLine>,
    /// The sum of the lines.
    pub subtotal: Money,
    /// Tax on top.
    pub tax: Money,
    /// Shipping on top.
    pub shipping: Money,
    /// What is paid.
    pub total: Money,
    /// Where it goes.
    pub address: Address,
    /// The chosen shipping option's id.
    pub shipping_option: String,
    /// Whom to charge.
    pub payment: PaymentInstruction,
    /// When it is given up unless it is confirmed.
    pub deadline: Timestamp,
}

impl Placement {
    /// Whether it can be carried out as it stands: lines within the limits, each SKU once (stock is reserved by order
    /// and SKU), and totals that add up in one currency.
    pub(super) fn is_consistent(&self) -> bool {
        let skus: BTreeSet<_> = self.lines.iter().map(|line| &line.sku).collect();
        let lines_fit = (1..=LINE_LIMIT).contains(&self.lines.len())
            && skus.len() == self.lines.len()
            && self
                .lines
                .iter()
                .all(|line| (1..=QUANTITY_LIMIT).contains(&line.quantity) && line.unit_price.amount >= 0);
        let parts_fit = self.tax.amount >= 0 && self.shipping.amount >= 0;
        lines_fit && parts_fit && self.adds_up()
    }

    fn adds_up(&self) -> bool {
        let subtotal = self
            .lines
            .iter()
            .try_fold(Money::zero(self.total.currency), |sum, line| {
                sum.plus(line.unit_price.times(line.quantity)?)
            });
        let total = self
            .subtotal
            .plus(self.tax)
            .and_then(|sum| sum.plus(self.shipping));
        subtotal == Ok(self.subtotal) && total == Ok(self.total)
    }

    /// The order that it makes.
    pub(super) fn order(&self, at: Timestamp) -> OrderView {
        OrderView {
            id: self.id.clone(),
            number: self.number.clone(),
            buyer: self.buyer.clone(),
            cart: self.cart.clone(),
            email: self.email.clone(),
            status: OrderStatus::Pending,
            payment_status: PaymentStatus::None,
            fulfilment_status: FulfilmentStatus::Unfulfilled,
            lines: self.lines.clone(),
            subtotal: self.subtotal,
            tax: self.tax,
            shipping: self.shipping,
            total: self.total,
            refunded: Money::zero(self.total.currency),
            address: self.address.clone(),
            shipping_option: self.shipping_option.clone(),
            payment: self.payment.clone(),
            payment_id: None,
            abandoned: None,
            cancelling: false,
            awaiting_action: false,
            finished: false,
            steps: Vec::new(),
            timeline: vec![TimelineEntry {
                at,
                event: "placed".to_owned(),
                detail: String::new(),
            }],
            created_at: at,
            deadline: self.deadline,
        }
    }
}
