//! What stands between a browser and the handlers: origins, compression, headers, addresses, the access log.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::header::{self, HeaderMap};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower::ServiceExt;

use crate::http::edge::client_address::{ClientAddress, TrustedProxies};
use crate::http::edge::conventions::{ACCESS, wrap};
use crate::http::edge::headers::REQUEST_ID;
use crate::http::edge::problem::{self, Problem};
use crate::http::edge::settings::HttpSettings;
use crate::traces::captured::CapturedLog;

const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];
const ORIGIN: &str = "https://shop.example";

fn json(bytes: usize) -> Response {
    (JSON, "1".repeat(bytes)).into_response()
}

fn router(settings: HttpSettings) -> Router {
    let router = Router::new()
        .route("/large", get(async || json(5_000)))
        .route("/small", get(async || json(1_023)))
        .route("/cart/{id}", post(async || json(10)))
        .route("/v1/auth/login", post(async || json(5_000)))
        .route(
            "/picture",
            get(async || ([(header::CONTENT_TYPE, "image/svg+xml")], "x".repeat(2_000))),
        )
        .route(
            "/photo",
            get(async || ([(header::CONTENT_TYPE, "image/jpeg")], "x".repeat(2_000))),
        )
        .route("/missing", get(async || Problem::new(problem::NOT_FOUND)))
        .route(
            "/who",
            get(async |ClientAddress(address): ClientAddress| address.to_string()),
        );
    wrap(router, settings)
}

fn with_origins(origins: &[&str]) -> HttpSettings {
    HttpSettings {
        cors_origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
        ..HttpSettings::default()
    }
}

async fn send(settings: &HttpSettings, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    router(settings.clone()).oneshot(request).await.unwrap()
}

fn listed(headers: &HeaderMap, name: header::HeaderName) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.to_str().unwrap().split(','))
        .map(|one| one.trim().to_ascii_lowercase())
        .collect()
}

