//! Fixed replies.

use axum::body::Bytes;
use axum::http::header::{self, HeaderName};
use axum::response::{IntoResponse, Response};

use super::etag::{IfNoneMatch, Tag};

/// A fixed reply with a hash as its version.
pub struct Asset {
    media_type: &'static str,
    bytes: Bytes,
    version: u64,
}

impl Asset {
    /// With its media type.
    pub fn new(media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            media_type,
            version: xxhash_rust::xxh3::xxh3_64(&bytes),
            bytes,
        }
    }

    /// The reply: 304 where the client has this version.
    pub fn respond(&self, condition: &IfNoneMatch) -> Response {
        let headers: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, self.media_type)];
        let tag = Tag::of_version(self.version);
        condition
            .not_modified(tag)
            .unwrap_or_else(|| (headers, [(header::ETAG, tag.header())], self.bytes.clone()).into_response())
    }
}
