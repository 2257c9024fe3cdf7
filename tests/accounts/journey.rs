//! The owner's use of an account, from registration to erasure.

use serde_json::{Value, json};

use crate::shared::{
    LIMIT, Person, cluster, fresh_password, login, members, postal, refresh, revocation_limit, signed_out,
    stranger, unhurried,
};
use crate::support::waiting::eventually;

const USER: [&str; 8] = [
    "created_at",
    "email",
    "email_verified",
    "id",
    "name",
    "phone",
    "roles",
    "version",
];

#[tokio::test]
async fn an_account_is_the_same_on_any_node() {
    let client = stranger(0);
    let (email, password) = (crate::shared::fresh_email(), fresh_password());
    let body = json!({"email": email, "password": password, "name": "Petra Example"});
    let opened = unhurried(&client, "/v1/auth/register", &body).await.expect(201);
    assert_eq!(
        members(&opened.body),
        [
            "access_token",
            "expires_in",
            "refresh_token",
            "token_type",
            "user"
        ]
    );
    assert_eq!(opened.str("/token_type"), "Bearer");
    assert_eq!(opened.i64("/expires_in"), 900);
    assert_eq!(
        opened.header("cache-control"),
        Some("no-store"),
        "{:?}",
        opened.headers
    );
    assert_eq!(members(&opened.body["user"]), USER);
    assert!(opened.str("/user/id").starts_with("usr_"), "{opened}");
    assert_eq!(opened.body["user"]["roles"], json!(["customer"]), "{opened}");
    assert_eq!(opened.body["user"]["email_verified"], false, "{opened}");
    assert!(!opened.text.contains(&password), "a password is shown to nobody");

    let mine = client.with_token(Some(opened.str("/access_token")));
    let other = mine.at(cluster().shop(1));
    let me = other.get("/v1/me").await.expect(200);
    assert_eq!(me.body, opened.body["user"]);
    let tag = me.header("etag").expect("an account has an ETag").to_owned();
    other
        .send("GET", "/v1/me", None, &[("if-none-match", &tag)])
        .await
        .expect(304);

    let change = json!({"name": "Petra Renamed", "phone": "+1 217 555 0100"});
    let changed = mine
        .send("PATCH", "/v1/me", Some(&change), &[("if-match", &tag)])
        .await
        .expect(200);
    assert_eq!(
        (changed.str("/name"), changed.str("/phone")),
        ("Petra Renamed", "+1 217 555 0100")
    );
    other
        .send(
            "PATCH",
            "/v1/me",
            Some(&json!({"name": "Late"})),
            &[("if-match", &tag)],
        )
        .await
        .expect_problem(412, "version-conflict");
    let left = other.patch("/v1/me", &json!({"phone": null})).await.expect(200);
    assert_eq!(
        (left.str("/name"), &left.body["phone"]),
        ("Petra Renamed", &Value::Null),
        "null takes away, what is left out stays: {left}"
    );
    for (body, blamed) in [
        (json!({"name": " "}), "name"),
        (json!({"name": "Petra\r\nBcc: x"}), "name"),
        (json!({"phone": "call me"}), "phone"),
    ] {
        let refused = mine
            .patch("/v1/me", &body)
            .await
            .expect_problem(422, "validation");
        assert_eq!(refused.blamed(), [blamed], "{body}: {refused}");
    }
}

