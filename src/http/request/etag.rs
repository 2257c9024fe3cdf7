//! Entity tags: `ETag: "7.0123456789abcdef"`, `If-Match`, `If-None-Match` (RFC 9110, sections 8.8 and 13.1).
//!
//! A tag begins with the version, which alone counts for writes. The rest is a hash of the body, which counts for
//! reads: a version does not cover data of others (prices and titles in a cart, availability), nor the owner.

use std::convert::Infallible;
use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{Object, Type};
use xxhash_rust::xxh3::xxh3_64;

use crate::http::edge::problem::Problem;
use crate::http::request::parameter::parameter;

/// An entity tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    version: u64,
    shown: Option<u64>,
}

impl Tag {
    /// The tag of a resource that is covered by its version.
    pub fn of_version(version: u64) -> Self {
        Self { version, shown: None }
    }

    /// The tag of the body of a resource at `version`. The hash is the same on every node and in every build.
    pub fn of_body(version: u64, body: &[u8]) -> Self {
        Self {
            version,
            shown: Some(xxh3_64(body)),
        }
    }

    /// As a header.
    pub fn header(self) -> HeaderValue {
        // Digits and a dot between quotes always make a header.
        HeaderValue::try_from(self.to_string()).unwrap_or(HeaderValue::from_static("\"\""))
    }

    /// Parses a tag in the one form that the shop writes: no sign, no leading zeros.
    fn parse(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('"')?.strip_suffix('"')?;
        let (version, shown) = match inner.split_once('.') {
            Some((version, shown)) => (version, Some(u64::from_str_radix(shown, 16).ok()?)),
            None => (inner, None),
        };
        let tag = Self {
            version: version.parse().ok()?,
            shown,
        };
        (tag.to_string() == text).then_some(tag)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shown {
            Some(shown) => write!(f, "\"{}.{shown:016x}\"", self.version),
            None => write!(f, "\"{}\"", self.version),
        }
    }
}

/// The condition of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// None, or `*`: any version.
    Any,
    /// One of these versions. Empty where no tag was written by the shop.
    OneOf(Vec<u64>),
}

impl IfMatch {
    /// Whether the condition allows changing a resource at `version`.
    pub fn allows(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }

    /// Checks the condition against the current version, which is read only where there is a condition: for changes
    /// that don't compare versions themselves.
    ///
    /// # Errors
    /// 412 where the condition does not hold, and the errors of `current`.
    pub async fn check(&self, current: impl AsyncFnOnce() -> Result<u64, Problem>) -> Result<(), Problem> {
        if *self == Self::Any {
            return Ok(());
        }
        let version = current().await?;
        if self.allows(version) {
            Ok(())
        } else {
            Err(Problem::version_conflict(version))
        }
    }
}

/// The condition of a read: reply with the body only if the client does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfNoneMatch {
    /// None.
    Absent,
    /// `*`: any version.
    Any,
    /// The client has these versions.
    OneOf(Vec<Tag>),
}

impl IfNoneMatch {
    /// The reply to a client that has this version.
    pub fn not_modified(&self, tag: Tag) -> Option<Response> {
        let has_it = match self {
            Self::Absent => false,
            Self::Any => true,
            Self::OneOf(tags) => tags.contains(&tag),
        };
        has_it.then(|| (StatusCode::NOT_MODIFIED, [(header::ETAG, tag.header())]).into_response())
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Strong comparison: a weak tag matches nothing.
        Ok(match tags(&parts.headers, &header::IF_MATCH, false) {
            IfNoneMatch::Absent | IfNoneMatch::Any => Self::Any,
            IfNoneMatch::OneOf(tags) => Self::OneOf(tags.iter().map(|tag| tag.version).collect()),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(tags(&parts.headers, &header::IF_NONE_MATCH, true))
    }
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description =
            "Entity tags, or `*`: 412 `version-conflict` where none of them has the current version.";
        vec![condition("If-Match", description, "*")]
    }
}

impl IntoParams for IfNoneMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "Entity tags that the client has: 304 where one of them is current.";
        vec![condition("If-None-Match", description, "\"7\"")]
    }
}

/// Any text is accepted as a tag: one that the shop did not write matches nothing.
fn condition(name: &str, description: &str, example: &str) -> Parameter {
    let schema = Object::builder()
        .schema_type(Type::String)
        .examples([example])
        .build();
    parameter(name, ParameterIn::Header, description, schema)
}

/// The tags in a header; both conditions are written alike. Foreign tags are left out: they match nothing.
fn tags(headers: &HeaderMap, name: &HeaderName, weak_too: bool) -> IfNoneMatch {
    if !headers.contains_key(name) {
        return IfNoneMatch::Absent;
    }
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        // Commas within foreign tags split them into pieces, which match nothing either.
        for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if tag == "*" {
                return IfNoneMatch::Any;
            }
            let strong = match tag.strip_prefix("W/") {
                Some(weak) if weak_too => weak,
                Some(_) => continue,
                None => tag,
            };
            tags.extend(Tag::parse(strong));
        }
    }
    IfNoneMatch::OneOf(tags)
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
            "\"7.\"",
            "\"7.00\"",
            "\"7.+123456789abcdef\"",
            "\"7.0123456789ABCDEF\"",
        ] {
            assert_eq!(conditions(&[none_of_ours]).await.0, one_of(&[]), "{none_of_ours}");
        }
        let weak = conditions(&["W/\"7\""]).await;
        let have = |tag: Tag| IfNoneMatch::OneOf(vec![tag]);
        assert_eq!(weak, (one_of(&[]), have(Tag::of_version(7))));
        // A write asks for the version alone, a read for all of the tag.
        let tag = Tag::of_body(7, b"shown");
        assert_eq!(conditions(&[&tag.to_string()]).await, (one_of(&[7]), have(tag)));
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let tag = |body: &[u8]| Tag::of_body(1, body);
        assert!(IfNoneMatch::Absent.not_modified(tag(b"a")).is_none());
        for other in [tag(b"b"), Tag::of_body(2, b"a"), Tag::of_version(1)] {
            assert!(IfNoneMatch::OneOf(vec![other]).not_modified(tag(b"a")).is_none());
        }
        for condition in [IfNoneMatch::Any, IfNoneMatch::OneOf(vec![tag(b"b"), tag(b"a")])] {
            let response = condition.not_modified(tag(b"a")).unwrap();
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(response.headers()[header::ETAG], tag(b"a").header());
        }
    }

    #[test]
    fn a_tag_reads_back_as_what_it_was() {
        for version in [0, 1, 10, u64::MAX] {
            for tag in [Tag::of_version(version), Tag::of_body(version, b"shown")] {
                assert_eq!(Tag::parse(tag.header().to_str().unwrap()), Some(tag));
            }
        }
        // Every node and every build must come to the same.
        assert_eq!(Tag::of_body(7, b"shown").to_string(), "\"7.ac2461abe1efb900\"");
    }
}
