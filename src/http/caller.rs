//! Who calls.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::{self, HeaderName};
use axum::http::request::Parts;

use super::SharedFront;
use super::keys::Keys;
use super::problem::{self, Problem};
use crate::domain::CartId;

/// The header that names a guest's cart.
pub const CART_TOKEN: HeaderName = HeaderName::from_static("cart-token");

/// Who calls, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody without an account, known by the cart whose token they hold.
    Guest {
        /// The cart.
        cart: CartId,
    },
}

impl Caller {
    /// The caller's cart.
    pub fn cart(&self) -> &CartId {
        match self {
            Self::Guest { cart } => cart,
        }
    }

    /// Whose orders the caller's are.
    pub fn buyer(&self) -> &str {
        match self {
            Self::Guest { cart } => cart.as_str(),
        }
    }
}

impl FromRequestParts<SharedFront> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &SharedFront) -> Result<Self, Problem> {
        identify(&front.keys, &parts.headers)?.ok_or_else(|| {
            Problem::new(problem::UNAUTHORISED)
                .detail("send an access token, or the Cart-Token of POST /v1/carts")
        })
    }
}

impl OptionalFromRequestParts<SharedFront> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &SharedFront) -> Result<Option<Self>, Problem> {
        identify(&front.keys, &parts.headers)
    }
}

/// Who sends these headers: by access token, else by cart token, else nobody known.
///
/// # Errors
/// 401 for a token that is not good: it is never ignored.
pub fn identify(keys: &Keys, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    if headers.contains_key(header::AUTHORIZATION) {
        // No issuer of access tokens is known to this shop, so none of them is good.
        return Err(Problem::new(problem::BAD_TOKEN));
    }
    let mut tokens = headers.get_all(CART_TOKEN).iter();
    let Some(token) = tokens.next() else {
        return Ok(None);
    };
    let cart = token
        .to_str()
        .ok()
        .filter(|_| tokens.next().is_none())
        .and_then(|token| keys.open_cart(token));
    match cart {
        Some(cart) => Ok(Some(Caller::Guest { cart })),
        None => Err(Problem::new(problem::BAD_CART_TOKEN)),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::super::keys::SECRET_LENGTH;
    use super::*;

    #[test]
    fn a_bad_token_is_refused_rather_than_ignored() {
        let keys = Keys::derive(&[3; SECRET_LENGTH]);
        let (token, cart) = keys.mint_cart();
        let identify = |pairs: &[(HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            identify(&keys, &headers).map_err(|problem| problem.kind())
        };
        assert_eq!(identify(&[]), Ok(None));
        assert_eq!(
            identify(&[(CART_TOKEN, &token)]),
            Ok(Some(Caller::Guest { cart }))
        );
        assert_eq!(identify(&[(CART_TOKEN, "made-up")]), Err(problem::BAD_CART_TOKEN));
        assert_eq!(
            identify(&[(CART_TOKEN, &token), (CART_TOKEN, &token)]),
            Err(problem::BAD_CART_TOKEN)
        );
        let bearer = (header::AUTHORIZATION, "Bearer x");
        assert_eq!(identify(&[bearer, (CART_TOKEN, &token)]), Err(problem::BAD_TOKEN));
    }
}
