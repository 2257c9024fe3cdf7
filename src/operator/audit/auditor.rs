//! How an audit proceeds: everything is read once, and what does not add up is looked at until it is plain whether it
//! is wrong or only under way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};

use super::orders::{Facts, Holding};
use super::payments::{ChargeFacts, PaymentFacts};
use super::stock::Books;
use super::{Limits, Violation, orders, payments, rows};
use crate::actors::clock::Clock;
use crate::domain::order::OrderView;
use crate::domain::{Cart, Timestamp};
use crate::stores::documents::{Document, DocumentStore};
use crate::stores::{StoreError, Stores};

/// Ledgers that are read at once.
const CONCURRENCY: usize = 8;
/// Payments of one order that are looked at; a checkout makes one.
const PAYMENTS_LIMIT: usize = 100;

/// One audit.
pub(super) struct Auditor<'a> {
    stores: &'a Stores,
    clock: &'a Clock,
    limits: Limits,
    /// By SKU.
    books: HashMap<String, Books>,
    /// By order.
    payments: HashMap<String, Vec<PaymentFacts>>,
    /// By order: what the provider has.
    charges: HashMap<String, Vec<ChargeFacts>>,
    /// Orders that did not add up at first sight, with the SKUs that name them without being among their lines.
    suspects: BTreeMap<String, BTreeSet<String>>,
    violations: BTreeSet<Violation>,
}

/// What one look at a suspect shows.
#[derive(PartialEq, Eq)]
enum Look {
    /// It changed while it was looked at.
    Moving,
    /// It stood still at this version, and this is wrong with it.
    Still {
        version: u64,
        violations: Vec<Violation>,
    },
}

impl<'a> Auditor<'a> {
    pub(super) fn new(stores: &'a Stores, clock: &'a Clock, limits: Limits) -> Self {
        Self {
            stores,
            clock,
            limits,
            books: HashMap::new(),
            payments: HashMap::new(),
            charges: HashMap::new(),
            suspects: BTreeMap::new(),
            violations: BTreeSet::new(),
        }
    }

    /// What was found so far, sorted.
    pub(super) fn violations(self) -> Vec<Violation> {
        self.violations.into_iter().collect()
    }

    /// Reads every store once, and notes what is wrong and what only seems so.
    ///
    /// Orders come last: what they do not account for was there before they were read, so that few of those that are
    /// placed meanwhile seem suspect.
    pub(super) async fn read(&mut self) -> Result<(), StoreError> {
        self.read_carts().await?;
        self.read_inventory().await?;
        self.read_payments().await?;
        self.read_charges().await?;
        self.read_orders().await
    }

    fn report(&mut self, violations: impl IntoIterator<Item = Violation>) {
        self.violations.extend(violations);
    }

    async fn read_carts(&mut self) -> Result<(), StoreError> {
        let mut pages = Pages::new(&*self.stores.carts, self.limits.page);
        while let Some(page) = pages.next().await? {
            self.report(
                page.iter()
                    .filter_map(|document| rows::record::<Cart>(document).err()),
            );
        }
        Ok(())
    }

    async fn read_inventory(&mut self) -> Result<(), StoreError> {
        let store = &*self.stores.inventory;
        let limits = self.limits;
        let mut pages = Pages::new(store, limits.page);
        while let Some(page) = pages.next().await? {
            let read: Vec<(String, Books)> = stream::iter(page)
                .map(|document| async move {
                    let mut books = Books::default();
                    let sku = document.id.clone();
                    books.bring_up_to(store, document, limits.page).await?;
                    Ok::<_, StoreError>((sku, books))
                })
                .buffer_unordered(CONCURRENCY)
                .try_collect()
                .await?;
            let now = (self.clock)();
            for (sku, books) in read {
                self.report(books.check(&sku, now, &limits));
                self.books.insert(sku, books);
            }
        }
        Ok(())
    }

