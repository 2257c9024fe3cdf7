//! Products in Elasticsearch: realtime by their ids, and the index that [`search`](super::super::search::elasticsearch) searches.
//!
//! | index | a document by | holds |
//! |---|---|---|
//! | `PRODUCTS` | product | the product, and what searches look at |
//! | `SKUS` | SKU | the product that was last written with it |
//! | `BADGES` | SKU | its stock badge, whose version is that of the document |
//! | `CATALOGUE` | name | the categories (`CATEGORIES`), and the order of creation (`CREATIONS`) |
//!
//! A product's document repeats what follows from others: whether a SKU is in stock, and the name of its category. Whoever writes one of
//! these settles the products that it concerns (`ElasticProducts::settle`) before it is acknowledged: it reads the product, then
//! what follows, and writes the difference on condition that the product is still the one that was read; then it looks again, until
//! there is no difference. Of two who settle one product, the last to write has looked afterwards, and so at the newest.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;
use souk_retry::Backoff;

use super::{Badge, ProductStore, last_of_each, parents_first};
use crate::stores::StoreError;
use crate::stores::elasticsearch::{Found, Hits, Index, Operation, Outcome, Server, outcome_of_all};
use crate::stores::search::elasticsearch::ElasticSearch;
use souk_domain::catalogue::{Category, Product};
use souk_domain::{ProductId, Sku};

/// Words in lower case, without diacritics.
const ANALYSIS: &str = r#"{"analyzer": {"souk": {
    "type": "custom", "tokenizer": "standard", "filter": ["lowercase", "asciifolding"]
}}}"#;

/// Characters of a brand or category that can be searched for: a keyword is limited to 32,766 bytes, which these can't pass.
pub(in crate::stores) const KEYWORD_CHARACTERS: usize = 8_191;

/// The products.
pub(in crate::stores) const PRODUCTS: Index = Index {
    name: "products",
    generation: 1,
    analysis: ANALYSIS,
    // [`KEYWORD_CHARACTERS`]
    steps: &[r#"{
        "number": {"type": "long"},
        "names": {"type": "keyword"},
        "skus": {"type": "keyword", "index": false, "doc_values": false},
        "category": {"type": "keyword", "ignore_above": 8191},
        "brand": {"type": "keyword", "ignore_above": 8191,
            "fields": {"words": {"type": "text", "analyzer": "souk", "norms": false}}},
        "price": {"type": "long"},
        "in_stock": {"type": "boolean"},
        "title": {"type": "text", "analyzer": "souk", "norms": false},
        "description": {"type": "text", "analyzer": "souk", "norms": false},
        "category_name": {"type": "text", "analyzer": "souk", "norms": false},
        "attributes": {"type": "text", "analyzer": "souk", "norms": false},
        "body": {"type": "object", "enabled": false}
    }"#],
};

