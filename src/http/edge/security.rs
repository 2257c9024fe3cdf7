//! Security headers of every reply. A header that a handler sets itself (for a page, a picture) stays.

use axum::http::HeaderMap;
use axum::http::header::{self, HeaderName, HeaderValue};

/// In the extensions of a request that came over TLS of this listener.
#[derive(Clone, Copy, Debug)]
pub struct Encrypted;

/// Which origins may embed a reply.
pub const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The headers of every reply: data opened as a page loads and runs nothing, can't be framed, and sends no referrer.
static ALWAYS: [(HeaderName, HeaderValue); 6] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    (
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    ),
];

/// Two years, as browsers' preload lists ask for. Without subdomains: they don't belong to this listener.
const STRICT_TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// Adds the missing headers to a reply.
pub(crate) fn complete(headers: &mut HeaderMap, encrypted: bool) {
    for (name, value) in &ALWAYS {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    if encrypted {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_headers_win_over_the_defaults() {
        let own = HeaderValue::from_static("default-src 'self'");
        let mut headers = HeaderMap::from_iter([(header::CONTENT_SECURITY_POLICY, own.clone())]);
        complete(&mut headers, false);
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], own);
        assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        assert_eq!(headers[RESOURCE_POLICY], "same-origin");
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
        complete(&mut headers, true);
        assert_eq!(headers[header::STRICT_TRANSPORT_SECURITY], "max-age=63072000");
        assert_eq!(headers.len(), ALWAYS.len() + 1, "nothing is there twice");
    }
}