#[tokio::test]
async fn other_origins_are_kept_out_unless_they_are_named() {
    let origin = [("origin", ORIGIN)];
    for (settings, answer) in [
        (with_origins(&[]), None),
        (with_origins(&["https://other.example"]), None),
        (with_origins(&[ORIGIN, "https://other.example"]), Some(ORIGIN)),
        (with_origins(&["*"]), Some("*")),
    ] {
        for (path, status) in [("/small", 200), ("/missing", 404)] {
            let reply = send(&settings, "GET", path, &origin).await;
            assert_eq!(reply.status(), status);
            let headers = reply.headers();
            let allowed = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(
                allowed.map(|value| value.to_str().unwrap()),
                answer,
                "{settings:?}"
            );
            let credentials = headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
            assert!(!credentials || answer != Some("*"), "never with every origin");
            if answer.is_some() {
                let exposed = listed(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS);
                for name in [
                    "etag",
                    "location",
                    "retry-after",
                    "x-request-id",
                    "idempotency-replayed",
                    "ratelimit-limit",
                    "ratelimit-remaining",
                    "ratelimit-reset",
                ] {
                    assert!(exposed.iter().any(|one| one == name), "{name}: {exposed:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_preflight_is_answered_in_full_and_remembered() {
    let asked = [
        ("origin", ORIGIN),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "cart-token,idempotency-key"),
        ("x-request-id", "r-1"),
    ];
    let reply = send(&with_origins(&[ORIGIN]), "OPTIONS", "/cart/1", &asked).await;
    assert!(reply.status().is_success());
    let headers = reply.headers();
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], ORIGIN);
    assert_eq!(headers[header::ACCESS_CONTROL_MAX_AGE], "7200");
    assert_eq!(headers[REQUEST_ID], "r-1");
    assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY");
    let methods = listed(headers, header::ACCESS_CONTROL_ALLOW_METHODS);
    for method in ["get", "post", "put", "patch", "delete"] {
        assert!(methods.iter().any(|one| one == method), "{method}: {methods:?}");
    }
    let allowed = listed(headers, header::ACCESS_CONTROL_ALLOW_HEADERS);
    for name in [
        "authorization",
        "cart-token",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "content-type",
        "x-request-id",
        "traceparent",
    ] {
        assert!(allowed.iter().any(|one| one == name), "{name}: {allowed:?}");
    }
    let varies = listed(headers, header::VARY);
    assert!(varies.iter().any(|one| one == "origin"), "{varies:?}");
    let refused = send(&with_origins(&[]), "OPTIONS", "/cart/1", &asked).await;
    assert!(
        !refused
            .headers()
            .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    );
}

#[tokio::test]
async fn only_large_text_without_credentials_is_compressed() {
    let settings = HttpSettings::default();
    let accept = [("accept-encoding", "gzip, br")];
    for (method, path, compressed) in [
        ("GET", "/large", true),
        ("GET", "/picture", true),
        ("GET", "/small", false),
        ("GET", "/photo", false),
        ("GET", "/missing", false),
        ("POST", "/v1/auth/login", false),
        ("POST", "/cart/1", false),
    ] {
        let reply = send(&settings, method, path, &accept).await;
        assert_eq!(
            reply.headers().contains_key(header::CONTENT_ENCODING),
            compressed,
            "{path}"
        );
        let varies = listed(reply.headers(), header::VARY);
        assert_eq!(
            varies.iter().any(|one| one == "accept-encoding"),
            compressed,
            "{path}"
        );
    }
    for (accepted, encoding) in [
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("identity", None),
        ("", None),
    ] {
        let reply = send(&settings, "GET", "/large", &[("accept-encoding", accepted)]).await;
        let found = reply.headers().get(header::CONTENT_ENCODING).cloned();
        assert_eq!(found.as_ref().map(|value| value.to_str().unwrap()), encoding);
        let body = axum::body::to_bytes(reply.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body.len() < 5_000, encoding.is_some());
    }
    let off = HttpSettings {
        compression: false,
        ..settings.clone()
    };
    let inside = settings.internal();
    assert!(!inside.compression && inside.cors_origins.is_empty());
    assert!(
        !send(&off, "GET", "/large", &accept)
            .await
            .headers()
            .contains_key(header::CONTENT_ENCODING)
    );
}

#[tokio::test]
async fn every_reply_has_security_headers() {
    let settings = HttpSettings {
        uri_limit: 50,
        ..HttpSettings::default()
    };
    let long = format!("/{}", "x".repeat(60));
    for path in ["/small", "/missing", "/nowhere", long.as_str(), "/v1/auth/login"] {
        let reply = send(&settings, "GET", path, &[]).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(reply.headers()[name], value, "{path}");
        }
        assert!(
            !reply.headers().contains_key("strict-transport-security"),
            "plain HTTP"
        );
    }
}

async fn who(settings: &HttpSettings, peer: &str, forwarded: &str) -> String {
    let peer: SocketAddr = peer.parse().unwrap();
    let request = Request::get("/who")
        .header("x-forwarded-for", forwarded)
        .extension(ConnectInfo(peer))
        .body(Body::empty())
        .unwrap();
    let reply = router(settings.clone()).oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(reply.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn handlers_get_the_address_of_the_client() {
    let settings = HttpSettings {
        trusted_proxies: TrustedProxies::new(&["10.0.0.0/8".parse().unwrap()]),
        ..HttpSettings::default()
    };
    assert_eq!(who(&settings, "10.0.0.1:99", "203.0.113.9").await, "203.0.113.9");
    assert_eq!(
        who(&settings, "198.51.100.1:99", "203.0.113.9").await,
        "198.51.100.1"
    );
}

/// What is logged of one request, under a filter.
async fn logged(filter: &str) -> Vec<serde_json::Value> {
    let (log, guard) = CapturedLog::start(filter);
    let request = Request::post("/cart/crt_secret?q=searched")
        .header("x-request-id", "r-1")
        .header(
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        .header("x-forwarded-for", "203.0.113.9")
        .extension(ConnectInfo::<SocketAddr>("198.51.100.1:99".parse().unwrap()))
        .body(Body::empty())
        .unwrap();
    router(HttpSettings::default()).oneshot(request).await.unwrap();
    drop(guard);
    let text = log.text();
    assert!(
        !text.contains("crt_secret") && !text.contains("searched"),
        "{text}"
    );
    log.lines()
        .into_iter()
        .filter(|line| line["target"] == ACCESS)
        .collect()
}

#[tokio::test]
async fn requests_appear_in_the_access_log() {
    let lines = logged("info").await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    for (field, value) in [
        ("request_id", "r-1"),
        ("method", "POST"),
        ("route", "/cart/{id}"),
        ("client", "198.51.100.1"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("level", "INFO"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &10.into()));
    assert!(
        line["duration_ms"].as_f64().is_some_and(|time| time >= 0.0),
        "{line}"
    );
    assert!(logged(&crate::config::Log::default().filter).await.is_empty());
}