    async fn read_payments(&mut self) -> Result<(), StoreError> {
        let mut pages = Pages::new(&*self.stores.payments, self.limits.page);
        while let Some(page) = pages.next().await? {
            for document in page.iter().filter(|document| !payments::is_charge(document)) {
                match PaymentFacts::read(document) {
                    Ok(payment) => self
                        .payments
                        .entry(payment.order.clone())
                        .or_default()
                        .push(payment),
                    Err(violation) => self.report([violation]),
                }
            }
        }
        Ok(())
    }

    async fn read_charges(&mut self) -> Result<(), StoreError> {
        let mut pages = Pages::new(&*self.stores.sandbox, self.limits.page);
        while let Some(page) = pages.next().await? {
            for document in page.iter().filter(|document| payments::is_charge(document)) {
                match ChargeFacts::read(document) {
                    // One without an order was voided before it was ever asked for.
                    Ok(charge) => {
                        if let Some(order) = charge.order.clone() {
                            self.charges.entry(order).or_default().push(charge);
                        }
                    }
                    Err(violation) => self.report([violation]),
                }
            }
        }
        Ok(())
    }

    /// Holds every order against what was read before. What does not add up is looked at again, and so is everything
    /// that names an order which was not found among them.
    async fn read_orders(&mut self) -> Result<(), StoreError> {
        let store = &*self.stores.orders;
        let limit = self.limits.page;
        let mut seen: HashSet<String> = HashSet::new();
        let mut strays = Strays::of(&self.books);
        let mut pages = Pages::new(store, limit);
        while let Some(page) = pages.next().await? {
            let ledgers: Vec<Option<Violation>> = stream::iter(&page)
                .map(|document| rows::ledger(store, document, limit))
                .buffered(CONCURRENCY)
                .try_collect()
                .await?;
            self.report(ledgers.into_iter().flatten());
            for document in &page {
                let order = match rows::order(document) {
                    Ok(order) => order,
                    Err(violation) => {
                        self.report([violation]);
                        // It can't be held against anything.
                        seen.insert(document.id.clone());
                        strays.forget(&document.id);
                        continue;
                    }
                };
                let Some(order) = order else { continue };
                seen.insert(document.id.clone());
                let others = strays.settle(&order);
                let facts = self.facts(&order, &others, (self.clock)());
                if !orders::check(&facts, &self.limits).is_empty() {
                    self.suspects.insert(document.id.clone(), others);
                }
            }
        }
        for (order, skus) in strays.left {
            self.suspects.entry(order).or_default().extend(skus);
        }
        let paid = self.payments.keys().chain(self.charges.keys());
        for order in paid.filter(|order| !seen.contains(*order)) {
            self.suspects.entry(order.clone()).or_default();
        }
        Ok(())
    }

