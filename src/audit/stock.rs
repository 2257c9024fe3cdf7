//! Checks the row of a SKU against its ledger (invariants 1, 2, 8 and 11).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::rows::{self, Ledger, Sequence};
use super::{Limits, OVERDUE_REASON, Violation};
use crate::stores::documents::{Document, LedgerEvent};
use crate::stores::{StoreError, Stores};
use souk_domain::stock::{Reservations, Stock, StockEvent, StockLevel};
use souk_domain::{Aggregate, OrderId, Timestamp};

/// The row of one SKU and the sums of its ledger. An update reads only new ledger entries.
#[derive(Debug, Default)]
pub(super) struct Books {
    level: StockLevel,
    reservations: Reservations,
    /// The version up to which the ledger was added up: that of the row.
    version: u64,
    sequence: Sequence,
    received: i128,
    adjusted: i128,
    sold: i128,
    /// By order: quantity sold, less returns.
    sold_to: HashMap<String, i64>,
    /// The defect that makes the sums meaningless.
    broken: Option<Violation>,
}

impl Books {
    /// Takes `row` and adds up the new ledger entries up to its version. The row was read first, and is written in one
    /// transaction with its events, so that all of them are there.
    pub(super) async fn bring_up_to(
        &mut self,
        stores: &Stores,
        row: Document,
        page: usize,
    ) -> Result<(), StoreError> {
        let stock: Stock = match rows::record(&row) {
            Ok(record) => record.state,
            Err(violation) => {
                self.broken = Some(violation);
                return Ok(());
            }
        };
        self.level = stock.view();
        self.reservations = stock.reservations().clone();
        let mut younger = 0;
        let mut ledger = Ledger::above(&*stores.stock_events, &row.id, self.version, page);
        while let Some(events) = ledger.next().await? {
            for event in &events {
                if event.id.version > row.version {
                    younger = younger.max(event.id.version);
                } else {
                    self.add(&row.id, event);
                }
            }
        }
        if let Some(detail) = rows::ahead(&*stores.inventory, &row, younger).await? {
            self.breaks(rows::violation(subject(&row.id), detail));
        }
        self.version = row.version;
        Ok(())
    }

    /// Only the first defect is kept: others may follow from it.
    fn breaks(&mut self, violation: Violation) {
        self.broken.get_or_insert(violation);
    }

    fn add(&mut self, sku: &str, event: &LedgerEvent) {
        if let Some(detail) = self.sequence.admit(event) {
            self.breaks(rows::violation(subject(sku), detail));
        }
        match event.event.decode() {
            Ok(StockEvent::Received { quantity, .. }) => self.received += i128::from(quantity),
            Ok(StockEvent::Adjusted { delta, .. }) => self.adjusted += i128::from(delta),
            Ok(StockEvent::Sold { quantity, order, .. }) => self.sell(&order, i64::from(quantity)),
            Ok(StockEvent::Returned { quantity, order, .. }) => self.sell(&order, -i64::from(quantity)),
            // A released reservation changes none of the sums.
            Ok(StockEvent::Released { .. }) => {}
            Err(_) => {
                let detail = format!(
                    "event {} ({}) is not a stock movement",
                    event.id, event.event.name
                );
                self.breaks(rows::violation(subject(sku), detail));
            }
        }
    }

    fn sell(&mut self, order: &OrderId, quantity: i64) {
        self.sold += i128::from(quantity);
        let net = self.sold_to.entry(order.as_str().to_owned()).or_default();
        *net = net.saturating_add(quantity);
    }

    /// Whether its sums are meaningful.
    pub(super) fn is_readable(&self) -> bool {
        self.broken.is_none()
    }

    /// The quantity reserved for an order.
    pub(super) fn reserved_for(&self, order: &str) -> u32 {
        OrderId::parse(order)
            .ok()
            .and_then(|order| self.reservations.get(&order))
            .map_or(0, |reservation| reservation.quantity)
    }

    /// The quantity that was sold to an order and not returned.
    pub(super) fn sold_to(&self, order: &str) -> i64 {
        self.sold_to.get(order).copied().unwrap_or(0)
    }

    /// The orders with reservations or sales of this SKU, possibly with duplicates.
    pub(super) fn orders(&self) -> impl Iterator<Item = String> {
        let buyers = self
            .sold_to
            .iter()
            .filter(|(_, net)| **net != 0)
            .map(|(order, _)| order.clone());
        let holders = self
            .reservations
            .iter()
            .map(|(order, _)| order.as_str().to_owned());
        holders.chain(buyers)
    }

    /// The violations of the SKU itself, without those of [`Books::overdue`].
    ///
    /// Of invariant 3, that `reserved` is the sum of the reservations needs no check: nothing else is stored. Whether they
    /// belong to live orders is checked with the orders.
    pub(super) fn check(&self, sku: &str) -> Vec<Violation> {
        if let Some(broken) = &self.broken {
            return vec![broken.clone()];
        }
        let violation = |invariant, detail| Violation {
            invariant,
            subject: subject(sku),
            detail,
        };
        let mut violations = Vec::new();
        let StockLevel {
            received,
            adjusted,
            sold,
            reserved,
            ..
        } = self.level;
        // Wider than the domain's arithmetic, which saturates at zero.
        let on_hand = i128::from(received) + i128::from(adjusted) - i128::from(sold);
        if on_hand < i128::from(reserved) {
            violations.push(violation(
                1,
                format!("{on_hand} are on hand ({received} received, {adjusted:+} adjusted, {sold} sold) and {reserved} reserved"),
            ));
        }
        for (figure, row, ledger) in [
            ("received", i128::from(received), self.received),
            ("adjusted", i128::from(adjusted), self.adjusted),
            ("sold", i128::from(sold), self.sold),
        ] {
            if row != ledger {
                violations.push(violation(
                    2,
                    format!("{figure} is {row}, but its ledger adds up to {ledger}"),
                ));
            }
        }
        violations
    }

    /// The orders with overdue reservations, each with its violation (invariant 11).
    pub(super) fn overdue(&self, sku: &str, now: Timestamp, limits: &Limits) -> BTreeMap<OrderId, Violation> {
        let grace = limits.order_deadline + limits.sweep + limits.slack;
        self.reservations
            .iter()
            .filter(|(_, reservation)| now > reservation.expires_at.plus(grace))
            .map(|(order, reservation)| {
                let overdue = Duration::from_secs(now.since(reservation.expires_at).as_secs());
                let violation = Violation {
                    invariant: 11,
                    subject: subject(sku),
                    detail: format!(
                        "{} are reserved for {order} until {}, which is {overdue:?} ago; {OVERDUE_REASON}",
                        reservation.quantity, reservation.expires_at
                    ),
                };
                (order, violation)
            })
            .collect()
    }
}

fn subject(sku: &str) -> String {
    format!("sku {sku}")
}
