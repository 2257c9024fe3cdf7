//! `Idempotency-Key` (invariant 9).

use futures::future::join_all;
use serde_json::json;

use crate::shared::{cluster, skus, stocked};
use crate::support::client::{Client, submission};
use crate::support::waiting::eventually;

/// Requests at once under one key.
const CONNECTIONS: usize = 20;

const LIMIT: std::time::Duration = std::time::Duration::from_secs(90);

#[tokio::test]
async fn one_key_makes_one_order_on_any_node() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let bought = stocked(&client, 20, 500).await;
    client.add(&bought.sku, 2).await.expect(200);
    let replies = join_all((0..CONNECTIONS).map(|number| {
        // A client each, so that each has a connection of its own.
        let one = Client::new(cluster.shop(number % cluster.len())).with_cart(client.cart_token());
        async move { one.place_order("one-order", "tok_slow").await }
    }))
    .await;
    let mut ids = std::collections::BTreeSet::new();
    let mut fresh = 0;
    for reply in &replies {
        match reply.status {
            201 | 202 => {
                ids.insert(reply.str("/id").to_owned());
                fresh += usize::from(reply.header("idempotency-replayed").is_none());
            }
            409 => assert_eq!(reply.problem(), "request-in-progress", "{reply}"),
            _ => panic!("neither the order nor in progress: {reply}"),
        }
    }
    assert_eq!(ids.len(), 1, "all replies name the same order: {replies:?}");
    assert_eq!(fresh, 1, "one reply is the first, all others are repeated");
    let id = ids.first().expect("one");

    eventually("the order is confirmed and captured", LIMIT, async || {
        let order = client.get_order(id).await.expect(200);
        if order.str("/status") == "confirmed" && order.str("/payment_status") == "captured" {
            Ok(())
        } else {
            Err(order)
        }
    })
    .await;
    let orders = client.get("/v1/orders").await.expect(200);
    assert_eq!(orders.items().len(), 1, "{orders}");
    let order = client.get_order(id).await.expect(200);
    let captures = order.body["timeline"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| {
            entry["event"]
                .as_str()
                .is_some_and(|event| event.contains("captured"))
        })
        .count();
    assert!(captures <= 1, "captured once: {order}");
    eventually("the badge shows that two were sold once", LIMIT, async || {
        let product = client
            .get(&format!("/v1/products/{}", bought.product))
            .await
            .expect(200);
        let left = product.body["skus"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|sku| sku["sku"] == bought.sku.as_str())
            .and_then(|sku| sku["available"].as_u64());
        if left == Some(u64::from(bought.available) - 2) {
            Ok(())
        } else {
            Err(format!("{left:?} of {}", bought.available))
        }
    })
    .await;

    let again = client
        .at(cluster.shop(2))
        .place_order("one-order", "tok_slow")
        .await;
    assert_eq!(again.str("/id"), id, "{again}");
    assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again}");
    client
        .at(cluster.shop(1))
        .place_order("one-order", "tok_ok")
        .await
        .expect_problem(422, "idempotency-key-reused");
    cluster.audit().await;
}

#[tokio::test]
async fn a_repeated_order_gets_the_first_reply_after_its_payment_and_its_cancellation() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let bought = stocked(&client, 20, 500).await;
    client.add(&bought.sku, 1).await.expect(200);
    let first = client.place_order("first-reply", "tok_ok").await.expect(201);
    let id = first.str("/id");
    eventually("the payment is captured", LIMIT, async || {
        let order = client.get(&format!("/v1/orders/{id}")).await.expect(200);
        match order.str("/payment_status") {
            "captured" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
    assert_eq!(
        client.place_order("first-reply", "tok_ok").await.expect(201).body,
        first.body
    );
    let body = json!({"reason": "changed my mind"});
    client
        .send("POST", &format!("/v1/orders/{id}/cancel"), Some(&body), &[])
        .await
        .expect(200);
    for node in 0..cluster.len() {
        let again = client
            .at(cluster.shop(node))
            .place_order("first-reply", "tok_ok")
            .await
            .expect(201);
        assert_eq!(again.body, first.body, "by node {node}");
        assert_eq!(again.header("etag"), first.header("etag"));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
}

#[tokio::test]
async fn a_key_belongs_to_its_buyer() {
    let cluster = cluster();
    let (first, second) = (cluster.client(0).guest().await, cluster.client(0).guest().await);
    let bought = stocked(&first, 20, 500).await;
    let mut ids = std::collections::BTreeSet::new();
    for buyer in [&first, &second] {
        buyer.add(&bought.sku, 1).await.expect(200);
        let placed = buyer.place_order("the-same-key", "tok_ok").await.expect(201);
        ids.insert(placed.str("/id").to_owned());
    }
    assert_eq!(ids.len(), 2, "two buyers under the same key have an order each");
}

#[tokio::test]
async fn a_key_on_a_cart_counts_the_addition_once() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let sku = &skus(&client, 1).await[0];
    let body = json!({"sku": sku, "quantity": 3});
    let key = [("idempotency-key", "add-three")];
    let first = client
        .send("POST", "/v1/cart/items", Some(&body), &key)
        .await
        .expect(200);
    for node in 0..cluster.len() {
        let again = client
            .at(cluster.shop(node))
            .send("POST", "/v1/cart/items", Some(&body), &key)
            .await
            .expect(200);
        assert_eq!(again.body, first.body, "the first reply again, by node {node}");
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
    assert_eq!(client.get_cart().await.i64("/item_count"), 3);
    let other = json!({"sku": sku, "quantity": 4});
    client
        .send("POST", "/v1/cart/items", Some(&other), &key)
        .await
        .expect_problem(422, "idempotency-key-reused");
}

#[tokio::test]
async fn keys_that_are_none_are_refused() {
    let client = cluster().client(0).guest().await;
    let long = "k".repeat(256);
    for bad in ["", "two words", &long, "tab\tkey"] {
        client
            .place(bad, &submission("tok_ok"))
            .await
            .expect_problem(400, "bad-idempotency-key");
    }
    client
        .post("/v1/orders", &submission("tok_ok"))
        .await
        .expect_problem(400, "idempotency-key-required");
    let longest = "k".repeat(255);
    client
        .place(&longest, &submission("tok_ok"))
        .await
        .expect_problem(422, "empty-cart");
}
