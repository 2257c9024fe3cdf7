//! What every reply has in common, errors included: a request id, a time limit, a span in the log, metrics, one shape of
//! errors. The shop's listener and the operator's share it.

use std::any::Any;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::health;
use super::problem::{self, Problem};
use super::settings::HttpSettings;

/// The header that names a request, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over from a client, in bytes.
pub const REQUEST_ID_LIMIT: usize = 128;
/// W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What a handler knows of the request beyond its content.
#[derive(Clone, Debug)]
pub struct Context {
    /// Names the request in logs, on every node, and in problems.
    pub request_id: Arc<str>,
    /// After this nobody waits for the reply.
    pub deadline: Instant,
}

impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self {
            // Only a router outside of `wrap` comes here.
            request_id: fresh_request_id(),
            deadline: Instant::now() + HttpSettings::default().request_timeout,
        }))
    }
}

/// What [`wrap`] enforces.
#[derive(Clone, Copy, Debug)]
pub struct Conventions {
    /// A request is answered after this long, come what may.
    pub request_timeout: Duration,
    /// Longest path and query accepted, in bytes.
    pub uri_limit: usize,
}

impl From<&HttpSettings> for Conventions {
    fn from(settings: &HttpSettings) -> Self {
        Self {
            request_timeout: settings.request_timeout,
            uri_limit: settings.uri_limit,
        }
    }
}

/// Puts the conventions around a router whose routes are complete.
pub fn wrap(router: Router, conventions: Conventions) -> Router {
    router
        .fallback(async || Problem::new(problem::NOT_FOUND))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(conventions, envelope))
}

/// The `Allow` header is added by the router.
async fn method_not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        Problem::new(problem::METHOD_NOT_ALLOWED).into_response()
    }
}

// The signature is the one that the layer calls.
#[expect(clippy::needless_pass_by_value)]
fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let message = cause
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| cause.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(message, "a handler panicked");
    Problem::new(problem::INTERNAL).into_response()
}

async fn envelope(State(conventions): State<Conventions>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(request.headers());
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        request_id = &*request_id,
        method,
        route,
        trace_id = trace_id(request.headers()),
        status = Empty,
        duration_ms = Empty,
    );
    request.extensions_mut().insert(Context {
        request_id: Arc::clone(&request_id),
        deadline: started + conventions.request_timeout,
    });

    let uri_length = request
        .uri()
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    let response = if uri_length > conventions.uri_limit {
        Problem::new(problem::URI_TOO_LONG).into_response()
    } else {
        let answer = next.run(request).instrument(span.clone());
        tokio::time::timeout(conventions.request_timeout, answer)
            .await
            .unwrap_or_else(|_| Problem::busy(problem::RETRY_AFTER).into_response())
    };

    let mut response = problem::finish(response, &request_id);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-cache"));
    record(&span, route, method, response.status(), started.elapsed());
    response
}

fn record(span: &Span, route: &str, method: &'static str, status: StatusCode, took: Duration) {
    span.record("status", status.as_u16());
    span.record("duration_ms", took.as_secs_f64() * 1e3);
    span.in_scope(|| {
        // A node that is not ready says so at every probe: that is its answer, and no fault.
        if status.is_server_error() && route != health::READY {
            tracing::warn!("answered with an error");
        } else {
            tracing::debug!("answered");
        }
    });
    metrics::counter!(
        "souk_http_requests_total",
        "route" => route.to_owned(), "method" => method, "status" => status.as_str().to_owned()
    )
    .increment(1);
    metrics::histogram!("souk_http_request_seconds", "route" => route.to_owned(), "method" => method)
        .record(took.as_secs_f64());
}

/// A label of few values, whatever a client sends.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn request_id(headers: &HeaderMap) -> Arc<str> {
    headers
        .get(REQUEST_ID)
        .and_then(|value| visible_ascii(value, REQUEST_ID_LIMIT))
        .map_or_else(fresh_request_id, Arc::from)
}

fn fresh_request_id() -> Arc<str> {
    Arc::from(uuid::Uuid::now_v7().simple().to_string())
}

/// The text of a header that holds from one to `limit` visible ASCII characters and nothing else.
pub fn visible_ascii(value: &HeaderValue, limit: usize) -> Option<&str> {
    let bytes = value.as_bytes();
    let well_formed = !bytes.is_empty() && bytes.len() <= limit && bytes.iter().all(u8::is_ascii_graphic);
    well_formed.then(|| value.to_str().ok()).flatten()
}

