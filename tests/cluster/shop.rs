//! Requests of a shopper.

use std::collections::BTreeMap;
use std::time::Instant;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::harness::{LOOK, PATIENCE};

/// Quantities by SKU.
pub type Lines = BTreeMap<String, u64>;

/// A guest's cart.
#[derive(Clone, Debug)]
pub struct Cart {
    pub id: String,
    pub token: String,
}

/// A complete reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub retry_after: bool,
    pub body: Value,
}

/// The outcome of a request.
pub type Sent = Result<Reply, reqwest::Error>;

/// Sends a request and reads its reply.
pub async fn send(request: RequestBuilder) -> Sent {
    let reply = request.send().await?;
    let status = reply.status().as_u16();
    let retry_after = reply.headers().contains_key("retry-after");
    let text = reply.text().await?;
    Ok(Reply {
        status,
        retry_after,
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
    })
}

/// A new request id.
pub fn key() -> String {
    uuid::Uuid::new_v4().to_string()
}

pub fn new_cart(client: &Client, shop: &str) -> RequestBuilder {
    client.post(format!("{shop}/v1/carts"))
}

/// The cart of a reply to [`new_cart`].
pub fn cart_of(reply: &Reply) -> Cart {
    Cart {
        id: reply.body["cart"]["id"].as_str().unwrap().to_owned(),
        token: reply.body["cart_token"].as_str().unwrap().to_owned(),
    }
}

pub fn read(client: &Client, shop: &str, cart: &Cart) -> RequestBuilder {
    client
        .get(format!("{shop}/v1/cart"))
        .header("cart-token", &cart.token)
}

/// Adds one piece.
pub fn add(client: &Client, shop: &str, cart: &Cart, sku: &str, key: &str) -> RequestBuilder {
    client
        .post(format!("{shop}/v1/cart/items"))
        .header("cart-token", &cart.token)
        .header("idempotency-key", key)
        .json(&json!({"sku": sku, "quantity": 1}))
}

pub fn place(client: &Client, shop: &str, cart: &Cart, payment: &str, key: &str) -> RequestBuilder {
    client
        .post(format!("{shop}/v1/orders"))
        .header("cart-token", &cart.token)
        .header("idempotency-key", key)
        .json(&json!({
            "address": {"name": "Ada", "line1": "1 Main Street", "city": "Springfield", "region": "IL", "postcode": "12345", "country": "US"},
            "shipping_option": "standard",
            "payment": {"gateway": "sandbox", "token": payment},
            "email": "ada@shoppers.example",
        }))
}

pub fn order(client: &Client, shop: &str, cart: &Cart, id: &str) -> RequestBuilder {
    client
        .get(format!("{shop}/v1/orders/{id}"))
        .header("cart-token", &cart.token)
}

/// The lines of a cart or an order.
pub fn lines(body: &Value) -> Lines {
    body["items"]
        .as_array()
        .unwrap_or_else(|| panic!("no lines: {body}"))
        .iter()
        .map(|line| {
            let sku = line["sku"].as_str().unwrap().to_owned();
            (sku, line["quantity"].as_u64().unwrap())
        })
        .collect()
}

/// The products of the first page, once there are some: the index of a server that was filled just now may lag.
async fn listed(client: &Client, shop: &str) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = send(client.get(format!("{shop}/v1/products?limit=100")))
            .await
            .unwrap();
        let products = reply.body["items"].as_array().unwrap();
        if !products.is_empty() {
            return products.clone();
        }
        assert!(Instant::now() < deadline, "{shop} lists no products");
        sleep(LOOK).await;
    }
}

/// The SKUs with the most stock.
pub async fn plentiful(client: &Client, shop: &str, count: usize) -> Vec<String> {
    let products = listed(client, shop).await;
    let mut skus: Vec<(u64, String)> = products
        .iter()
        .flat_map(|product| product["skus"].as_array().unwrap())
        .map(|sku| {
            let available = sku["available"].as_u64().unwrap();
            (available, sku["sku"].as_str().unwrap().to_owned())
        })
        .collect();
    skus.sort();
    skus.into_iter().rev().take(count).map(|(_, sku)| sku).collect()
}
