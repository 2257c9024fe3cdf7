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

mod categories;
mod documents;
mod settling;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;

use self::categories::RENAMED_CATEGORIES;
pub(in crate::stores) use self::categories::categories;
pub(in crate::stores) use self::documents::{
    BADGES, BadgeDocument, KEYWORD_CHARACTERS, Kept, PRODUCTS, document, name_of, names,
};
use self::documents::{Body, CATALOGUE, CREATIONS, SKUS, SkuDocument};
use self::settling::PAUSES;
use super::{Badge, ProductStore, last_of_each, parents_first};
use crate::stores::StoreError;
use crate::stores::elasticsearch::{Found, Operation, Outcome, Server, outcome_of_all};
use crate::stores::search::elasticsearch::ElasticSearch;
use souk_domain::catalogue::{Category, Product};
use souk_domain::{ProductId, Sku};

/// Products of one batch; more are written by several.
const BATCH_ROWS: usize = 500;

/// Numbers that a batch may give away.
const BATCH_NUMBERS: u64 = 1_024;

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
