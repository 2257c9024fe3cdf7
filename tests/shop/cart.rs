//! `/v1/carts`, `/v1/cart`.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::shared::{cluster, several_stocked, skus};

/// The part of a cart that is compared: its badges may lag.
fn essence(cart: &Value) -> Value {
    let items = cart["items"].as_array().cloned().unwrap_or_default();
    let lines: Vec<Value> = items
        .iter()
        .map(|item| {
            json!([
                item["sku"],
                item["quantity"],
                item["unit_price"],
                item["line_total"]
            ])
        })
        .collect();
    json!([
        cart["id"],
        cart["version"],
        cart["subtotal"],
        cart["item_count"],
        lines
    ])
}

#[tokio::test]
async fn what_one_node_wrote_every_other_reads_at_once() {
    let cluster = cluster();
    let sku = &skus(&cluster.client(0), 1).await[0];
    for writer in 0..cluster.len() {
        let client = cluster.client(writer).guest().await;
        let written = client.add(sku, 3).await.expect(200);
        assert_eq!(written.i64("/version"), 1, "{written}");
        for reader in 0..cluster.len() {
            let read = client.at(cluster.shop(reader)).get_cart().await.expect(200);
            assert_eq!(
                essence(&read.body),
                essence(&written.body),
                "written through node {writer}, read through node {reader}"
            );
            assert_eq!(read.header("etag"), written.header("etag"), "{read}");
        }
    }
}

#[tokio::test]
async fn lines_are_added_set_removed_and_emptied() {
    let client = cluster().client(0).guest().await;
    let some = several_stocked(&client, 2, 20, 500).await;
    let (first, second) = (&some[0], &some[1]);
    client.add(&first.sku, 1).await.expect(200);
    client.add(&first.sku, 2).await.expect(200);
    let cart = client.add(&second.sku, 4).await.expect(200);
    assert_eq!(cart.i64("/item_count"), 7, "{cart}");
    assert_eq!(
        cart.i64("/subtotal/amount"),
        3 * first.price + 4 * second.price,
        "{cart}"
    );
    assert_eq!(cart.items().len(), 2, "{cart}");
    for item in cart.items() {
        let bought = if item["sku"] == first.sku.as_str() {
            first
        } else {
            second
        };
        assert_eq!(item["product_id"], bought.product.as_str(), "{item}");
        assert_eq!(item["unit_price"]["amount"], bought.price, "{item}");
        assert!(item["title"].is_string() && item["options"].is_object(), "{item}");
    }

    let set = client.set(&first.sku, 9).await.expect(200);
    assert_eq!(set.i64("/item_count"), 13, "{set}");
    let removed = client.set(&first.sku, 0).await.expect(200);
    assert_eq!(removed.i64("/item_count"), 4, "{removed}");
    let path = format!("/v1/cart/items/{}", second.sku);
    let deleted = client.send("DELETE", &path, None, &[]).await.expect(200);
    assert_eq!(deleted.items(), [] as [Value; 0], "{deleted}");
    client.send("DELETE", &path, None, &[]).await.expect(200);
    client.add(&first.sku, 1).await.expect(200);
    let emptied = client.send("DELETE", "/v1/cart", None, &[]).await.expect(200);
    assert_eq!(
        (emptied.i64("/item_count"), emptied.i64("/subtotal/amount")),
        (0, 0)
    );
}

#[tokio::test]
async fn a_write_happens_only_at_the_version_that_it_names() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let sku = &skus(&client, 1).await[0];
    let first = client.add(sku, 1).await.expect(200);
    let seen = first.header("etag").expect("a cart has an ETag").to_owned();
    assert!(
        seen.starts_with(&format!("\"{}.", first.i64("/version"))),
        "{seen}"
    );
    client.add(sku, 1).await.expect(200);

    let other = client.at(cluster.shop(1));
    let path = format!("/v1/cart/items/{sku}");
    let body = json!({"quantity": 5});
    other
        .send("PUT", &path, Some(&body), &[("if-match", &seen)])
        .await
        .expect_problem(412, "version-conflict");
    other
        .send("PUT", &path, Some(&body), &[("if-match", "W/\"2\"")])
        .await
        .expect_problem(412, "version-conflict");
    let current = other.get_cart().await.expect(200);
    assert_eq!(
        current.i64("/item_count"),
        2,
        "a refused write changes nothing: {current}"
    );
    let tag = current.header("etag").expect("a cart has an ETag").to_owned();
    let written = other
        .send("PUT", &path, Some(&body), &[("if-match", &tag)])
        .await
        .expect(200);
    assert_eq!(written.i64("/item_count"), 5, "{written}");

    let tag = written.header("etag").expect("a cart has an ETag").to_owned();
    let unchanged = client
        .send("GET", "/v1/cart", None, &[("if-none-match", &tag)])
        .await
        .expect(304);
    assert_eq!(
        (unchanged.text.as_str(), unchanged.header("etag")),
        ("", Some(tag.as_str()))
    );
    client
        .send("GET", "/v1/cart", None, &[("if-none-match", &seen)])
        .await
        .expect(200);
}

