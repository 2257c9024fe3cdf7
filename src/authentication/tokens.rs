//! Access tokens: JWT (RFC 7519) signed with EdDSA (RFC 8037), checked as RFC 8725 advises.
//!
//! There is one algorithm, which a token can't choose: its header may name the key and nothing else, and the key decides how the
//! signature is verified. Time is an argument; the library's own clock is switched off.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, Header, Validation};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::revocations::RevokedSessions;
use super::ring::{RingRules, SharedRing};
use souk_domain::Timestamp;

/// The longest accepted token in bytes. Ours have about 500.
pub const TOKEN_LIMIT: usize = 2_048;
/// The clock skew between nodes that is tolerated.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// A token's default lifetime: 15 min.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// The algorithm in headers.
const ALGORITHM: &str = "EdDSA";
/// The type in headers.
const TYPE: &str = "JWT";

/// Settings that all nodes of a shop share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// The issuer, `iss`.
    pub issuer: String,
    /// The audience, `aud`.
    pub audience: String,
    /// A token's lifetime, in whole seconds.
    pub lifetime: Duration,
}

impl TokenSettings {
    /// How long a token is accepted after it was signed: its lifetime and the leeway.
    pub fn longest_life(&self) -> Duration {
        self.lifetime.saturating_add(LEEWAY)
    }
}

/// The contents of a new token.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The user's id: `sub`.
    pub user: &'a str,
    /// The session's id: `sid`.
    pub session: &'a str,
    /// The user's roles: `roles`.
    pub roles: &'a [&'a str],
}

/// A signed token. Its debug output hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The token, for `Authorization: Bearer`.
    pub token: String,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Its lifetime: `expires_in`.
    pub lifetime: Duration,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The claims of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer.
    pub iss: String,
    /// The audience.
    pub aud: String,
    /// The user's id.
    pub sub: String,
    /// The session's id.
    pub sid: String,
    /// The token's own id.
    pub jti: String,
    /// The user's roles.
    pub roles: BTreeSet<String>,
    /// When it was signed, in seconds since the Unix epoch.
    pub iat: i64,
    /// From when it is valid.
    pub nbf: i64,
    /// From when it is no longer valid.
    pub exp: i64,
}

/// Why no token could be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No key is loaded.
    #[error("there is no key to sign access tokens with")]
    NoKey,
    /// The library failed.
    #[error("an access token could not be signed")]
    Signing(#[from] JwtError),
    /// Ids or roles are too long.
    #[error("an access token would have {0} bytes, more than the {TOKEN_LIMIT} that are accepted")]
    TooLong(usize),
}

/// Why a token is refused. Clients are not told the reason.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`TOKEN_LIMIT`].
    #[error("the token has {0} bytes, more than {TOKEN_LIMIT}")]
    TooLong(usize),
    /// Not three parts of base64url, or an unexpected header.
    #[error("the token is malformed")]
    Malformed,
    /// Signed with anything but EdDSA, or not at all.
    #[error("the token names another algorithm")]
    Algorithm,
    /// It names no key.
    #[error("the token does not name its key")]
    NoKey,
    /// It names an unknown or removed key.
    #[error("the token names an unknown key")]
    UnknownKey,
    /// Not signed with that key.
    #[error("the token's signature is wrong")]
    Signature,
    /// Claims are missing or of the wrong type.
    #[error("the token's claims are not those of an access token")]
    Claims(#[source] JwtError),
    /// Issued by another shop.
    #[error("the token is from another issuer")]
    Issuer,
    /// Issued for another audience.
    #[error("the token is for another audience")]
    Audience,
    /// Valid from a later time on.
    #[error("the token is not valid yet")]
    Early,
    /// Expired.
    #[error("the token has expired")]
    Expired,
    /// Its session was revoked.
    #[error("the token's session was revoked")]
    Revoked,
}

/// Issues tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    ring: SharedRing,
    rules: RingRules,
    settings: TokenSettings,
}

impl Issuer {
    /// Signs with the keys of `ring`, by its rules.
    pub const fn new(ring: SharedRing, rules: RingRules, settings: TokenSettings) -> Self {
        Self {
            ring,
            rules,
            settings,
        }
    }

