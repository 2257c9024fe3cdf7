//! Stock management by merchants.

use std::collections::BTreeSet;

use serde_json::json;

use crate::shared::{LIMIT, Person, add_address, admin, cluster, order_to, stocked, stranger};
use crate::support::waiting::eventually;

#[tokio::test]
async fn receipts_count_once_and_stock_covers_reservations() {
    let merchant = admin(0).await;
    let other = merchant.at(cluster().shop(1));
    let (sku, _) = stocked(&merchant).await;
    let path = format!("/v1/admin/inventory/{sku}");
    let before = merchant.get(&path).await.expect(200);
    assert_eq!(
        before.i64("/available"),
        before.i64("/on_hand") - before.i64("/reserved"),
        "{before}"
    );

    let receipts = format!("{path}/receipts");
    let receipt = json!({"quantity": 40, "reference": format!("delivery of {sku}")});
    for client in [&merchant, &other, &merchant] {
        let received = client.post(&receipts, &receipt).await.expect(201);
        assert_eq!(
            received.i64("/received"),
            before.i64("/received") + 40,
            "the same reference counts once: {received}"
        );
    }
    let another = json!({"quantity": 41, "reference": format!("delivery of {sku}")});
    let received = other.post(&receipts, &another).await.expect(201);
    assert_eq!(
        received.i64("/received"),
        before.i64("/received") + 40,
        "also where the paper says something else by now: {received}"
    );
    for (body, blamed) in [
        (json!({"quantity": 0, "reference": "x"}), "quantity"),
        // There is some already.
        (json!({"quantity": 1_000_000_000, "reference": "x"}), "quantity"),
        (json!({"quantity": 1, "reference": " "}), "reference"),
        (json!({"quantity": 1, "reference": "a\nb"}), "reference"),
    ] {
        let refused = merchant
            .post(&receipts, &body)
            .await
            .expect_problem(422, "validation");
        assert_eq!(refused.blamed(), [blamed], "{refused}");
    }

    // A payment that takes its time keeps its pieces reserved.
    let person = Person::register(0).await;
    let address = add_address(&person.client, "Reserved").await;
    person.client.add(&sku, 7).await.expect(200);
    let buying = {
        let client = person.client.clone();
        let mut wish = order_to(&address);
        wish["payment"]["token"] = json!("tok_slow");
        tokio::spawn(async move { client.place("reserved", &wish).await })
    };
    let adjustments = format!("{path}/adjustments");
    let (everything, reserved) = eventually("pieces are reserved", LIMIT, async || {
        let stock = other.get(&path).await.expect(200);
        match stock.i64("/reserved") {
            0 => Err(stock),
            reserved => Ok((stock.i64("/available") + reserved, reserved)),
        }
    })
    .await;
    let all = json!({"delta": -everything, "reason": "fire"});
    other
        .post(&adjustments, &all)
        .await
        .expect_problem(409, "stock-conflict");
    let free = json!({"delta": reserved - everything, "reason": "water"});
    let adjusted = merchant.post(&adjustments, &free).await.expect(201);
    assert_eq!(adjusted.i64("/available"), 0, "{adjusted}");
    let one = json!({"delta": -1, "reason": "mice"});
    merchant
        .post(&adjustments, &one)
        .await
        .expect_problem(409, "stock-conflict");
    buying.await.expect("no panic").expect(201);
    let refused = merchant
        .post(&adjustments, &json!({"delta": 0, "reason": "nothing"}))
        .await
        .expect_problem(422, "validation");
    assert_eq!(refused.blamed(), ["delta"], "{refused}");
    // Back, under a key, so that it counts once.
    let back = json!({"delta": everything - reserved, "reason": "found"});
    for client in [&merchant, &other] {
        client
            .send("POST", &adjustments, Some(&back), &[("idempotency-key", "found")])
            .await
            .expect(201);
    }
    let after = other.get(&path).await.expect(200);
    assert_eq!(after.i64("/on_hand"), everything - 7, "{after}");
    assert_eq!(after.i64("/adjusted"), before.i64("/adjusted"), "{after}");

    let tag = before.header("etag").expect("stock has an ETag").to_owned();
    merchant
        .send("POST", &adjustments, Some(&one), &[("if-match", &tag)])
        .await
        .expect_problem(412, "version-conflict");
    merchant
        .get("/v1/admin/inventory/NO-SUCH-SKU")
        .await
        .expect_problem(404, "unknown-sku");
    cluster().audit().await;
}

