//! `/images`

use serde_json::json;

use super::super::operation::{Condition, Operation, Tag};

pub fn show() -> Operation {
    let file = json!({"type": "string", "examples": ["prd_000001.svg"]});
    Operation::new(Tag::Catalogue, "getImage", "Show a product's picture")
        .variable_text("The product's identifier, and `.svg`.", file)
        .condition(Condition::IfNoneMatch)
        .reply_text("image/svg+xml", "The picture.")
        .with(&["ETag"])
}
