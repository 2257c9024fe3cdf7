//! Carts as clients see them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::client::Client;

#[tokio::test]
async fn a_cart_is_filled_changed_and_emptied() {
    let client = Client::new().await;
    let added = client.add("A-1", 2).await;
    assert_eq!(added.status, 200);
    assert!(added.header("etag").unwrap().starts_with("\"1."), "its version");
    assert_eq!(added.body["items"][0]["available"], 4);
    assert_eq!(added.body["subtotal"], json!({"amount": 2000, "currency": "USD"}));

    let set = client
        .send("PUT", "/v1/cart/items/B-1", Some(json!({"quantity": 3})), &[])
        .await;
    assert_eq!(set.body["item_count"], 5);
    let removed = client.send("DELETE", "/v1/cart/items/A-1", None, &[]).await;
    assert_eq!(removed.body["items"].as_array().unwrap().len(), 1);
    let zero = client
        .send("PUT", "/v1/cart/items/B-1", Some(json!({"quantity": 0})), &[])
        .await;
    assert_eq!((zero.status, &zero.body["items"]), (200, &json!([])));

    let stale = client
        .send("DELETE", "/v1/cart", None, &[("if-match", "\"1\"")])
        .await;
    assert_eq!((stale.status, stale.problem()), (412, "version-conflict"));
    let current = client.send("GET", "/v1/cart", None, &[]).await;
    let etag = current.header("etag").unwrap().to_owned();
    let unchanged = client
        .send("GET", "/v1/cart", None, &[("if-none-match", &etag)])
        .await;
    assert_eq!((unchanged.status, unchanged.body), (304, Value::Null));
    let emptied = client
        .send("DELETE", "/v1/cart", None, &[("if-match", &etag)])
        .await;
    assert_eq!(emptied.status, 200);
}

#[tokio::test]
async fn what_a_cart_does_not_take_is_refused() {
    let client = Client::new().await;
    let unknown = client.add("NONE", 1).await;
    assert_eq!((unknown.status, unknown.problem()), (404, "unknown-sku"));
    assert_eq!(client.add("A-1", 998).await.status, 200);
    for quantity in [
        json!(0),
        json!(2),
        json!(1000),
        json!(-1),
        json!(1.5),
        json!("1"),
        json!(null),
    ] {
        let body = json!({"sku": "A-1", "quantity": quantity});
        let refused = client.send("POST", "/v1/cart/items", Some(body), &[]).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (422, "validation"),
            "{quantity}"
        );
        assert_eq!(refused.body["errors"][0]["field"], "quantity");
    }
    let large = Value::String("x".repeat(257 * 1024));
    let refused = client.send("POST", "/v1/cart/items", Some(large), &[]).await;
    assert_eq!((refused.status, refused.problem()), (413, "body-too-large"));
    let untyped = client.send("POST", "/v1/cart/items", None, &[]).await;
    assert_eq!(
        (untyped.status, untyped.problem()),
        (415, "unsupported-media-type")
    );
}

#[tokio::test]
async fn an_idempotent_addition_counts_once() {
    let client = Client::new().await;
    let body = || Some(json!({"sku": "A-1", "quantity": 2}));
    let key = [("idempotency-key", "k1")];
    let first = client.send("POST", "/v1/cart/items", body(), &key).await;
    let again = client.send("POST", "/v1/cart/items", body(), &key).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.header("idempotency-replayed"), None);
    let other = client
        .send(
            "POST",
            "/v1/cart/items",
            Some(json!({"sku": "B-1", "quantity": 2})),
            &key,
        )
        .await;
    assert_eq!((other.status, other.problem()), (422, "idempotency-key-reused"));
    assert_eq!(
        client.send("GET", "/v1/cart", None, &[]).await.body["item_count"],
        2
    );
}

#[tokio::test]
async fn lines_of_another_cart_join_once() {
    let client = Client::new().await;
    client.add("A-1", 2).await;
    let other = client.send("POST", "/v1/carts", None, &[]).await.body["cart_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let guest = Client {
        router: client.router.clone(),
        regions: client.regions.clone(),
        listed: Arc::clone(&client.listed),
        background: client.background.clone(),
        token: Some(other.clone()),
    };
    guest.add("A-1", 1).await;
    for _ in 0..2 {
        let merged = client
            .send("POST", "/v1/cart/merge", Some(json!({"cart_token": other})), &[])
            .await;
        assert_eq!((merged.status, &merged.body["item_count"]), (200, &json!(3)));
    }
    let forged = client
        .send("POST", "/v1/cart/merge", Some(json!({"cart_token": "x"})), &[])
        .await;
    assert_eq!(
        (forged.status, &forged.body["errors"][0]["field"]),
        (422, &json!("cart_token"))
    );
}
