//! Carts and orders of accounts, and what they take over from guests.

use serde_json::json;

use crate::shared::{
    About, LIMIT, Person, add_address, cluster, code, fresh_email, fresh_password, members, order_to,
    stocked, stranger,
};
use crate::support::client::{Reply, submission};
use crate::support::waiting::eventually;

/// An order of one piece.
pub async fn order(person: &Person, address: &str, key: &str) -> Reply {
    let (sku, _) = stocked(&person.client).await;
    person.client.add(&sku, 1).await.expect(200);
    let placed = person.client.place(key, &order_to(address)).await.expect(201);
    eventually("the cart is cleared", LIMIT, async || {
        let cart = person.client.get_cart().await.expect(200);
        if cart.i64("/item_count") == 0 {
            Ok(())
        } else {
            Err(cart)
        }
    })
    .await;
    placed
}

#[tokio::test]
async fn an_account_has_one_cart_on_all_devices() {
    let person = Person::register(0).await;
    let address = add_address(&person.client, "Order").await;
    let (sku, product) = stocked(&person.client).await;
    person.client.add(&sku, 2).await.expect(200);
    let again = person.sign_in(1).await;
    let cart = again.client.get_cart().await.expect(200);
    assert_eq!(cart.i64("/item_count"), 2, "{cart}");

    let quote = again
        .client
        .post("/v1/checkout/quote", &json!({"address_id": address}))
        .await
        .expect(200);
    assert_eq!(quote.body["subtotal"], cart.body["subtotal"]);
    let both = json!({"address_id": address, "address": crate::support::client::address()});
    again
        .client
        .post("/v1/checkout/quote", &both)
        .await
        .expect_problem(422, "validation");
    let mut wish = order_to(&address);
    wish["expected_total"] = json!({"amount": 1, "currency": "USD"});
    again
        .client
        .place("too-cheap", &wish)
        .await
        .expect_problem(409, "price-changed");

    let placed = again.client.place("saved", &order_to(&address)).await.expect(201);
    let id = placed.str("/id").to_owned();
    assert_eq!(placed.str("/address/line1"), "1 Order Lane", "{placed}");
    for client in [&person.client, &again.client] {
        let listed = client.get("/v1/orders").await.expect(200);
        assert_eq!(listed.items().len(), 1, "{listed}");
        assert_eq!(listed.str("/items/0/id"), id);
        client.get_order(&id).await.expect(200);
    }
    let replayed = person
        .client
        .place("saved", &order_to(&address))
        .await
        .expect(201);
    assert_eq!(replayed.header("idempotency-replayed"), Some("true"));
    assert_eq!(replayed.str("/id"), id);

    let bought = eventually("the purchase shows", LIMIT, async || {
        let purchases = person.client.get("/v1/me/purchases").await.expect(200);
        let is_settled = purchases.items().iter().any(|one| one["status"] == "confirmed");
        if is_settled { Ok(purchases) } else { Err(purchases) }
    })
    .await;
    assert_eq!(bought.items().len(), 1, "{bought}");
    assert_eq!(bought.str("/items/0/order_id"), id);
    assert_eq!(bought.str("/items/0/number"), placed.str("/number"));
    assert_eq!(bought.body["items"][0]["total"], placed.body["total"]);
    assert_eq!(bought.str("/items/0/items/0/sku"), sku);
    assert_eq!(bought.str("/items/0/items/0/product_id"), product);
    assert_eq!(bought.i64("/items/0/items/0/quantity"), 2);
}

#[tokio::test]
async fn a_guest_order_is_claimed_by_a_verified_address() {
    let email = fresh_email();
    let guest = stranger(1).guest().await;
    let (sku, _) = stocked(&guest).await;
    guest.add(&sku, 1).await.expect(200);
    let mut wish = submission("tok_ok");
    wish["email"] = json!(email.to_uppercase());
    let id = guest
        .place("as-a-guest", &wish)
        .await
        .expect(201)
        .str("/id")
        .to_owned();

    let person = Person::register_with(&stranger(0), &email, &fresh_password()).await;
    let orders = person.client.get("/v1/orders").await.expect(200);
    assert!(
        orders.items().is_empty(),
        "an address that is not proven opens nothing: {orders}"
    );
    person
        .client
        .get_order(&id)
        .await
        .expect_problem(404, "not-found");

    let proof = code(&email, About::Verification, None).await;
    let token = json!({"token": proof});
    person
        .at(1)
        .post("/v1/auth/email/verify", &token)
        .await
        .expect(204);
    // What waits for an address is a projection, which may be late.
    let listed = eventually("the guest's order can be claimed", LIMIT, async || {
        let orders = person.client.get("/v1/me/claimable-orders").await.expect(200);
        if orders.items().is_empty() {
            Err(orders)
        } else {
            Ok(orders)
        }
    })
    .await;
    assert_eq!(listed.items().len(), 1, "{listed}");
    assert_eq!(
        members(&listed.items()[0]),
        ["created_at", "id", "number", "total"],
        "no more before its owner accepts it"
    );
    assert_eq!(listed.str("/items/0/id"), id);
    let none = person.client.get("/v1/orders").await.expect(200);
    assert!(none.items().is_empty(), "{none}");
    let claim = format!("/v1/me/claimable-orders/{id}");
    let other = Person::register(1).await;
    for (client, path) in [
        (&other.client, claim.as_str()),
        (&person.client, "/v1/me/claimable-orders/ord_1"),
    ] {
        client
            .send("POST", path, None, &[])
            .await
            .expect_problem(404, "not-found");
    }
    for node in [0, 1] {
        let claimed = person.at(node).send("POST", &claim, None, &[]).await.expect(200);
        assert_eq!(claimed.str("/id"), id);
    }
    let mine = person.client.get("/v1/orders").await.expect(200);
    assert_eq!(mine.items().len(), 1, "{mine}");
    let left = person.client.get("/v1/me/claimable-orders").await.expect(200);
    assert!(left.items().is_empty(), "{left}");
    guest.get_order(&id).await.expect_problem(404, "not-found");
    person.at(1).get_order(&id).await.expect(200);
    eventually("the purchase shows", LIMIT, async || {
        let purchases = person.client.get("/v1/me/purchases").await.expect(200);
        if purchases.items().iter().any(|one| one["order_id"] == id) {
            Ok(())
        } else {
            Err(purchases)
        }
    })
    .await;
    cluster().audit().await;
}

#[tokio::test]
async fn a_guests_lines_join_the_accounts_cart_once() {
    let person = Person::register(0).await;
    let guest = stranger(1).guest().await;
    let (one, _) = stocked(&guest).await;
    let (other, _) = stocked(&guest).await;
    person.client.add(&one, 998).await.expect(200);
    guest.add(&one, 5).await.expect(200);
    guest.add(&other, 3).await.expect(200);
    let body = json!({"cart_token": guest.cart_token()});
    for node in [0, 1, 0] {
        let merged = person.at(node).post("/v1/cart/merge", &body).await.expect(200);
        assert_eq!(
            (merged.items().len(), merged.i64("/item_count")),
            (2, 999 + 3),
            "summed, capped, and once: {merged}"
        );
    }
    // However they are named: the account's own, with the guest's cart in another header, and from another device.
    let again = person.sign_in(1).await;
    let both = again.client.with_cart(guest.cart_token());
    let cart = both.get_cart().await.expect(200);
    assert_eq!(cart.i64("/item_count"), 1_002, "the access token counts: {cart}");
    both.post("/v1/cart/merge", &body).await.expect(200);
    assert_eq!(both.get_cart().await.expect(200).i64("/item_count"), 1_002);
}