#[tokio::test]
async fn a_session_is_refreshed_until_logout() {
    let person = Person::register(0).await;
    let again = person.sign_in(1).await;
    assert_ne!(person.session(), again.session());

    let pair = refresh(&person.at(1), &person.refresh_token).await.expect(200);
    assert_eq!(
        members(&pair.body),
        [
            "access_token",
            "expires_in",
            "refresh_token",
            "token_type",
            "user"
        ]
    );
    assert_ne!(pair.str("/refresh_token"), person.refresh_token);
    let fresh = person.client.with_token(Some(pair.str("/access_token")));
    fresh.get("/v1/me").await.expect(200);
    person.client.get("/v1/me").await.expect(200);
    let next = refresh(&person.at(0), pair.str("/refresh_token"))
        .await
        .expect(200);

    fresh.send("POST", "/v1/auth/logout", None, &[]).await.expect(204);
    fresh.get("/v1/me").await.expect_problem(401, "bad-token");
    person.is_out().await;
    refresh(&person.client, next.str("/refresh_token"))
        .await
        .expect_problem(401, "bad-refresh-token");
    again.client.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn of_ones_addresses_exactly_one_is_the_default() {
    let person = Person::register(0).await;
    let (client, other) = (&person.client, person.at(1));
    let list = async || {
        let addresses = other.get("/v1/me/addresses").await.expect(200);
        assert_eq!(addresses.body["next_cursor"], Value::Null);
        let defaults = addresses
            .items()
            .iter()
            .filter(|one| one["default"] == true)
            .count();
        assert_eq!(
            defaults,
            addresses.items().len().min(1),
            "one default: {addresses}"
        );
        addresses
            .items()
            .iter()
            .map(|one| {
                (
                    one["id"].as_str().unwrap_or_default().to_owned(),
                    one["default"] == true,
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(list().await, []);

    let first = client
        .post("/v1/me/addresses", &postal("First"))
        .await
        .expect(201);
    assert_eq!(
        members(&first.body),
        [
            "city", "country", "default", "id", "line1", "line2", "name", "phone", "postcode", "region",
            "version"
        ]
    );
    let first_id = first.str("/id").to_owned();
    assert!(first_id.starts_with("adr_"), "{first}");
    let second = client
        .post("/v1/me/addresses", &postal("Second"))
        .await
        .expect(201);
    let second_id = second.str("/id").to_owned();
    assert_eq!(
        list().await,
        [(first_id.clone(), true), (second_id.clone(), false)]
    );

    let mut third = postal("Third");
    third["default"] = json!(true);
    // The same request again, as after a lost answer: one address.
    let mut ids = Vec::new();
    for node in [0, 1] {
        let added = person
            .at(node)
            .send(
                "POST",
                "/v1/me/addresses",
                Some(&third),
                &[("idempotency-key", "third")],
            )
            .await
            .expect(201);
        ids.push(added.str("/id").to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    let third_id = ids.swap_remove(0);
    assert_eq!(
        list().await,
        [
            (first_id.clone(), false),
            (second_id.clone(), false),
            (third_id.clone(), true)
        ]
    );

    let path = format!("/v1/me/addresses/{second_id}");
    let tag = second.header("etag").expect("an address has an ETag").to_owned();
    let changed = client
        .send(
            "PATCH",
            &path,
            Some(&json!({"city": "Chicago", "default": true})),
            &[("if-match", &tag)],
        )
        .await
        .expect(200);
    assert_eq!(
        (changed.str("/city"), changed.str("/line1")),
        ("Chicago", "1 Second Lane")
    );
    other
        .send(
            "PATCH",
            &path,
            Some(&json!({"city": "Late"})),
            &[("if-match", &tag)],
        )
        .await
        .expect_problem(412, "version-conflict");
    let refused = client
        .patch(&path, &json!({"default": false}))
        .await
        .expect_problem(422, "validation");
    assert_eq!(refused.blamed(), ["default"], "{refused}");
    let refused = client
        .patch(&path, &json!({"country": "Atlantis"}))
        .await
        .expect_problem(422, "validation");
    assert_eq!(refused.blamed(), ["country"], "{refused}");

    client.delete(&path).await.expect(204);
    client.delete(&path).await.expect_problem(404, "not-found");
    assert_eq!(
        list().await,
        [(first_id.clone(), true), (third_id.clone(), false)],
        "the oldest takes the place of a default that goes"
    );
    for id in [&first_id, &third_id] {
        client.delete(&format!("/v1/me/addresses/{id}")).await.expect(204);
    }
    assert_eq!(list().await, []);
}

#[tokio::test]
async fn preferences_start_with_defaults() {
    let person = Person::register(1).await;
    let path = "/v1/me/notification-preferences";
    let before = person.client.get(path).await.expect(200);
    assert_eq!(
        members(&before.body),
        ["back_in_stock", "marketing", "orders", "price_drops", "shipping"]
    );
    assert_eq!(before.body["orders"]["email"], true, "{before}");
    assert_eq!(
        before.body["marketing"],
        json!({"email": false, "sms": false, "in_app": false})
    );
    let tag = before
        .header("etag")
        .expect("preferences have an ETag")
        .to_owned();

    let mut chosen = before.body.clone();
    chosen["marketing"]["sms"] = json!(true);
    chosen["orders"]["email"] = json!(false);
    person
        .client
        .send("PUT", path, Some(&chosen), &[("if-match", &tag)])
        .await
        .expect(200);
    person
        .at(0)
        .send("PUT", path, Some(&before.body), &[("if-match", &tag)])
        .await
        .expect_problem(412, "version-conflict");
    let after = person.at(0).get(path).await.expect(200);
    assert_eq!(after.body, chosen);
    assert_ne!(after.header("etag"), Some(&*tag));
    for wrong in [
        json!({"orders": {"pigeon": true}}),
        json!({"gossip": {"email": true}}),
    ] {
        person
            .client
            .send("PUT", path, Some(&wrong), &[])
            .await
            .expect_problem(422, "validation");
    }
    assert_eq!(person.client.get(path).await.expect(200).body, chosen);
}

#[tokio::test]
async fn sessions_are_listed_and_can_be_revoked() {
    let person = Person::register(0).await;
    let again = person.sign_in(1).await;
    let listed = again.client.get("/v1/auth/sessions").await.expect(200);
    assert_eq!(listed.items().len(), 2, "{listed}");
    let current: Vec<_> = listed
        .items()
        .iter()
        .filter(|session| session["current"] == true)
        .map(|session| session["id"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(current, [again.session()], "{listed}");
    for session in listed.items() {
        assert_eq!(
            members(session),
            [
                "address",
                "created_at",
                "current",
                "expires_at",
                "id",
                "last_used_at",
                "user_agent"
            ]
        );
    }

    let path = format!("/v1/auth/sessions/{}", person.session());
    again.client.delete(&path).await.expect(204);
    person.is_out().await;
    again.client.delete(&path).await.expect_problem(404, "not-found");
    refresh(&person.client, &person.refresh_token)
        .await
        .expect_problem(401, "bad-refresh-token");
    let left = again.at(0).get("/v1/auth/sessions").await.expect(200);
    assert_eq!(left.items().len(), 1, "{left}");
}

#[tokio::test]
async fn erasure_keeps_only_the_figures_of_orders() {
    let person = Person::register(0).await;
    let address = crate::shared::add_address(&person.client, "Erasure").await;
    let order = crate::orders::order(&person, &address, "to-be-erased").await;
    let id = order.str("/id").to_owned();
    eventually("the purchase shows", LIMIT, async || {
        let purchases = person.client.get("/v1/me/purchases").await.expect(200);
        if purchases.items().is_empty() {
            Err(purchases)
        } else {
            Ok(())
        }
    })
    .await;

    for refused in [
        person.at(1).get("/v1/me/export").await,
        person.client.delete("/v1/me").await,
    ] {
        refused.expect_problem(403, "step-up-required");
    }
    person.step_up().await;
    let export = person.at(1).get("/v1/me/export").await.expect(200);
    assert_eq!(
        members(&export.body),
        [
            "addresses",
            "cart",
            "notification_preferences",
            "orders",
            "purchases",
            "sessions",
            "user"
        ]
    );
    assert_eq!(export.str("/user/email"), person.email);
    assert_eq!(export.str("/orders/0/id"), id);
    assert_eq!(export.str("/purchases/0/order_id"), id);
    assert!(export.text.contains("1 Erasure Lane"), "{export}");
    for hidden in [&person.password, &person.refresh_token, "argon2", "tok_ok"] {
        assert!(
            !export.text.contains(hidden),
            "an export holds no {hidden}: {export}"
        );
    }

    let path = format!("/v1/actors/order/{id}");
    let before = cluster().inspect(&path).await;
    // The cart is cleared before the checkout has quite ended, and until then an erasure waits.
    eventually("the account is erased", LIMIT, async || {
        let reply = person.client.delete("/v1/me").await;
        match reply.status {
            409 => Err(reply.expect_problem(409, "order-state")),
            _ => Ok(reply.expect(204)),
        }
    })
    .await;
    signed_out(&person.client, revocation_limit()).await;
    person.is_out().await;
    login(&stranger(1), &person.email, &person.password)
        .await
        .expect_problem(401, "bad-credentials");
    refresh(&person.client, &person.refresh_token)
        .await
        .expect_problem(401, "bad-refresh-token");

    // The order stays for the books, and says that it was stripped; what it was stripped of is never shown there.
    let after = cluster().inspect(&path).await;
    let events = |actor: &Value| {
        let timeline = actor.pointer("/state/placed/progress/timeline");
        let timeline = timeline.unwrap_or_else(|| panic!("no timeline in {actor}"));
        let events = timeline.as_array().into_iter().flatten();
        events
            .filter_map(|entry| entry["event"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert!(!events(&before).contains(&"erased".to_owned()), "{before}");
    assert!(events(&after).contains(&"erased".to_owned()), "{after}");
    let total = "/state/placed/placement/total";
    assert_eq!(before.pointer(total), after.pointer(total));
    assert!(!after.to_string().contains("Erasure") && !after.to_string().contains(&person.email));
    // The address may be taken anew, and the new account inherits nothing.
    let new = Person::register_with(&stranger(0), &person.email, &fresh_password()).await;
    assert_ne!(new.id, person.id);
    for path in ["/v1/orders", "/v1/me/purchases", "/v1/me/addresses"] {
        assert_eq!(
            new.client.get(path).await.expect(200).items(),
            [] as [Value; 0],
            "{path}"
        );
    }
}
