//! The names of the headers that this interface defines.

use axum::http::HeaderName;

/// Names a request, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Opens a guest's cart.
pub const CART_TOKEN: HeaderName = HeaderName::from_static("cart-token");
/// Identifies a request, so that repeating it has no further effect.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks a reply that was given before under the same idempotency key.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// How many requests are allowed in a window.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
/// How many of them are left.
pub const RATE_LIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
/// Seconds until the next window.
pub const RATE_LIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
