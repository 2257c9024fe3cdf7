//! Forged access tokens; and tokens signed with the cluster's own key, taken from its store, that differ from valid ones
//! in one claim.

use std::io;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use souk::authentication::Sealer;
use souk::config::Config;
use souk::stores::signing_keys::SigningKeyStore as _;
use souk::stores::signing_keys::sqlite::SqliteSigningKeys;
use souk::stores::sqlite::Database;
use souk_embedded::Writer;

use crate::support::cluster::Cluster;

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).expect("a token has three parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The header of a token.
pub fn header(token: &str) -> Value {
    part(token, 0)
}

/// The claims of a token.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

fn message(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// A token without a signature (algorithm `none`).
pub fn unsigned(algorithm: &str, token: &str, claims: &Value) -> String {
    let mut header = header(token);
    header["alg"] = json!(algorithm);
    format!("{}.", message(&header, claims))
}

/// A token with the signature of another one.
pub fn with_signature_of(token: &str, claims: &Value) -> String {
    let signature = token.rsplit('.').next().expect("a token has a signature");
    format!("{}.{signature}", message(&header(token), claims))
}

/// A token signed with HMAC under `secret`, for example a public key.
pub fn by_hmac(token: &str, claims: &Value, secret: &[u8]) -> String {
    let mut header = header(token);
    header["alg"] = json!("HS256");
    let message = message(&header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// A token signed with this key under the key id `kid`.
pub fn signed(pair: &Ed25519KeyPair, kid: &str, claims: &Value) -> String {
    let message = message(&json!({"alg": "EdDSA", "typ": "JWT", "kid": kid}), claims);
    let signature = pair.sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// An unknown key.
pub fn foreign_key() -> Ed25519KeyPair {
    Ed25519KeyPair::generate().expect("a key can be made")
}

/// The seed of the cluster's signing key with this id, from its store, opened with the cluster's key. With it, a test token
/// can be invalid for one reason alone.
pub async fn own_key(cluster: &Cluster, kid: &str) -> Ed25519KeyPair {
    let text = std::fs::read_to_string(cluster.config()).expect("the configuration can be read");
    let config = Config::parse(&text, cluster.config(), []).expect("the configuration is right");
    let nobody = Arc::new(|| Err(io::Error::other("the store process of the demo is gone")));
    let writer = Writer::connect(&config.cluster.data, nobody)
        .await
        .expect("the store process answers");
    let database = Database::open(&writer, &config.cluster.data, "users")
        .await
        .expect("the users store opens");
    let keys = SqliteSigningKeys(database).list().await;
    let rows = keys.expect("the keys can be read");
    let row = rows
        .iter()
        .find(|row| row.id == kid)
        .unwrap_or_else(|| panic!("the store has no key {kid}"));
    let seed = Sealer::new(&config.cluster.shared_key())
        .expect("the key can be derived")
        .open(kid, &row.material)
        .expect("the cluster's key opens it");
    Ed25519KeyPair::from_seed_unchecked(&*seed).expect("a seed")
}