#[tokio::test]
async fn the_ledger_is_paged_without_gaps() {
    const RECEIPTS: usize = 7;
    let merchant = admin(1).await;
    let (sku, _) = stocked(&merchant).await;
    let (foreign, _) = stocked(&merchant).await;
    for number in 0..RECEIPTS {
        let receipt = json!({"quantity": 1, "reference": format!("ledger {number}")});
        merchant
            .post(&format!("/v1/admin/inventory/{sku}/receipts"), &receipt)
            .await
            .expect(201);
    }
    let path = format!("/v1/admin/inventory/{sku}/movements");
    let mut versions = Vec::new();
    let mut next = format!("{path}?limit=3");
    let mut cursor = None;
    for page_number in 0.. {
        let page = merchant
            .at(cluster().shop(page_number % 2))
            .get(&next)
            .await
            .expect(200);
        versions.extend(page.items().iter().filter_map(|one| one["version"].as_u64()));
        match page.body["next_cursor"].as_str() {
            Some(text) => {
                next = format!("{path}?limit=3&cursor={text}");
                cursor = Some(text.to_owned());
            }
            None => break,
        }
    }
    assert!(versions.len() >= RECEIPTS, "{versions:?}");
    assert!(versions.is_sorted(), "oldest first: {versions:?}");
    let distinct: BTreeSet<_> = versions.iter().collect();
    assert_eq!(distinct.len(), versions.len(), "each once: {versions:?}");
    let whole = merchant.get(&format!("{path}?limit=100")).await.expect(200);
    assert_eq!(whole.items().len(), versions.len(), "{whole}");

    let cursor = cursor.expect("more than a page");
    merchant
        .get(&format!(
            "/v1/admin/inventory/{foreign}/movements?cursor={cursor}"
        ))
        .await
        .expect_problem(400, "bad-cursor");
}

#[tokio::test]
async fn shoppers_and_strangers_do_not_get_near_the_stock() {
    let merchant = admin(0).await;
    let (sku, _) = stocked(&merchant).await;
    let path = format!("/v1/admin/inventory/{sku}");
    let before = merchant.get(&path).await.expect(200);
    let person = Person::register(0).await;
    let shopper = &cluster().ready().shopper;
    let (email, password) = (&shopper["email"], &shopper["password"]);
    let text = |value: &serde_json::Value| value.as_str().expect("the shopper's account").to_owned();
    let opened = crate::shared::login(&stranger(1), &text(email), &text(password))
        .await
        .expect(200);
    let shopper = stranger(1).with_token(Some(opened.str("/access_token")));
    let guest = stranger(1).guest().await;
    let receipt = json!({"quantity": 5, "reference": "smuggled"});
    let adjustment = json!({"delta": -5, "reason": "stolen"});
    for (client, status, kind) in [
        (&person.client, 403, "forbidden"),
        (&shopper, 403, "forbidden"),
        (&guest, 401, "unauthorised"),
    ] {
        client.get(&path).await.expect_problem(status, kind);
        client
            .get(&format!("{path}/movements"))
            .await
            .expect_problem(status, kind);
        client
            .post(&format!("{path}/receipts"), &receipt)
            .await
            .expect_problem(status, kind);
        client
            .post(&format!("{path}/adjustments"), &adjustment)
            .await
            .expect_problem(status, kind);
    }
    let after = merchant.get(&path).await.expect(200);
    assert_eq!(after.body["version"], before.body["version"], "{after}");
}
