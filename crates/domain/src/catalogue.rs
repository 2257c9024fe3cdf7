//! Products and categories.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Money, ProductId, Sku};

/// A product, sold in one or more variants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// Its identifier.
    pub id: ProductId,
    /// One line.
    pub title: String,
    /// Plain text, a paragraph or two.
    pub description: String,
    /// The slug of its category, as in [`Category::slug`].
    pub category: String,
    /// The manufacturer.
    pub brand: String,
    /// Attributes that all variants share: `{"material": "linen"}`.
    pub attributes: BTreeMap<String, String>,
    /// Paths of its pictures on the shop's own address.
    pub images: Vec<String>,
    /// Its variants; never empty.
    pub variants: Vec<Variant>,
    /// Counts the changes, from 1.
    pub version: u64,
}

impl Product {
    /// The lowest price of its variants, which lists and filters use.
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
    /// The SKU.
    pub sku: Sku,
    /// Its options: `{"size": "M"}`.
    pub options: BTreeMap<String, String>,
    /// Price of one.
    pub price: Money,
    /// Weight of one with its packaging, in grams.
    pub weight_grams: u32,
}

/// A node of the category tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Lower-case letters and dashes; unique.
    pub slug: String,
    /// The displayed name.
    pub name: String,
    /// The parent's slug; `None` for a root.
    pub parent: Option<String>,
}
