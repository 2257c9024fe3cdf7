//! Compresses large replies for clients that accept it.
//!
//! Where a reply contains a secret beside text chosen by an attacker, its compressed length reveals the secret
//! (BREACH). So replies about credentials are never compressed.

use axum::http::{Response, header};
use hyper::body::Body;
use tower_http::CompressionLevel;
use tower_http::compression::{CompressionLayer, Predicate};

/// A smaller reply fits into a packet or two, and compression costs more than it saves.
pub const LEAST_BYTES: u64 = 1024;

/// The paths that handle credentials.
const CREDENTIALS: &str = "/v1/auth/";

/// In the extensions of a reply that contains a secret: it is never compressed.
#[derive(Clone, Copy, Debug)]
pub struct NeverCompressed;

/// Whether replies under this path contain secrets.
pub(crate) fn holds_secrets(path: &str) -> bool {
    path.starts_with(CREDENTIALS)
}

/// The layer.
pub(crate) fn layer() -> CompressionLayer<Worthwhile> {
    // A few per cent smaller would cost several times as much.
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(Worthwhile)
}

/// Which replies are compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worthwhile;

impl Predicate for Worthwhile {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        // A body of unknown length counts as long.
        let bytes = response.body().size_hint().exact().unwrap_or(u64::MAX);
        bytes >= LEAST_BYTES
            && response.extensions().get::<NeverCompressed>().is_none()
            && response
                .headers()
                .get(header::CONTENT_TYPE)
                .is_some_and(|media_type| is_text(media_type.as_bytes()))
    }
}

/// Text in any form; formats that are compressed already (pictures, fonts) are not.
fn is_text(media_type: &[u8]) -> bool {
    let essence = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii();
    essence.starts_with(b"text/")
        || essence == b"application/json"
        || essence == b"application/javascript"
        || essence == b"image/svg+xml"
        || essence.ends_with(b"+json")
}
