//! `/v1/orders`

use axum::http::StatusCode;
use serde_json::json;

use super::super::operation::{Condition, Operation, Tag};
use super::address;
use crate::http::api::orders::{Cancel, OrderBody, PlaceBody};
use crate::http::edge::problem;
use souk_domain::OrderId;

pub fn place() -> Operation {
    Operation::new(Tag::Orders, "placeOrder", "Order what is in the cart")
        .about(
            "Reserves the stock and the money, and answers when the order is confirmed or has failed; where that takes \
             longer than 5 s, with 202. An order that has failed has a `Location` all the same.",
        )
        .body::<PlaceBody>(json!({
            "address": address(),
            "shipping_option": "standard",
            "payment": {"gateway": "sandbox", "token": "tok_ok"},
            "email": "ada@example.org",
        }))
        .reply::<OrderBody<'static>>(StatusCode::CREATED, "The order, confirmed.")
        .with(&["ETag", "Location"])
        .leading_to(&["getOrder", "cancelOrder"])
        .reply::<OrderBody<'static>>(
            StatusCode::ACCEPTED,
            "The order, still pending: look at its `Location`.",
        )
        .with(&["ETag", "Location"])
        .leading_to(&["getOrder", "cancelOrder"])
        .problems(&[
            problem::PAYMENT_DECLINED,
            problem::OUT_OF_STOCK,
            problem::PRICE_CHANGED,
            problem::CHECKOUT_EXPIRED,
            problem::ORDER_CANCELLED,
            problem::EMPTY_CART,
            problem::CHECKOUT_FAILED,
        ])
}

pub fn list() -> Operation {
    Operation::new(
        Tag::Orders,
        "listOrders",
        "List the caller's orders, newest first",
    )
    .paged()
    .reply_page::<OrderBody<'static>>("A page of orders.")
}

pub fn show() -> Operation {
    Operation::new(Tag::Orders, "getOrder", "Show an order of the caller's")
        .variable::<OrderId>("The order.")
        .condition(Condition::IfNoneMatch)
        .reply::<OrderBody<'static>>(StatusCode::OK, "The order.")
        .with(&["ETag"])
}

pub fn cancel() -> Operation {
    Operation::new(Tag::Orders, "cancelOrder", "Call an order off")
        .about("As long as nothing has been shipped. What was taken is given back.")
        .variable::<OrderId>("The order.")
        .condition(Condition::IfMatch)
        .optional_body::<Cancel>(json!({"reason": "ordered twice"}))
        .reply::<OrderBody<'static>>(StatusCode::OK, "The order.")
        .with(&["ETag"])
        .problems(&[problem::TOO_LATE, problem::ORDER_STATE])
}