/// The products of SKUs. Those that a product no longer has stay here, and are found not to be its own.
const SKUS: Index = Index {
    name: "skus",
    generation: 1,
    analysis: "{}",
    steps: &[r#"{"product": {"type": "keyword", "index": false, "doc_values": false}}"#],
};

/// The stock badges.
pub(in crate::stores) const BADGES: Index = Index {
    name: "badges",
    generation: 1,
    analysis: "{}",
    steps: &[r#"{"available": {"type": "long", "index": false, "doc_values": false}}"#],
};

/// What there is one of.
const CATALOGUE: Index = Index {
    name: "catalogue",
    generation: 1,
    analysis: "{}",
    steps: &[r#"{"categories": {"type": "object", "enabled": false}}"#],
};

/// All categories, which are read together and realtime.
const CATEGORIES: &str = "categories";

/// A document that is written for each batch of new products. How often it was is the number of the batch.
const CREATIONS: &str = "creations";

/// Products of one batch; more are written by several.
const BATCH_ROWS: usize = 500;

/// Numbers that a batch may give away.
const BATCH_NUMBERS: u64 = 1_024;

/// Products that one search finds, of those whose category was renamed.
const RENAMED_ROWS: usize = 500;

/// Categories that one search looks for.
const RENAMED_CATEGORIES: usize = 1_000;

/// Attempts to write what others write too. With each, one of them gets through.
const ATTEMPTS: u32 = 40;
/// The pauses between them.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(100));

/// The document of a product.
#[derive(Serialize)]
pub(in crate::stores) struct ProductDocument<'a> {
    /// Its number in the order of creation.
    number: u64,
    /// Identifiers in lower case.
    names: Vec<String>,
    skus: Vec<&'a Sku>,
    pub(in crate::stores) category: &'a str,
    pub(in crate::stores) brand: &'a str,
    pub(in crate::stores) price: Option<i64>,
    in_stock: bool,
    title: &'a str,
    description: &'a str,
    pub(in crate::stores) category_name: &'a str,
    attributes: Vec<&'a String>,
    /// The product as JSON.
    pub(in crate::stores) body: String,
}

/// What stays of a product that is replaced.
#[derive(Deserialize)]
pub(in crate::stores) struct Kept {
    pub(in crate::stores) number: u64,
    pub(in crate::stores) in_stock: bool,
}

#[derive(Deserialize)]
struct Body {
    body: String,
}

/// What follows from others, and from what it follows.
#[derive(Deserialize)]
struct Derived {
    skus: Vec<String>,
    category: String,
    in_stock: bool,
    category_name: String,
}

#[derive(Serialize, Deserialize)]
struct SkuDocument {
    product: String,
}

#[derive(Serialize, Deserialize)]
pub(in crate::stores) struct BadgeDocument {
    pub(in crate::stores) available: u32,
}

#[derive(Default, Serialize, Deserialize)]
struct CategoriesDocument {
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Named {
    category: String,
    category_name: String,
}

/// The adapter.
pub struct ElasticProducts {
    pub(in crate::stores) server: Arc<Server>,
    /// Products with a write of unknown outcome. Such a write may still arrive, so that each of them is written once more when the next
    /// ones are settled: a write that comes after that conflicts.
    lost: Mutex<BTreeSet<String>>,
}

impl ElasticProducts {
    /// Connects to the server of a URL.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it does not answer, [`StoreError::Refused`] where it or the URL can't be used.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let indexes = [&PRODUCTS, &SKUS, &BADGES, &CATALOGUE];
        let server = Server::open("catalogue", url, &indexes).await?;
        Ok(Self {
            server: Arc::new(server),
            lost: Mutex::default(),
        })
    }

    /// The index of these products.
    pub fn search(&self) -> ElasticSearch {
        ElasticSearch::new(Arc::clone(&self.server))
    }

    fn encoded<T>(&self, encoded: serde_json::Result<T>) -> Result<T, StoreError> {
        encoded.map_err(|error| self.server.refused(error))
    }

    async fn bodies(&self, ids: &[&str]) -> Result<HashMap<String, Product>, StoreError> {
        let found = self.server.documents::<Body>(&PRODUCTS, ids, &["body"]).await?;
        found
            .into_iter()
            .map(|(id, found)| match serde_json::from_str(&found.source.body) {
                Ok(product) => Ok((id, product)),
                Err(error) => Err(self.server.corrupt(format!("the product {id}: {error}"))),
            })
            .collect()
    }

    /// The product that each of these SKUs was last written with.
    async fn products_by_sku(&self, skus: &[&str]) -> Result<HashMap<String, String>, StoreError> {
        let found = self
            .server
            .documents::<SkuDocument>(&SKUS, skus, &["product"])
            .await?;
        Ok(found
            .into_iter()
            .map(|(sku, found)| (sku, found.source.product))
            .collect())
    }

    async fn badges_by_sku(
        &self,
        skus: &[&str],
    ) -> Result<HashMap<String, Found<BadgeDocument>>, StoreError> {
        self.server.documents(&BADGES, skus, &["available"]).await
    }

    /// Reserves numbers for as many new products as a batch has: the first.
    async fn numbers(&self) -> Result<u64, StoreError> {
        let operation = self.encoded(Operation::put(CREATIONS, &json!({})))?;
        match self.server.bulk(&CATALOGUE, &[operation]).await?.pop() {
            Some(Outcome::Applied { version }) => Ok(version * BATCH_NUMBERS),
            Some(Outcome::Failed(error)) => Err(error),
            // It has no condition.
            Some(Outcome::Conflict) | None => Err(self.server.corrupt("the order of creation")),
        }
    }

    /// Makes sure that numbers that are reserved from now on are higher than this one, which was given elsewhere.
    pub(in crate::stores) async fn number_above(&self, number: u64) -> Result<(), StoreError> {
        let batch = number / BATCH_NUMBERS;
        if batch == 0 {
            // The first batch has the number 1.
            return Ok(());
        }
        // A conflict is a batch that is no lower.
        let operation = self.encoded(Operation::newer(CREATIONS, batch, &json!({})))?;
        outcome_of_all(self.server.bulk(&CATALOGUE, &[operation]).await?)
    }

    /// Makes the SKUs of these products lead to them; of several products with one SKU the last.
    pub(in crate::stores) async fn put_skus(&self, products: &[&Product]) -> Result<(), StoreError> {
        let each = products.iter().flat_map(|product| {
            let variants = product.variants.iter();
            variants.map(|variant| (variant.sku.as_str(), product.id.as_str()))
        });
        let last: BTreeMap<&str, &str> = each.collect();
        let mut waiting: Vec<(&str, &str)> = last.into_iter().collect();
        let mut pauses = PAUSES;
        while !waiting.is_empty() {
            let skus: Vec<&str> = waiting.iter().map(|(sku, _)| *sku).collect();
            let found = self
                .server
                .documents::<SkuDocument>(&SKUS, &skus, &["product"])
                .await?;
            let mut operations = Vec::new();
            waiting.retain(|(sku, product)| {
                found
                    .get(*sku)
                    .is_none_or(|found| found.source.product != *product)
            });
            for (sku, product) in &waiting {
                let document = json!({ "product": product });
                operations.push(self.encoded(match found.get(*sku) {
                    Some(found) => Operation::replace(sku, found.change, &document),
                    None => Operation::create(sku, &document),
                })?);
            }
            let mut outcomes = Vec::new();
            let results = self.server.bulk(&SKUS, &operations).await?;
            waiting = self
                .conflicts(&waiting, results, &mut outcomes, &mut pauses)
                .await?;
            outcome_of_all(outcomes)?;
        }
        Ok(())
    }

    /// Writes to documents of products. Where it is not known what became of that, they have to be settled.
    async fn write_products(
        &self,
        ids: &[&str],
        operations: &[Operation],
    ) -> Result<Vec<Outcome>, StoreError> {
        let written = self.server.bulk(&PRODUCTS, operations).await;
        let is_unknown = |error: &StoreError| matches!(error, StoreError::OutcomeUnknown { .. });
        match &written {
            Err(_) => self.lost().extend(ids.iter().map(|id| (*id).to_owned())),
            Ok(outcomes) => {
                self.lost().extend(
                    ids.iter()
                        .zip(outcomes)
                        .filter_map(|(id, outcome)| match outcome {
                            Outcome::Failed(error) if is_unknown(error) => Some((*id).to_owned()),
                            _ => None,
                        }),
                )
            }
        }
        written
    }

    fn lost(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put_batch(&self, products: &[&Product]) -> Result<(), StoreError> {
        // Before the products: a badge that is written meanwhile finds its product, or is found when the product is settled.
        self.put_skus(products).await?;
        let names = names(&categories(&self.server).await?);
        let mut waiting = products.to_vec();
        let mut outcomes = Vec::new();
        let mut pauses = PAUSES;
        while !waiting.is_empty() {
            let ids: Vec<&str> = waiting.iter().map(|product| product.id.as_str()).collect();
            let kept = self
                .server
                .documents::<Kept>(&PRODUCTS, &ids, &["number", "in_stock"])
                .await?;
            let mut next = if kept.len() < waiting.len() {
                self.numbers().await?
            } else {
                0
            };
            let mut operations = Vec::with_capacity(waiting.len());
            for product in &waiting {
                let kept = kept.get(product.id.as_str());
                let place = kept.map_or(
                    Kept {
                        number: next,
                        in_stock: false,
                    },
                    |kept| Kept { ..kept.source },
                );
                let document = self.encoded(document(product, &place, &names))?;
                let id = product.id.as_str();
                operations.push(self.encoded(match kept {
                    Some(kept) => Operation::replace(id, kept.change, &document),
                    None => {
                        next += 1;
                        Operation::create(id, &document)
                    }
                })?);
            }
            let results = self.write_products(&ids, &operations).await?;
            waiting = self
                .conflicts(&waiting, results, &mut outcomes, &mut pauses)
                .await?;
        }
        // Those that were written are settled, whatever became of others.
        let ids = products
            .iter()
            .map(|product| product.id.as_str().to_owned())
            .collect();
        self.settle(ids, true).await?;
        outcome_of_all(outcomes)
    }

    /// Those of `items` that conflict, after a pause; the outcomes of the others go to `outcomes`.
    async fn conflicts<T: Clone>(
        &self,
        items: &[T],
        results: Vec<Outcome>,
        outcomes: &mut Vec<Outcome>,
        pauses: &mut Backoff,
    ) -> Result<Vec<T>, StoreError> {
        let mut conflicts = Vec::new();
        for (item, outcome) in items.iter().zip(results) {
            match outcome {
                Outcome::Conflict => conflicts.push(item.clone()),
                outcome => outcomes.push(outcome),
            }
        }
        if !conflicts.is_empty() {
            self.pause(pauses).await?;
        }
        Ok(conflicts)
    }

    async fn pause(&self, pauses: &mut Backoff) -> Result<(), StoreError> {
        let pause = pauses.next_pause();
        if pauses.attempts() >= ATTEMPTS {
            return Err(self.server.unavailable("others write the same all the time"));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Makes what follows from others in the documents of these products right: their stock, and with `with_names` the names of their
    /// categories. See the module's documentation.
    async fn settle(&self, ids: BTreeSet<String>, with_names: bool) -> Result<(), StoreError> {
        let mut lost = self.lost().clone();
        let with_names = with_names || !lost.is_empty();
        let waiting: Vec<String> = ids.into_iter().chain(lost.iter().cloned()).collect();
        for batch in waiting.chunks(BATCH_ROWS) {
            self.settle_batch(batch, with_names, &mut lost).await?;
        }
        Ok(())
    }

    async fn settle_batch(
        &self,
        ids: &[String],
        with_names: bool,
        lost: &mut BTreeSet<String>,
    ) -> Result<(), StoreError> {
        let mut waiting = ids.to_vec();
        let mut pauses = PAUSES;
        while !waiting.is_empty() {
            let ids: Vec<&str> = waiting.iter().map(String::as_str).collect();
            // First the products, and then what it follows from: that may be newer, but not older.
            let fields = ["skus", "category", "in_stock", "category_name"];
            let products = self.server.documents::<Derived>(&PRODUCTS, &ids, &fields).await?;
            let skus: BTreeSet<&str> = products
                .values()
                .flat_map(|product| &product.source.skus)
                .map(String::as_str)
                .collect();
            let badges = self.badges_by_sku(&skus.into_iter().collect::<Vec<_>>()).await?;
            let names = if with_names {
                Some(names(&categories(&self.server).await?))
            } else {
                None
            };
            let (mut changed, mut operations) = (Vec::new(), Vec::new());
            for id in &ids {
                let Some(Found { change, source, .. }) = products.get(*id) else {
                    continue;
                };
                let is_available =
                    |sku: &String| badges.get(sku).is_some_and(|badge| badge.source.available > 0);
                let in_stock = source.skus.iter().any(is_available);
                let name = match &names {
                    Some(names) => name_of(names, &source.category),
                    None => &source.category_name,
                };
                // A lost write that arrives late is for the document as it was.
                if in_stock != source.in_stock || name != source.category_name || lost.contains(*id) {
                    let fields = json!({ "in_stock": in_stock, "category_name": name });
                    operations.push(self.encoded(Operation::update(id, *change, &fields))?);
                    changed.push(*id);
                }
            }
            let mut outcomes = Vec::new();
            let results = self.write_products(&changed, &operations).await?;
            self.conflicts(&changed, results, &mut outcomes, &mut pauses)
                .await?;
            outcome_of_all(outcomes)?;
            // Those that are not there, or were written by whomever in the meantime.
            for id in &ids {
                if lost.remove(*id) {
                    self.lost().remove(*id);
                }
            }
            // Those that were written are looked at again, too.
            waiting = changed.into_iter().map(str::to_owned).collect();
        }
        Ok(())
    }

    /// Adds or replaces categories, on condition that nobody else has changed any meanwhile.
    pub(in crate::stores) async fn change_categories(&self, changes: &[Category]) -> Result<(), StoreError> {
        let mut pauses = PAUSES;
        loop {
            let found = self
                .server
                .documents::<CategoriesDocument>(&CATALOGUE, &[CATEGORIES], &["categories"])
                .await?
                .remove(CATEGORIES);
            let known = found.as_ref().map_or(&[][..], |found| &found.source.categories);
            let categories = merged(known, changes);
            if categories == known {
                return Ok(());
            }
            let document = CategoriesDocument { categories };
            let operation = match &found {
                Some(found) => Operation::replace(CATEGORIES, found.change, &document),
                None => Operation::create(CATEGORIES, &document),
            };
            let mut outcomes = Vec::new();
            let results = self.server.bulk(&CATALOGUE, &[self.encoded(operation)?]).await?;
            if self
                .conflicts(&[()], results, &mut outcomes, &mut pauses)
                .await?
                .is_empty()
            {
                return outcome_of_all(outcomes);
            }
        }
    }

    /// Settles the products of these categories that bear another name.
    async fn rename(&self, slugs: &[&str]) -> Result<(), StoreError> {
        let names = names(&categories(&self.server).await?);
        let mut after = None;
        loop {
            let mut query = json!({
                "size": RENAMED_ROWS,
                "_source": ["category", "category_name"],
                "query": { "terms": { "category": slugs } },
                "sort": ["number"],
            });
            if let Some(number) = after {
                query["search_after"] = json!([number]);
            }
            let page: Hits<Named> = self.server.search(&PRODUCTS, query).await?;
            let is_last = page.hits.len() < RENAMED_ROWS;
            after = page.hits.last().and_then(|hit| hit.sort.first().cloned());
            let renamed = page.hits.into_iter().filter(|hit| {
                let source = hit.source.as_ref();
                source.is_none_or(|source| name_of(&names, &source.category) != source.category_name)
            });
            self.settle(renamed.map(|hit| hit.id).collect(), true).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

/// The document of a product.
pub(in crate::stores) fn document<'a>(
    product: &'a Product,
    place: &Kept,
    names: &'a HashMap<String, String>,
) -> serde_json::Result<ProductDocument<'a>> {
    let skus: Vec<&Sku> = product.variants.iter().map(|variant| &variant.sku).collect();
    let identifiers = skus.iter().map(|sku| sku.as_str()).chain([product.id.as_str()]);
    Ok(ProductDocument {
        number: place.number,
        names: identifiers.map(str::to_ascii_lowercase).collect(),
        skus,
        category: &product.category,
        brand: &product.brand,
        price: product.price().map(|price| price.amount),
        in_stock: place.in_stock,
        title: &product.title,
        description: &product.description,
        category_name: name_of(names, &product.category),
        attributes: product.attributes.values().collect(),
        body: serde_json::to_string(product)?,
    })
}

/// All categories, in the order in which they came.
pub(in crate::stores) async fn categories(server: &Server) -> Result<Vec<Category>, StoreError> {
    let mut found = server
        .documents::<CategoriesDocument>(&CATALOGUE, &[CATEGORIES], &["categories"])
        .await?;
    Ok(found
        .remove(CATEGORIES)
        .map_or_else(Vec::new, |found| found.source.categories))
}

/// The names of categories by their slugs.
pub(in crate::stores) fn names(categories: &[Category]) -> HashMap<String, String> {
    let name = |category: &Category| (category.slug.clone(), category.name.clone());
    categories.iter().map(name).collect()
}

/// The name of a category; its slug where it is not known.
pub(in crate::stores) fn name_of<'a>(names: &'a HashMap<String, String>, slug: &'a str) -> &'a str {
    names.get(slug).map_or(slug, String::as_str)
}

/// Known categories with those of the same slug replaced, and others at the end.
fn merged(known: &[Category], changes: &[Category]) -> Vec<Category> {
    let mut categories = known.to_vec();
    let mut places: HashMap<String, usize> = known
        .iter()
        .enumerate()
        .map(|(place, category)| (category.slug.clone(), place))
        .collect();
    for change in changes {
        match places.get(&change.slug) {
            Some(place) => categories[*place] = change.clone(),
            None => {
                places.insert(change.slug.clone(), categories.len());
                categories.push(change.clone());
            }
        }
    }
    categories
}

#[async_trait]
impl ProductStore for ElasticProducts {
    fn technology(&self) -> &'static str {
        "elasticsearch"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.server.ping(&PRODUCTS).await
    }

    async fn products(&self, ids: &[ProductId]) -> Result<Vec<Product>, StoreError> {
        let texts: Vec<&str> = ids.iter().map(ProductId::as_str).collect();
        let mut found = self.bodies(&texts).await?;
        Ok(ids.iter().filter_map(|id| found.remove(id.as_str())).collect())
    }

    async fn products_of(&self, skus: &[Sku]) -> Result<Vec<Product>, StoreError> {
        let texts: Vec<&str> = skus.iter().map(Sku::as_str).collect();
        let by_sku = self.products_by_sku(&texts).await?;
        let ids: BTreeSet<&str> = by_sku.values().map(String::as_str).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        let found = self.bodies(&ids).await?;
        let has_one = |product: &Product| {
            product.variants.iter().any(|variant| {
                by_sku
                    .get(variant.sku.as_str())
                    .is_some_and(|id| id == product.id.as_str())
            })
        };
        Ok(found.into_values().filter(has_one).collect())
    }

    async fn categories(&self) -> Result<Vec<Category>, StoreError> {
        categories(&self.server).await.map(parents_first)
    }

    async fn put_products(&self, products: &[Product]) -> Result<(), StoreError> {
        for batch in last_of_each(products).chunks(BATCH_ROWS) {
            self.put_batch(batch).await?;
        }
        Ok(())
    }

    async fn put_categories(&self, changes: &[Category]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.change_categories(changes).await?;
        // Also where nothing has changed: an earlier call may have come no further. Products that are written after the refresh look
        // at the names themselves.
        self.server.refresh(&PRODUCTS).await?;
        let slugs: HashSet<&str> = changes
            .iter()
            .map(|category| category.slug.as_str())
            .filter(|slug| slug.chars().count() <= KEYWORD_CHARACTERS)
            .collect();
        let slugs: Vec<&str> = slugs.into_iter().collect();
        for slugs in slugs.chunks(RENAMED_CATEGORIES) {
            self.rename(slugs).await?;
        }
        Ok(())
    }

    async fn put_badges(&self, badges: &[Badge]) -> Result<(), StoreError> {
        for batch in badges.chunks(BATCH_ROWS) {
            let operations: serde_json::Result<Vec<Operation>> = batch
                .iter()
                .map(|badge| {
                    let available = badge.available;
                    Operation::newer(badge.sku.as_str(), badge.version, &BadgeDocument { available })
                })
                .collect();
            // A conflict is a badge that is not newer. Its product is settled all the same: an earlier call may have come no further.
            let outcomes = self.server.bulk(&BADGES, &self.encoded(operations)?).await?;
            let skus: Vec<&str> = batch.iter().map(|badge| badge.sku.as_str()).collect();
            let products = self.products_by_sku(&skus).await?;
            self.settle(products.into_values().collect(), false).await?;
            outcome_of_all(outcomes)?;
        }
        Ok(())
    }

    async fn badges(&self, skus: &[Sku]) -> Result<Vec<Badge>, StoreError> {
        let texts: Vec<&str> = skus.iter().map(Sku::as_str).collect();
        let found = self.badges_by_sku(&texts).await?;
        found
            .into_iter()
            .map(|(sku, found)| {
                let sku = Sku::parse(&sku).map_err(|error| self.server.corrupt(error.to_string()))?;
                Ok(Badge {
                    sku,
                    available: found.source.available,
                    version: found.version,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::elasticsearch::testing::TestIndexes;
    use crate::stores::products::contract;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let Some(indexes) = TestIndexes::create() else {
            return;
        };
        contract::suite(Arc::new(indexes.products().await)).await;
    }
}
