//! Conventions of every reply.

use crate::shared::{all_products, cluster};

#[tokio::test]
async fn a_malformed_request_id_is_replaced() {
    let client = cluster().client(0);
    let kept = client
        .send("GET", "/v1/categories", None, &[("x-request-id", "order-desk-7")])
        .await
        .expect(200);
    assert_eq!(kept.header("x-request-id"), Some("order-desk-7"));
    let long = "x".repeat(500);
    let mut seen = std::collections::BTreeSet::new();
    for bad in ["", "two words", &long] {
        let reply = client
            .send("GET", "/v1/nothing", None, &[("x-request-id", bad)])
            .await
            .expect_problem(404, "not-found");
        let id = reply.header("x-request-id").unwrap_or_default().to_owned();
        assert!(id != bad && !id.is_empty(), "{bad:?} was answered with {id:?}");
        assert!(seen.insert(id), "every request has an id of its own");
    }
}

#[tokio::test]
async fn an_unsupported_method_names_the_supported_ones() {
    let client = cluster().client(1);
    for (path, allowed) in [
        ("/v1/carts", "POST"),
        ("/v1/orders", "POST,GET,HEAD"),
        ("/v1/categories", "GET,HEAD"),
    ] {
        let refused = client
            .send("PATCH", path, None, &[])
            .await
            .expect_problem(405, "method-not-allowed");
        let mut named: Vec<&str> = refused
            .header("allow")
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .collect();
        let mut expected: Vec<&str> = allowed.split(',').collect();
        named.sort_unstable();
        expected.sort_unstable();
        assert_eq!(named, expected, "{path}");
        let options = client.send("OPTIONS", path, None, &[]).await.expect(204);
        assert!(options.header("allow").is_some(), "OPTIONS {path}");
    }
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let client = cluster().client(2);
    let product = &all_products(&client, "&sort=newest").await[0];
    let path = format!("/v1/products/{}", product["id"].as_str().unwrap_or_default());
    let (head, get) = (
        client.send("HEAD", &path, None, &[]).await.expect(200),
        client.get(&path).await.expect(200),
    );
    assert_eq!(
        (head.text.as_str(), head.header("etag")),
        ("", get.header("etag"))
    );
    assert_eq!(head.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn replies_are_json_that_nobody_else_keeps() {
    let client = cluster().client(0).guest().await;
    let cart = client.get_cart().await.expect(200);
    assert_eq!(cart.header("content-type"), Some("application/json"));
    assert_eq!(cart.header("x-content-type-options"), Some("nosniff"));
    let cached = cart.header("cache-control").unwrap_or_default();
    assert!(
        cached.contains("private") || cached.contains("no-store"),
        "{cached:?}"
    );
    let traced = client
        .send(
            "GET",
            "/v1/cart",
            None,
            &[(
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            )],
        )
        .await;
    assert_eq!(traced.status, 200, "{traced}");
}
