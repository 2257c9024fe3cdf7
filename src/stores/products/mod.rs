//! The port for products: products, categories and stock badges. It is the truth about them; [`search`](super::search) is an
//! index made from it.

#[cfg(test)]
pub mod contract;
#[cfg(feature = "elasticsearch")]
pub mod elasticsearch;
pub mod sqlite;

use std::collections::{HashMap, HashSet};

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

/// Of a product given twice the last one counts, and leaves no SKU of the first behind.
fn last_of_each(products: &[Product]) -> Vec<&Product> {
    let last: HashMap<&ProductId, usize> = products
        .iter()
        .enumerate()
        .map(|(index, product)| (&product.id, index))
        .collect();
    products
        .iter()
        .enumerate()
        .filter(|(index, product)| last.get(&product.id) == Some(index))
        .map(|(_, product)| product)
        .collect()
}

/// Parents before their children. Categories without a path to a root (missing parent, cycle) keep their order.
fn parents_first(mut categories: Vec<Category>) -> Vec<Category> {
    let known: HashSet<String> = categories.iter().map(|category| category.slug.clone()).collect();
    let mut placed: HashSet<String> = HashSet::new();
    let mut ordered = Vec::with_capacity(categories.len());
    while !categories.is_empty() {
        let (ready, waiting): (Vec<_>, Vec<_>) = categories.into_iter().partition(|category| {
            category
                .parent
                .as_ref()
                .is_none_or(|parent| placed.contains(parent) || !known.contains(parent))
        });
        let stuck = ready.is_empty();
        placed.extend(ready.iter().map(|category| category.slug.clone()));
        ordered.extend(ready);
        categories = waiting;
        if stuck {
            ordered.append(&mut categories);
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_categories_with_a_cycle() {
        let category = |slug: &str, parent: Option<&str>| Category {
            slug: slug.to_owned(),
            name: slug.to_owned(),
            parent: parent.map(str::to_owned),
        };
        let ordered = parents_first(vec![
            category("leaf", Some("branch")),
            category("round", Some("about")),
            category("branch", Some("root")),
            category("orphan", Some("nobody")),
            category("about", Some("round")),
            category("root", None),
        ]);
        let slugs: Vec<&str> = ordered.iter().map(|category| category.slug.as_str()).collect();
        assert_eq!(slugs, ["orphan", "root", "branch", "leaf", "round", "about"]);
    }
}
