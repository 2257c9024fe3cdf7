//! Every error that a client sees: RFC 9457 problem details, made in one place.
//!
//! A handler answers with a [`Problem`]; [`finish`] writes its body once the request id is known. What the framework
//! itself refuses (an unreadable path, say) is turned into a problem there too, so that clients meet one shape only.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{StatusCode, response};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::actors::region::AskError;
use crate::stores::StoreError;
use souk_domain::cart::{CartRefusal, LINE_LIMIT, QUANTITY_LIMIT};
use souk_domain::order::OrderRefusal;

/// What the `type` of every problem starts with.
pub const TYPE_BASE: &str = "https://souk.example/problems/";
/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// When to try again after an overload whose end nobody can tell.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A kind of problem: the last part of its `type`, its title and its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    name: &'static str,
    title: &'static str,
    status: StatusCode,
}

macro_rules! kinds {
    ($($(#[$documentation:meta])* $constant:ident = $status:ident, $name:literal, $title:literal;)*) => {
        $($(#[$documentation])*
        pub const $constant: Kind = Kind { name: $name, title: $title, status: StatusCode::$status };)*

        /// All of them, for the published description of the interface.
        pub const ALL: &[Kind] = &[$($constant),*];
    };
}

kinds! {
    /// Something about the request that has no kind of its own.
    BAD_REQUEST = BAD_REQUEST, "bad-request", "The request can't be understood";
    /// The body is no JSON.
    MALFORMED_JSON = BAD_REQUEST, "malformed-json", "The body is not valid JSON";
    /// The cursor was not made by this shop, or for another list.
    BAD_CURSOR = BAD_REQUEST, "bad-cursor", "The cursor does not belong to this list";
    /// The idempotency key is too long or holds something else than visible ASCII.
    BAD_IDEMPOTENCY_KEY = BAD_REQUEST, "bad-idempotency-key", "The idempotency key is not valid";
    /// The call needs an idempotency key.
    IDEMPOTENCY_KEY_REQUIRED = BAD_REQUEST, "idempotency-key-required", "An idempotency key is required";
    /// Nothing says who calls.
    UNAUTHORISED = UNAUTHORIZED, "unauthorised", "Authentication is required";
    /// The access token is not good.
    BAD_TOKEN = UNAUTHORIZED, "bad-token", "The access token is not valid";
    /// No account has this address and password.
    BAD_CREDENTIALS = UNAUTHORIZED, "bad-credentials", "The e-mail address or the password is wrong";
    /// The refresh token is not good, or not any more.
    BAD_REFRESH_TOKEN = UNAUTHORIZED, "bad-refresh-token", "The refresh token is not valid";
    /// The cart token is not good.
    BAD_CART_TOKEN = UNAUTHORIZED, "bad-cart-token", "The cart token is not valid";
    /// The payment was declined.
    PAYMENT_DECLINED = PAYMENT_REQUIRED, "payment-declined", "The payment was declined";
    /// Known who calls, and not allowed.
    FORBIDDEN = FORBIDDEN, "forbidden", "The account may not do that";
    /// There is no such thing, or not for this caller.
    NOT_FOUND = NOT_FOUND, "not-found", "Not found";
    /// No product has this SKU.
    UNKNOWN_SKU = NOT_FOUND, "unknown-sku", "There is no such SKU";
    /// The path exists, the method does not.
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here";
    /// The client was too slow to send its request.
    REQUEST_TIMEOUT = REQUEST_TIMEOUT, "request-timeout", "The request took too long to arrive";
    /// Another account has the e-mail address.
    EMAIL_TAKEN = CONFLICT, "email-taken", "The e-mail address has an account already";
    /// The stock does not allow that.
    STOCK_CONFLICT = CONFLICT, "stock-conflict", "The stock does not allow that";
    /// The same idempotency key is being worked on.
    REQUEST_IN_PROGRESS = CONFLICT, "request-in-progress", "The same request is still being worked on";
    /// Less is in stock than was ordered.
    OUT_OF_STOCK = CONFLICT, "out-of-stock", "Not enough is in stock";
    /// The total is not what the client expected.
    PRICE_CHANGED = CONFLICT, "price-changed", "The price has changed";
    /// The checkout was not finished in time.
    CHECKOUT_EXPIRED = CONFLICT, "checkout-expired", "The checkout was not finished in time";
    /// The order was cancelled.
    ORDER_CANCELLED = CONFLICT, "order-cancelled", "The order was cancelled";
    /// The order has gone too far for that.
    TOO_LATE = CONFLICT, "too-late", "The order has gone too far for that";
    /// The order does not allow that in its present state.
    ORDER_STATE = CONFLICT, "order-state", "The order does not allow that now";
    /// The resource stands at another version.
    VERSION_CONFLICT = PRECONDITION_FAILED, "version-conflict", "The resource has changed";
    /// The body is above the limit.
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large";
    /// The path and query are above the limit.
    URI_TOO_LONG = URI_TOO_LONG, "uri-too-long", "The address is too long";
    /// The body is no JSON by its content type.
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The content type is not supported";
    /// Fields or parameters are wrong; `errors` names them.
    VALIDATION = UNPROCESSABLE_ENTITY, "validation", "The request is not valid";
    /// An empty cart can't be checked out.
    EMPTY_CART = UNPROCESSABLE_ENTITY, "empty-cart", "The cart is empty";
    /// The idempotency key was used for another body.
    IDEMPOTENCY_KEY_REUSED = UNPROCESSABLE_ENTITY, "idempotency-key-reused",
        "The idempotency key was used for another request";
    /// Too many of something in too short a time.
    TOO_MANY_REQUESTS = TOO_MANY_REQUESTS, "too-many-requests", "Too many requests";
    /// A defect.
    INTERNAL = INTERNAL_SERVER_ERROR, "internal", "Something went wrong";
    /// Overloaded, or nobody owns the entity for the moment.
    BUSY = SERVICE_UNAVAILABLE, "busy", "The shop is busy";
    /// The shop itself could not carry the checkout out.
    CHECKOUT_FAILED = SERVICE_UNAVAILABLE, "checkout-failed", "The checkout could not be carried out";
    /// A store does not answer.
    UNAVAILABLE = SERVICE_UNAVAILABLE, "unavailable", "A part of the shop is away";
}

impl Kind {
    /// The last part of the problem's `type`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The problem's `type`.
    pub fn uri(&self) -> String {
        format!("{TYPE_BASE}{}", self.name)
    }

    /// What it means, for people.
    pub const fn title(&self) -> &'static str {
        self.title
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The kind for what the framework answered by itself.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED => METHOD_NOT_ALLOWED,
            StatusCode::REQUEST_TIMEOUT => REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE => BODY_TOO_LARGE,
            StatusCode::URI_TOO_LONG => URI_TOO_LONG,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => UNSUPPORTED_MEDIA_TYPE,
            StatusCode::UNPROCESSABLE_ENTITY => VALIDATION,
            StatusCode::SERVICE_UNAVAILABLE => BUSY,
            other if other.is_server_error() => INTERNAL,
            _ => BAD_REQUEST,
        }
    }
}

/// A field that is to blame, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The path of the field in the body, as in `address.country`; the parameter's name; or a SKU.
    #[schema(value_type = String)]
    pub field: Cow<'static, str>,
    /// What is wrong with it, for people.
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

/// An error as it is written (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Rendered<'a> {
    /// Names the kind of problem.
    #[schema(format = "uri")]
    r#type: String,
    /// What the kind means.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What is the matter this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    detail: Option<&'a str>,
    /// The request's id, as in `X-Request-Id`.
    instance: &'a str,
    /// What is to blame, where something is.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

/// An error as a client sees it. Boxed, so that the results which carry it stay small.
#[derive(Clone, Debug)]
pub struct Problem(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    kind: Kind,
    detail: Option<Cow<'static, str>>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    location: Option<HeaderValue>,
}

impl Problem {
    /// A problem of this kind, without particulars.
    pub fn new(kind: Kind) -> Self {
        Self(Box::new(Details {
            kind,
            detail: None,
            errors: Vec::new(),
            retry_after: None,
            location: None,
        }))
    }

    /// One wrong field (422 `validation`).
    pub fn field(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::validation(vec![FieldError::new(field, message)])
    }

    /// Wrong fields (422 `validation`).
    pub fn validation(errors: Vec<FieldError>) -> Self {
        Self::new(VALIDATION).errors(errors)
    }

    /// Overloaded (503 `busy`): try again after `retry_after`.
    pub fn busy(retry_after: Duration) -> Self {
        Self::new(BUSY).retry_after(retry_after)
    }

    /// The resource stands at `current`, not where the client's condition says.
    pub fn version_conflict(current: u64) -> Self {
        Self::new(VERSION_CONFLICT).detail(format!("the resource stands at version {current}"))
    }

    /// Says what is the matter this time; nothing of another user, of a store or of this machine.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Names what is to blame.
    #[must_use]
    pub fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    /// Says where the resource stands that this is about.
    #[must_use]
    pub fn location(mut self, location: HeaderValue) -> Self {
        self.0.location = Some(location);
        self
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The fields that are to blame.
    pub fn field_errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    fn body(&self, instance: &str) -> Vec<u8> {
        let details = &self.0;
        serde_json::to_vec(&Rendered {
            r#type: details.kind.uri(),
            title: details.kind.title,
            status: details.kind.status.as_u16(),
            detail: details.detail.as_deref(),
            instance,
            errors: &details.errors,
        })
        // Strings and numbers always encode.
        .unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    /// A response without a body yet: [`finish`] writes it.
    fn into_response(self) -> Response {
        let mut response = self.0.kind.status.into_response();
        let headers = response.headers_mut();
        if let Some(retry_after) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds(retry_after));
        }
        if let Some(location) = &self.0.location {
            headers.insert(header::LOCATION, location.clone());
        }
        if self.0.kind.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Whole seconds, rounded up, at least one: what `Retry-After` takes.
fn seconds(duration: Duration) -> HeaderValue {
    HeaderValue::from(duration.as_secs() + u64::from(duration.subsec_nanos() > 0 || duration.is_zero()))
}

/// Writes the body of a problem, and turns what the framework refused by itself into one. Responses that are no errors
/// or that have their body already pass unchanged.
pub fn finish(response: Response, instance: &str) -> Response {
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None if is_bare_error(&parts) => Problem::new(Kind::of_status(parts.status)),
        None => return Response::from_parts(parts, body),
    };
    let body = problem.body(instance);
    parts
        .headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
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

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Busy { retry_after } => Self::busy(retry_after),
            AskError::Expired => Self::busy(RETRY_AFTER).detail(
                "no answer came in time, and the change may have been made: repeat the request with the same \
                 Idempotency-Key, or look before you repeat it",
            ),
            AskError::Unavailable => Self::busy(RETRY_AFTER),
            AskError::VersionConflict { current } => Self::version_conflict(current),
            AskError::Crashed => Self::new(INTERNAL),
            AskError::Store => Self::new(UNAVAILABLE).retry_after(RETRY_AFTER),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn StdError, "a store failed a request");
        if error.is_transient() {
            Self::new(UNAVAILABLE).retry_after(RETRY_AFTER)
        } else {
            Self::new(INTERNAL)
        }
    }
}

