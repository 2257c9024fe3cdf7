//! Resources of other users: 404 or no effect, and no data is shown.

use serde_json::{Value, json};

use crate::orders;
use crate::shared::{
    LIMIT, NODES, Person, add_address, address, cluster, fresh_email, fresh_password, order_to,
    revocation_limit, secret, signed_out, stocked, stranger, unhurried,
};
use crate::support::client::{Client, Reply};
use crate::support::waiting::eventually;

/// Checks that a reply shows nothing of the owner.
#[track_caller]
fn shows_nothing(reply: &Reply, hidden: &[&str]) {
    for hidden in hidden {
        assert!(!reply.text.contains(hidden), "{hidden:?} is shown: {reply}");
    }
}

#[tokio::test]
async fn an_order_is_its_buyers_alone() {
    let owner = Person::register(0).await;
    let saved = add_address(&owner.client, "Owned").await;
    let placed = orders::order(&owner, &saved, "owned").await;
    let id = placed.str("/id").to_owned();
    let other = Person::register(1).await;
    let guest = stranger(0).guest().await;
    let hidden = ["Owned", placed.str("/number"), &owner.email, &owner.id];
    for (client, node) in [(&other.client, 0), (&other.client, 1), (&guest, 0), (&guest, 1)] {
        let client = client.at(cluster().shop(node));
        for reply in [
            client.get_order(&id).await,
            client.post(&format!("/v1/orders/{id}/cancel"), &json!({})).await,
            client
                .send(
                    "POST",
                    &format!("/v1/orders/{id}/cancel"),
                    Some(&json!({"reason": "spite"})),
                    &[("if-match", "*")],
                )
                .await,
        ] {
            shows_nothing(&reply, &hidden);
            reply.expect_problem(404, "not-found");
        }
        for path in ["/v1/orders", "/v1/orders?limit=100"] {
            assert_eq!(client.get(path).await.expect(200).items(), [] as [Value; 0]);
        }
    }
    let purchases = other.client.get("/v1/me/purchases").await.expect(200);
    assert_eq!(purchases.items(), [] as [Value; 0]);
    other.step_up().await;
    shows_nothing(&other.client.get("/v1/me/export").await.expect(200), &hidden);
    // The account's own cart token would be its cart's identifier: that opens nothing.
    let cart = owner.client.get_cart().await.expect(200).str("/id").to_owned();
    for token in [&*cart, cart.trim_start_matches("crt_"), &owner.id] {
        guest
            .with_cart(Some(token))
            .get_order(&id)
            .await
            .expect_problem(401, "bad-cart-token");
    }
    let order = owner.client.get_order(&id).await.expect(200);
    assert_eq!(
        order.str("/status"),
        "confirmed",
        "nothing was cancelled: {order}"
    );
    // A guest's is the guest's, and no account's.
    let (sku, _) = stocked(&guest).await;
    guest.add(&sku, 1).await.expect(200);
    let id = guest
        .place_order("guests", "tok_ok")
        .await
        .expect(201)
        .str("/id")
        .to_owned();
    let another = stranger(1).guest().await;
    for client in [
        &other.client,
        &another,
        &other.client.with_cart(another.cart_token()),
    ] {
        client.get_order(&id).await.expect_problem(404, "not-found");
    }
}

