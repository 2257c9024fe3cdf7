//! `/v1/orders`: journeys of shoppers.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::shared::{all_products, cluster, several_stocked, stocked};
use crate::support::client::{Client, Reply, submission};
use crate::support::waiting::eventually;

const LIMIT: Duration = Duration::from_secs(90);

/// The stock of a SKU in the catalogue.
pub async fn available(client: &Client, product: &str, sku: &str) -> Option<u64> {
    let product = client.get(&format!("/v1/products/{product}")).await.expect(200);
    product.body["skus"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["sku"] == sku)
        .and_then(|one| one["available"].as_u64())
}

/// Waits until the order satisfies a condition, and returns it.
pub async fn order_becomes(client: &Client, id: &str, wanted: impl Fn(&Value) -> bool, what: &str) -> Reply {
    eventually(&format!("order {id} is {what}"), LIMIT, async || {
        let order = client.get_order(id).await.expect(200);
        if wanted(&order.body) {
            Ok(order)
        } else {
            Err(order)
        }
    })
    .await
}

#[tokio::test]
async fn a_shopper_orders_through_all_nodes() {
    let cluster = cluster();
    for node in 0..cluster.len() {
        let client = cluster.client(node);
        let bought = stocked(&client, 20, 500).await;
        let product = client
            .get(&format!("/v1/products/{}", bought.product))
            .await
            .expect(200);
        let guest = client.guest().await;
        let cart = guest.add(&bought.sku, 2).await.expect(200);
        assert_eq!(cart.body["items"][0]["title"], product.body["title"], "{cart}");
        let quote = guest.quote().await.expect(200);
        let shipping = quote.body["shipping_options"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|option| option["id"] == "standard")
            .and_then(|option| option["price"]["amount"].as_i64())
            .unwrap_or_else(|| panic!("standard shipping is offered: {quote}"));

        let order = guest.place_order("journey", "tok_ok").await.expect(201);
        let id = order.str("/id").to_owned();
        assert!(id.starts_with("ord_"), "{order}");
        assert_eq!(order.header("location"), Some(&*format!("/v1/orders/{id}")));
        assert_eq!(order.str("/status"), "confirmed", "{order}");
        assert_eq!(order.body["items"][0]["sku"], bought.sku.as_str(), "{order}");
        assert_eq!(
            order.i64("/total/amount"),
            2 * bought.price + quote.i64("/tax/amount") + shipping,
            "{order}"
        );
        for reader in 0..cluster.len() {
            let page = guest.at(cluster.shop(reader)).get_order(&id).await.expect(200);
            assert_eq!(
                (page.str("/status"), page.str("/number")),
                ("confirmed", order.str("/number")),
                "the order page at node {reader}: {page}"
            );
        }
        let settled = order_becomes(
            &guest,
            &id,
            |order| order["payment_status"] == "captured",
            "captured",
        )
        .await;
        assert_eq!(settled.str("/fulfilment_status"), "unfulfilled", "{settled}");
        assert_eq!(settled.i64("/refunded/amount"), 0, "{settled}");
        for secret in ["tok_ok", "ada@example.org"] {
            assert!(
                !settled.text.contains(secret),
                "an order page shows no {secret}: {settled}"
            );
        }
        guest.cart_is_empty(LIMIT).await;
        eventually("the badge shows what is left", LIMIT, async || {
            match available(&client, &bought.product, &bought.sku).await {
                Some(left) if left + 2 == u64::from(bought.available) => Ok(()),
                other => Err(format!("{other:?} of {}", bought.available)),
            }
        })
        .await;
    }
    cluster.audit().await;
}

#[tokio::test]
async fn only_what_was_ordered_leaves_the_cart() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let some = several_stocked(&client, 2, 20, 500).await;
    client.add(&some[0].sku, 2).await.expect(200);
    let ordering = {
        let client = client.clone();
        tokio::spawn(async move { client.place_order("first", "tok_slow").await })
    };
    // While the payment is under way the shopper goes on shopping, at another node.
    let other = client.at(cluster.shop(1));
    eventually("the order is placed", LIMIT, async || {
        let orders = other.get("/v1/orders").await.expect(200);
        if orders.items().is_empty() {
            Err(orders)
        } else {
            Ok(())
        }
    })
    .await;
    other.add(&some[1].sku, 1).await.expect(200);
    ordering.await.expect("no panic").expect(201);
    eventually("only the later line is left", LIMIT, async || {
        let cart = client.get_cart().await.expect(200);
        let left: Vec<_> = cart
            .items()
            .iter()
            .map(|item| (item["sku"].clone(), item["quantity"].clone()))
            .collect();
        if left == [(json!(some[1].sku), json!(1))] {
            Ok(())
        } else {
            Err(cart)
        }
    })
    .await;
}

