//! The port for products: products, categories and stock badges. It is the truth about them; [`search`](super::search) is an
//! index made from it.

#[cfg(test)]
pub mod contract;
pub mod sqlite;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::catalogue::{Category, Product};
use souk_domain::{ProductId, Sku};

/// How many of a SKU can be bought, as of a version of its stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Badge {
    /// The SKU.
    pub sku: Sku,
    /// How many can be bought.
    pub available: u32,
    /// The version of the stock.
    pub version: u64,
}

/// The port. Reads by identifier and by SKU are realtime: they see every acknowledged write. Every write may be repeated.
#[async_trait]
pub trait ProductStore: Send + Sync + 'static {
    /// The technology behind it, such as `sqlite`.
    fn technology(&self) -> &'static str;
    /// Whether the store is available.
    async fn ping(&self) -> Result<(), StoreError>;
    /// The products with these identifiers, in their order; unknown ones are left out.
    async fn products(&self, ids: &[ProductId]) -> Result<Vec<Product>, StoreError>;
    /// The products that these SKUs belong to, in no particular order.
    async fn products_of(&self, skus: &[Sku]) -> Result<Vec<Product>, StoreError>;
    /// All categories, parents first.
    async fn categories(&self) -> Result<Vec<Category>, StoreError>;
    /// Adds products, replacing those with the same id.
    async fn put_products(&self, products: &[Product]) -> Result<(), StoreError>;
    /// Adds categories, replacing those with the same slug.
    async fn put_categories(&self, categories: &[Category]) -> Result<(), StoreError>;
    /// Sets stock badges, a projection of the stock's events (invariant 14). A badge is replaced only by one of a higher
    /// version.
    async fn put_badges(&self, badges: &[Badge]) -> Result<(), StoreError>;
    /// The stock badges of these SKUs, in no particular order; SKUs without one are left out.
    async fn badges(&self, skus: &[Sku]) -> Result<Vec<Badge>, StoreError>;
}
