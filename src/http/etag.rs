//! Versions as entity tags: `ETag: "7"`, `If-Match`, `If-None-Match` (RFC 9110, sections 8.8 and 13.1).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

/// The entity tag of a version.
pub fn etag(version: u64) -> HeaderValue {
    let mut buffer = String::with_capacity(22);
    buffer.push('"');
    buffer.push_str(&version.to_string());
    buffer.push('"');
    // Digits between quotes always make a header.
    HeaderValue::try_from(buffer).unwrap_or(HeaderValue::from_static("\"\""))
}

/// The condition of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// None, or `*`: whatever the version.
    Any,
    /// One of these versions. Empty where no tag of the client's can be one of ours.
    OneOf(Vec<u64>),
}

impl IfMatch {
    /// Whether a resource that stands at `version` may be changed.
    pub fn allows(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }
}

/// The condition of a read: show it only if it is not the one that the client has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfNoneMatch {
    /// None.
    Absent,
    /// `*`: the client has one, whichever.
    Any,
    /// The client has these versions.
    OneOf(Vec<u64>),
}

impl IfNoneMatch {
    /// The reply to a client that has this version already.
    pub fn not_modified(&self, version: u64) -> Option<Response> {
        let has_it = match self {
            Self::Absent => false,
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        };
        has_it.then(|| (StatusCode::NOT_MODIFIED, [(header::ETAG, etag(version))]).into_response())
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Strong comparison: a weak tag matches nothing.
        Ok(match tags(&parts.headers, &header::IF_MATCH, false) {
            None | Some(Tags::Any) => Self::Any,
            Some(Tags::OneOf(versions)) => Self::OneOf(versions),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(match tags(&parts.headers, &header::IF_NONE_MATCH, true) {
            None => Self::Absent,
            Some(Tags::Any) => Self::Any,
            Some(Tags::OneOf(versions)) => Self::OneOf(versions),
        })
    }
}

enum Tags {
    Any,
    OneOf(Vec<u64>),
}

/// The versions that a header names. Tags that are none of ours are left out: they match nothing.
fn tags(headers: &HeaderMap, name: &HeaderName, weak_too: bool) -> Option<Tags> {
    let mut versions = Vec::new();
    let mut present = false;
    for value in headers.get_all(name) {
        present = true;
        // Commas within foreign tags split them into pieces that match nothing either.
        for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if tag == "*" {
                return Some(Tags::Any);
            }
            let strong = match tag.strip_prefix("W/") {
                Some(weak) if weak_too => weak,
                Some(_) => continue,
                None => tag,
            };
            versions.extend(version(strong));
        }
    }
    present.then_some(Tags::OneOf(versions))
}

fn version(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    // Only the form that we write: no sign, no zeros in front.
    let version: u64 = digits.parse().ok()?;
    (version.to_string() == digits).then_some(version)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn conditions(values: &[&str]) -> (IfMatch, IfNoneMatch) {
        let mut request = Request::builder();
        for value in values {
            request = request
                .header(header::IF_MATCH, *value)
                .header(header::IF_NONE_MATCH, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        (
            IfMatch::from_request_parts(&mut parts, &()).await.unwrap(),
            IfNoneMatch::from_request_parts(&mut parts, &()).await.unwrap(),
        )
    }

    #[tokio::test]
    async fn conditions_are_read_as_the_standard_says() {
        let one_of = |versions: &[u64]| IfMatch::OneOf(versions.to_vec());
        assert_eq!(conditions(&[]).await, (IfMatch::Any, IfNoneMatch::Absent));
        assert_eq!(conditions(&["*"]).await, (IfMatch::Any, IfNoneMatch::Any));
        assert_eq!(conditions(&["\"7\""]).await.0, one_of(&[7]));
        assert_eq!(conditions(&["\"7\", \"8\"", "\"9\""]).await.0, one_of(&[7, 8, 9]));
        for none_of_ours in [
            "7",
            "\"x\"",
            "\"+7\"",
            "\"07\"",
            "\"7",
            "",
            "\"99999999999999999999\"",
        ] {
            assert_eq!(conditions(&[none_of_ours]).await.0, one_of(&[]), "{none_of_ours}");
        }
        let weak = conditions(&["W/\"7\""]).await;
        assert_eq!(weak, (one_of(&[]), IfNoneMatch::OneOf(vec![7])));
    }

    #[test]
    fn a_version_that_the_client_has_is_not_sent_again() {
        assert!(IfNoneMatch::Absent.not_modified(1).is_none());
        assert!(IfNoneMatch::OneOf(vec![2]).not_modified(1).is_none());
        for condition in [IfNoneMatch::Any, IfNoneMatch::OneOf(vec![2, 1])] {
            let response = condition.not_modified(1).unwrap();
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(response.headers()[header::ETAG], "\"1\"");
        }
    }

    #[test]
    fn a_tag_reads_back_as_its_version() {
        for number in [0, 1, 10, u64::MAX] {
            assert_eq!(version(etag(number).to_str().unwrap()), Some(number));
        }
    }
}