#[tokio::test]
async fn an_order_is_its_buyers_alone() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let bought = stocked(&client, 20, 500).await;
    client.add(&bought.sku, 1).await.expect(200);
    let id = client
        .place_order("mine", "tok_ok")
        .await
        .expect(201)
        .str("/id")
        .to_owned();
    for node in 0..cluster.len() {
        let stranger = cluster.client(node).guest().await;
        stranger.get_order(&id).await.expect_problem(404, "not-found");
        stranger
            .post(&format!("/v1/orders/{id}/cancel"), &json!({}))
            .await
            .expect_problem(404, "not-found");
        assert!(stranger.get("/v1/orders").await.expect(200).items().is_empty());
        let nobody = stranger.with_cart(None);
        nobody.get_order(&id).await.expect_problem(401, "unauthorised");
    }
    let order = client.get_order(&id).await.expect(200);
    assert_eq!(
        order.str("/status"),
        "confirmed",
        "a stranger's cancellation does nothing"
    );
}

#[tokio::test]
async fn a_cancelled_order_gives_everything_back() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let bought = stocked(&client, 20, 500).await;
    client.add(&bought.sku, 3).await.expect(200);
    let id = client
        .place_order("regretted", "tok_ok")
        .await
        .expect(201)
        .str("/id")
        .to_owned();
    order_becomes(
        &client,
        &id,
        |order| order["payment_status"] == "captured",
        "captured",
    )
    .await;
    let other = client.at(cluster.shop(1));
    let path = format!("/v1/orders/{id}/cancel");
    other
        .send("POST", &path, Some(&json!({})), &[("if-match", "\"1\"")])
        .await
        .expect_problem(412, "version-conflict");
    other
        .post(&path, &json!({"reason": "changed my mind"}))
        .await
        .expect(200);
    let ended = order_becomes(
        &client,
        &id,
        |order| {
            order["status"] == "cancelled"
                && ["refunded", "voided"].contains(&order["payment_status"].as_str().unwrap_or_default())
        },
        "cancelled and its money back",
    )
    .await;
    if ended.str("/payment_status") == "refunded" {
        assert_eq!(ended.body["refunded"], ended.body["total"], "{ended}");
    }
    eventually("the stock is back", LIMIT, async || {
        match available(&client, &bought.product, &bought.sku).await {
            Some(left) if left == u64::from(bought.available) => Ok(()),
            other => Err(format!("{other:?} of {}", bought.available)),
        }
    })
    .await;
    cluster.audit().await;
}

#[tokio::test]
async fn more_than_there_is_can_not_be_bought() {
    let cluster = cluster();
    let client = cluster.client(2).guest().await;
    let scarce = stocked(&client, 2, 19).await;
    let plenty = stocked(&client, 20, 500).await;
    client.add(&scarce.sku, scarce.available + 1).await.expect(200);
    client.add(&plenty.sku, 2).await.expect(200);
    let refused = client
        .place_order("too-many", "tok_ok")
        .await
        .expect_problem(409, "out-of-stock");
    assert_eq!(refused.blamed(), [&*scarce.sku], "{refused}");
    eventually(
        "what was reserved of the other line is back",
        LIMIT,
        async || match available(&client, &plenty.product, &plenty.sku).await {
            Some(left) if left == u64::from(plenty.available) => Ok(()),
            other => Err(format!("{other:?} of {}", plenty.available)),
        },
    )
    .await;
    let kept = client.get_cart().await.expect(200);
    assert_eq!(kept.items().len(), 2, "a failed order leaves the cart: {kept}");
    client.set(&scarce.sku, scarce.available).await.expect(200);
    client.place_order("all-of-them", "tok_ok").await.expect(201);
    cluster.audit().await;
}

