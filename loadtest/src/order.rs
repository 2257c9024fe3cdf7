//! What an order says: the same in journeys, in the open loop and beside the yardsticks.

use serde_json::{Value, json};

/// The body of `POST /v1/orders`: to an address in London, paid with a token of the sandbox; `email` is needed of a guest.
pub fn body(token: &str, shipping_option: &str, email: Option<&str>) -> Value {
    let mut body = json!({
        "address": address(),
        "shipping_option": shipping_option,
        "payment": {"gateway": "sandbox", "token": token},
    });
    if let Some(email) = email {
        body["email"] = email.into();
    }
    body
}

/// Where orders go.
pub fn address() -> Value {
    json!({"name": "Ada", "line1": "1 Street", "city": "London", "postcode": "SW1Y 4JH", "country": "GB"})
}

/// A key that no other request has.
pub fn key() -> String {
    format!("loadtest-{}", uuid::Uuid::new_v4().simple())
}
