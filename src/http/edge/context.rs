//! The context of a request: its id and its deadline.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::HeaderValue;
use axum::http::request::Parts;

use super::headers::REQUEST_ID;
use super::settings::HttpSettings;

/// Longest request id accepted from a client, in bytes.
pub const REQUEST_ID_LIMIT: usize = 128;

/// The context of a request beyond its content.
#[derive(Clone, Debug)]
pub struct Context {
    /// Identifies the request in logs, on every node, and in problems.
    pub request_id: Arc<str>,
    /// Nobody waits for the reply after this.
    pub deadline: Instant,
}

impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self {
            // Only a router outside of `wrap` has none.
            request_id: fresh_request_id(),
            deadline: Instant::now() + HttpSettings::default().request_timeout,
        }))
    }
}

/// The id of the client, where it is well-formed, or a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> Arc<str> {
    headers
        .get(REQUEST_ID)
        .and_then(|value| visible_ascii(value, REQUEST_ID_LIMIT))
        .map_or_else(fresh_request_id, Arc::from)
}

fn fresh_request_id() -> Arc<str> {
    Arc::from(uuid::Uuid::now_v7().simple().to_string())
}

/// The text of a header that holds from one to `limit` visible ASCII characters and nothing else.
pub fn visible_ascii(value: &HeaderValue, limit: usize) -> Option<&str> {
    let bytes = value.as_bytes();
    let well_formed = !bytes.is_empty() && bytes.len() <= limit && bytes.iter().all(u8::is_ascii_graphic);
    well_formed.then(|| value.to_str().ok()).flatten()
}
