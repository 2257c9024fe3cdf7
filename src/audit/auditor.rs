//! The course of an audit: reads everything once; what looks wrong is left to `suspects.rs`, which checks it again until it
//! is clear whether it is a violation or work in progress.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::iter::empty;

use futures::{StreamExt, TryStreamExt, stream};

use super::orders::{Facts, Holding};
use super::payments::{ChargeFacts, PaymentFacts};
use super::stock::Books;
use super::{Limits, Violation, orders, rows};
use crate::clock::Clock;
use crate::gateways::sandbox;
use crate::stores::documents::{Document, DocumentStore, Row, row_id};
use crate::stores::{StoreError, Stores};
use souk_domain::order::PlacedOrder;
use souk_domain::{Cart, CartId, OrderId, Timestamp};

/// Ledgers that are read concurrently.
const CONCURRENCY: usize = 8;

/// One audit.
pub(super) struct Auditor<'a> {
    pub(super) stores: &'a Stores,
    pub(super) clock: &'a Clock,
    pub(super) limits: Limits,
    /// By SKU.
    pub(super) books: HashMap<String, Books>,
    /// By order.
    pub(super) payments: HashMap<String, Vec<PaymentFacts>>,
    /// By order: the charges at the provider.
    pub(super) charges: HashMap<String, Vec<ChargeFacts>>,
    /// Orders that looked wrong at first, with the SKUs that refer to them without being among their lines.
    pub(super) suspects: BTreeMap<String, BTreeSet<String>>,
    /// SKUs with overdue reservations, and the orders that these are for.
    pub(super) overdue: BTreeMap<String, BTreeSet<OrderId>>,
    /// The number of the view when reading began, and the rows that were written under a later one.
    view: u64,
    fences: Vec<(String, u64)>,
    violations: BTreeSet<Violation>,
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
            overdue: BTreeMap::new(),
            view: 0,
            fences: Vec::new(),
            violations: BTreeSet::new(),
        }
    }

    /// The violations so far, sorted.
    pub(super) fn violations(self) -> Vec<Violation> {
        self.violations.into_iter().collect()
    }

    /// Reads every store once, and collects violations and suspects.
    ///
    /// Orders come last: whatever they do not account for existed before they were read, so that few of the orders placed
    /// meanwhile become suspects.
    pub(super) async fn read(&mut self) -> Result<(), StoreError> {
        self.view = self.stores.view_number().await?;
        self.read_carts().await?;
        self.read_inventory().await?;
        self.read_payments().await?;
        self.read_charges().await?;
        self.read_orders().await?;
        self.check_fences().await
    }

    /// A row with a fence above the present view is one that no node serves.
    async fn check_fences(&mut self) -> Result<(), StoreError> {
        // The view may have changed while rows were read.
        let view = self.stores.view_number().await?;
        let fences = std::mem::take(&mut self.fences);
        let ahead = fences.into_iter().filter(|(_, fence)| *fence > view);
        self.report(ahead.map(|(subject, fence)| Violation {
            invariant: 13,
            subject,
            detail: format!(
                "its row was written under view {fence}, but the coordination store is at view {view}: no node serves it. \
                 Was the coordination store restored from an older backup?"
            ),
        }));
        Ok(())
    }

    pub(super) fn report(&mut self, violations: impl IntoIterator<Item = Violation>) {
        self.violations.extend(violations);
    }

    /// The readable documents of a page; the others are reported.
    fn readable(&mut self, store: &str, page: Vec<Row>) -> Vec<Document> {
        let mut documents = Vec::with_capacity(page.len());
        for row in page {
            match row {
                Ok(document) => {
                    if document.fence > self.view {
                        self.fences
                            .push((rows::subject(store, &document.id), document.fence));
                    }
                    documents.push(document);
                }
                Err(row) => self.report([rows::unreadable(store, &row)]),
            }
        }
        documents
    }

    async fn read_carts(&mut self) -> Result<(), StoreError> {
        let mut pages = Pages::new(&*self.stores.carts, self.limits.page);
        while let Some(page) = pages.next().await? {
            let page = self.readable("carts", page);
            self.report(
                page.iter()
                    .filter_map(|document| rows::record::<Cart>(document).err()),
            );
        }
        Ok(())
    }

    async fn read_inventory(&mut self) -> Result<(), StoreError> {
        let stores = self.stores;
        let limits = self.limits;
        let mut pages = Pages::new(&*stores.inventory, limits.page);
        while let Some(page) = pages.next().await? {
            let read: Vec<(String, Books)> = stream::iter(self.readable("inventory", page))
                .map(|document| async move {
                    let mut books = Books::default();
                    let sku = document.id.clone();
                    books.bring_up_to(stores, document, limits.page).await?;
                    Ok::<_, StoreError>((sku, books))
                })
                .buffer_unordered(CONCURRENCY)
                .try_collect()
                .await?;
            let now = (self.clock)();
            for (sku, books) in read {
                self.report(books.check(&sku));
                let overdue = books.overdue(&sku, now, &limits);
                if !overdue.is_empty() {
                    self.overdue.insert(sku.clone(), overdue.into_keys().collect());
                }
                self.books.insert(sku, books);
            }
        }
        Ok(())
    }

    async fn read_payments(&mut self) -> Result<(), StoreError> {
        let mut pages = Pages::new(&*self.stores.payments, self.limits.page);
        while let Some(mut page) = pages.next().await? {
            page.retain(|row| !sandbox::is_reference(row_id(row)));
            for document in self.readable("payments", page) {
                match PaymentFacts::read(&document) {
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
        while let Some(mut page) = pages.next().await? {
            page.retain(|row| sandbox::is_reference(row_id(row)));
            for document in self.readable("sandbox", page) {
                match ChargeFacts::read(&document) {
                    // A charge without an order was voided before it was requested.
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

    /// Checks every order against what was read before. Orders that look wrong become suspects, and so does every order
    /// that something refers to and that was not found.
    async fn read_orders(&mut self) -> Result<(), StoreError> {
        let (store, events) = (&*self.stores.orders, &*self.stores.order_events);
        let limit = self.limits.page;
        let mut seen: HashSet<String> = HashSet::new();
        let mut made_from: HashMap<(CartId, u64), OrderId> = HashMap::new();
        let mut strays = Strays::of(&self.books);
        let mut pages = Pages::new(store, limit);
        while let Some(page) = pages.next().await? {
            for row in page.iter().filter_map(|row| row.as_ref().err()) {
                // Nothing can be checked against it.
                seen.insert(row.id.clone());
                strays.forget(&row.id);
            }
            let page = self.readable("orders", page);
            let ledgers: Vec<Option<Violation>> = stream::iter(&page)
                .map(|document| rows::ledger(store, events, document, limit))
                .buffered(CONCURRENCY)
                .try_collect()
                .await?;
            self.report(ledgers.into_iter().flatten());
            for document in &page {
                let order = match rows::order(document) {
                    Ok(order) => order,
                    Err(violation) => {
                        self.report([violation]);
                        seen.insert(document.id.clone());
                        strays.forget(&document.id);
                        continue;
                    }
                };
                let Some(order) = order else {
                    // A failed order that was pruned leaves its payment and its charge: they must be over.
                    let (payments, charges) = self.money(&document.id);
                    let is_settled =
                        orders::check_unknown(&document.id, empty(), payments, charges).is_empty();
                    if is_settled && !strays.left.contains_key(&document.id) {
                        seen.insert(document.id.clone());
                    }
                    continue;
                };
                seen.insert(document.id.clone());
                let placement = &order.placement;
                if placement.cart_version > 0 {
                    let made = (placement.cart.clone(), placement.cart_version);
                    let other = made_from.insert(made, placement.id.clone());
                    self.report(other.map(|other| orders::same_cart(placement, &other)));
                }
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

    /// The payments and charges of an order.
    fn money(&self, order: &str) -> (&[PaymentFacts], &[ChargeFacts]) {
        (
            self.payments.get(order).map(Vec::as_slice).unwrap_or_default(),
            self.charges.get(order).map(Vec::as_slice).unwrap_or_default(),
        )
    }

    /// Everything read about an order. `others` are SKUs that it has no line for.
    pub(super) fn facts<'b>(
        &'b self,
        order: &'b PlacedOrder,
        others: &'b BTreeSet<String>,
        now: Timestamp,
    ) -> Facts<'b> {
        let id = order.placement.id.as_str();
        let holding = |sku: &'b str, quantity| Holding::new(sku, quantity, id, self.books.get(sku));
        let lines = order
            .placement
            .lines
            .iter()
            .map(|line| holding(line.sku.as_str(), line.quantity));
        let (payments, charges) = self.money(id);
        Facts {
            order,
            holdings: lines
                .chain(others.iter().map(|sku| holding(sku, 0)))
                .flatten()
                .collect(),
            payments,
            charges,
            now,
        }
    }
}

/// The SKUs that refer to each order, without those that the order itself accounts for.
struct Strays {
    left: HashMap<String, BTreeSet<String>>,
}

impl Strays {
    fn of(books: &HashMap<String, Books>) -> Self {
        let mut left: HashMap<String, BTreeSet<String>> = HashMap::new();
        for (sku, books) in books {
            for order in books.orders() {
                left.entry(order).or_default().insert(sku.clone());
            }
        }
        Self { left }
    }

    /// Returns the SKUs that refer to the order without being among its lines.
    fn settle(&mut self, order: &PlacedOrder) -> BTreeSet<String> {
        let mut skus = self.left.remove(order.placement.id.as_str()).unwrap_or_default();
        for line in &order.placement.lines {
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
    async fn next(&mut self) -> Result<Option<Vec<Row>>, StoreError> {
        let page = self.store.scan(self.after.as_deref(), self.limit).await?;
        self.after = page.last().map(|row| row_id(row).to_owned());
        Ok((!page.is_empty()).then_some(page))
    }
}
