//! Browsing the catalogue.

use axum::http::header;
use serde_json::{Value, json};

use super::client::Client;
use crate::http::edge::problem;

#[tokio::test]
async fn the_catalogue_is_browsed_page_by_page() {
    let client = Client::new().await;
    let first = client.send("GET", "/v1/products?limit=1", None, &[]).await;
    assert_eq!(
        (&first.body["total"], &first.body["items"][0]["id"]),
        (&json!(2), &json!("prd_a"))
    );
    assert_eq!(
        (&first.body["facets"], &first.body["suggestion"]),
        (&json!({}), &Value::Null)
    );
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = client
        .send("GET", &format!("/v1/products?limit=5&cursor={cursor}"), None, &[])
        .await;
    assert_eq!(
        (&second.body["items"][0]["id"], &second.body["next_cursor"]),
        (&json!("prd_b"), &Value::Null)
    );
    let foreign = client
        .send("GET", &format!("/v1/products?q=x&cursor={cursor}"), None, &[])
        .await;
    assert_eq!((foreign.status, foreign.problem()), (400, "bad-cursor"));
    assert_eq!(
        client
            .send("GET", "/v1/products?limit=0", None, &[])
            .await
            .problem(),
        "validation"
    );

    let shown = client.send("GET", "/v1/products/prd_a", None, &[]).await;
    assert_eq!(shown.status, 200);
    assert!(shown.header("etag").unwrap().starts_with("\"3."), "its version");
    assert_eq!(shown.body["skus"][0]["available"], 4);
    assert_eq!(shown.body["rating"], json!({"average": null, "count": 0}));
    for path in [
        "/v1/products/prd_c",
        "/v1/products/..%2f",
        "/v1/products/%ff",
        "/images/prd_a.png",
        "/images/x.svg",
    ] {
        let missing = client.send("GET", path, None, &[]).await;
        assert_eq!((missing.status, missing.problem()), (404, "not-found"), "{path}");
    }
    let picture = client.send("GET", "/images/prd_a.svg", None, &[]).await;
    assert_eq!(picture.header("content-type"), Some("image/svg+xml"));
    assert!(picture.header("cache-control").unwrap().contains("max-age"));
    assert_eq!(
        client.send("GET", "/v1/categories", None, &[]).await.body,
        json!({"items": []})
    );
}
