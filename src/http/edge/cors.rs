//! Which pages of other origins may call the shop from a browser.

use std::time::Duration;

use axum::http::Method;
use axum::http::header::{self, HeaderName, HeaderValue};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use super::headers::{
    CART_TOKEN, IDEMPOTENCY_KEY, RATE_LIMIT, RATE_LIMIT_REMAINING, RATE_LIMIT_RESET, REPLAYED, REQUEST_ID,
};
use crate::config::ANY_ORIGIN;
use crate::traces::TRACEPARENT;

/// How long a browser may remember what it may do: as long as any of them does.
const REMEMBERED: Duration = Duration::from_secs(2 * 60 * 60);

const METHODS: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// What a page may send, beyond what any page may.
const SENT: [HeaderName; 8] = [
    header::AUTHORIZATION,
    CART_TOKEN,
    IDEMPOTENCY_KEY,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::CONTENT_TYPE,
    REQUEST_ID,
    TRACEPARENT,
];

/// What a page may read, beyond what any page may.
const READ: [HeaderName; 8] = [
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    REQUEST_ID,
    REPLAYED,
    RATE_LIMIT,
    RATE_LIMIT_REMAINING,
    RATE_LIMIT_RESET,
];

/// The layer for these origins; `None` where there are none, and browsers keep other origins' pages out.
///
/// Pages of named origins may send what the browser holds for the shop (credentials); with `"*"` they may not, so that no
/// page of a stranger acts for its visitor.
pub fn layer(origins: &[String]) -> Option<CorsLayer> {
    let layer = CorsLayer::new()
        .allow_methods(METHODS)
        .allow_headers(SENT)
        .expose_headers(READ)
        .max_age(REMEMBERED);
    if origins.iter().any(|origin| origin == ANY_ORIGIN) {
        return Some(layer.allow_origin(Any));
    }
    // The configuration has made sure that each is one.
    let origins: Vec<HeaderValue> = origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok())
        .collect();
    (!origins.is_empty()).then(|| {
        layer
            .allow_origin(AllowOrigin::list(origins))
            .allow_credentials(true)
    })
}