    /// A token for `grant`, valid from now on.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue(&self, grant: Grant<'_>, now: Timestamp) -> Result<AccessToken, IssueError> {
        let ring = self.ring.load();
        let key = ring.signer(now, self.rules).ok_or(IssueError::NoKey)?;
        // Whole seconds, rounded down: valid at once, and never for longer than its lifetime.
        let iat = now.as_millis().div_euclid(1_000);
        let lifetime = Duration::from_secs(self.settings.lifetime.as_secs());
        let exp = iat.saturating_add_unsigned(lifetime.as_secs());
        let claims = Claims {
            iss: self.settings.issuer.clone(),
            aud: self.settings.audience.clone(),
            sub: grant.user.to_owned(),
            sid: grant.session.to_owned(),
            jti: Uuid::new_v4().simple().to_string(),
            roles: grant.roles.iter().map(|role| (*role).to_owned()).collect(),
            iat,
            nbf: iat,
            exp,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(key.id.clone());
        let token = jsonwebtoken::encode(&header, &claims, &key.signing)?;
        if token.len() > TOKEN_LIMIT {
            return Err(IssueError::TooLong(token.len()));
        }
        Ok(AccessToken {
            token,
            expires_at: Timestamp::from_millis(exp.saturating_mul(1_000)),
            lifetime,
        })
    }
}

/// The maximum number of cached tokens, of about a kilobyte each.
const CACHED: u64 = 20_000;
/// How long an unused token stays cached.
const CACHED_FOR: Duration = Duration::from_secs(120);

/// Verifies tokens.
///
/// What never changes about a token (signature, issuer, audience) is checked once and cached under its whole text: verifying a
/// signature costs as much as adding an item to a cart. What can change (time, revocation, whether the key is still in the
/// ring) is checked each time.
#[derive(Clone, Debug)]
pub struct Verifier {
    ring: SharedRing,
    revoked: RevokedSessions,
    validation: Validation,
    verified: Cache<Box<str>, Arc<Checked>>,
}

/// A token with a valid signature.
#[derive(Debug)]
struct Checked {
    kid: String,
    claims: Arc<Claims>,
}

/// The allowed members of a header; any other (`jwk`, `jku`, `x5c`, `crit`, `zip` …) is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowedHeader {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
}

impl Verifier {
    /// Accepts tokens signed with the keys of `ring`, except those of `revoked` sessions.
    pub fn new(ring: SharedRing, revoked: RevokedSessions, settings: &TokenSettings) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "nbf", "exp"]);
        // By the library's own clock; see `check_time`.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            ring,
            revoked,
            validation,
            verified: Cache::builder()
                .max_capacity(CACHED)
                .time_to_idle(CACHED_FOR)
                .build(),
        }
    }

    /// The claims of a valid token.
    ///
    /// # Errors
    /// [`TokenError`], for the log.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, TokenError> {
        let checked = self.genuine(token)?;
        check_time(&checked.claims, now)?;
        if self.revoked.contains(&checked.claims.sid) {
            return Err(TokenError::Revoked);
        }
        Ok(Arc::clone(&checked.claims))
    }

    /// The token, if it has a valid signature by a key of the ring, for this shop.
    fn genuine(&self, token: &str) -> Result<Arc<Checked>, TokenError> {
        let ring = self.ring.load();
        if let Some(checked) = self.verified.get(token) {
            ring.find(&checked.kid).ok_or(TokenError::UnknownKey)?;
            return Ok(checked);
        }
        let kid = key_of(token)?;
        let key = ring.find(&kid).ok_or(TokenError::UnknownKey)?;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.verifying, &self.validation)
            .map_err(refusal)?
            .claims;
        let checked = Arc::new(Checked {
            kid,
            claims: Arc::new(claims),
        });
        self.verified.insert(token.into(), Arc::clone(&checked));
        Ok(checked)
    }
}

/// The id of the key that a token names; nothing has been verified at this point.
fn key_of(token: &str) -> Result<String, TokenError> {
    if token.len() > TOKEN_LIMIT {
        return Err(TokenError::TooLong(token.len()));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Malformed);
    };
    let header = URL_SAFE_NO_PAD
        .decode(header)
        .map_err(|_| TokenError::Malformed)?;
    let header: AllowedHeader = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
    if header.alg != ALGORITHM {
        return Err(TokenError::Algorithm);
    }
    if header.typ.is_some_and(|typ| typ != TYPE) {
        return Err(TokenError::Malformed);
    }
    header.kid.ok_or(TokenError::NoKey)
}

fn check_time(claims: &Claims, now: Timestamp) -> Result<(), TokenError> {
    let at = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1_000));
    if now.plus(LEEWAY) < at(claims.nbf).max(at(claims.iat)) {
        return Err(TokenError::Early);
    }
    if now >= at(claims.exp).plus(LEEWAY) {
        return Err(TokenError::Expired);
    }
    Ok(())
}

fn refusal(error: JwtError) -> TokenError {
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => {
            TokenError::Claims(error)
        }
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests;
