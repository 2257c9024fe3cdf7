//! `/v1/checkout`

use axum::http::StatusCode;
use serde_json::json;

use super::super::operation::{Operation, Tag};
use super::address;
use crate::http::api::checkout::{Quote, QuoteBody};
use crate::http::edge::problem;

pub fn quote() -> Operation {
    Operation::new(Tag::Orders, "quote", "Say what the cart would cost, delivered")
        .body::<QuoteBody>(json!({"address": address()}))
        .reply::<Quote>(StatusCode::OK, "Tax, and the ways to have it shipped.")
        .example(json!({
            "subtotal": {"amount": 9800, "currency": "USD"},
            "tax": {"amount": 0, "currency": "USD"},
            "shipping_options": [{
                "id": "standard",
                "carrier": "Caravan",
                "service": "Standard",
                "price": {"amount": 499, "currency": "USD"},
                "min_days": 3,
                "max_days": 5,
            }],
            "weight_grams": 440,
        }))
        .problems(&[problem::EMPTY_CART, problem::OUT_OF_STOCK])
}
