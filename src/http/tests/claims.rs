//! One version of a cart becomes at most one order (invariant 15).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Client, Reply, shop_at, store, submission};
use crate::actors::region::Ask;
use crate::clock;
use crate::http::api::claim::UNPLACED_LIMIT;
use crate::http::request::keys;
use crate::http::test_support::{MemoryIdempotency as Memory, accounts};
use souk_domain::{CartCommand, CartId, CartView, FailureReason, OrderCommand, OrderId, PaymentId};

async fn cart(client: &Client, command: CartCommand) -> CartView {
    let shown = client.send("GET", "/v1/cart", None, &[]).await;
    cart_of(client, shown.body["id"].as_str().unwrap(), command).await
}

async fn cart_of(client: &Client, id: &str, command: CartCommand) -> CartView {
    let ask = Ask::new(command, Instant::now() + Duration::from_secs(60), Arc::from(""));
    let answer = client.regions.carts.ask(id, ask).await.unwrap();
    answer.reply.unwrap();
    answer.view
}

fn id(reply: &Reply) -> &str {
    reply.body["id"].as_str().unwrap()
}

#[tokio::test]
async fn a_claimed_cart_is_not_ordered_again() {
    let client = Client::new().await;
    client.add("A-1", 2).await;
    let placed = client.place("k1", submission()).await;
    assert_eq!(placed.status, 202);
    let refused = client.place("k2", submission()).await;
    assert_eq!((refused.status, refused.problem()), (409, "checkout-in-progress"));
    assert_eq!(refused.body["order_id"], placed.body["id"]);
    let version = client.send("GET", "/v1/cart", None, &[]).await.body["version"].clone();
    assert_eq!(version, 2, "the claim, and nothing for the refused order");

    // It fails: the shopper may try again at once, whether or not its worker is done with it.
    let reason = FailureReason::PaymentTimedOut;
    client.drive(id(&placed), OrderCommand::Abandon { reason }).await;
    let again = client.place("k2", submission()).await;
    assert_eq!(again.status, 202, "{}", again.body);
    assert_ne!(again.body["id"], placed.body["id"]);

    // It is confirmed: what is left can be ordered.
    client.add("B-1", 1).await;
    let payment = PaymentId::parse("pay_1").unwrap();
    client.drive(id(&again), OrderCommand::Confirm { payment }).await;
    let rest = client.place("k3", submission()).await;
    assert_eq!(rest.status, 202, "{}", rest.body);
    assert_eq!(rest.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(rest.body["items"][0]["sku"], "B-1");
}

#[tokio::test]
async fn of_many_tabs_one_orders() {
    let client = Client::new().await;
    client.add("A-1", 1).await;
    let tabs = (0..8).map(|tab| {
        let client = &client;
        async move { client.place(&format!("tab-{tab}"), submission()).await }
    });
    let replies = futures::future::join_all(tabs).await;
    let placed: Vec<_> = replies.iter().filter(|reply| reply.status == 202).collect();
    assert_eq!(placed.len(), 1);
    for refused in replies.iter().filter(|reply| reply.status != 202) {
        assert_eq!(refused.problem(), "checkout-in-progress");
        assert_eq!(refused.body["order_id"], placed[0].body["id"]);
    }
}

/// The node that claimed the cart died before it placed the order.
#[tokio::test]
async fn an_abandoned_claim_is_taken_over() {
    for is_late in [false, true] {
        let mut client = Client::new().await;
        let system = clock::system();
        let ahead = if is_late { UNPLACED_LIMIT } else { Duration::ZERO };
        let clock = Arc::new(move || system().plus(ahead));
        (client.router, client.regions, client.background) = shop_at(
            clock,
            8,
            Arc::new(Memory::default()),
            store().await,
            accounts().await,
        )
        .await;
        client.add("A-1", 1).await;
        let keys = keys::Keys::derive(&[9; keys::SECRET_LENGTH]);
        let shown = client.send("GET", "/v1/cart", None, &[]).await;
        let lost: OrderId = keys.order_id(id(&shown), "lost");
        cart(&client, CartCommand::Claim { order: lost.clone() }).await;
        let next = client.place("next", submission()).await;
        if is_late {
            assert_eq!(next.status, 202, "{}", next.body);
            // The first request was only slow.
            let slow = client.place("lost", submission()).await;
            assert_eq!((slow.status, slow.problem()), (409, "checkout-in-progress"));
            client
                .drive(
                    id(&next),
                    OrderCommand::Cancel {
                        reason: String::new(),
                    },
                )
                .await;
            let slow = client.place("lost", submission()).await;
            assert_eq!((slow.status, slow.problem()), (409, "checkout-expired"));
        } else {
            assert_eq!((next.status, next.problem()), (409, "checkout-in-progress"));
            assert_eq!(next.body["order_id"], lost.as_str());
            // The same request, sent again.
            let again = client.place("lost", submission()).await;
            assert_eq!((again.status, id(&again)), (202, lost.as_str()));
        }
    }
}

async fn merge(client: &Client, token: &str) -> Reply {
    let body = Some(json!({"cart_token": token}));
    client.send("POST", "/v1/cart/merge", body, &[]).await
}

#[tokio::test]
async fn a_merge_moves_lines_and_waits_for_a_checkout() {
    let client = Client::new().await;
    let made = client.send("POST", "/v1/carts", None, &[]).await;
    let token = made.body["cart_token"].as_str().unwrap();
    let guest = Client {
        router: client.router.clone(),
        regions: client.regions.clone(),
        token: Some(token.to_owned()),
        ..Client::new().await
    };
    for quantity in [1, 3] {
        guest.add("A-1", quantity).await;
        let merged = merge(&client, token).await;
        assert_eq!(merged.status, 200, "{}", merged.body);
    }
    let merged = merge(&client, token).await;
    assert_eq!(merged.body["item_count"], 4);
    assert_eq!(guest.place("k0", submission()).await.problem(), "empty-cart");

    guest.add("B-1", 1).await;
    let placed = guest.place("k1", submission()).await;
    assert_eq!(placed.status, 202);
    let refused = merge(&client, token).await;
    assert_eq!((refused.status, refused.problem()), (409, "checkout-in-progress"));
    assert_eq!(refused.body["order_id"], placed.body["id"]);
}

/// The node died after it took the lines out of the guest's cart.
#[tokio::test]
async fn an_interrupted_merge_is_finished_by_the_next() {
    let client = Client::new().await;
    let made = client.send("POST", "/v1/carts", None, &[]).await;
    let (token, from) = (
        made.body["cart_token"].as_str().unwrap(),
        made.body["cart"]["id"].as_str().unwrap(),
    );
    let guest = Client {
        router: client.router.clone(),
        token: Some(token.to_owned()),
        ..Client::new().await
    };
    guest.add("A-1", 2).await;
    let other = CartId::parse("crt_other").unwrap();
    cart_of(&client, from, CartCommand::HandOver { to: other.clone() }).await;
    guest.add("B-1", 1).await;
    let merged = merge(&client, token).await;
    assert_eq!(merged.body["item_count"], 1);
    let others = cart_of(&client, other.as_str(), CartCommand::Get).await;
    assert_eq!(others.lines[0].quantity, 2, "it was on its way there");
}
