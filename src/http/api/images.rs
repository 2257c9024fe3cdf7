//! `/images`: the pictures of the demo's products, drawn when asked for.

use axum::extract::State;
use axum::http::header::{self, HeaderName};
use axum::response::{IntoResponse, Response};

use crate::http::edge::problem::{self, Problem};
use crate::http::edge::security::RESOURCE_POLICY;
use crate::http::request::etag::{IfNoneMatch, Tag};
use crate::http::request::front::SharedFront;
use crate::http::request::path::PathParameter;
use souk_demo::picture;
use souk_domain::ProductId;

/// Browsers keep a picture for a day, and ask then whether it is still the same.
const CACHE_CONTROL: &str = "public, max-age=86400, stale-while-revalidate=604800";

/// `GET /images/{id}.svg`.
pub async fn show(
    State(front): State<SharedFront>,
    PathParameter(file): PathParameter,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, CACHE_CONTROL),
        // Opened as a page of its own, a picture runs nothing and loads nothing.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        // A shop's pages may stand on another origin than its pictures.
        (RESOURCE_POLICY, "cross-origin"),
    ];
    let not_found = || Problem::new(problem::NOT_FOUND);
    let id = file
        .strip_suffix(".svg")
        .and_then(|id| ProductId::parse(id).ok())
        .ok_or_else(not_found)?;
    let product = front.catalogue_cache.product(&id).await?.ok_or_else(not_found)?;
    let tag = Tag::of_version(product.version);
    if let Some(response) = condition.not_modified(tag) {
        return Ok(response);
    }
    Ok((HEADERS, [(header::ETAG, tag.header())], picture::svg(&product)).into_response())
}
