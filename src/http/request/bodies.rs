//! Request bodies are received before their requests are admitted: who sends half a body holds a connection and a share of this
//! budget, and no place among the requests in flight.

use std::pin::pin;
use std::task::Poll;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use metrics::counter;

use crate::http::edge::client_address::ClientAddress;
use crate::http::edge::problem::{self, Problem};
use crate::http::edge::settings::HttpSettings;
use crate::http::edge::shares::Shares;
use crate::http::request::json;

/// Receives the body of a request. Most bodies arrive with their head, and need no share of `bodies`.
///
/// # Errors
/// 413, 408, 400 for a truncated body; 503 where too much is being received already.
pub async fn receive(request: Request, settings: &HttpSettings, bodies: &Shares) -> Result<Request, Problem> {
    if request.body().is_end_stream() {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let announced = body
        .size_hint()
        .upper()
        .and_then(|bytes| usize::try_from(bytes).ok());
    let bytes = announced.map_or(settings.body_limit, |bytes| bytes.min(settings.body_limit));
    let mut reading = pin!(json::read_within(
        body,
        settings.body_limit,
        settings.body_timeout
    ));
    let body = match futures::poll!(&mut reading) {
        Poll::Ready(body) => body?,
        Poll::Pending => {
            let client = ClientAddress::of(&parts.extensions);
            let _share = bodies.take(client, bytes).ok_or_else(|| {
                counter!("souk_http_bodies_refused_total").increment(1);
                Problem::busy(problem::RETRY_AFTER)
            })?;
            reading.await?
        }
    };
    Ok(Request::from_parts(parts, Body::from(body)))
}
