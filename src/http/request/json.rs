//! JSON bodies: strict reading that names every invalid field, and writing.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use http_body_util::LengthLimitError;
use serde::Serialize;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, Unexpected, Visitor};

use crate::http::edge::problem::{self, Problem};
use crate::http::request::etag::{IfNoneMatch, Tag};
use crate::http::request::front::{Front, SharedFront};

mod decode;

/// A JSON body. Unknown and duplicate fields are refused by the target type (`deny_unknown_fields`), wrong types with
/// 422, malformed JSON with 400, another content type with 415, a body above the limit with 413.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// The same for an optional body: the default if it is absent.
#[derive(Debug)]
pub struct OptionalJson<T>(pub T);

/// A body without fields.
#[derive(Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoFields {}

impl<T: DeserializeOwned> FromRequest<SharedFront> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, front: &SharedFront) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let body = read(request.into_body(), front).await?;
        parse_json(is_json, &body).map(Self)
    }
}

impl<T: DeserializeOwned + Default> FromRequest<SharedFront> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, front: &SharedFront) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let body = read(request.into_body(), front).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        parse_json(is_json, &body).map(Self)
    }
}

fn parse_json<T: DeserializeOwned>(is_json: bool, body: &[u8]) -> Result<T, Problem> {
    if is_json {
        parse(body)
    } else {
        Err(Problem::new(problem::UNSUPPORTED_MEDIA_TYPE).detail("send application/json"))
    }
}

/// Reads a body within the limits of time and size.
///
/// # Errors
/// 413, 408, or 400 for a truncated body.
pub async fn read(body: Body, front: &Front) -> Result<Bytes, Problem> {
    read_within(body, front.settings.body_limit, front.settings.body_timeout).await
}

/// [`read`] within these limits.
pub(super) async fn read_within(body: Body, limit: usize, within: Duration) -> Result<Bytes, Problem> {
    match tokio::time::timeout(within, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => {
            Err(Problem::new(problem::BODY_TOO_LARGE).detail(format!("a body holds at most {limit} bytes")))
        }
        Ok(Err(_)) => Err(Problem::new(problem::BAD_REQUEST).detail("the request body was truncated")),
        Err(_) => Err(Problem::new(problem::REQUEST_TIMEOUT)),
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    error.source().is_some_and(<dyn Error>::is::<LengthLimitError>)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let mut parts = media_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    is_utf8 && essence.eq_ignore_ascii_case("application/json")
}

/// Parses a body.
///
/// # Errors
/// 400 `malformed-json`, or 422 `validation` with every invalid field.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = decode::read(body)
        .map_err(|error| Problem::new(problem::MALFORMED_JSON).detail(error.to_string()))?;
    body.decode().map_err(Problem::validation)
}

/// A quantity: an integer between `LEAST` and `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity<const LEAST: u32 = 0, const MOST: u32 = { u32::MAX }>(pub u32);

impl<'de, const LEAST: u32, const MOST: u32> Deserialize<'de> for Quantity<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Integer<const LEAST: u32, const MOST: u32>;

        impl<const LEAST: u32, const MOST: u32> Visitor<'_> for Integer<LEAST, MOST> {
            type Value = Quantity<LEAST, MOST>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "an integer between {LEAST} and {MOST}")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                match u32::try_from(value) {
                    Ok(quantity) if (LEAST..=MOST).contains(&quantity) => Ok(Quantity(quantity)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
                }
            }
        }

        deserializer.deserialize_u64(Integer)
    }
}

/// The header of JSON.
pub const JSON: [(HeaderName, HeaderValue); 1] =
    [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];

/// A JSON reply with its entity tag.
///
/// # Errors
/// As of [`reply`].
pub fn versioned<T: Serialize>(status: StatusCode, version: u64, body: &T) -> Result<Response, Problem> {
    let bytes = encode(body)?;
    let tag = [(header::ETAG, Tag::of_body(version, &bytes).header())];
    Ok((status, JSON, tag, bytes).into_response())
}

/// The reply to a read: 304 where the client has this body.
///
/// # Errors
/// As of [`reply`].
pub fn if_none_match<T: Serialize>(
    condition: &IfNoneMatch,
    version: u64,
    body: &T,
) -> Result<Response, Problem> {
    let bytes = encode(body)?;
    let tag = Tag::of_body(version, &bytes);
    Ok(condition
        .not_modified(tag)
        .unwrap_or_else(|| (JSON, [(header::ETAG, tag.header())], bytes).into_response()))
}

/// A JSON reply.
///
/// # Errors
/// 500 for a value that can't be JSON, which is a defect.
pub fn reply<T: Serialize>(status: StatusCode, body: &T) -> Result<Response, Problem> {
    Ok((status, JSON, encode(body)?).into_response())
}

