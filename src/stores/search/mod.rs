//! The port for product search: an index that the adapter makes from what the [`products`](super::products) port stores.
//!
//! The index may lag: a change of products, categories or stock badges is found within [`LAG`]. So a page names products, and
//! the reader gets them from the products port.

#[cfg(test)]
pub mod contract;
pub mod sqlite;

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::ProductId;

/// How long after a write at most the index reflects it, while the store is available.
pub const LAG: Duration = Duration::from_secs(5);

/// The order of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Best match first; newest first where there is no text.
    #[default]
    Relevance,
    /// Lowest price first.
    Price,
    /// Highest price first.
    PriceDescending,
    /// Newest first.
    Newest,
}

/// A query.
#[derive(Clone, Debug, Default)]
pub struct ProductQuery {
    /// Full text: every word must occur, the last one may be a prefix.
    pub text: Option<String>,
    /// A category's slug; includes the categories below it.
    pub category: Option<String>,
    /// Exactly this brand.
    pub brand: Option<String>,
    /// Minor units, inclusive.
    pub min_price: Option<i64>,
    /// Minor units, inclusive.
    pub max_price: Option<i64>,
    /// Only products that can be bought now, by their stock badges.
    pub in_stock: bool,
    /// The order.
    pub sort: Sort,
    /// How many results to skip.
    pub offset: usize,
    /// The maximum number of results.
    pub limit: usize,
}

/// A page of results.
#[derive(Clone, Debug, Default)]
pub struct SearchPage {
    /// The products on this page, in order.
    pub ids: Vec<ProductId>,
    /// The number of results on all pages.
    pub total: u64,
}

/// The port. Part of `stores.catalogue`, whose ping covers it.
#[async_trait]
pub trait SearchIndex: Send + Sync + 'static {
    /// A page of the products that match `query`.
    async fn search(&self, query: &ProductQuery) -> Result<SearchPage, StoreError>;
}
