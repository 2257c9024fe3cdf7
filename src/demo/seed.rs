//! Writes the demo catalogue and its opening stock into the stores.

use std::collections::HashSet;
use std::sync::Arc;

use indicatif::ProgressBar;

use crate::actors::entity::Record;
use crate::clock;
use crate::projections::badges::badge;
use crate::stores::documents::{BATCH_LIMIT, Document, DocumentWrite};
use crate::stores::products::Badge;
use crate::stores::{StoreError, Stores};
use souk_cluster::placement::shard_of;
use souk_demo::generator::{Generator, categories};
use souk_domain::catalogue::Product;
use souk_domain::stock::{Stock, StockCommand};
use souk_domain::{Aggregate, NewEvent, ProductId, Sku, Timestamp};

/// Products in one batch.
const BATCH: u64 = 500;

/// The reference of the receipt of the opening stock.
const OPENING: &str = "opening-stock";

/// The result of seeding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seeded {
    /// Products.
    pub products: u64,
    /// Their SKUs.
    pub skus: u64,
}

/// Writes the first `products` products of the catalogue `seed`. Existing products and stock stay as they are.
///
/// # Errors
/// [`StoreError`]; the next call completes what this one left.
pub async fn run(
    stores: &Stores,
    products: u64,
    seed: u64,
    progress: &ProgressBar,
) -> Result<Seeded, StoreError> {
    progress.set_length(products);
    stores.products.put_categories(&categories()).await?;
    let generator = Arc::new(Generator::new(seed));
    let now = (clock::system())();
    let mut seeded = Seeded::default();
    let mut from = 0;
    while from < products {
        let until = (from + BATCH).min(products);
        let (batch, stock) = make(Arc::clone(&generator), from, until).await;
        put_stock(stores, &stock, now).await?;
        put_products(stores, batch).await?;
        seeded.products += until - from;
        seeded.skus += u64::try_from(stock.len()).unwrap_or(u64::MAX);
        progress.set_position(until);
        from = until;
    }
    // Products are listed from here on, also where the index lags.
    stores.search.refresh().await?;
    progress.finish();
    Ok(seeded)
}

/// Generates products on a blocking thread.
async fn make(generator: Arc<Generator>, from: u64, until: u64) -> (Vec<Product>, Vec<(Sku, u32)>) {
    tokio::task::spawn_blocking(move || {
        let products = (from..until).map(|index| generator.product(index)).collect();
        let stock = (from..until).flat_map(|index| generator.stock(index)).collect();
        (products, stock)
    })
    .await
    // The task can't be cancelled; a panic of the generator is a defect.
    .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

/// Writes the products that do not exist yet: a merchant may have changed the others.
async fn put_products(stores: &Stores, mut products: Vec<Product>) -> Result<(), StoreError> {
    let skus: Vec<Sku> = products
        .iter()
        .flat_map(|product| &product.variants)
        .map(|variant| variant.sku.clone())
        .collect();
    let known: HashSet<ProductId> = stores
        .products
        .products_of(&skus)
        .await?
        .into_iter()
        .map(|product| product.id)
        .collect();
    products.retain(|product| !known.contains(&product.id));
    stores.products.put_products(&products).await
}

/// Receives the opening stock of SKUs that have no row yet.
async fn put_stock(stores: &Stores, stock: &[(Sku, u32)], now: Timestamp) -> Result<(), StoreError> {
    let mut writes = Vec::new();
    let mut badges: Vec<Badge> = Vec::new();
    for (sku, quantity) in stock {
        let write = opening(sku, *quantity, now)?;
        badges.extend(badge(&write.document));
        writes.push(write);
    }
    for batch in writes.chunks(BATCH_LIMIT) {
        // An existing row conflicts and stays.
        stores.inventory.write(OPENING, batch).await?;
    }
    stores.products.put_badges(&badges).await
}

/// The first version of a SKU's row. A SKU without opening stock needs one too, to be known.
fn opening(sku: &Sku, quantity: u32, now: Timestamp) -> Result<DocumentWrite, StoreError> {
    let mut record = Record::<Stock>::initial(sku.as_str());
    let mut events = Vec::new();
    if quantity > 0 {
        let command = StockCommand::Receive {
            reference: OPENING.to_owned(),
            quantity,
        };
        if let Some(change) = record.state.decide(&command, now).change {
            record.state = change.state;
            events = change.events;
        }
    }
    let corrupt = |error: serde_json::Error| StoreError::Corrupt {
        store: "inventory",
        what: error.to_string(),
    };
    let body = serde_json::to_string(&record).map_err(corrupt)?;
    let events = events.into_iter().map(|event| (1, event));
    Ok(DocumentWrite {
        document: Document {
            id: sku.as_str().to_owned(),
            shard: shard_of(sku.as_str()),
            version: 1,
            fence: 0,
            due_at: None,
            owner: None,
            body,
        },
        expected: 0,
        events: NewEvent::number(sku.as_str(), events).map_err(corrupt)?,
    })
}
