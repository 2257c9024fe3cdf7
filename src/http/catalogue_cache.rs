//! A cache of products and stock badges, for a second or two, so that showing carts does not read the store each time.
//! A checkout reads the store.
//!
//! Concurrent misses each read the store: with entries that live for a second, that is a handful of reads a second, and
//! one batched read serves a whole cart or page.

use std::sync::Arc;

use moka::sync::Cache;

use crate::http::edge::settings::CatalogueCacheSettings;
use crate::stores::StoreError;
use crate::stores::products::ProductStore;
use souk_domain::catalogue::{Product, Variant};
use souk_domain::{ProductId, Sku};

/// A SKU with its product.
#[derive(Clone, Debug)]
pub struct Listing {
    product: Arc<Product>,
    variant: usize,
}

impl Listing {
    /// The product.
    pub fn product(&self) -> &Product {
        &self.product
    }

    /// The variant with the SKU.
    pub fn variant(&self) -> &Variant {
        // Made from this product's own variants, which are immutable.
        &self.product.variants[self.variant]
    }
}

/// The cache.
pub struct CatalogueCache {
    store: Arc<dyn ProductStore>,
    /// `None`: it does not exist.
    products: Cache<ProductId, Option<Arc<Product>>>,
    /// `None`: it does not exist.
    listings: Cache<Sku, Option<Listing>>,
    badges: Cache<Sku, u32>,
}

impl CatalogueCache {
    /// An empty cache in front of `store`.
    pub fn new(store: Arc<dyn ProductStore>, settings: &CatalogueCacheSettings) -> Self {
        Self {
            store,
            products: cache(settings.capacity, settings.products_for),
            listings: cache(settings.capacity, settings.products_for),
            badges: cache(settings.capacity, settings.badges_for),
        }
    }

    /// A product.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn product(&self, id: &ProductId) -> Result<Option<Arc<Product>>, StoreError> {
        if let Some(known) = self.products.get(id) {
            return Ok(known);
        }
        let product = self.store.products(std::slice::from_ref(id)).await?;
        let product = product.into_iter().next().map(Arc::new);
        match &product {
            Some(product) => self.keep(product),
            None => self.products.insert(id.clone(), None),
        }
        Ok(product)
    }

    /// The listing of each of `skus`, in their order; `None` where a SKU does not exist.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn listings(&self, skus: &[&Sku]) -> Result<Vec<Option<Listing>>, StoreError> {
        let mut found: Vec<Option<Option<Listing>>> =
            skus.iter().map(|sku| self.listings.get(*sku)).collect();
        let missing = missing(skus, &found);
        if !missing.is_empty() {
            for product in self.store.products_of(&missing).await? {
                self.keep(&Arc::new(product));
            }
            for (sku, slot) in skus.iter().zip(&mut found).filter(|(_, slot)| slot.is_none()) {
                // The catalogue has just replied: what is missing now does not exist.
                let listing = self.listings.get(*sku).flatten();
                if listing.is_none() {
                    self.listings.insert((*sku).clone(), None);
                }
                *slot = Some(listing);
            }
        }
        Ok(found.into_iter().map(Option::flatten).collect())
    }

    /// The listing of one SKU.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn listing(&self, sku: &Sku) -> Result<Option<Listing>, StoreError> {
        Ok(self.listings(&[sku]).await?.pop().flatten())
    }

    /// The available quantity of each of `skus` by their badges, in their order.
    ///
    /// # Errors
    /// The catalogue's.
    pub async fn available(&self, skus: &[&Sku]) -> Result<Vec<u32>, StoreError> {
        let mut found: Vec<Option<u32>> = skus.iter().map(|sku| self.badges.get(*sku)).collect();
        let missing = missing(skus, &found);
        if !missing.is_empty() {
            let badges = self.store.badges(&missing).await?;
            for (sku, slot) in skus.iter().zip(&mut found).filter(|(_, slot)| slot.is_none()) {
                let badge = badges.iter().find(|badge| badge.sku == **sku);
                let available = badge.map_or(0, |badge| badge.available);
                self.badges.insert((*sku).clone(), available);
                *slot = Some(available);
            }
        }
        Ok(found.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn keep(&self, product: &Arc<Product>) {
        self.products
            .insert(product.id.clone(), Some(Arc::clone(product)));
        for (variant, sku) in product.variants.iter().map(|variant| &variant.sku).enumerate() {
            let listing = Listing {
                product: Arc::clone(product),
                variant,
            };
            self.listings.insert(sku.clone(), Some(listing));
        }
    }
}

fn cache<K, V>(capacity: u64, time_to_live: std::time::Duration) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(capacity)
        .time_to_live(time_to_live)
        .build()
}

fn missing<T>(skus: &[&Sku], found: &[Option<T>]) -> Vec<Sku> {
    let missing = skus.iter().zip(found).filter(|(_, slot)| slot.is_none());
    missing.map(|(sku, _)| (*sku).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_support::{Fixture, product, sku};

    fn catalogue_cache(catalogue: &Arc<Fixture>) -> CatalogueCache {
        // Long enough that nothing ages while a test runs.
        let settings = CatalogueCacheSettings {
            products_for: std::time::Duration::from_secs(3600),
            badges_for: std::time::Duration::from_secs(3600),
            capacity: 100,
        };
        CatalogueCache::new(Arc::clone(catalogue) as Arc<dyn ProductStore>, &settings)
    }

    #[tokio::test]
    async fn a_warm_cache_reads_no_store() {
        let catalogue = Arc::new(Fixture::new([product("a", &[("A-1", 100), ("A-2", 200)])]));
        let catalogue_cache = catalogue_cache(&catalogue);
        let (first, second, unknown) = (sku("A-1"), sku("A-2"), sku("NONE"));
        for _ in 0..3 {
            let listings = catalogue_cache
                .listings(&[&second, &unknown, &first])
                .await
                .unwrap();
            let prices: Vec<_> = listings
                .iter()
                .map(|listing| listing.as_ref().map(|listing| listing.variant().price.amount))
                .collect();
            assert_eq!(prices, [Some(200), None, Some(100)]);
            assert!(
                catalogue_cache
                    .product(&ProductId::parse("prd_a").unwrap())
                    .await
                    .unwrap()
                    .is_some()
            );
            assert!(
                catalogue_cache
                    .product(&ProductId::parse("prd_b").unwrap())
                    .await
                    .unwrap()
                    .is_none()
            );
        }
        assert_eq!(
            catalogue.reads(),
            2,
            "one of the listings, one of the product that does not exist"
        );
    }

    #[tokio::test]
    async fn badges_keep_their_order_and_none_means_none() {
        let catalogue = Arc::new(Fixture::new([]).with_badge("A-1", 7));
        let catalogue_cache = catalogue_cache(&catalogue);
        let (known, unknown) = (sku("A-1"), sku("A-2"));
        for _ in 0..2 {
            assert_eq!(
                catalogue_cache.available(&[&unknown, &known]).await.unwrap(),
                [0, 7]
            );
        }
        assert_eq!(catalogue.reads(), 1);
        assert_eq!(catalogue_cache.available(&[]).await.unwrap(), Vec::<u32>::new());
        assert_eq!(catalogue.reads(), 1);
    }
}
