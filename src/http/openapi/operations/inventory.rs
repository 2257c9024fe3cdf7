//! `/v1/admin/inventory`

use axum::http::StatusCode;
use serde_json::json;

use super::super::operation::{Condition, Operation, Tag};
use crate::http::api::inventory::{Adjustment, Body, Movement, Receipt};
use crate::http::edge::problem;
use souk_domain::Sku;

/// An operation on the stock of a SKU.
fn stock(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(Tag::Inventory, id, summary)
        .variable::<Sku>("The SKU.")
        .problem(problem::UNKNOWN_SKU)
}

/// An operation that gives the stock of a SKU.
fn gives_level(operation: Operation, status: StatusCode) -> Operation {
    operation
        .reply::<Body<'static>>(status, "The stock as it stands.")
        .with(&["ETag"])
        .example(json!({
            "sku": "SHIRT-M",
            "received": 40,
            "adjusted": -2,
            "sold": 26,
            "on_hand": 12,
            "reserved": 1,
            "available": 11,
            "reorder_point": null,
            "version": 31,
        }))
}

pub fn show() -> Operation {
    let show = stock("getStock", "Show the stock of a SKU").condition(Condition::IfNoneMatch);
    gives_level(show, StatusCode::OK)
}

pub fn receive() -> Operation {
    let receive = stock("receiveStock", "Record that goods came in")
        .about("The same reference counts once.")
        .condition(Condition::IfMatch)
        .body::<Receipt>(json!({"quantity": 40, "reference": "delivery 4711"}))
        .problem(problem::STOCK_CONFLICT);
    gives_level(receive, StatusCode::CREATED)
}

pub fn adjust() -> Operation {
    let adjust = stock("adjustStock", "Record a count or a loss")
        .about("Never below what is reserved.")
        .condition(Condition::IfMatch)
        .body::<Adjustment>(json!({"delta": -2, "reason": "broken in the warehouse"}))
        .problem(problem::STOCK_CONFLICT);
    gives_level(adjust, StatusCode::CREATED)
}

pub fn movements() -> Operation {
    stock("listStockMovements", "Show the ledger of a SKU, oldest first")
        .paged()
        .reply_page::<Movement<'static>>("A page of the ledger.")
}
