//! `/`: the console, a single page that shows the JSON replies. It is part of this binary.

use std::sync::LazyLock;

use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::digest::sha256;

const PAGE: &str = include_str!("console.html");

/// Allows the page's own script and style and nothing else, and requests to its own node only.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let [style, script] = ["style", "script"].map(|tag| STANDARD.encode(sha256(content_of(tag).as_bytes())));
    format!(
        "default-src 'none'; connect-src 'self'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The content of the page's only element with this name.
fn content_of(tag: &str) -> &'static str {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    PAGE.split_once(&open)
        .and_then(|(_, rest)| rest.split_once(&close))
        .map_or("", |(content, _)| content)
}

/// The page.
pub(super) async fn show() -> Response {
    page(StatusCode::OK)
}

/// The same page without a token: it asks for one.
pub(super) fn ask_for_token() -> Response {
    let mut response = page(StatusCode::UNAUTHORIZED);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Whether a browser asks.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

fn page(status: StatusCode) -> Response {
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (status, headers, PAGE).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_its_policy_names_what_stands_in_it() {
        assert!(!content_of("style").is_empty() && !content_of("script").is_empty());
        assert_eq!(PAGE.matches("<script").count(), 1);
        for outside in ["http://", "https://", "src=", "@import", "style=", "innerHTML"] {
            assert!(!PAGE.contains(outside), "{outside}");
        }
        assert!(POLICY.contains("script-src 'sha256-"));
    }
}