#[tokio::test]
async fn a_cart_has_its_limits() {
    let client = cluster().client(1).guest().await;
    let many = skus(&client, 101).await;
    for quantity in [0, 1_000, u32::MAX] {
        let refused = client
            .add(&many[0], quantity)
            .await
            .expect_problem(422, "validation");
        assert_eq!(refused.blamed(), ["quantity"], "{refused}");
    }
    client.add(&many[0], 999).await.expect(200);
    let above = client.add(&many[0], 1).await.expect_problem(422, "validation");
    assert_eq!(above.blamed(), ["quantity"], "{above}");
    for sku in &many[1..100] {
        client.add(sku, 1).await.expect(200);
    }
    let one_more = client.add(&many[100], 1).await.expect_problem(422, "validation");
    assert_eq!(one_more.blamed(), ["sku"], "{one_more}");
    let cart = client.get_cart().await.expect(200);
    assert_eq!((cart.items().len(), cart.i64("/item_count")), (100, 1_098));
    client
        .add("NO-SUCH-SKU", 1)
        .await
        .expect_problem(404, "unknown-sku");
}

#[tokio::test]
async fn a_guests_lines_join_once_whichever_node_is_asked() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let guest = cluster.client(1).guest().await;
    let some = skus(&client, 2).await;
    client.add(&some[0], 998).await.expect(200);
    guest.add(&some[0], 5).await.expect(200);
    guest.add(&some[1], 2).await.expect(200);
    let body = json!({"cart_token": guest.cart_token()});
    for node in [0, 1, 2, 0] {
        let merged = client
            .at(cluster.shop(node))
            .post("/v1/cart/merge", &body)
            .await
            .expect(200);
        assert_eq!(
            (merged.items().len(), merged.i64("/item_count")),
            (2, 999 + 2),
            "summed, capped, and once: {merged}"
        );
    }
    for wrong in [client.cart_token().unwrap_or_default(), "x", ""] {
        let refused = client
            .post("/v1/cart/merge", &json!({"cart_token": wrong}))
            .await
            .expect_problem(422, "validation");
        assert_eq!(refused.blamed(), ["cart_token"], "{refused}");
    }
}

#[tokio::test]
async fn a_merge_moves_what_is_in_the_guests_cart_then() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let guest = cluster.client(1).guest().await;
    let sku = &skus(&client, 1).await[0];
    let body = json!({"cart_token": guest.cart_token()});
    for (quantity, sum) in [(1, 1), (3, 4)] {
        guest.add(sku, quantity).await.expect(200);
        let merged = client.post("/v1/cart/merge", &body).await.expect(200);
        assert_eq!(merged.i64("/item_count"), sum, "{merged}");
        let left = guest.get_cart().await.expect(200);
        assert_eq!(left.i64("/item_count"), 0, "{left}");
    }
    guest
        .place_order("moved", "tok_ok")
        .await
        .expect_problem(422, "empty-cart");
}

#[tokio::test]
async fn changes_through_all_nodes_at_once_all_count() {
    const EACH: i64 = 15;
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let sku = &skus(&client, 1).await[0];
    let adds = (0..cluster.len())
        .flat_map(|node| (0..EACH).map(move |_| node))
        .map(|node| {
            let client = client.at(cluster.shop(node));
            async move { client.add(sku, 1).await.expect(200).i64("/version") }
        });
    let mut versions = join_all(adds).await;
    versions.sort_unstable();
    let changes = EACH * 3;
    assert_eq!(
        versions,
        (1..=changes).collect::<Vec<_>>(),
        "each change has a version of its own, without a gap"
    );
    let cart = client.get_cart().await.expect(200);
    assert_eq!(
        (cart.i64("/item_count"), cart.i64("/version")),
        (changes, changes)
    );
}
