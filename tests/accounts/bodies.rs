//! Malformed bodies (too deep, too large, not JSON) to every route of the table that accepts one.

use std::time::Instant;

use serde_json::Value;
use souk::http::request::policy::Policy;
use souk::http::routes::table;

use crate::shared::{NODES, Person, admin, cluster};
use crate::strangers::{LIMIT, nothing_leaks};
use crate::support::client::Reply;
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
        // A logout has no body; every other route that writes has one.
        if !matches!(route.method.as_str(), "POST" | "PUT" | "PATCH") || route.path == "/v1/auth/logout" {
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