#[tokio::test]
async fn an_address_is_its_owners_alone() {
    let owner = Person::register(0).await;
    let id = add_address(&owner.client, "Homely").await;
    let before = owner.client.get("/v1/me/addresses").await.expect(200);
    let other = Person::register(1).await;
    let (sku, _) = stocked(&other.client).await;
    other.client.add(&sku, 1).await.expect(200);
    let path = format!("/v1/me/addresses/{id}");
    for node in 0..NODES {
        let client = other.at(node);
        for reply in [
            client.patch(&path, &json!({"city": "Elsewhere"})).await,
            client.patch(&path, &json!({"default": true})).await,
            client
                .send(
                    "PATCH",
                    &path,
                    Some(&json!({"city": "X"})),
                    &[("if-match", "\"9\"")],
                )
                .await,
            client.delete(&path).await,
        ] {
            shows_nothing(&reply, &["Homely", &owner.id]);
            reply.expect_problem(404, "not-found");
        }
        for reply in [
            client
                .post("/v1/checkout/quote", &json!({"address_id": id}))
                .await,
            client.place(&format!("to-somebody-{node}"), &order_to(&id)).await,
        ] {
            shows_nothing(&reply, &["Homely", &owner.id]);
            let refused = reply.expect_problem(422, "validation");
            assert_eq!(refused.blamed(), ["address_id"], "{refused}");
        }
        assert_eq!(
            client.get("/v1/me/addresses").await.expect(200).items(),
            [] as [Value; 0]
        );
    }
    // An identifier is no body's field either.
    let mut adopted = crate::shared::postal("Adopted");
    adopted["id"] = json!(id);
    let refused = other
        .client
        .post("/v1/me/addresses", &adopted)
        .await
        .expect_problem(422, "validation");
    assert_eq!(refused.blamed(), ["id"], "{refused}");
    let after = owner.client.get("/v1/me/addresses").await.expect(200);
    assert_eq!(after.body, before.body);
}

#[tokio::test]
async fn nobody_ends_anothers_session() {
    let owner = Person::register(0).await;
    let other = Person::register(0).await;
    let path = format!("/v1/auth/sessions/{}", owner.session());
    for node in 0..NODES {
        let reply = other.at(node).delete(&path).await;
        shows_nothing(&reply, &[&owner.email, &owner.id]);
        reply.expect_problem(404, "not-found");
        owner.at(node).get("/v1/me").await.expect(200);
    }
    for odd in ["ses_", "ses_1", "x", "%00", "..", &"s".repeat(2_000)] {
        other
            .client
            .delete(&format!("/v1/auth/sessions/{odd}"))
            .await
            .expect_problem(404, "not-found");
    }
    // By when a revocation that is one has travelled, the other would have too.
    let again = other.sign_in(0).await;
    again
        .client
        .send("POST", "/v1/auth/logout", None, &[])
        .await
        .expect(204);
    for node in 0..NODES {
        signed_out(&again.at(node), revocation_limit()).await;
        owner.at(node).get("/v1/me").await.expect(200);
    }
    assert_eq!(
        owner
            .client
            .get("/v1/auth/sessions")
            .await
            .expect(200)
            .items()
            .len(),
        1
    );
    let listed = other.client.get("/v1/auth/sessions").await.expect(200);
    shows_nothing(&listed, &[&owner.session()]);
}

#[tokio::test]
async fn a_forged_cart_token_opens_no_cart() {
    let victim = stranger(0).guest().await;
    let (sku, _) = stocked(&victim).await;
    victim.add(&sku, 3).await.expect(200);
    let cart = victim.get_cart().await.expect(200).str("/id").to_owned();
    let token = victim.cart_token().expect("a guest has a token").to_owned();
    let other = stranger(1).guest().await;
    let mine = other.cart_token().expect("a guest has a token").to_owned();
    let half = token.len() / 2;
    let forged = [
        cart.clone(),
        format!("{}{}", &token[..half], &mine[half..]),
        format!("{}{}", &mine[..half], &token[half..]),
        token[..token.len() - 1].to_owned(),
        format!("{token}A"),
        token.to_lowercase(),
        format!("{token},{mine}"),
    ];
    let person = Person::register(1).await;
    for forged in &forged {
        for (method, path) in [("GET", "/v1/cart"), ("DELETE", "/v1/cart"), ("GET", "/v1/orders")] {
            let reply = other.with_cart(Some(forged)).send(method, path, None, &[]).await;
            shows_nothing(&reply, &[&sku, &cart]);
            reply.expect_problem(401, "bad-cart-token");
        }
        let reply = person
            .client
            .post("/v1/cart/merge", &json!({"cart_token": forged}))
            .await;
        shows_nothing(&reply, &[&sku, &cart]);
        reply.expect_problem(422, "validation");
    }
    // Two tokens at once are none.
    other
        .send("GET", "/v1/cart", None, &[("cart-token", &token)])
        .await
        .expect_problem(401, "bad-cart-token");
    let kept = victim.get_cart().await.expect(200);
    assert_eq!((kept.i64("/version"), kept.i64("/item_count")), (1, 3), "{kept}");
    // An account's cart is the account's, whatever cart comes with it, and no guest gets it by its identifier.
    person.client.add(&sku, 1).await.expect(200);
    let own = person.client.get_cart().await.expect(200);
    other
        .post("/v1/cart/merge", &json!({"cart_token": own.str("/id")}))
        .await
        .expect_problem(422, "validation");
    assert_eq!(other.get_cart().await.expect(200).i64("/item_count"), 0);
}

