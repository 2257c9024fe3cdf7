//! Malformed bodies (too deep, too large, not JSON) to every route of the table that accepts one.

use std::time::Instant;

use serde_json::{Value, json};
use souk::http::request::policy::Policy;
use souk::http::routes::table;

use crate::shared::{
    NODES, Person, admin, cluster, fresh_email, fresh_password, postal, stranger, unhurried,
};
use crate::strangers::{LIMIT, nothing_leaks};
use crate::support::client::{Reply, submission};
use crate::support::waiting::within;

/// Malformed bodies: not JSON, or of the wrong shape.
fn bombs() -> Vec<(&'static str, String)> {
    let deep = 60_000;
    vec![
        ("lists in lists", "[".repeat(deep)),
        (
            "lists in lists, closed",
            format!("{}{}", "[".repeat(deep), "]".repeat(deep)),
        ),
        ("objects in objects", "{\"a\":".repeat(deep / 2)),
        (
            "depth in a field",
            format!("{{\"email\":{}{}}}", "[".repeat(deep), "]".repeat(deep)),
        ),
        (
            "depth in an object",
            format!(
                "{{\"address\":{}1{}}}",
                "{\"a\":".repeat(deep / 2),
                "}".repeat(deep / 2)
            ),
        ),
        (
            "a long number",
            format!("{{\"quantity\":{}}}", "9".repeat(200_000)),
        ),
        ("a number without end", "{\"quantity\":1e99999999}".to_owned()),
        ("half a surrogate", "{\"name\":\"\\ud800\"}".to_owned()),
        (
            "a field twice",
            "{\"email\":\"a@b.example\",\"email\":\"c@d.example\"}".to_owned(),
        ),
        ("not a number", "{\"quantity\":NaN}".to_owned()),
        ("a comment", "{/* */}".to_owned()),
    ]
}

#[tokio::test]
async fn deep_and_large_bodies_are_refused_everywhere() {
    let person = Person::register(0).await;
    let merchant = admin(0).await;
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(256 * 1024));
    for (number, route) in table().into_iter().map(|route| route.endpoint).enumerate() {
        let route = &route;
        if route.operation.request_body.is_none() {
            continue;
        }
        let client = match route.policy {
            Policy::Merchant | Policy::Admin => &merchant,
            _ => &person.client,
        };
        let client = client.at(cluster().shop(number % NODES));
        let path = route.path.replace("{id}", "ord_1").replace("{sku}", "X-1");
        let mut bodies = bombs();
        bodies.push(("a huge body", huge.clone()));
        for (at, (what, body)) in bodies.into_iter().enumerate() {
            let started = Instant::now();
            let sent = client
                .request(route.method.as_str(), &path)
                .header("content-type", "application/json")
                .header("idempotency-key", format!("bomb-{number}-{at}"))
                .body(body);
            let reply = within(what, LIMIT, async { Reply::read(sent.send().await?).await })
                .await
                .unwrap_or_else(|error| panic!("{what} to {path} was not answered: {error:?}"));
            assert!(
                (400..500).contains(&reply.status) && reply.status != 401,
                "{what} to {} {path}: {reply}",
                route.method
            );
            reply.problem();
            nothing_leaks(&reply.text);
            if what == "a huge body" {
                assert_eq!(reply.status, 413, "{} {path}: {reply}", route.method);
            }
            assert!(started.elapsed() < LIMIT, "{what} to {path}");
        }
    }
    for (path, body, blamed) in [
        (
            "/v1/auth/login",
            r#"{"email":"a@b.example","password":"x","password":"y"}"#,
            "password",
        ),
        (
            "/v1/auth/register",
            r#"{"email":"a@b.example","email":"c@d.example","password":"x","name":"y"}"#,
            "email",
        ),
        ("/v1/me/addresses", r#"{"name":"a","name":"b"}"#, "name"),
        (
            "/v1/checkout/quote",
            r#"{"address":{"country":"US","country":"DE"}}"#,
            "address.country",
        ),
    ] {
        let refused = person
            .client
            .send_raw("POST", path, Some("application/json"), body)
            .await
            .expect_problem(422, "validation");
        assert_eq!(refused.blamed(), [blamed], "{path}: {refused}");
    }
    // Whoever sent all that still has what they had.
    assert_eq!(person.client.get("/v1/me").await.expect(200).i64("/version"), 1);
    assert_eq!(
        person.client.get("/v1/me/addresses").await.expect(200).items(),
        [] as [Value; 0]
    );
}

