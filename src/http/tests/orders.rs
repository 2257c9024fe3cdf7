//! Orders as clients see them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::client::{Client, Reply, shop, store, submission};
use crate::http::request::keys;
use crate::http::test_support::{MemoryIdempotency as Memory, NOW, placed};
use crate::stores::documents::{Document, DocumentWrite};
use crate::stores::idempotency::IdempotencyStore;
use souk_domain::{FailureReason, OrderCommand, PaymentId};

#[tokio::test]
async fn an_order_is_visible_to_its_buyer_only() {
    let client = Client::new().await;
    let quote_body = || Some(json!({"address": crate::http::test_support::guest_address()}));
    let early = client.send("POST", "/v1/checkout/quote", quote_body(), &[]).await;
    assert_eq!((early.status, early.problem()), (422, "empty-cart"));
    assert_eq!(client.place("k0", submission()).await.problem(), "empty-cart");
    client.add("A-1", 2).await;
    let quote = client.send("POST", "/v1/checkout/quote", quote_body(), &[]).await;
    assert_eq!((quote.status, &quote.body["weight_grams"]), (200, &json!(200)));
    let shipping = quote.body["shipping_options"][0]["price"]["amount"]
        .as_i64()
        .unwrap();

    let keyless = client.send("POST", "/v1/orders", Some(submission()), &[]).await;
    assert_eq!(
        (keyless.status, keyless.problem()),
        (400, "idempotency-key-required")
    );
    let mut wrong = submission();
    wrong["expected_total"] = json!({"amount": 1, "currency": "USD"});
    let changed = client.place("k1", wrong).await;
    assert_eq!((changed.status, changed.problem()), (409, "price-changed"));
    let mut unknown = submission();
    unknown["shipping_option"] = "pigeon".into();
    assert_eq!(
        client.place("k2", unknown).await.body["errors"][0]["field"],
        "shipping_option"
    );

    let mut right = submission();
    right["expected_total"] = json!({"amount": 2000 + shipping, "currency": "USD"});
    let placed = client.place("k3", right.clone()).await;
    assert_eq!(
        (placed.status, &placed.body["status"]),
        (202, &json!("pending")),
        "{}",
        placed.body
    );
    let path = placed.header("location").unwrap().to_owned();
    let id = placed.body["id"].as_str().unwrap();
    assert_eq!(path, format!("/v1/orders/{id}"));

    let payment = PaymentId::parse("pay_1").unwrap();
    client.drive(id, OrderCommand::Confirm { payment }).await;
    let shown = client.send("GET", &path, None, &[]).await;
    assert_eq!((shown.status, &shown.body["status"]), (200, &json!("confirmed")));
    let stranger = Client::new().await;
    let stranger = Client {
        router: client.router.clone(),
        ..stranger
    };
    assert_eq!(
        stranger.send("GET", &path, None, &[]).await.problem(),
        "not-found"
    );
    assert_eq!(
        stranger
            .send("POST", &format!("{path}/cancel"), None, &[])
            .await
            .problem(),
        "not-found"
    );

    let cancel = format!("{path}/cancel");
    let cancelled = client
        .send("POST", &cancel, Some(json!({"reason": "changed my mind"})), &[])
        .await;
    assert_eq!(cancelled.status, 200);
    let end = OrderCommand::EndCancelled {
        refunded: false,
        steps: Vec::new(),
    };
    client.drive(id, end).await;
    let too_late = client
        .send("POST", &format!("{path}/cancel"), None, &[("if-match", "\"1\"")])
        .await;
    assert_eq!(too_late.problem(), "version-conflict");
}

#[tokio::test]
async fn bodies_are_stored_as_keyed_fingerprints() {
    let memory = Arc::new(Memory::default());
    let mut client = Client::new().await;
    (client.router, client.regions, client.background) =
        shop(Arc::clone(&memory) as Arc<dyn IdempotencyStore>, store().await).await;
    let body = json!({"sku": "A-1", "quantity": 1});
    let key = [("idempotency-key", "k")];
    let added = client
        .send("POST", "/v1/cart/items", Some(body.clone()), &key)
        .await;
    assert_eq!(added.status, 200);
    let keys = keys::Keys::derive(&[9; keys::SECRET_LENGTH]);
    assert_eq!(
        memory.fingerprints(),
        [keys.fingerprint(body.to_string().as_bytes())]
    );
}

