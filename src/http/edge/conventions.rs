//! Wraps every route: request id, time limit, tracing span, metrics, one form of errors, security headers. The shop's
//! listener and the operator's share it.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::HeaderValue;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use hyper::body::Body as _;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::http::edge::client_address::{ClientAddress, TrustedProxies};
use crate::http::edge::compression::NeverCompressed;
use crate::http::edge::context::{self, Context};
use crate::http::edge::headers::REQUEST_ID;
use crate::http::edge::problem::{self, Problem};
use crate::http::edge::settings::HttpSettings;
use crate::http::edge::{compression, cors, security};
use crate::panics;
use crate::traces::{self, TraceParent};

/// The path of readiness probes.
pub const READY: &str = "/readyz";
/// The target of access log lines, one per request.
pub const ACCESS: &str = "souk::access";

/// What [`wrap`] enforces.
#[derive(Clone, Debug)]
pub struct Conventions {
    /// Time limit of a request.
    pub request_timeout: Duration,
    /// Longest path and query accepted, in bytes.
    pub uri_limit: usize,
    /// The proxies whose forwarding headers are trusted.
    pub trusted_proxies: TrustedProxies,
    /// The origins whose pages may call from a browser.
    pub cors_origins: Vec<String>,
    /// Whether large replies are compressed.
    pub compression: bool,
}

impl Conventions {
    /// For the listener of operators: no pages of other origins, and no compression, since its replies contain secrets.
    #[must_use]
    pub fn internal(self) -> Self {
        Self {
            cors_origins: Vec::new(),
            compression: false,
            ..self
        }
    }
}

impl From<&HttpSettings> for Conventions {
    fn from(settings: &HttpSettings) -> Self {
        Self {
            request_timeout: settings.request_timeout,
            uri_limit: settings.uri_limit,
            trusted_proxies: settings.trusted_proxies.clone(),
            cors_origins: settings.cors_origins.clone(),
            compression: settings.compression,
        }
    }
}

/// Wraps a router whose routes are complete.
pub fn wrap(router: Router, conventions: Conventions) -> Router {
    let compressed = conventions.compression;
    let wrapping = Arc::new(Wrapping {
        cors: cors::layer(&conventions.cors_origins),
        conventions,
    });
    // One layer for all of it: a layer for each convention costs more than the convention.
    let router = router
        .fallback(async || Problem::new(problem::NOT_FOUND))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(wrapping, envelope));
    // Only replies of the envelope are compressed.
    if compressed {
        router.layer(compression::layer())
    } else {
        router
    }
}

/// The state of the envelope.
struct Wrapping {
    conventions: Conventions,
    cors: Option<CorsLayer>,
}

/// The `Allow` header is added by the router.
async fn method_not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        Problem::new(problem::METHOD_NOT_ALLOWED).into_response()
    }
}

fn panicked(cause: &(dyn Any + Send)) -> Response {
    let message = panics::message(cause);
    tracing::error!(message, "a handler panicked");
    Problem::new(problem::INTERNAL).into_response()
}

/// The reply, refusals included, with its CORS headers.
async fn shared(wrapping: &Arc<Wrapping>, request: Request, next: Next) -> Response {
    let Some(cors) = &wrapping.cors else {
        return limited(&wrapping.conventions, request, next).await;
    };
    let inner = service_fn(|request: Request| {
        let (wrapping, next) = (Arc::clone(wrapping), next.clone());
        async move { Ok::<_, Infallible>(limited(&wrapping.conventions, request, next).await) }
    });
    let response = cors.layer(inner).oneshot(request).await;
    response.unwrap_or_else(|never| match never {})
}

/// The reply within the limits on the length of the URL and on time. A panic of a handler affects its request alone.
async fn limited(conventions: &Conventions, request: Request, next: Next) -> Response {
    let uri_length = request
        .uri()
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    if uri_length > conventions.uri_limit {
        return Problem::new(problem::URI_TOO_LONG).into_response();
    }
    // Shared state (caches, counters) is consistent after every step.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(conventions.request_timeout, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(cause)) => panicked(&*cause),
        Err(_) => Problem::busy(problem::RETRY_AFTER).into_response(),
    }
}

async fn envelope(State(wrapping): State<Arc<Wrapping>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let conventions = &wrapping.conventions;
    let (mut parts, body) = request.into_parts();
    let request_id = context::request_id(&parts.headers);
    let parent = TraceParent::of(&parts.headers);
    let route = parts.extensions.get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let seen = Seen {
        method: method_name(&parts.method),
        route,
        client: conventions
            .trusted_proxies
            .mark(&mut parts.extensions, &parts.headers),
        trace_id: parent.map(|parent| parent.trace_id.to_owned()),
        started,
    };
    let span = tracing::info_span!(
        "request",
        request_id = &*request_id,
        method = seen.method,
        route,
        trace_id = seen.trace_id.as_deref(),
        status = Empty,
    );
    if let Some(parent) = &parent {
        traces::adopt(&span, parent);
    }
    parts.extensions.insert(Context {
        request_id: Arc::clone(&request_id),
        deadline: started + conventions.request_timeout,
    });
    let encrypted = security::is_encrypted(&parts.extensions);
    let secret = compression::holds_secrets(parts.uri.path());

    let request = Request::from_parts(parts, body);
    let response = shared(&wrapping, request, next).instrument(span.clone()).await;
    let mut response = problem::finish(response, &request_id);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    security::complete(headers, encrypted);
    if secret {
        response.extensions_mut().insert(NeverCompressed);
    }
    record(&span, &request_id, &seen, &response);
    response
}

/// What the log says of a request.
struct Seen<'a> {
    method: &'static str,
    route: &'a str,
    client: Option<ClientAddress>,
    trace_id: Option<String>,
    started: Instant,
}

fn record(span: &Span, request_id: &str, seen: &Seen<'_>, response: &Response) {
    let (status, took) = (response.status(), seen.started.elapsed());
    let duration_ms = took.as_secs_f64() * 1e3;
    let code = status.as_u16();
    traces::answered(span, code);
    // A failing readiness probe is a regular reply and no fault.
    if status.is_server_error() && seen.route != READY {
        tracing::warn!(parent: span, status = code, duration_ms, "answered with an error");
    } else {
        tracing::debug!(parent: span, status = code, duration_ms, "answered");
    }
    // Neither path nor query: they contain identifiers and search terms.
    tracing::info!(
        target: ACCESS,
        parent: None,
        request_id,
        method = seen.method,
        route = seen.route,
        status = code,
        duration_ms,
        bytes = response.body().size_hint().exact(),
        client = seen.client.map(|client| tracing::field::display(client.0)),
        trace_id = seen.trace_id.as_deref(),
    );
    let (method, route) = (seen.method, seen.route.to_owned());
    metrics::counter!(
        "souk_http_requests_total",
        "route" => route.clone(), "method" => method, "status" => status.as_str().to_owned()
    )
    .increment(1);
    metrics::histogram!("souk_http_request_seconds", "route" => route, "method" => method)
        .record(took.as_secs_f64());
}

/// A label of few values, whatever the client sends.
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

#[cfg(test)]
#[path = "conventions_tests.rs"]
mod tests;
