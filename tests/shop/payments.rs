//! Each sandbox token and the outcome of its order (invariants 4, 5 and 12).

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::orders::{available, order_becomes};
use crate::shared::{Stocked, cluster, stocked};
use crate::support::client::{Client, Reply};
use crate::support::cluster::{Cluster, Options};
use crate::support::waiting::eventually;

/// `payment_total_ms` is 30 s by default; a checkout without an answer of the provider ends soon after.
const LIMIT: Duration = Duration::from_secs(120);

/// Well above `checkout_wait_ms` (5 s), and below `payment_total_ms`.
const PENDING_LIMIT: Duration = Duration::from_secs(25);

/// Nodes with the default checkout wait, for orders that are answered with 202.
static USUAL: LazyLock<Cluster> = LazyLock::new(|| {
    Cluster::start_for_process(Options {
        nodes: 2,
        products: 100,
        ..Options::default()
    })
});

async fn buyer(node: usize) -> (Client, Stocked) {
    buyer_at(cluster(), node).await
}

async fn buyer_at(cluster: &Cluster, node: usize) -> (Client, Stocked) {
    let client = cluster.client(node).guest().await;
    let bought = stocked(&client, 20, 500).await;
    client.add(&bought.sku, 2).await.expect(200);
    (client, bought)
}

async fn pieces_left(client: &Client, bought: &Stocked, taken: u32) {
    let wanted = u64::from(bought.available - taken);
    eventually(
        &format!("{wanted} of {} are left", bought.sku),
        LIMIT,
        async || match available(client, &bought.product, &bought.sku).await {
            Some(left) if left == wanted => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
}

/// Checks that the order is confirmed, paid once, and its stock sold.
async fn ends_well(client: &Client, bought: &Stocked, placed: &Reply) {
    let id = placed.str("/id");
    let order = order_becomes(
        client,
        id,
        |order| order["status"] == "confirmed" && order["payment_status"] == "captured",
        "confirmed and captured",
    )
    .await;
    assert_eq!(order.i64("/refunded/amount"), 0, "{order}");
    pieces_left(client, bought, 2).await;
}

#[tokio::test]
async fn a_good_token_pays() {
    let (client, bought) = buyer(0).await;
    let placed = client.place_order("paid", "tok_ok").await.expect(201);
    ends_well(&client, &bought, &placed).await;
}

#[tokio::test]
async fn a_declined_payment_gives_the_stock_back() {
    for (token, key) in [("tok_declined", "declined"), ("tok_nobody_knows", "unknown")] {
        let (client, bought) = buyer(1).await;
        let refused = client
            .place_order(key, token)
            .await
            .expect_problem(402, "payment-declined");
        assert!(!refused.text.contains(token), "{refused}");
        let orders = client.get("/v1/orders").await.expect(200);
        let order = &orders.items()[0];
        assert_eq!(
            (&order["status"], &order["payment_status"]),
            (&json!("failed"), &json!("declined")),
            "{orders}"
        );
        pieces_left(&client, &bought, 0).await;
        // The shopper tries again with another card: the cart is still there.
        let again = client.place_order("another-card", "tok_ok").await.expect(201);
        ends_well(&client, &bought, &again).await;
    }
    cluster().audit().await;
}

#[tokio::test]
async fn a_slow_payment_is_waited_for() {
    let (client, bought) = buyer(2).await;
    let started = Instant::now();
    let placed = client.place_order("slow", "tok_slow").await;
    assert!(matches!(placed.status, 201 | 202), "{placed}");
    assert!(
        started.elapsed() >= Duration::from_secs(2),
        "answered before the provider did"
    );
    ends_well(&client, &bought, &placed).await;
}

#[tokio::test]
async fn a_payment_with_a_lost_answer_is_queried() {
    let (client, bought) = buyer(0).await;
    let placed = client.place_order("lost", "tok_reply_lost").await;
    assert!(matches!(placed.status, 201 | 202), "{placed}");
    ends_well(&client, &bought, &placed).await;
    cluster().audit().await;
}

#[tokio::test]
async fn a_flaky_provider_is_tried_again() {
    let (client, bought) = buyer(1).await;
    let placed = client.place_order("flaky", "tok_flaky").await;
    assert!(matches!(placed.status, 201 | 202), "{placed}");
    ends_well(&client, &bought, &placed).await;
}

#[tokio::test]
async fn a_provider_that_never_answers_ends_the_checkout() {
    let cluster = &*USUAL;
    let (client, bought) = buyer_at(cluster, 0).await;
    let started = Instant::now();
    let placed = client.place_order("silence", "tok_timeout").await.expect(202);
    assert!(
        started.elapsed() < PENDING_LIMIT,
        "202 came after {:?}",
        started.elapsed()
    );
    assert_eq!(placed.str("/status"), "pending", "{placed}");
    let location = placed.header("location").unwrap_or_default().to_owned();
    assert_eq!(location, format!("/v1/orders/{}", placed.str("/id")));
    eventually("the order has failed", LIMIT, async || {
        let order = client.get(&location).await.expect(200);
        if order.str("/status") == "failed" {
            Ok(())
        } else {
            Err(order)
        }
    })
    .await;
    pieces_left(&client, &bought, 0).await;
    cluster.audit().await;
}

#[tokio::test]
async fn a_cancellation_does_not_wait_for_the_provider() {
    let cluster = &*USUAL;
    let (client, bought) = buyer_at(cluster, 0).await;
    let placed = client.place_order("silent", "tok_timeout").await.expect(202);
    let path = format!("/v1/orders/{}/cancel", placed.str("/id"));
    let cancelled = client
        .at(cluster.shop(1))
        .post(&path, &json!({}))
        .await
        .expect(200);
    assert_eq!(cancelled.str("/status"), "cancelled", "{cancelled}");
    // The cart is free at once.
    client.place_order("instead", "tok_ok").await.expect(201);
    pieces_left(&client, &bought, 2).await;
}

#[tokio::test]
async fn a_payment_that_requires_action_can_be_cancelled() {
    let cluster = &*USUAL;
    let (client, bought) = buyer_at(cluster, 0).await;
    let placed = client
        .place_order("action", "tok_requires_action")
        .await
        .expect(202);
    let id = placed.str("/id").to_owned();
    let reply = client
        .at(cluster.shop(1))
        .post(&format!("/v1/orders/{id}/cancel"), &json!({}))
        .await
        .expect(200);
    assert_eq!(reply.str("/id"), id, "{reply}");
    order_becomes(&client, &id, |order| order["status"] == "cancelled", "cancelled").await;
    pieces_left(&client, &bought, 0).await;
    cluster.audit().await;
}