/// Encodes a reply, or a part of one.
///
/// # Errors
/// 500 for a value that can't be JSON, which is a defect.
pub fn encode<T: Serialize>(body: &T) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(body).map_err(|error| {
        tracing::error!(error = &error as &dyn Error, "a reply does not encode");
        Problem::new(problem::INTERNAL)
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether and why it is refused matters")]
    struct Outer {
        sku: String,
        quantity: Quantity,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether and why it is refused matters")]
    struct Inner {
        country: String,
    }

    fn refused(body: &str) -> (u16, String) {
        let problem = parse::<Outer>(body.as_bytes()).unwrap_err();
        let fields: Vec<_> = problem
            .field_errors()
            .iter()
            .map(|error| error.field.as_ref())
            .collect();
        (problem.kind().status().as_u16(), fields.join(", "))
    }

    #[test]
    fn the_wrong_field_is_named() {
        for (body, field) in [
            (r#"{"quantity": 1}"#, "sku"),
            (r#"{"sku": 1, "quantity": 1}"#, "sku"),
            (r#"{"sku": null, "quantity": 1}"#, "sku"),
            (r#"{"sku": "a", "quantity": -1}"#, "quantity"),
            (r#"{"sku": "a", "quantity": 1.0}"#, "quantity"),
            (r#"{"sku": "a", "quantity": "1"}"#, "quantity"),
            (r#"{"sku": "a", "quantity": 4294967296}"#, "quantity"),
            (r#"{"sku": "a", "quantity": 1e3}"#, "quantity"),
            (r#"{"sku": "a", "quantity": 99999999999999999999999}"#, "quantity"),
            (r#"{"sku": "a", "quantity": 1, "colour": 1}"#, "colour"),
            (r#"{"sku": "a", "sku": "b", "quantity": 1}"#, "sku"),
            (r#"{"sku": "a", "quantity": 1, "inner": {}}"#, "inner.country"),
            (
                r#"{"sku": "a", "quantity": 1, "inner": {"country": 1}}"#,
                "inner.country",
            ),
            (
                r#"{"sku": "a", "quantity": 1, "inner": {"country": "a", "x": 1}}"#,
                "inner.x",
            ),
            (
                r#"{"sku": "a", "quantity": 1, "inner": {"country": "a", "country": "b"}}"#,
                "inner.country",
            ),
            (
                r#"{"colour": 1, "inner": {"country": 2}}"#,
                "colour, inner.country, sku, quantity",
            ),
            ("7", "body"),
            (r#" ["a", 1, null]"#, "body"),
            (r#"{"sku": "a", "quantity": 1, "inner": ["SE"]}"#, "inner"),
        ] {
            assert_eq!(refused(body), (422, field.to_owned()), "{body}");
        }
    }

    #[test]
    fn a_value_that_is_refused_is_not_shown() {
        for (body, message) in [
            (r#"{"sku": 98765, "quantity": 1}"#, "must be a string"),
            (r#"{"sku": {"hunter2": 98765}}"#, "must be a string"),
            (
                r#"{"sku": "a", "quantity": "hunter2, expected hunter2"}"#,
                "must be an integer between 0 and 4294967295",
            ),
            (
                r#"{"sku": "a", "quantity": -98765}"#,
                "must be an integer between 0 and 4294967295",
            ),
            (
                r#"{"sku": "a", "quantity": 1, "inner": "hunter2"}"#,
                "must be an object",
            ),
            (r#""hunter2""#, "must be an object"),
        ] {
            let problem = parse::<Outer>(body.as_bytes()).unwrap_err();
            let errors = problem.field_errors();
            assert_eq!(errors[0].message, message, "{body}");
            let shown = format!("{problem:?}");
            assert!(!shown.contains("hunter2") && !shown.contains("98765"), "{shown}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_apart() {
        let deep = format!("{{\"sku\": {}", "[".repeat(100_000));
        for body in ["[", "{\"sku\": [", "{\"colour\": 1", "{\"quantity\": -1} {}"] {
            assert_eq!(refused(body), (400, String::new()), "{body}");
        }
        for body in [
            "",
            "{",
            "{\"sku\": }",
            "nul",
            "{} {}",
            "\u{feff}{}",
            deep.as_str(),
        ] {
            let status = parse::<serde_json::Value>(body.as_bytes()).unwrap_err().kind();
            assert_eq!(status, problem::MALFORMED_JSON, "{}", &body[..body.len().min(20)]);
        }
        assert!(parse::<NoFields>(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_whole_body_is_accepted() {
        let outer: Outer = parse(br#"{"sku": "a", "quantity": 999, "inner": {"country": "SE"}}"#).unwrap();
        assert_eq!(outer.quantity, Quantity(999));
    }

    #[test]
    fn only_json_in_utf_8_counts_as_json() {
        for (media_type, accepted) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json; charset=\"utf-8\"; x=y", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
            ("application/jsonp", false),
            ("", false),
        ] {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(media_type).unwrap())]);
            assert_eq!(is_json(&headers), accepted, "{media_type}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn bodies_have_a_limit_of_size_and_of_time() {
        let within = Duration::from_millis(200);
        let kind = |result: Result<Bytes, Problem>| result.unwrap_err().kind();
        assert_eq!(read_within(Body::from("1234"), 4, within).await.unwrap(), "1234");
        assert_eq!(
            kind(read_within(Body::from("12345"), 4, within).await),
            problem::BODY_TOO_LARGE
        );
        let stalled = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(
            kind(read_within(stalled, 4, within).await),
            problem::REQUEST_TIMEOUT
        );
        let broken = Body::from_stream(futures::stream::iter([Err::<Bytes, _>(std::io::Error::other(
            "gone",
        ))]));
        assert_eq!(kind(read_within(broken, 4, within).await), problem::BAD_REQUEST);
    }
}
