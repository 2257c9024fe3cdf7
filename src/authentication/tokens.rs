//! Access tokens: JWT (RFC 7519) signed with EdDSA (RFC 8037), checked as RFC 8725 advises.
//!
//! There is one algorithm, and a token has no say in it. Its header may name the key and nothing else; the key decides how the
//! signature is checked. The time comes in as an argument, so that the library's own clock is switched off.

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

/// Longest token that is looked at, in bytes. Ours have some 500.
pub const TOKEN_LIMIT: usize = 2_048;
/// What the clocks of two nodes may differ by.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// How long a token is good by default: 15 min.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// The one algorithm, as headers write it.
const ALGORITHM: &str = "EdDSA";
/// The one type, as headers write it.
const TYPE: &str = "JWT";

/// What all nodes of a shop agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// Who signs: `iss`.
    pub issuer: String,
    /// Who is to accept it: `aud`.
    pub audience: String,
    /// How long a token is good, in whole seconds.
    pub lifetime: Duration,
}

impl TokenSettings {
    /// Longest that a token is accepted after it was signed.
    pub fn longest_life(&self) -> Duration {
        self.lifetime.saturating_add(LEEWAY)
    }
}

/// Who gets a token.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The user's id: `sub`.
    pub user: &'a str,
    /// The session that it belongs to: `sid`.
    pub session: &'a str,
    /// What the user may do: `roles`.
    pub roles: &'a [&'a str],
}

/// A signed token. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// As it goes into `Authorization: Bearer`.
    pub token: String,
    /// When it is no longer good.
    pub expires_at: Timestamp,
    /// How long it is good: `expires_in`.
    pub lifetime: Duration,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who signed it.
    pub iss: String,
    /// Who is to accept it.
    pub aud: String,
    /// The user's id.
    pub sub: String,
    /// The session's id.
    pub sid: String,
    /// The token's own id.
    pub jti: String,
    /// What the user may do.
    pub roles: BTreeSet<String>,
    /// When it was signed, in seconds since the Unix epoch.
    pub iat: i64,
    /// From when it is good.
    pub nbf: i64,
    /// From when it is no longer good.
    pub exp: i64,
}

/// Why no token was signed.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No key is loaded.
    #[error("there is no key to sign access tokens with")]
    NoKey,
    /// The library refused.
    #[error("an access token could not be signed")]
    Signing(#[from] JwtError),
    /// Ids or roles too long to fit.
    #[error("an access token would have {0} bytes, more than the {TOKEN_LIMIT} that are accepted")]
    TooLong(usize),
}

/// Why a token is refused. Clients are told that it is, not why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Above [`TOKEN_LIMIT`].
    #[error("the token has {0} bytes, more than {TOKEN_LIMIT}")]
    TooLong(usize),
    /// Not three parts of base64url, or with a header that is not one of ours.
    #[error("the token is malformed")]
    Malformed,
    /// Signed by anything but EdDSA, or not at all.
    #[error("the token asks for another algorithm")]
    Algorithm,
    /// It does not say by which key.
    #[error("the token does not name its key")]
    NoKey,
    /// It names a key that is not ours, or was and is gone.
    #[error("the token names an unknown key")]
    UnknownKey,
    /// Not signed by that key.
    #[error("the token's signature is wrong")]
    Signature,
    /// Claims that are missing or of the wrong type.
    #[error("the token's claims are not those of an access token")]
    Claims(#[source] JwtError),
    /// Signed for another shop's tokens.
    #[error("the token is from another issuer")]
    Issuer,
    /// To be used elsewhere.
    #[error("the token is for another audience")]
    Audience,
    /// Good from some later time on.
    #[error("the token is not good yet")]
    Early,
    /// No longer good.
    #[error("the token has expired")]
    Expired,
    /// Its session was ended.
    #[error("the token's session was revoked")]
    Revoked,
}

/// Signs tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    ring: SharedRing,
    rules: RingRules,
    settings: TokenSettings,
}

impl Issuer {
    /// Signs with the keys of `ring`, by the rules that it goes by.
    pub const fn new(ring: SharedRing, rules: RingRules, settings: TokenSettings) -> Self {
        Self {
            ring,
            rules,
            settings,
        }
    }

    /// A token for `grant`, good from now on.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue(&self, grant: Grant<'_>, now: Timestamp) -> Result<AccessToken, IssueError> {
        let ring = self.ring.load();
        let key = ring.signer(now, self.rules).ok_or(IssueError::NoKey)?;
        // Whole seconds, rounded down: good at once, and never for longer than its lifetime.
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
        header.kid = Some(key.id().to_owned());
        let token = jsonwebtoken::encode(&header, &claims, key.signing())?;
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

/// Most tokens whose signatures are remembered as good; of some kilobyte each.
const REMEMBERED: u64 = 20_000;
/// A token that nobody shows for so long is forgotten, and checked from the beginning the next time.
const REMEMBERED_FOR: Duration = Duration::from_secs(120);

/// Checks tokens.
///
/// What never changes about a token (its signature, who signed it for whom) is checked once and remembered under its whole
/// text: a signature costs as much as putting something into a cart. What can change (the time, the session, whether its
/// key still counts) is asked each time.
#[derive(Clone, Debug)]
pub struct Verifier {
    ring: SharedRing,
    revoked: RevokedSessions,
    validation: Validation,
    remembered: Cache<Box<str>, Arc<Checked>>,
}

/// A token that is genuine.
#[derive(Debug)]
struct Checked {
    kid: String,
    claims: Arc<Claims>,
}

/// All that a header may say. What it can't say (`jwk`, `jku`, `x5c`, `crit`, `zip` …) can't lead astray.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowedHeader {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
}

impl Verifier {
    /// Accepts what the keys of `ring` signed, but for sessions among `revoked`.
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
            remembered: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_idle(REMEMBERED_FOR)
                .build(),
        }
    }

    /// What `token` says, if it is one of ours and good now.
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

    /// The token with a signature of a key that counts now, for this shop.
    fn genuine(&self, token: &str) -> Result<Arc<Checked>, TokenError> {
        let ring = self.ring.load();
        if let Some(checked) = self.remembered.get(token) {
            ring.find(&checked.kid).ok_or(TokenError::UnknownKey)?;
            return Ok(checked);
        }
        let kid = key_of(token)?;
        let key = ring.find(&kid).ok_or(TokenError::UnknownKey)?;
        let claims = jsonwebtoken::decode::<Claims>(token, key.verifying(), &self.validation)
            .map_err(refusal)?
            .claims;
        let checked = Arc::new(Checked {
            kid,
            claims: Arc::new(claims),
        });
        self.remembered.insert(token.into(), Arc::clone(&checked));
        Ok(checked)
    }
}

/// The key that a token names, before anything that it says is believed.
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