#[tokio::test]
async fn a_repeated_order_is_answered_from_the_order() {
    let memory = Arc::new(Memory::default());
    let mut client = Client::new().await;
    (client.router, client.regions, client.background) =
        shop(Arc::clone(&memory) as Arc<dyn IdempotencyStore>, store().await).await;
    client.add("A-1", 1).await;
    let placed = client.place("k", submission()).await;
    assert_eq!(
        (placed.status, placed.header("idempotency-replayed")),
        (202, None)
    );
    let id = placed.body["id"].as_str().unwrap().to_owned();
    let pending = client.place("k", submission()).await;
    assert_eq!((pending.status, &pending.body["id"]), (202, &placed.body["id"]));
    assert_eq!(pending.header("idempotency-replayed"), Some("true"));
    let reason = FailureReason::PaymentDeclined {
        code: "no_funds".to_owned(),
    };
    client.drive(&id, OrderCommand::Abandon { reason }).await;
    client
        .drive(
            &id,
            OrderCommand::EndFailed {
                voided: true,
                keep_until: NOW,
                steps: Vec::new(),
            },
        )
        .await;
    assert_eq!(client.send("DELETE", "/v1/cart", None, &[]).await.status, 200);
    let again = client.place("k", submission()).await;
    assert_eq!((again.status, again.problem()), (402, "payment-declined"));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let mut other = submission();
    other["email"] = "other@example.org".into();
    let reused = client.place("k", other).await;
    assert_eq!((reused.status, reused.problem()), (422, "idempotency-key-reused"));
    assert_eq!(memory.fingerprints(), [""; 0], "nothing is kept beside the order");
}

#[tokio::test]
async fn a_buyer_lists_their_own_orders_page_by_page() {
    let store = store().await;
    let mut client = Client::new().await;
    (client.router, client.regions, client.background) =
        shop(Arc::new(Memory::default()), Arc::clone(&store)).await;
    let cart = client.send("GET", "/v1/cart", None, &[]).await.body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let batch: Vec<_> = [
        ("ord_4", cart.as_str()),
        ("ord_2", "crt_other"),
        ("ord_1", &cart),
        ("ord_3", &cart),
    ]
    .map(|(id, buyer)| DocumentWrite {
        document: Document {
            id: id.to_owned(),
            shard: 0,
            version: 1,
            fence: 0,
            due_at: None,
            owner: Some(buyer.to_owned()),
            body: json!({"state": placed(id, buyer), "answered": []}).to_string(),
        },
        expected: 0,
        events: Vec::new(),
    })
    .into();
    store.write("mark", &batch).await.unwrap();

    let ids = |reply: &Reply| -> Vec<String> {
        let items = reply.body["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = client.send("GET", "/v1/orders?limit=2", None, &[]).await;
    assert_eq!(ids(&first), ["ord_3", "ord_1"]);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let path = format!("/v1/orders?limit=2&cursor={cursor}");
    let second = client.send("GET", &path, None, &[]).await;
    assert_eq!(
        (ids(&second), &second.body["next_cursor"]),
        (vec!["ord_4".to_owned()], &Value::Null)
    );

    // One that can't be read is missing; the others are there.
    let mut broken = batch[2].clone();
    broken.document.id = "ord_3a".to_owned();
    broken.document.body = "{}".to_owned();
    store.write("other mark", &[broken]).await.unwrap();
    let whole = client.send("GET", "/v1/orders", None, &[]).await;
    assert_eq!(ids(&whole), ["ord_3", "ord_1", "ord_4"]);
    let page = client.send("GET", "/v1/orders?limit=2", None, &[]).await;
    assert_eq!(ids(&page), ["ord_3"]);
    assert!(page.body["next_cursor"].is_string());

    let stranger = Client {
        router: client.router.clone(),
        ..Client::new().await
    };
    assert_eq!(
        stranger.send("GET", &path, None, &[]).await.problem(),
        "bad-cursor"
    );
    assert_eq!(
        ids(&stranger.send("GET", "/v1/orders", None, &[]).await),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn keyed_work_completes_after_a_disconnect() {
    let client = Client::new().await;
    let body = || Some(json!({"sku": "A-1", "quantity": 2}));
    let key = [("idempotency-key", "k1")];
    tokio::select! {
        biased;
        _ = client.send("POST", "/v1/cart/items", body(), &key) => panic!("answered without a task of its own"),
        () = std::future::ready(()) => {}
    }
    client.background.close();
    client.background.wait().await;
    assert_eq!(
        client.send("GET", "/v1/cart", None, &[]).await.body["item_count"],
        2
    );
    let again = client.send("POST", "/v1/cart/items", body(), &key).await;
    assert_eq!(
        (again.header("idempotency-replayed"), &again.body["item_count"]),
        (Some("true"), &json!(2))
    );
}
