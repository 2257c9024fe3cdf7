//! `/.well-known/jwks.json`: the keys for verifying access tokens (RFC 7517).

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::authentication::ring::PublicKeys;
use crate::http::edge::problem::Problem;
use crate::http::request::front::SharedFront;
use crate::http::request::json;

/// Caching time: shorter than a new key is published before it signs.
const CACHING: &str = "public, max-age=60";

/// Show the keys of the access tokens
///
/// A JWK set (RFC 7517) for verifying access tokens.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "getKeys",
    tag = "Accounts",
    responses((status = 200, description = "The keys, newest first.", body = PublicKeys<'static>, example = json!({"keys": [{
        "kty": "OKP",
        "crv": "Ed25519",
        "use": "sig",
        "alg": "EdDSA",
        "kid": "01890a5d",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }]}))),
)]
pub async fn show(State(front): State<SharedFront>) -> Result<Response, Problem> {
    let reply = json::reply(StatusCode::OK, &front.accounts.ring.load().public())?;
    Ok(([(header::CACHE_CONTROL, CACHING)], reply).into_response())
}