#[tokio::test]
async fn a_changed_price_is_not_charged() {
    let client = cluster().client(0).guest().await;
    let bought = stocked(&client, 20, 500).await;
    client.add(&bought.sku, 1).await.expect(200);
    let mut order = submission("tok_ok");
    order["expected_total"] = json!({"amount": 1, "currency": "USD"});
    let refused = client
        .place("cheap", &order)
        .await
        .expect_problem(409, "price-changed");
    assert_eq!(refused.blamed(), ["expected_total"], "{refused}");
    assert!(client.get("/v1/orders").await.expect(200).items().is_empty());
    order["shipping_option"] = "pigeon".into();
    let refused = client
        .place("pigeon", &order)
        .await
        .expect_problem(422, "validation");
    assert_eq!(refused.blamed(), ["shipping_option"], "{refused}");
}

#[tokio::test]
async fn orders_are_listed_once_page_by_page() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let bought = stocked(&client, 30, 500).await;
    let mut placed = Vec::new();
    for number in 0..5 {
        client.set(&bought.sku, 1).await.expect(200);
        let order = client
            .at(cluster.shop(number % 3))
            .place_order(&format!("order-{number}"), "tok_ok")
            .await
            .expect(201);
        placed.push(order.str("/id").to_owned());
        eventually("the cart is cleared", LIMIT, async || {
            let cart = client.get_cart().await.expect(200);
            if cart.i64("/item_count") == 0 {
                Ok(())
            } else {
                Err(cart)
            }
        })
        .await;
    }
    let mut listed = Vec::new();
    let mut path = "/v1/orders?limit=2".to_owned();
    for node in [0, 1, 2] {
        let page = client.at(cluster.shop(node)).get(&path).await.expect(200);
        assert!(page.items().len() <= 2, "{page}");
        listed.extend(
            page.items()
                .iter()
                .map(|order| order["id"].as_str().unwrap_or_default().to_owned()),
        );
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/orders?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    placed.reverse();
    assert_eq!(listed, placed, "each once, newest first");
    let stranger = cluster.client(0).guest().await;
    stranger.get(&path).await.expect_problem(400, "bad-cursor");
}

/// Invariant 15.
#[tokio::test]
async fn a_cart_in_two_tabs_becomes_one_order() {
    let cluster = cluster();
    let client = cluster.client(0).guest().await;
    let bought = stocked(&client, 20, 500).await;
    client.add(&bought.sku, 2).await.expect(200);
    let tabs = (0..8).map(|tab| {
        let client = Client::new(cluster.shop(tab % cluster.len())).with_cart(client.cart_token());
        async move { client.place_order(&format!("tab-{tab}"), "tok_slow").await }
    });
    let replies = join_all(tabs).await;
    let (placed, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status < 300);
    assert_eq!(placed.len(), 1, "{replies:?}");
    let id = placed[0].str("/id");
    for refused in refused {
        assert_eq!(
            (refused.status, refused.problem()),
            (409, "checkout-in-progress"),
            "{refused}"
        );
        assert_eq!(refused.str("/order_id"), id, "{refused}");
    }
    order_becomes(
        &client,
        id,
        |order| order["payment_status"] == "captured",
        "captured",
    )
    .await;
    let orders = client.get("/v1/orders").await.expect(200);
    assert_eq!(orders.items().len(), 1, "{orders}");
    // What is in the cart from now on is another version of it.
    client
        .place_order("afterwards", "tok_ok")
        .await
        .expect_problem(422, "empty-cart");
    client.add(&bought.sku, 1).await.expect(200);
    client.place_order("and-again", "tok_ok").await.expect(201);
    cluster.audit().await;
}

#[tokio::test]
async fn a_product_without_stock_is_shown_and_not_sold() {
    let client = cluster().client(0).guest().await;
    let none = all_products(&client, "").await.into_iter().find_map(|product| {
        product["skus"]
            .as_array()?
            .iter()
            .find(|sku| sku["available"] == 0)
            .and_then(|sku| sku["sku"].as_str().map(str::to_owned))
    });
    let sku = none.expect("the demo catalogue has SKUs without stock");
    let cart = client.add(&sku, 1).await.expect(200);
    assert_eq!(cart.body["items"][0]["available"], 0, "{cart}");
    let refused = client
        .place_order("none", "tok_ok")
        .await
        .expect_problem(409, "out-of-stock");
    assert_eq!(refused.blamed(), [&*sku], "{refused}");
}
