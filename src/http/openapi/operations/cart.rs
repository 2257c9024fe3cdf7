//! `/v1/carts`, `/v1/cart`

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::operation::{Condition, Operation, Tag};
use crate::http::api::cart::{AddItem, CartBody, Merge, NewCart, SetItem};
use crate::http::edge::problem;
use crate::http::request::json::NoFields;
use souk_domain::Sku;

const TOKEN: &str = "kZ0ww2e1mY4rTq8v5sXb6n7c9d0fGhJkLpQwErTyUiO";

fn example() -> Value {
    json!({
        "id": "crt_000001",
        "version": 2,
        "currency": "USD",
        "items": [{
            "sku": "SHIRT-M",
            "product_id": "prd_000001",
            "title": "Linen shirt",
            "options": {"size": "M"},
            "quantity": 2,
            "unit_price": {"amount": 4900, "currency": "USD"},
            "line_total": {"amount": 9800, "currency": "USD"},
            "available": 12,
        }],
        "subtotal": {"amount": 9800, "currency": "USD"},
        "item_count": 2,
    })
}

/// An operation that gives the cart.
fn gives_cart(operation: Operation) -> Operation {
    operation
        .reply::<CartBody<'static>>(StatusCode::OK, "The cart.")
        .with(&["ETag"])
        .example(example())
}

pub fn create() -> Operation {
    Operation::new(Tag::Cart, "createCart", "Get a guest's cart")
        .about("It costs nothing until something is put in.")
        .optional_body::<NoFields>(json!({}))
        .reply::<NewCart<'static>>(StatusCode::CREATED, "An empty cart and the token that opens it.")
        .with(&["ETag"])
        .example(json!({
            "cart_token": TOKEN,
            "cart": {
                "id": "crt_000001",
                "version": 0,
                "currency": "USD",
                "items": [],
                "subtotal": {"amount": 0, "currency": "USD"},
                "item_count": 0,
            },
        }))
}

pub fn show() -> Operation {
    gives_cart(
        Operation::new(Tag::Cart, "getCart", "Show the caller's cart").condition(Condition::IfNoneMatch),
    )
}

pub fn empty() -> Operation {
    gives_cart(Operation::new(Tag::Cart, "emptyCart", "Empty the cart").condition(Condition::IfMatch))
}

pub fn add_item() -> Operation {
    gives_cart(
        Operation::new(Tag::Cart, "addCartItem", "Put something into the cart")
            .about("Adds to what is there; a cart holds up to 100 lines of up to 999 each.")
            .condition(Condition::IfMatch)
            .body::<AddItem>(json!({"sku": "SHIRT-M", "quantity": 2}))
            .problem(problem::UNKNOWN_SKU),
    )
}

pub fn set_item() -> Operation {
    gives_cart(
        Operation::new(
            Tag::Cart,
            "setCartItem",
            "Set how many of something are in the cart",
        )
        .variable::<Sku>("The SKU.")
        .condition(Condition::IfMatch)
        .body::<SetItem>(json!({"quantity": 3}))
        .problem(problem::UNKNOWN_SKU),
    )
}

pub fn remove_item() -> Operation {
    gives_cart(
        Operation::new(Tag::Cart, "removeCartItem", "Take something out of the cart")
            .about("What is not in it is no matter.")
            .variable::<Sku>("The SKU.")
            .condition(Condition::IfMatch)
            .problem(problem::UNKNOWN_SKU),
    )
}

pub fn merge() -> Operation {
    gives_cart(
        Operation::new(Tag::Cart, "mergeCart", "Take over a guest's cart")
            .about("Its lines join the caller's, quantities summed and capped, once.")
            .condition(Condition::IfMatch)
            .body::<Merge>(json!({"cart_token": TOKEN})),
    )
}
