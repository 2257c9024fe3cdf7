//! `/v1/products`

use axum::http::StatusCode;
use serde_json::json;

use super::super::operation::{Condition, Operation, Tag};
use crate::http::api::products::{Listed, ProductBody, QUERY_LIMIT, SORTS};
use crate::http::request::query::VALUE_LIMIT;
use souk_domain::ProductId;

pub fn list() -> Operation {
    let text = json!({"type": "string", "maxLength": VALUE_LIMIT});
    let price = json!({"type": "integer", "minimum": 0, "maximum": i64::MAX});
    let sorts: Vec<_> = SORTS.iter().map(|(name, _)| *name).collect();
    Operation::new(Tag::Catalogue, "listProducts", "Browse and search products")
        .about(
            "Lengths of texts are in bytes of UTF-8. A parameter that is empty counts as left out; one that is not known \
             is refused.",
        )
        .query(
            "q",
            "Words that the product's texts hold.",
            json!({"type": "string", "maxLength": QUERY_LIMIT}),
        )
        .query("category", "The slug of a category.", text.clone())
        .query("brand", "The brand.", text)
        .query("min_price", "Lowest price, in minor units.", price.clone())
        .query(
            "max_price",
            "Highest price, in minor units; not below `min_price`.",
            price,
        )
        .query(
            "in_stock",
            "Only what can be had.",
            json!({"type": "boolean", "default": false}),
        )
        .query(
            "sort",
            "The order.",
            json!({"type": "string", "enum": sorts, "default": "relevance"}),
        )
        .paged()
        .reply::<Listed<'static>>(StatusCode::OK, "A page of products.")
}

pub fn show() -> Operation {
    Operation::new(Tag::Catalogue, "getProduct", "Show a product")
        .variable::<ProductId>("The product.")
        .condition(Condition::IfNoneMatch)
        .reply::<ProductBody<'static>>(StatusCode::OK, "The product.")
        .with(&["ETag"])
        .example(json!({
            "id": "prd_000001",
            "title": "Linen shirt",
            "description": "Light, and cut wide.",
            "category": "shirts",
            "brand": "Fenwick",
            "attributes": {"material": "linen"},
            "images": ["/images/prd_000001.svg"],
            "price": {"amount": 4900, "currency": "USD"},
            "skus": [{
                "sku": "SHIRT-M",
                "options": {"size": "M"},
                "price": {"amount": 4900, "currency": "USD"},
                "weight_grams": 220,
                "available": 12,
            }],
            "rating": {"average": null, "count": 0},
            "version": 3,
        }))
}