#[tokio::test]
async fn an_idempotency_key_is_its_callers_alone() {
    const KEY: &[(&str, &str)] = &[("idempotency-key", "the-same-key")];
    let (one, other) = (Person::register(0).await, Person::register(0).await);
    let post =
        async |client: &Client, path: &str, body: &Value| client.send("POST", path, Some(body), KEY).await;
    // The same body under the same key: each has an address of their own.
    let body = crate::shared::postal("Same");
    let first = post(&one.client, "/v1/me/addresses", &body).await.expect(201);
    let second = post(&other.client, "/v1/me/addresses", &body).await.expect(201);
    assert_eq!(second.header("idempotency-replayed"), None, "{second}");
    assert_ne!(first.str("/id"), second.str("/id"));
    // And an order of their own.
    let (sku, _) = stocked(&one.client).await;
    let mut orders = Vec::new();
    for person in [&one, &other] {
        person.client.add(&sku, 1).await.expect(200);
        let wish = crate::support::client::submission("tok_ok");
        let placed = post(&person.client, "/v1/orders", &wish).await.expect(201);
        assert_eq!(placed.header("idempotency-replayed"), None, "{placed}");
        orders.push(placed.str("/id").to_owned());
    }
    assert_ne!(orders[0], orders[1]);
    for (person, foreign) in [(&one, &orders[1]), (&other, &orders[0])] {
        person
            .client
            .get_order(foreign)
            .await
            .expect_problem(404, "not-found");
    }
    // A stranger's key belongs to where they call from: nobody gets another's cart by guessing it.
    let carts = [stranger(0), stranger(0)].map(|client| async move {
        let made = client.send("POST", "/v1/carts", None, KEY).await.expect(201);
        made.str("/cart_token").to_owned()
    });
    let carts = futures::future::join_all(carts).await;
    assert_ne!(carts[0], carts[1]);
    // Nor another's tokens by repeating their registration.
    let email = fresh_email();
    let password = fresh_password();
    secret(&password);
    let body = json!({"email": email, "password": password, "name": "Petra Example"});
    let keyed = async |client: &Client| {
        eventually("the registration is not busy", LIMIT, async || {
            let reply = post(client, "/v1/auth/register", &body).await;
            if reply.status == 503 {
                Err(reply)
            } else {
                Ok(reply)
            }
        })
        .await
    };
    let at = address();
    let own = cluster().client(0).calling_from(&at);
    let opened = keyed(&own).await.expect(201);
    let repeated = keyed(&own.at(cluster().shop(1))).await.expect(201);
    assert_eq!(
        repeated.header("idempotency-replayed"),
        Some("true"),
        "{repeated}"
    );
    assert_eq!(repeated.str("/user/id"), opened.str("/user/id"));
    let thief = keyed(&stranger(0)).await;
    shows_nothing(
        &thief,
        &[opened.str("/access_token"), opened.str("/refresh_token")],
    );
    thief.expect_problem(409, "email-taken");
    // With another password under the owner's key and from the owner's address: no reply that is not theirs.
    let mut guess = body.clone();
    guess["password"] = json!(fresh_password());
    let refused = eventually("the registration is not busy", LIMIT, async || {
        let reply = post(&own, "/v1/auth/register", &guess).await;
        if reply.status == 503 {
            Err(reply)
        } else {
            Ok(reply)
        }
    })
    .await;
    shows_nothing(
        &refused,
        &[opened.str("/access_token"), opened.str("/refresh_token")],
    );
    refused.expect_problem(422, "idempotency-key-reused");
    let _ = unhurried(
        &own,
        "/v1/auth/login",
        &json!({"email": email, "password": password}),
    )
    .await
    .expect(200);
}
