//! Products and categories: what a shopper browses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Money, ProductId, Sku};

/// Something that can be looked at and bought in one or more variants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// Its identifier.
    pub id: ProductId,
    /// A line.
    pub title: String,
    /// Plain text, a paragraph or two.
    pub description: String,
    /// The slug of its category, as in [`Category::slug`].
    pub category: String,
    /// Who makes it.
    pub brand: String,
    /// Properties by name, all variants alike: `{"material": "linen"}`.
    pub attributes: BTreeMap<String, String>,
    /// Paths of its pictures below the shop's own address.
    pub images: Vec<String>,
    /// Its variants; never empty.
    pub variants: Vec<Variant>,
    /// Counts the changes, from 1.
    pub version: u64,
}

impl Product {
    /// The lowest price among its variants: the one that lists and filters use.
    pub fn price(&self) -> Option<Money> {
        self.variants
            .iter()
            .map(|variant| variant.price)
            .min_by_key(|price| price.amount)
    }

    /// The variant with this SKU.
    pub fn variant(&self, sku: &Sku) -> Option<&Variant> {
        self.variants.iter().find(|variant| &variant.sku == sku)
    }
}

/// One buyable form of a product.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// What is counted.
    pub sku: Sku,
    /// What sets it apart: `{"size": "M"}`.
    pub options: BTreeMap<String, String>,
    /// What one costs.
    pub price: Money,
    /// What one weighs, packed, in grams.
    pub weight_grams: u32,
}

/// A node of the category tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Lower case and dashes; unique.
    pub slug: String,
    /// As shown.
    pub name: String,
    /// The slug above it; `None` for a root.
    pub parent: Option<String>,
}
