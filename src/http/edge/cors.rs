//! CORS: which pages of other origins may call the shop from a browser.

use std::time::Duration;

use axum::http::Method;
use axum::http::header::{self, HeaderName, HeaderValue};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use super::headers::{
    CART_TOKEN, IDEMPOTENCY_KEY, RATE_LIMIT, RATE_LIMIT_REMAINING, RATE_LIMIT_RESET, REPLAYED, REQUEST_ID,
};
use crate::config::ANY_ORIGIN;
use crate::traces::TRACEPARENT;

/// How long a browser may cache a preflight: the longest that any browser allows.
const REMEMBERED: Duration = Duration::from_secs(2 * 60 * 60);

const METHODS: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// Request headers allowed beyond those that are always allowed.
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

/// Response headers exposed beyond those that are always exposed.
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

/// The layer for these origins; `None` without origins: browsers then keep other origins out.
///
/// Pages of named origins may send credentials that the browser holds for the shop; with `"*"` they may not, so that no
/// foreign page acts for its visitor.
pub fn layer(origins: &[String]) -> Option<CorsLayer> {
    let layer = CorsLayer::new()
        .allow_methods(METHODS)
        .allow_headers(SENT)
        .expose_headers(READ)
        .max_age(REMEMBERED);
    if origins.iter().any(|origin| origin == ANY_ORIGIN) {
        return Some(layer.allow_origin(Any));
    }
    // The configuration has validated each.
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