#[tokio::test]
async fn every_fault_of_a_body_is_named_in_one_reply() {
    let person = Person::register(0).await;
    for (method, path, body, blamed) in [
        // Values.
        (
            "POST",
            "/v1/auth/register",
            json!({"email": "nobody", "password": "short", "name": "\u{200b}"}),
            &["email", "name", "password"][..],
        ),
        (
            "POST",
            "/v1/auth/register",
            json!({"email": "free@accounts.example", "password": "short", "name": ""}),
            &["name", "password"],
        ),
        (
            "PATCH",
            "/v1/me",
            json!({"name": " ", "phone": "+"}),
            &["name", "phone"],
        ),
        // Shapes: a wrong type, an unknown field, a missing one.
        (
            "POST",
            "/v1/auth/register",
            json!({"email": 7, "roles": [], "name": "A"}),
            &["email", "roles", "password"],
        ),
        (
            "POST",
            "/v1/checkout/quote",
            json!({"address": {"name": 1, "city": [], "land": "DE", "line1": "1 Lane"}}),
            &["address.city", "address.land", "address.name", "address.country"],
        ),
        (
            "PUT",
            "/v1/me/notification-preferences",
            json!({"gossip": {}, "orders": {"email": "yes", "pigeon": true}}),
            &["gossip", "orders.email", "orders.pigeon"],
        ),
    ] {
        let refused = person.client.send(method, path, Some(&body), &[]).await;
        let refused = refused.expect_problem(422, "validation");
        assert_eq!(refused.blamed(), blamed, "{path}: {refused}");
    }
}

#[tokio::test]
async fn addresses_follow_the_rules_of_their_country() {
    let person = Person::register(1).await;
    let add = async |changes: Value| {
        let mut body = postal("Rules");
        for (name, value) in changes.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        person.client.post("/v1/me/addresses", &body).await
    };
    for accepted in [
        json!({"country": "HK", "postcode": null, "region": null}),
        json!({"country": "AE", "postcode": "", "region": ""}),
        json!({"country": "GB", "postcode": "sw1y 4jh", "region": null}),
        json!({"country": "GB", "postcode": "SW1Y4JH"}),
    ] {
        add(accepted).await.expect(201);
    }
    for (refused, blamed) in [
        (json!({"country": "AU", "postcode": "ABCD"}), "postcode"),
        (json!({"country": "PT", "postcode": "hello"}), "postcode"),
        (json!({"country": "DE", "postcode": "1"}), "postcode"),
        (json!({"country": "US", "postcode": "not a zip"}), "postcode"),
        (json!({"postcode": "\u{feff}"}), "postcode"),
        (json!({"region": null}), "region"),
        (json!({"name": "\u{200b}"}), "name"),
        (json!({"city": "\u{3164}"}), "city"),
        (json!({"phone": "+"}), "phone"),
    ] {
        let reply = add(refused.clone()).await.expect_problem(422, "validation");
        assert_eq!(reply.blamed(), [blamed], "{refused}: {reply}");
    }
    let pasted = add(json!({"phone": "+1\u{a0}217\u{2013}555\u{2013}0100 ext. 5"}))
        .await
        .expect(201);
    assert_eq!(pasted.str("/phone"), "+1 217-555-0100 ext. 5");
}

#[tokio::test]
async fn an_email_address_follows_one_rule_everywhere() {
    let stranger = stranger(0);
    let body = |email: &str| json!({"email": email, "password": fresh_password(), "name": "Somebody"});
    let address = fresh_email();
    let name = address.split('@').next().unwrap_or_default();
    let opened = unhurried(
        &stranger,
        "/v1/auth/register",
        &body(&format!("{name}@b\u{fc}cher.example")),
    )
    .await;
    assert_eq!(
        opened.expect(201).str("/user/email"),
        format!("{name}@xn--bcher-kva.example")
    );
    let foreign = "j\u{fc}rgen@example.de";
    let refused = unhurried(&stranger, "/v1/auth/register", &body(foreign)).await;
    assert_eq!(refused.expect_problem(422, "validation").blamed(), ["email"]);
    let guest = stranger.guest().await;
    let mut order = submission("tok_ok");
    order["email"] = json!(foreign);
    let refused = guest
        .place("foreign", &order)
        .await
        .expect_problem(422, "validation");
    assert_eq!(refused.blamed(), ["email"], "{refused}");
    for anything in ["x", "", foreign, "nobody@example.org", &"x".repeat(10_000)] {
        let reply = unhurried(&stranger, "/v1/auth/password/forgot", &json!({"email": anything})).await;
        reply.expect(202);
    }
}
