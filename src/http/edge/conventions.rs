//! Wraps every route: request id, time limit, tracing span, metrics, one form of errors, security headers. The shop's
//! listener and the operator's share it.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

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

use crate::http::edge::client_address::ClientAddress;
use crate::http::edge::compression::NeverCompressed;
use crate::http::edge::context::{self, Context};
use crate::http::edge::headers::REQUEST_ID;
use crate::http::edge::problem::{self, Problem};
use crate::http::edge::security::{self, Encrypted};
use crate::http::edge::settings::HttpSettings;
use crate::http::edge::shares::Shares;
use crate::http::edge::{compression, cors, replies};
use crate::panics;
use crate::traces::{self, TraceParent};

/// The path of readiness probes.
pub const READY: &str = "/readyz";
/// The target of access log lines, one per request.
pub const ACCESS: &str = "souk::access";

/// Wraps a router whose routes are complete.
pub fn wrap(router: Router, settings: HttpSettings) -> Router {
    let compressed = settings.compression;
    let wrapping = Arc::new(Wrapping {
        cors: cors::layer(&settings.cors_origins),
        replies: Shares::new(settings.replies),
        settings,
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
    settings: HttpSettings,
    cors: Option<CorsLayer>,
    /// The replies that their clients have not read yet.
    replies: Shares,
}

/// The `Allow` header is added by the router.
async fn method_not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        Problem::new(problem::METHOD_NOT_ALLOWED).into_response()
    }
}

/// The reply, refusals included, with its CORS headers.
async fn with_cors(wrapping: &Arc<Wrapping>, request: Request, next: Next) -> Response {
    let Some(cors) = &wrapping.cors else {
        return limited(&wrapping.settings, request, next).await;
    };
    let inner = service_fn(|request: Request| {
        let (wrapping, next) = (Arc::clone(wrapping), next.clone());
        async move { Ok::<_, Infallible>(limited(&wrapping.settings, request, next).await) }
    });
    let response = cors.layer(inner).oneshot(request).await;
    response.unwrap_or_else(|never| match never {})
}

/// The reply within the limits on the length of the URL and on time. A panic of a handler affects its request alone.
async fn limited(settings: &HttpSettings, request: Request, next: Next) -> Response {
    let uri_length = request
        .uri()
        .path_and_query()
        .map_or(0, |path| path.as_str().len());
    if uri_length > settings.uri_limit {
        return Problem::new(problem::URI_TOO_LONG).into_response();
    }
    // Shared state (caches, counters) is consistent after every step.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(settings.request_timeout, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(cause)) => {
            let message = panics::message(&*cause);
            tracing::error!(message, "a handler panicked");
            Problem::new(problem::INTERNAL).into_response()
        }
        Err(_) => Problem::busy(problem::RETRY_AFTER).into_response(),
    }
}

async fn envelope(State(wrapping): State<Arc<Wrapping>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let settings = &wrapping.settings;
    let (mut parts, body) = request.into_parts();
    let request_id = context::request_id(&parts.headers);
    let parent = TraceParent::of(&parts.headers);
    let route = parts.extensions.get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let observed = Observed {
        method: method_name(&parts.method),
        route,
        client: settings
            .trusted_proxies
            .mark(&mut parts.extensions, &parts.headers),
        trace_id: parent.map(|parent| parent.trace_id.to_owned()),
        started,
    };
    let span = tracing::info_span!(
        "request",
        request_id = &*request_id,
        method = observed.method,
        route,
        trace_id = observed.trace_id.as_deref(),
        status = Empty,
    );
    if let Some(parent) = &parent {
        traces::adopt(&span, parent);
    }
    parts.extensions.insert(Context {
        request_id: Arc::clone(&request_id),
        deadline: started + settings.request_timeout,
    });
    let encrypted = parts.extensions.get::<Encrypted>().is_some();
    let secret = compression::holds_secrets(parts.uri.path());

    let (method, client) = (parts.method.clone(), observed.client);
    let request = Request::from_parts(parts, body);
    let response = with_cors(&wrapping, request, next).instrument(span.clone()).await;
    let response = replies::hold(&wrapping.replies, &method, client, response);
    let mut response = problem::finish(response, &request_id);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    security::complete(headers, encrypted);
    if secret {
        response.extensions_mut().insert(NeverCompressed);
    }
    record(&span, &request_id, &observed, &response);
    response
}

/// What the log says of a request.
struct Observed<'a> {
    method: &'static str,
    route: &'a str,
    client: Option<ClientAddress>,
    trace_id: Option<String>,
    started: Instant,
}

fn record(span: &Span, request_id: &str, observed: &Observed<'_>, response: &Response) {
    let (status, took) = (response.status(), observed.started.elapsed());
    let duration_ms = took.as_secs_f64() * 1e3;
    let code = status.as_u16();
    traces::answered(span, code);
    // Overload and stores that are away are counted; a line for each refusal would only add to them.
    if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
        tracing::warn!(parent: span, status = code, duration_ms, "answered with an error");
    } else {
        tracing::debug!(parent: span, status = code, duration_ms, "answered");
    }
    // Neither path nor query: they contain identifiers and search terms.
    tracing::info!(
        target: ACCESS,
        parent: None,
        request_id,
        method = observed.method,
        route = observed.route,
        status = code,
        duration_ms,
        bytes = response.body().size_hint().exact(),
        client = observed.client.map(|client| tracing::field::display(client.0)),
        trace_id = observed.trace_id.as_deref(),
    );
    let (method, route) = (observed.method, observed.route.to_owned());
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