    /// What is known of an order. `others` are SKUs that it has no line for.
    fn facts<'b>(&'b self, order: &'b OrderView, others: &'b BTreeSet<String>, now: Timestamp) -> Facts<'b> {
        let id = order.id.as_str();
        let holding = |sku: &'b str, quantity| Holding::new(sku, quantity, id, self.books.get(sku));
        let lines = order
            .lines
            .iter()
            .map(|line| holding(line.sku.as_str(), line.quantity));
        Facts {
            order,
            holdings: lines
                .chain(others.iter().map(|sku| holding(sku, 0)))
                .flatten()
                .collect(),
            payments: self.payments.get(id).map(Vec::as_slice).unwrap_or_default(),
            charges: self.charges.get(id).map(Vec::as_slice).unwrap_or_default(),
            now,
        }
    }

    /// Looks at the suspects until each has shown twice running that something is wrong, or once that nothing is.
    pub(super) async fn examine_suspects(&mut self) -> Result<(), StoreError> {
        let started = Instant::now();
        let mut suspects = std::mem::take(&mut self.suspects);
        let mut before: HashMap<String, Look> = HashMap::new();
        for looks in 1.. {
            let mut guilty = Vec::new();
            let mut left = BTreeMap::new();
            for (order, others) in suspects {
                let look = self.look(&order, &others).await?;
                if matches!(&look, Look::Still { violations, .. } if violations.is_empty()) {
                    continue;
                }
                if look != Look::Moving && before.get(&order) == Some(&look) {
                    if let Look::Still { violations, .. } = look {
                        guilty.extend(violations);
                    }
                    continue;
                }
                before.insert(order.clone(), look);
                left.insert(order, others);
            }
            self.report(guilty);
            if left.is_empty() {
                return Ok(());
            }
            if looks >= 2 && started.elapsed() > self.limits.patience {
                tracing::info!(
                    orders = left.len(),
                    "some orders moved all the time; they are taken to be in flight"
                );
                return Ok(());
            }
            suspects = left;
            // Others are at work: there is no event to wait for, only time.
            tokio::time::sleep(self.limits.pause).await;
        }
        Ok(())
    }

    /// Reads an order, then everything that belongs to it, then whether the order still stands as it did.
    async fn look(&mut self, id: &str, others: &BTreeSet<String>) -> Result<Look, StoreError> {
        let stores = self.stores;
        let document = stores.orders.load(id).await?;
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
            .flat_map(|order| &order.lines)
            .map(|line| line.sku.as_str());
        let skus: BTreeSet<&str> = lines.chain(others.iter().map(String::as_str)).collect();
        for sku in skus {
            if let Some(row) = stores.inventory.load(sku).await? {
                let books = self.books.entry(sku.to_owned()).or_default();
                books
                    .bring_up_to(&*stores.inventory, row, self.limits.page)
                    .await?;
            }
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

    /// Payments before charges: what a payment says was done at the provider first, so that the charge, read later,
    /// is never behind.
    async fn read_money_of(&mut self, order: &str) -> Result<(), StoreError> {
        let found = self.stores.payments.by_owner(order, None, PAYMENTS_LIMIT).await?;
        // Those that do not decode have been reported.
        let payments: Vec<PaymentFacts> = found
            .iter()
            .filter_map(|document| PaymentFacts::read(document).ok())
            .collect();
        let known = self
            .charges
            .get(order)
            .into_iter()
            .flatten()
            .map(|charge| charge.id.clone());
        let ids: BTreeSet<String> = known
            .chain(payments.iter().map(|payment| payments::charge_id(&payment.id)))
            .collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let found = self.stores.sandbox.load_many(&ids).await?;
        let charges = found
            .iter()
            .filter_map(|document| ChargeFacts::read(document).ok())
            .collect();
        self.payments.insert(order.to_owned(), payments);
        self.charges.insert(order.to_owned(), charges);
        Ok(())
    }

    /// What speaks of an order that nobody placed. Orders are placed before anything is done for them, and never
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

/// Which SKUs name which orders, and are not accounted for by the orders themselves yet.
struct Strays {
    left: HashMap<String, BTreeSet<String>>,
}

impl Strays {
    fn of(books: &HashMap<String, Books>) -> Self {
        let mut left: HashMap<String, BTreeSet<String>> = HashMap::new();
        for (sku, books) in books {
            for order in books.orders() {
                left.entry(order.to_owned()).or_default().insert(sku.clone());
            }
        }
        Self { left }
    }

    /// The order accounts for its lines; the SKUs that remain have something of it that it does not know of.
    fn settle(&mut self, order: &OrderView) -> BTreeSet<String> {
        let mut skus = self.left.remove(order.id.as_str()).unwrap_or_default();
        for line in &order.lines {
            skus.remove(line.sku.as_str());
        }
        skus
    }

    fn forget(&mut self, order: &str) {
        self.left.remove(order);
    }
}

/// All documents of a store, page by page.
struct Pages<'a> {
    store: &'a dyn DocumentStore,
    limit: usize,
    after: Option<String>,
}

impl<'a> Pages<'a> {
    fn new(store: &'a dyn DocumentStore, limit: usize) -> Self {
        Self {
            store,
            limit,
            after: None,
        }
    }

    /// The next page; `None` after the last.
    async fn next(&mut self) -> Result<Option<Vec<Document>>, StoreError> {
        let page = self.store.scan(self.after.as_deref(), self.limit).await?;
        self.after = page.last().map(|document| document.id.clone());
        Ok((!page.is_empty()).then_some(page))
    }
}
