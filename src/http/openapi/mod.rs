//! `/openapi.json`: what the shop's interface looks like, as an OpenAPI 3.1 document; and `/docs`, the page that shows it.
//!
//! Nothing is said twice: paths, policies and what a repetition means come from the table of routes, the shapes of bodies
//! from their types, the problems from `problem.rs`. What is left to say of a route stands in [`operations`], in a function
//! that is named as its handler: the table needs it to compile.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header::{self, HeaderName};
use axum::response::{IntoResponse, Response};

use super::etag::{IfNoneMatch, Tag};

mod document;
mod operation;
pub(super) mod operations;
pub(super) mod page;
mod problems;
#[cfg(test)]
mod tests;

pub(super) use operation::Operation;

/// Something that is sent as it stands, with its hash as its version.
struct Asset {
    media_type: &'static str,
    bytes: Bytes,
    version: u64,
}

impl Asset {
    fn new(media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            media_type,
            version: xxhash_rust::xxh3::xxh3_64(&bytes),
            bytes,
        }
    }

    fn respond(&self, condition: &IfNoneMatch) -> Response {
        let headers: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, self.media_type)];
        let tag = Tag::of_version(self.version);
        condition
            .not_modified(tag)
            .unwrap_or_else(|| (headers, [(header::ETAG, tag.header())], self.bytes.clone()).into_response())
    }
}

/// `GET /openapi.json`.
pub(super) async fn show(condition: IfNoneMatch) -> Response {
    static DOCUMENT: LazyLock<Asset> = LazyLock::new(|| {
        let document = document::document();
        Asset::new("application/json", document.to_string())
    });
    DOCUMENT.respond(&condition)
}
