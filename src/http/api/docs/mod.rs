//! `/openapi.json`, and `/docs`: the document as a page for reading and trying calls. Everything is part of this
//! binary.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa_swagger_ui::Config;

use crate::http::edge::problem::{self, Problem};
use crate::http::request::asset::Asset;
use crate::http::request::etag::IfNoneMatch;
use crate::http::request::front::SharedFront;
use crate::http::request::path::PathParameter;

/// The page runs only what this node serves, and talks to this node only. Swagger UI sets styles on its elements, and
/// has pictures in its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files that the page loads.
static FILES: LazyLock<[(&str, Asset); 3]> = LazyLock::new(|| {
    const CSS: &str = "text/css; charset=utf-8";
    const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
    [
        ("swagger-ui.css", Asset::new(CSS, embedded("swagger-ui.css"))),
        (
            "swagger-ui-bundle.js",
            Asset::new(JAVASCRIPT, embedded("swagger-ui-bundle.js")),
        ),
        ("page.js", Asset::new(JAVASCRIPT, include_str!("page.js"))),
    ]
});

/// Show this document
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getDocument",
    tag = "Service",
    params(IfNoneMatch),
    responses((status = 200, description = "OpenAPI 3.1.", body = Object, headers(("ETag")))),
)]
pub async fn document(State(front): State<SharedFront>, condition: IfNoneMatch) -> Response {
    front.document.respond(&condition)
}

/// Show this document as a page
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "getDocumentPage",
    tag = "Service",
    params(IfNoneMatch),
    responses((status = 200, description = "The page.", body = String, content_type = "text/html; charset=utf-8", headers(("ETag")))),
)]
pub async fn show(condition: IfNoneMatch) -> Response {
    static PAGE: LazyLock<Asset> =
        LazyLock::new(|| Asset::new("text/html; charset=utf-8", include_str!("page.html")));
    let headers = [(header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, PAGE.respond(&condition)).into_response()
}

/// Show a file that the page loads
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "getDocumentPageFile",
    tag = "Service",
    params(("file" = String, Path, description = "The file.", example = "page.js"), IfNoneMatch),
    responses((
        status = 200,
        description = "The file.",
        content((String = "text/css; charset=utf-8"), (String = "text/javascript; charset=utf-8")),
        headers(("ETag")),
    )),
)]
pub async fn file(PathParameter(name): PathParameter, condition: IfNoneMatch) -> Result<Response, Problem> {
    FILES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, asset)| asset.respond(&condition))
        .ok_or_else(|| Problem::new(problem::NOT_FOUND))
}

/// A file of Swagger UI; a test checks that it exists.
fn embedded(name: &str) -> Bytes {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::<'static>::default()));
    match file.ok().flatten().map(|file| file.bytes) {
        Some(Cow::Borrowed(bytes)) => Bytes::from_static(bytes),
        Some(Cow::Owned(bytes)) => Bytes::from(bytes),
        None => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_page_loads_only_its_own_files() {
        let page = include_str!("page.html");
        for outside in ["http://", "https://", "//cdn", "style=", "<style", "onload"] {
            assert!(!page.contains(outside), "{outside}");
        }
        let names: Vec<_> = page
            .split("\"/docs/")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert_eq!(names.len(), FILES.len());
        for name in names {
            let response = file(PathParameter(name.to_owned()), IfNoneMatch::Absent)
                .await
                .unwrap();
            let body = axum::body::to_bytes(response.into_body(), usize::MAX)
                .await
                .unwrap();
            assert!(body.len() > 100, "{name}");
        }
        let unknown = file(PathParameter("index.html".to_owned()), IfNoneMatch::Absent).await;
        assert_eq!(unknown.unwrap_err().kind(), problem::NOT_FOUND);
    }
}
