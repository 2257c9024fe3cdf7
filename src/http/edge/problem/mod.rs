//! Errors of clients: RFC 9457 problem details, made in one place.
//!
//! A handler returns a [`Problem`]; [`finish`] writes its body once the request id is known. Errors of the framework
//! itself (an undecodable path, for example) become problems there too, so that clients meet one form only.

use std::borrow::Cow;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{StatusCode, response};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use souk_domain::OrderId;

mod kinds;

pub use kinds::*;

/// What the `type` of every problem starts with.
pub const TYPE_BASE: &str = "https://souk.example/problems/";
/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// When to try again after an overload of unknown length.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An invalid field and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The path of the field in the body, such as `address.country`; the name of the parameter; or a SKU.
    #[schema(value_type = String)]
    pub field: Cow<'static, str>,
    /// What is wrong with it.
    #[schema(value_type = String)]
    pub message: Cow<'static, str>,
}

impl FieldError {
    /// A field and what is wrong with it.
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl From<souk_domain::FieldError> for FieldError {
    fn from(error: souk_domain::FieldError) -> Self {
        Self::new(error.field, error.message)
    }
}

/// A problem as it is written (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Rendered<'a> {
    /// Identifies the kind of problem.
    #[schema(format = "uri")]
    r#type: String,
    /// What the kind means.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What is wrong with this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    detail: Option<&'a str>,
    /// The request's id, as in `X-Request-Id`.
    instance: &'a str,
    /// The invalid fields, if any.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    /// The order that is in the way, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    order_id: Option<&'a str>,
}

/// A problem. Boxed, so that results stay small.
#[derive(Clone, Debug)]
pub struct Problem(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    kind: Kind,
    detail: Option<Cow<'static, str>>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    location: Option<HeaderValue>,
    order: Option<OrderId>,
}

impl Problem {
    /// A problem of this kind, without details.
    pub fn new(kind: Kind) -> Self {
        Self(Box::new(Details {
            kind,
            detail: None,
            errors: Vec::new(),
            retry_after: None,
            location: None,
            order: None,
        }))
    }

    /// One invalid field (422 `validation`).
    pub fn field(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::validation([FieldError::new(field, message)])
    }

    /// Invalid fields (422 `validation`).
    pub fn validation(errors: impl IntoIterator<Item: Into<FieldError>>) -> Self {
        Self::new(VALIDATION).errors(errors.into_iter().map(Into::into).collect())
    }

    /// Overloaded (503 `busy`): try again after `retry_after`.
    pub fn busy(retry_after: Duration) -> Self {
        Self::new(BUSY).retry_after(retry_after)
    }

    /// The resource is at version `current`, which the client's condition excludes.
    pub fn version_conflict(current: u64) -> Self {
        Self::new(VERSION_CONFLICT).detail(format!("the resource stands at version {current}"))
    }

    /// Adds what is wrong with this request; nothing of another user, of a store or of this machine.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the invalid fields.
    #[must_use]
    pub fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    /// Adds the URL of the resource.
    #[must_use]
    pub fn location(mut self, location: HeaderValue) -> Self {
        self.0.location = Some(location);
        self
    }

    /// Adds the order that is in the way.
    #[must_use]
    pub fn order(mut self, order: OrderId) -> Self {
        self.0.order = Some(order);
        self
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The invalid fields.
    pub fn field_errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    fn body(&self, instance: &str) -> Vec<u8> {
        let details = &self.0;
        serde_json::to_vec(&Rendered {
            r#type: details.kind.uri(),
            title: details.kind.title(),
            status: details.kind.status().as_u16(),
            detail: details.detail.as_deref(),
            instance,
            errors: &details.errors,
            order_id: details.order.as_ref().map(OrderId::as_str),
        })
        // Strings and numbers always encode.
        .unwrap_or_default()
    }
}

/// Of what can't fail.
impl From<Infallible> for Problem {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl IntoResponse for Problem {
    /// A response without a body: [`finish`] writes it.
    fn into_response(self) -> Response {
        let mut response = self.0.kind.status().into_response();
        let headers = response.headers_mut();
        if let Some(retry_after) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds(retry_after));
        }
        if let Some(location) = &self.0.location {
            headers.insert(header::LOCATION, location.clone());
        }
        if self.0.kind.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Whole seconds, rounded up, at least one, for `Retry-After`.
fn seconds(duration: Duration) -> HeaderValue {
    HeaderValue::from(duration.as_secs() + u64::from(duration.subsec_nanos() > 0 || duration.is_zero()))
}

/// Writes the body of a problem, and turns bare errors of the framework into problems. Other responses pass unchanged.
pub fn finish(response: Response, instance: &str) -> Response {
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None if is_bare_error(&parts) => Problem::new(Kind::of_status(parts.status)),
        None => return Response::from_parts(parts, body),
    };
    let body = problem.body(instance);
    let headers = &mut parts.headers;
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Response::from_parts(parts, Body::from(body))
}

fn is_bare_error(parts: &response::Parts) -> bool {
    let is_error = parts.status.is_client_error() || parts.status.is_server_error();
    is_error
        && parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_none_or(|media_type| media_type.as_bytes().starts_with(b"text/plain"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn json(response: Response) -> serde_json::Value {
        let body = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn a_problem_carries_what_the_contract_names() {
        let problem = Problem::field("quantity", "too many").detail("no");
        let response = finish(problem.into_response(), "req-1");
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(
            json(response).await,
            serde_json::json!({
                "type": "https://souk.example/problems/validation",
                "title": "The request is not valid",
                "status": 422,
                "detail": "no",
                "instance": "req-1",
                "errors": [{"field": "quantity", "message": "too many"}],
            })
        );
    }

    #[tokio::test]
    async fn framework_errors_become_problems() {
        let bare = (StatusCode::BAD_REQUEST, "Invalid URL: /home/someone").into_response();
        let body = json(finish(bare, "r")).await;
        assert_eq!(body["type"], "https://souk.example/problems/bad-request");
        assert!(!body.to_string().contains("/home"));

        let page = (StatusCode::NOT_FOUND, axum::response::Html("<p>")).into_response();
        assert_eq!(
            finish(page, "r").headers()[header::CONTENT_TYPE],
            "text/html; charset=utf-8"
        );
        let fine = finish("fine".into_response(), "r");
        assert_eq!(fine.status(), StatusCode::OK);
    }

    #[test]
    fn retry_after_is_at_least_one_second() {
        for (duration, expected) in [(0, "1"), (1, "1"), (999, "1"), (1000, "1"), (1001, "2")] {
            assert_eq!(seconds(Duration::from_millis(duration)), expected);
        }
    }
}
