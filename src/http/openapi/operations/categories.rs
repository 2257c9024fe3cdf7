//! `/v1/categories`

use axum::http::StatusCode;
use serde_json::json;

use super::super::operation::{Operation, Tag};
use crate::http::api::categories::Tree;

pub fn list() -> Operation {
    Operation::new(Tag::Catalogue, "listCategories", "Show the tree of categories")
        .reply::<Tree<'static>>(StatusCode::OK, "The tree.")
        .example(json!({"items": [{
            "slug": "clothing",
            "name": "Clothing",
            "children": [{"slug": "shirts", "name": "Shirts", "children": []}],
        }]}))
}
