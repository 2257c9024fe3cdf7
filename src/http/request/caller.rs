//! Authentication: the caller of a request.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;

use crate::authentication::service::Accounts;
use crate::authentication::tokens::TokenError;
use crate::http::edge::headers::CART_TOKEN;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::keys::Keys;
use souk_domain::account::Role;
use souk_domain::{CartId, SessionId, UserId};

/// The scheme of access tokens (RFC 6750, section 2.1), case-insensitive.
const BEARER: &str = "bearer";

/// An account authenticated by an access token.
#[derive(Debug, PartialEq, Eq)]
pub struct Principal {
    /// The account.
    pub user: UserId,
    /// The session of the token.
    pub session: SessionId,
    /// The roles of the account.
    pub roles: Vec<Role>,
    /// Its cart.
    pub cart: CartId,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A guest, identified by the cart token.
    Guest {
        /// The cart.
        cart: CartId,
    },
    /// An account.
    Account(Arc<Principal>),
}

impl Caller {
    /// The caller's cart.
    pub fn cart(&self) -> &CartId {
        match self {
            Self::Guest { cart } => cart,
            Self::Account(principal) => &principal.cart,
        }
    }

    /// The buyer of the caller's orders.
    pub fn buyer(&self) -> &str {
        match self {
            Self::Guest { cart } => cart.as_str(),
            Self::Account(principal) => principal.user.as_str(),
        }
    }

    /// The account, where there is one.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::Guest { .. } => None,
            Self::Account(principal) => Some(&principal.user),
        }
    }
}

/// Set by the checks of the route. A handler of a route without required authentication takes an `Option`.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or_else(|| {
            // A defect: the policy of the route admits strangers, and its handler does not expect them.
            tracing::error!(path = parts.uri.path(), "a handler has no caller");
            Problem::new(problem::INTERNAL)
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().cloned())
    }
}

/// The calling account, for routes whose policy requires one.
#[derive(Clone, Debug)]
pub struct Signed(pub Arc<Principal>);

impl<S: Sync> FromRequestParts<S> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match <Caller as FromRequestParts<S>>::from_request_parts(parts, state).await? {
            Caller::Account(principal) => Ok(Self(principal)),
            Caller::Guest { .. } => {
                tracing::error!(path = parts.uri.path(), "a handler has no account");
                Err(Problem::new(problem::INTERNAL))
            }
        }
    }
}

/// Identifies the caller: by access token, else by cart token, else not at all.
///
/// # Errors
/// 401 for an invalid token: it is never ignored.
pub fn identify(accounts: &Accounts, keys: &Keys, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    match bearer(headers)? {
        Some(token) => {
            let identity = accounts.identify(token).map_err(|error| refused(&error))?;
            let cart = keys.account_cart(identity.user.as_str());
            Ok(Some(Caller::Account(Arc::new(Principal {
                user: identity.user,
                session: identity.session,
                roles: identity.roles,
                cart,
            }))))
        }
        None => Ok(guest(keys, headers)?.map(|cart| Caller::Guest { cart })),
    }
}

fn refused(error: &TokenError) -> Problem {
    let problem = Problem::new(problem::BAD_TOKEN);
    match error {
        // What an honest client needs; useless to a forger.
        TokenError::Expired => problem.detail("the access token has expired: refresh it"),
        TokenError::Revoked => problem.detail("the session has ended: sign in again"),
        _ => problem,
    }
}

/// The access token in the headers, if any.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    single(headers, header::AUTHORIZATION, problem::BAD_TOKEN, |value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case(BEARER)
            .then(|| token.trim_start_matches(' '))
    })
}

/// The guest's cart that the headers open, if any.
fn guest(keys: &Keys, headers: &HeaderMap) -> Result<Option<CartId>, Problem> {
    single(headers, CART_TOKEN, problem::BAD_CART_TOKEN, |value| {
        keys.open_cart(value.to_str().ok()?)
    })
}

/// What `read` makes of a header, if the request has it. A header that occurs twice, or that `read` does not accept, is
/// refused.
pub(super) fn single<'a, T>(
    headers: &'a HeaderMap,
    name: HeaderName,
    refusal: problem::Kind,
    read: impl FnOnce(&'a HeaderValue) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match (read(value), values.next()) {
        (Some(read), None) => Ok(Some(read)),
        _ => Err(Problem::new(refusal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::keys::SECRET_LENGTH;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_bad_cart_token_is_refused_rather_than_ignored() {
        let keys = Keys::derive(&[3; SECRET_LENGTH]);
        let (token, cart) = keys.mint_cart();
        let guest =
            |pairs: &[(HeaderName, &str)]| guest(&keys, &headers(pairs)).map_err(|problem| problem.kind());
        assert_eq!(guest(&[]), Ok(None));
        assert_eq!(guest(&[(CART_TOKEN, &token)]), Ok(Some(cart)));
        assert_eq!(guest(&[(CART_TOKEN, "made-up")]), Err(problem::BAD_CART_TOKEN));
        assert_eq!(
            guest(&[(CART_TOKEN, &token), (CART_TOKEN, &token)]),
            Err(problem::BAD_CART_TOKEN)
        );
    }

    #[test]
    fn one_bearer_token_is_taken_and_nothing_else() {
        let bearer = |values: &[&str]| {
            let pairs: Vec<_> = values
                .iter()
                .map(|value| (header::AUTHORIZATION, *value))
                .collect();
            bearer(&headers(&pairs))
                .map(|token| token.map(str::to_owned))
                .map_err(|problem| problem.kind())
        };
        assert_eq!(bearer(&[]), Ok(None));
        assert_eq!(bearer(&["Bearer abc"]), Ok(Some("abc".to_owned())));
        assert_eq!(bearer(&["bearer  abc"]), Ok(Some("abc".to_owned())));
        for bad in [
            &["Basic abc"][..],
            &["Bearer"],
            &["abc"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(bearer(bad), Err(problem::BAD_TOKEN), "{bad:?}");
        }
    }
}