impl From<CartRefusal> for Problem {
    fn from(refusal: CartRefusal) -> Self {
        match refusal {
            CartRefusal::QuantityOutOfRange => {
                Self::field("quantity", format!("a line holds from 1 to {QUANTITY_LIMIT}"))
            }
            CartRefusal::TooManyLines => {
                Self::field("sku", format!("a cart holds at most {LINE_LIMIT} lines"))
            }
        }
    }
}

impl From<OrderRefusal> for Problem {
    fn from(refusal: OrderRefusal) -> Self {
        match refusal {
            OrderRefusal::NotPlaced | OrderRefusal::NotAGuests => Self::new(NOT_FOUND),
            OrderRefusal::OtherPlacement => Self::new(IDEMPOTENCY_KEY_REUSED),
            OrderRefusal::TooLate => Self::new(TOO_LATE),
            OrderRefusal::InvalidPlacement => {
                // Placements are made here, out of the catalogue's figures.
                tracing::error!("an order was refused as contradicting itself");
                Self::new(INTERNAL)
            }
            OrderRefusal::AlreadyConfirmed
            | OrderRefusal::Abandoned
            | OrderRefusal::Cancelling
            | OrderRefusal::OutOfOrder
            | OrderRefusal::UnderWay
            | OrderRefusal::MoneyNotReturned => Self::new(ORDER_STATE),
        }
    }
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
    async fn what_the_framework_refuses_becomes_a_problem_and_a_page_does_not() {
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
    fn retry_after_is_a_whole_number_of_seconds_and_never_zero() {
        for (duration, expected) in [(0, "1"), (1, "1"), (999, "1"), (1000, "1"), (1001, "2")] {
            assert_eq!(seconds(Duration::from_millis(duration)), expected);
        }
    }

    #[test]
    fn overload_and_absence_are_told_apart_from_defects() {
        for (error, status) in [
            (
                AskError::Busy {
                    retry_after: Duration::ZERO,
                },
                503,
            ),
            (AskError::Expired, 503),
            (AskError::Unavailable, 503),
            (AskError::Store, 503),
            (AskError::VersionConflict { current: 3 }, 412),
            (AskError::Crashed, 500),
        ] {
            assert_eq!(Problem::from(error).kind().status().as_u16(), status);
        }
    }

    #[test]
    fn the_names_are_unique_and_in_kebab_case() {
        let mut names: Vec<_> = ALL.iter().map(Kind::name).collect();
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
