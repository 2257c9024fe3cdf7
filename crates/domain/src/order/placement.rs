//! The submission that an order is placed with.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::OrderLine;
use crate::cart::{LINE_LIMIT, QUANTITY_LIMIT};
use crate::{Address, CartId, EmailAddress, Money, OrderId, PaymentInstruction, Sku, Timestamp};

/// A submission. Prices, titles and weights come from the catalogue, never from the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The order's identifier, derived from buyer and idempotency key.
    pub id: OrderId,
    /// The order number shown to people.
    pub number: String,
    /// Its owner: an account, or the cart of a guest.
    pub buyer: String,
    /// The cart it is made from.
    pub cart: CartId,
    /// The version of the cart that it is made from (invariant 15); 0 in orders of the older form.
    #[serde(default)]
    pub cart_version: u64,
    /// Where its e-mails go.
    pub email: EmailAddress,
    /// Hash of the client's submission: placing the order again must have the same one (invariant 9).
    pub fingerprint: String,
    /// The lines, one per SKU.
    pub lines: Vec<OrderLine>,
    /// Sum of the lines.
    pub subtotal: Money,
    /// Tax on top.
    pub tax: Money,
    /// Shipping on top.
    pub shipping: Money,
    /// Sum of subtotal, tax and shipping.
    pub total: Money,
    /// The delivery address.
    pub address: Address,
    /// The chosen shipping option's id.
    pub shipping_option: String,
    /// How it is paid.
    pub payment: PaymentInstruction,
    /// When it fails unless it has been confirmed.
    pub deadline: Timestamp,
}

impl Placement {
    /// How many of each SKU.
    pub fn quantities(&self) -> Vec<(Sku, u32)> {
        self.lines
            .iter()
            .map(|line| (line.sku.clone(), line.quantity))
            .collect()
    }

    /// Whether lines and quantities are within their limits, each SKU occurs once (stock is reserved by order and
    /// SKU), and the totals add up in one currency.
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
}
