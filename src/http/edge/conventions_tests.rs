//! What every reply has in common.

use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::routing::{get, post};
use tower::ServiceExt;

use super::*;

fn router() -> Router {
    let router = Router::new()
        .route("/fine", get(async || "fine"))
        .route("/write", post(async || "written").delete(async || "gone"))
        .route(
            "/panic",
            get(async || {
                if true {
                    panic!("a secret of the shop");
                }
            }),
        )
        .route("/never", get(std::future::pending::<()>));
    wrap(
        router,
        HttpSettings {
            request_timeout: Duration::from_millis(50),
            uri_limit: 100,
            ..HttpSettings::default()
        },
    )
}

async fn send(method: &str, path: &str, request_id: Option<&str>) -> (Response, serde_json::Value) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(id) = request_id {
        request = request.header(REQUEST_ID, id);
    }
    let response = router()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let value = serde_json::from_slice(&bytes).unwrap_or_default();
    (Response::from_parts(parts, bytes.into()), value)
}

#[tokio::test]
async fn only_well_formed_request_ids_are_kept() {
    let (response, _) = send("GET", "/fine", Some("abc-1")).await;
    assert_eq!(response.headers()[REQUEST_ID], "abc-1");
    let long = "x".repeat(context::REQUEST_ID_LIMIT + 1);
    for bad in [None, Some(""), Some("a b"), Some(long.as_str())] {
        let (response, _) = send("GET", "/fine", bad).await;
        assert_eq!(response.headers()[REQUEST_ID].len(), 32, "{bad:?}");
    }
}

#[tokio::test]
async fn every_error_is_a_problem_that_names_its_request() {
    let long = format!("/fine?{}", "x".repeat(100));
    for (method, path, status, name) in [
        ("GET", "/nowhere", 404, "not-found"),
        ("PUT", "/write", 405, "method-not-allowed"),
        ("GET", "/panic", 500, "internal"),
        ("GET", "/never", 503, "busy"),
        ("GET", long.as_str(), 414, "uri-too-long"),
    ] {
        let (response, body) = send(method, path, Some("r-9")).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(body["type"], format!("{}{name}", problem::TYPE_BASE));
        assert_eq!(body["instance"], "r-9");
        assert_eq!(response.headers()[REQUEST_ID], "r-9");
        assert_eq!(response.headers()[header::CONTENT_TYPE], problem::MEDIA_TYPE);
        assert!(!body.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn the_other_methods_are_named() {
    let (response, _) = send("PUT", "/write", None).await;
    assert_eq!(response.headers()[header::ALLOW], "POST,DELETE");
    let (response, _) = send("OPTIONS", "/write", None).await;
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.headers()[header::ALLOW], "POST,DELETE");
}

#[tokio::test]
async fn head_has_the_head_of_get_and_no_body() {
    for (path, status) in [("/fine", 200), ("/nowhere", 404)] {
        let (response, body) = send("HEAD", path, None).await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(body, serde_json::Value::Null);
        assert_ne!(response.headers()[header::CONTENT_LENGTH], "0");
    }
}
