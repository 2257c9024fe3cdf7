//! `/openapi.json`, `/docs`

use serde_json::json;

use super::super::operation::{Condition, Operation, Tag};

pub fn document() -> Operation {
    Operation::new(Tag::Service, "getDocument", "Show this document")
        .condition(Condition::IfNoneMatch)
        .reply_as("application/json", "OpenAPI 3.1.", json!({"type": "object"}))
        .with(&["ETag"])
}

pub fn show() -> Operation {
    Operation::new(Tag::Service, "getDocumentPage", "Show this document as a page")
        .condition(Condition::IfNoneMatch)
        .reply_text("text/html; charset=utf-8", "The page.")
        .with(&["ETag"])
}

pub fn file() -> Operation {
    Operation::new(
        Tag::Service,
        "getDocumentPageFile",
        "Show a file that the page loads",
    )
    .variable_text("The file.", json!({"type": "string", "examples": ["page.js"]}))
    .condition(Condition::IfNoneMatch)
    .reply_text("text/css; charset=utf-8", "The file.")
    .with(&["ETag"])
    .reply_text("text/javascript; charset=utf-8", "The file.")
    .with(&["ETag"])
    .with(&["ETag"])
}
