//! `/images`: the pictures of the demo products, drawn on request.

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

/// Browsers cache a picture for a day before they revalidate it.
const CACHE_CONTROL: &str = "public, max-age=86400, stale-while-revalidate=604800";

/// Show a product's picture
#[utoipa::path(
    get,
    path = "/images/{file}",
    operation_id = "getImage",
    tag = "Catalogue",
    params(("file" = String, Path, description = "The product's identifier, and `.svg`.", example = "prd_000001.svg"), IfNoneMatch),
    responses((status = 200, description = "The picture.", body = String, content_type = "image/svg+xml", headers(("ETag")))),
)]
pub async fn show(
    State(front): State<SharedFront>,
    PathParameter(file): PathParameter,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (header::CACHE_CONTROL, CACHE_CONTROL),
        // A picture opened as a page runs and loads nothing.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        // Pages may be on another origin than pictures.
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
