//! Checks suspects again until it is clear whether they are violations or work in progress.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::auditor::Auditor;
use super::orders::{self, Holding};
use super::payments::{ChargeFacts, PaymentFacts};
use super::{Violation, rows};
use crate::gateways::sandbox;
use crate::stores::StoreError;

/// Most payments of one order that are checked; a checkout makes one.
const PAYMENTS_LIMIT: usize = 100;

/// Result of one check of a suspect.
#[derive(PartialEq, Eq)]
enum Look {
    /// It changed during the check.
    Moving,
    /// It kept this version, and has these violations.
    Still {
        version: u64,
        violations: Vec<Violation>,
    },
}

impl Look {
    /// Whether one of the violations may only be late.
    fn is_overdue(&self) -> bool {
        match self {
            Self::Moving => false,
            Self::Still { violations, .. } => violations
                .iter()
                .any(|violation| violation.invariant == orders::OVERDUE),
        }
    }
}

impl Auditor<'_> {
    /// Checks the suspects until the result of each is clear.
    pub(super) async fn examine_suspects(&mut self) -> Result<(), StoreError> {
        let started = Instant::now();
        let mut before: HashMap<String, Look> = HashMap::new();
        for looks in 1.. {
            // Measured before the checks: their results are no older.
            let elapsed = started.elapsed();
            self.examine_orders(&mut before, elapsed).await?;
            self.examine_reservations(elapsed).await?;
            if self.suspects.is_empty() && self.overdue.is_empty() {
                return Ok(());
            }
            let patience = self.limits.patience.max(self.limits.overdue_patience);
            if looks >= 2 && elapsed > patience {
                tracing::info!(
                    orders = self.suspects.len(),
                    "some orders changed during the whole audit and are considered in flight"
                );
                return Ok(());
            }
            // Other processes are at work, so there is no event to wait for.
            tokio::time::sleep(self.limits.pause).await;
        }
        Ok(())
    }

    /// Checks each suspect order once. Violations are reported when two consecutive checks agree; something overdue only
    /// after the nodes had their time. An order without violations is no suspect any more.
    async fn examine_orders(
        &mut self,
        before: &mut HashMap<String, Look>,
        elapsed: Duration,
    ) -> Result<(), StoreError> {
        for (order, others) in std::mem::take(&mut self.suspects) {
            let look = self.look(&order, &others).await?;
            if matches!(&look, Look::Still { violations, .. } if violations.is_empty()) {
                continue;
            }
            let is_in_time = look.is_overdue() && elapsed <= self.limits.overdue_patience;
            if !is_in_time
                && before.get(&order) == Some(&look)
                && let Look::Still { violations, .. } = look
            {
                self.report(violations);
                continue;
            }
            before.insert(order.clone(), look);
            self.suspects.insert(order, others);
        }
        Ok(())
    }

    /// Checks each SKU with overdue reservations once. Those that are still there after the nodes had their time are
    /// reported.
    async fn examine_reservations(&mut self, elapsed: Duration) -> Result<(), StoreError> {
        let time_is_up = elapsed > self.limits.overdue_patience;
        for (sku, known) in std::mem::take(&mut self.overdue) {
            self.read_books_of(&sku).await?;
            let now = (self.clock)();
            let Some(books) = self.books.get(&sku) else {
                continue;
            };
            let mut overdue = books.overdue(&sku, now, &self.limits);
            overdue.retain(|order, _| known.contains(order));
            if time_is_up {
                self.report(overdue.into_values());
            } else if !overdue.is_empty() {
                self.overdue.insert(sku, overdue.into_keys().collect());
            }
        }
        Ok(())
    }

    /// Reads an order, then everything that belongs to it, then whether the order has changed meanwhile.
    async fn look(&mut self, id: &str, others: &BTreeSet<String>) -> Result<Look, StoreError> {
        let stores = self.stores;
        let document = match stores.orders.load(id).await {
            Err(error) if !error.is_transient() => {
                let violations = vec![rows::broken("orders", id, &error)];
                return Ok(Look::Still {
                    version: 0,
                    violations,
                });
            }
            loaded => loaded?,
        };
        let version = document.as_ref().map_or(0, |document| document.version);
        let order = match document.as_ref().map(rows::order).transpose() {
            Ok(order) => order.flatten(),
            Err(violation) => {
                let violations = vec![violation];
                return Ok(Look::Still { version, violations });
            }
        };
        let lines = order
            .iter()
            .flat_map(|order| &order.placement.lines)
            .map(|line| line.sku.as_str());
        let skus: BTreeSet<&str> = lines.chain(others.iter().map(String::as_str)).collect();
        for sku in skus {
            self.read_books_of(sku).await?;
        }
        self.read_money_of(id).await?;
        if stores.orders.version(id).await? != version {
            return Ok(Look::Moving);
        }
        let violations = match &order {
            Some(order) => orders::check(&self.facts(order, others, (self.clock)()), &self.limits),
            None => self.check_unknown(id, others),
        };
        Ok(Look::Still { version, violations })
    }

    /// Reads a SKU's row and ledger again. A row that can't be read was reported, and its former content is kept.
    async fn read_books_of(&mut self, sku: &str) -> Result<(), StoreError> {
        let stores = self.stores;
        let row = match stores.inventory.load(sku).await {
            Err(error) if !error.is_transient() => None,
            loaded => loaded?,
        };
        if let Some(row) = row {
            let books = self.books.entry(sku.to_owned()).or_default();
            books.bring_up_to(stores, row, self.limits.page).await?;
        }
        Ok(())
    }

    /// Payments before charges: the provider acts before the payment records it, so that the charge, read later, is never
    /// behind.
    async fn read_money_of(&mut self, order: &str) -> Result<(), StoreError> {
        let found = self.stores.payments.by_owner(order, None, PAYMENTS_LIMIT);
        // Those that can't be read or decoded have been reported.
        let payments: Vec<PaymentFacts> = found
            .await?
            .iter()
            .flatten()
            .filter_map(|document| PaymentFacts::read(document).ok())
            .collect();
        let known = self
            .charges
            .get(order)
            .into_iter()
            .flatten()
            .map(|charge| charge.id.clone());
        let ids: BTreeSet<String> = known
            .chain(payments.iter().map(|payment| sandbox::reference(&payment.id)))
            .collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let found = self.stores.sandbox.load_many(&ids).await?;
        let charges = found
            .iter()
            .flatten()
            .filter_map(|document| ChargeFacts::read(document).ok())
            .collect();
        self.payments.insert(order.to_owned(), payments);
        self.charges.insert(order.to_owned(), charges);
        Ok(())
    }

    /// The violations of an order that was never placed. Orders are placed before anything is done for them, and never
    /// deleted.
    fn check_unknown(&self, id: &str, others: &BTreeSet<String>) -> Vec<Violation> {
        let holdings = others
            .iter()
            .filter_map(|sku| Holding::new(sku, 0, id, self.books.get(sku)));
        let payments = self.payments.get(id).map(Vec::as_slice).unwrap_or_default();
        let charges = self.charges.get(id).map(Vec::as_slice).unwrap_or_default();
        orders::check_unknown(id, holdings, payments, charges)
    }
}
