//! The port of the catalogue: products and categories.

#[cfg(test)]
pub mod contract;
mod search;
pub mod sqlite;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::catalogue::{Category, Product};
use souk_domain::{ProductId, Sku};

/// How a list is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Best match first; the newest first where there is no query.
    #[default]
    Relevance,
    /// Cheapest first.
    Price,
    /// Dearest first.
    PriceDescending,
    /// Newest first.
    Newest,
}

/// What a list is asked for.
#[derive(Clone, Debug, Default)]
pub struct ProductQuery {
    /// Full text: every word must occur, the last one may be a prefix.
    pub text: Option<String>,
    /// A category's slug; the categories below it count too.
    pub category: Option<String>,
    /// Exactly this brand.
    pub brand: Option<String>,
    /// Minor units, inclusive.
    pub min_price: Option<i64>,
    /// Minor units, inclusive.
    pub max_price: Option<i64>,
    /// Only what can be bought now (by the stock badge).
    pub in_stock: bool,
    /// The order.
    pub sort: Sort,
    /// How many to skip.
    pub offset: usize,
    /// How many at most.
    pub limit: usize,
}

/// A page of products.
#[derive(Clone, Debug)]
pub struct ProductPage {
    /// The products.
    pub items: Vec<Product>,
    /// How many there are in all.
    pub total: u64,
}

/// The port.
#[async_trait]
pub trait Catalogue: Send + Sync + 'static {
    /// What it runs on, as in `sqlite`.
    fn technology(&self) -> &'static str;
    /// Whether it answers.
    async fn ping(&self) -> Result<(), StoreError>;
    /// One product.
    async fn product(&self, id: &ProductId) -> Result<Option<Product>, StoreError>;
    /// The products that these SKUs belong to, in no particular order.
    async fn products_of(&self, skus: &[Sku]) -> Result<Vec<Product>, StoreError>;
    /// A page of products.
    async fn list(&self, query: &ProductQuery) -> Result<ProductPage, StoreError>;
    /// All categories, parents first.
    async fn categories(&self) -> Result<Vec<Category>, StoreError>;
    /// Puts products in, replacing those with the same id.
    async fn put_products(&self, products: &[Product]) -> Result<(), StoreError>;
    /// Puts categories in, replacing those with the same slug.
    async fn put_categories(&self, categories: &[Category]) -> Result<(), StoreError>;
    /// Sets the stock badges (how many of a SKU can be bought), a projection of the stock's events (invariant 14).
    /// A badge is replaced only by one of a higher stock version.
    async fn put_badges(&self, badges: &[Badge]) -> Result<(), StoreError>;
    /// Stock badges of these SKUs; those without are left out.
    async fn badges(&self, skus: &[Sku]) -> Result<Vec<Badge>, StoreError>;
}

/// How many of a SKU can be bought, as of a version of its stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    /// Which.
    pub sku: Sku,
    /// How many.
    pub available: u32,
    /// The stock's version that said so.
    pub version: u64,
}
