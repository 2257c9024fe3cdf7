//! What is to say of each route, in functions that are named as the handlers.

pub mod auth;
pub mod cart;
pub mod categories;
pub mod checkout;
pub mod docs;
pub mod health;
pub mod images;
pub mod inventory;
pub mod jwks;
pub mod me;
pub mod orders;
pub mod products;

/// An address as it is sent and shown.
fn address() -> serde_json::Value {
    serde_json::json!({
        "name": "Ada Example",
        "line1": "1 Test Street",
        "city": "Springfield",
        "region": "IL",
        "postcode": "62701",
        "country": "US",
    })
}