/// The trace id of a well-formed `traceparent` (W3C Trace Context, version 00 or later).
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let is_hexadecimal = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
    };
    let mut parts = headers.get(TRACEPARENT)?.to_str().ok()?.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let well_formed = [(version, 2), (trace, 32), (parent, 16), (flags, 2)]
        .iter()
        .all(|(part, length)| part.len() == *length && is_hexadecimal(part));
    let is_valid = version != "ff" && (version != "00" || parts.next().is_none());
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    (well_formed && is_valid && !is_zero(trace) && !is_zero(parent)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::{get, post};
    use tower::ServiceExt;

    use super::*;

    fn router() -> Router {
        let router = Router::new()
            .route("/fine", get(async || "fine"))
            .route("/write", post(async || "written").delete(async || "gone"))
            .route(
                "/panic",
                get(async || {
                    if true {
                        panic!("a secret of the shop");
                    }
                }),
            )
            .route("/never", get(std::future::pending::<()>));
        wrap(
            router,
            Conventions {
                request_timeout: Duration::from_millis(50),
                uri_limit: 100,
            },
        )
    }

    async fn send(method: &str, path: &str, request_id: Option<&str>) -> (Response, serde_json::Value) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(id) = request_id {
            request = request.header(REQUEST_ID, id);
        }
        let response = router()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let value = serde_json::from_slice(&bytes).unwrap_or_default();
        (Response::from_parts(parts, bytes.into()), value)
    }

    #[tokio::test]
    async fn a_well_formed_request_id_is_kept_and_any_other_replaced() {
        let (response, _) = send("GET", "/fine", Some("abc-1")).await;
        assert_eq!(response.headers()[REQUEST_ID], "abc-1");
        let long = "x".repeat(REQUEST_ID_LIMIT + 1);
        for bad in [None, Some(""), Some("a b"), Some(long.as_str())] {
            let (response, _) = send("GET", "/fine", bad).await;
            assert_eq!(response.headers()[REQUEST_ID].len(), 32, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn every_error_is_a_problem_that_names_its_request() {
        let long = format!("/fine?{}", "x".repeat(100));
        for (method, path, status, name) in [
            ("GET", "/nowhere", 404, "not-found"),
            ("PUT", "/write", 405, "method-not-allowed"),
            ("GET", "/panic", 500, "internal"),
            ("GET", "/never", 503, "busy"),
            ("GET", long.as_str(), 414, "uri-too-long"),
        ] {
            let (response, body) = send(method, path, Some("r-9")).await;
            assert_eq!(response.status().as_u16(), status, "{path}");
            assert_eq!(body["type"], format!("{}{name}", problem::TYPE_BASE));
            assert_eq!(body["instance"], "r-9");
            assert_eq!(response.headers()[REQUEST_ID], "r-9");
            assert_eq!(response.headers()[header::CONTENT_TYPE], problem::MEDIA_TYPE);
            assert!(!body.to_string().contains("secret"));
        }
    }

    #[tokio::test]
    async fn the_other_methods_are_named() {
        let (response, _) = send("PUT", "/write", None).await;
        assert_eq!(response.headers()[header::ALLOW], "POST,DELETE");
        let (response, _) = send("OPTIONS", "/write", None).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.headers()[header::ALLOW], "POST,DELETE");
    }

    #[tokio::test]
    async fn head_has_the_head_of_get_and_no_body() {
        for (path, status) in [("/fine", 200), ("/nowhere", 404)] {
            let (response, body) = send("HEAD", path, None).await;
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(body, serde_json::Value::Null);
            assert_ne!(response.headers()[header::CONTENT_LENGTH], "0");
        }
    }

    #[test]
    fn only_a_well_formed_traceparent_counts() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let read = |value: &str| {
            let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_str(value).unwrap())]);
            trace_id(&headers).map(str::to_owned)
        };
        assert_eq!(
            read(&format!("00-{trace}-00f067aa0ba902b7-01")).as_deref(),
            Some(trace)
        );
        assert_eq!(
            read(&format!("01-{trace}-00f067aa0ba902b7-01-more")).as_deref(),
            Some(trace)
        );
        for bad in [
            "",
            "00-1-2-3",
            &format!("ff-{trace}-00f067aa0ba902b7-01"),
            &format!("00-{trace}-0000000000000000-01"),
            &format!("00-{trace}-00f067aa0ba902b7-01-more"),
            &format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
