//! What Elasticsearch keeps of products: the indexes, and their documents.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::stores::elasticsearch::Index;
use souk_domain::Sku;
use souk_domain::catalogue::{Category, Product};

/// Words in lower case, without diacritics.
pub(super) const ANALYSIS: &str = r#"{"analyzer": {"souk": {
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
pub(super) const SKUS: Index = Index {
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
pub(super) const CATALOGUE: Index = Index {
    name: "catalogue",
    generation: 1,
    analysis: "{}",
    steps: &[r#"{"categories": {"type": "object", "enabled": false}}"#],
};

/// All categories, which are read together and realtime.
pub(super) const CATEGORIES: &str = "categories";

/// A document that is written for each batch of new products. How often it was is the number of the batch.
pub(super) const CREATIONS: &str = "creations";

/// The document of a product.
#[derive(Serialize)]
pub(in crate::stores) struct ProductDocument<'a> {
    /// Its number in the order of creation.
    pub(super) number: u64,
    /// Identifiers in lower case.
    pub(super) names: Vec<String>,
    pub(super) skus: Vec<&'a Sku>,
    pub(in crate::stores) category: &'a str,
    pub(in crate::stores) brand: &'a str,
    pub(in crate::stores) price: Option<i64>,
    pub(super) in_stock: bool,
    pub(super) title: &'a str,
    pub(super) description: &'a str,
    pub(in crate::stores) category_name: &'a str,
    pub(super) attributes: Vec<&'a String>,
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
pub(super) struct Body {
    pub(super) body: String,
}

/// What follows from others, and from what it follows.
#[derive(Deserialize)]
pub(super) struct Derived {
    pub(super) skus: Vec<String>,
    pub(super) category: String,
    pub(super) in_stock: bool,
    pub(super) category_name: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SkuDocument {
    pub(super) product: String,
}

#[derive(Serialize, Deserialize)]
pub(in crate::stores) struct BadgeDocument {
    pub(in crate::stores) available: u32,
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct CategoriesDocument {
    pub(super) categories: Vec<Category>,
}

#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) category: String,
    pub(super) category_name: String,
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

/// The names of categories by their slugs.
pub(in crate::stores) fn names(categories: &[Category]) -> HashMap<String, String> {
    let name = |category: &Category| (category.slug.clone(), category.name.clone());
    categories.iter().map(name).collect()
}

/// The name of a category; its slug where it is not known.
pub(in crate::stores) fn name_of<'a>(names: &'a HashMap<String, String>, slug: &'a str) -> &'a str {
    names.get(slug).map_or(slug, String::as_str)
}
