//! `/.well-known/jwks.json`

use axum::http::StatusCode;
use serde_json::json;

use super::super::operation::{Operation, Tag};
use crate::authentication::ring::PublicKeys;

pub fn show() -> Operation {
    Operation::new(Tag::Accounts, "getKeys", "Show the keys of the access tokens")
        .about("A JWK set (RFC 7517): by it anybody can check a token.")
        .reply::<PublicKeys<'static>>(StatusCode::OK, "The keys, newest first.")
        .example(json!({"keys": [{
            "kty": "OKP",
            "crv": "Ed25519",
            "use": "sig",
            "alg": "EdDSA",
            "kid": "01890a5d",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        }]}))
}
