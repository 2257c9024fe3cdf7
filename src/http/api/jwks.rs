//! `/.well-known/jwks.json`: the keys by which anybody can check an access token (RFC 7517).

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::Response;

use crate::http::edge::problem::Problem;
use crate::http::request::front::SharedFront;
use crate::http::request::json;

/// How long it may be kept: shorter than a new key is known before it signs.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// `GET /.well-known/jwks.json`.
pub async fn show(State(front): State<SharedFront>) -> Result<Response, Problem> {
    let mut response = json::reply(StatusCode::OK, &front.accounts.ring.load().public())?;
    response.headers_mut().insert(header::CACHE_CONTROL, KEPT);
    Ok(response)
}
