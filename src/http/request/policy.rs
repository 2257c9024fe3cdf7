//! Authorisation and rate limits: checked before every handler, and before idempotency keys.

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse, Response};

use crate::http::edge::problem::{self, Problem};
use crate::http::request::caller::{self, Caller};
use crate::http::request::front::SharedFront;
use crate::http::request::rate_limit::{Allowance, Refusal};
use souk_domain::account::Role;

/// What replies depend on wherever the caller matters: `Authorization` and `Cart-Token`. Without it a browser's cache
/// would show one person the data of another.
const VARY_BY_CALLER: HeaderValue = HeaderValue::from_static("authorization, cart-token");
/// Data of an account is not cached, not even on its owner's device.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Anybody. Credentials are ignored: a login must work with an old token.
    Public,
    /// Anybody, but credentials must be valid.
    Optional,
    /// An account, or a guest with a cart.
    Shopper,
    /// An account.
    Account,
    /// An account with the role `merchant` or `admin`.
    Merchant,
    /// An account with the role `admin`.
    Admin,
}

/// The meaning of an `Idempotency-Key` for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// None: repeating the call is harmless, or changes nothing.
    Plain,
    /// With a key, the call has an effect once.
    Honoured,
    /// A key is required, and what the call creates is found by it: no reply is kept beside it.
    Recorded,
}

impl Policy {
    /// Whether the caller is authorised. 401 without credentials that could be, 403 for a known caller who is not.
    fn authorise(self, caller: Option<&Caller>) -> Result<(), Problem> {
        let needed: &[Role] = match self {
            Self::Public | Self::Optional => return Ok(()),
            Self::Shopper => {
                return caller.map(|_| ()).ok_or_else(|| {
                    Problem::new(problem::UNAUTHORISED)
                        .detail("send an access token, or the Cart-Token of POST /v1/carts")
                });
            }
            Self::Account => &[],
            Self::Merchant => &[Role::Merchant, Role::Admin],
            Self::Admin => &[Role::Admin],
        };
        let Some(Caller::Account(principal)) = caller else {
            return Err(Problem::new(problem::UNAUTHORISED).detail("send the access token of an account"));
        };
        if needed.is_empty() || needed.iter().any(|role| principal.roles.contains(role)) {
            Ok(())
        } else {
            Err(Problem::new(problem::FORBIDDEN))
        }
    }

    /// Adds the caching headers.
    fn add_caching_headers(self, headers: &mut HeaderMap) {
        if self == Self::Public {
            return;
        }
        headers.append(header::VARY, VARY_BY_CALLER);
        if self == Self::Account {
            headers.insert(header::CACHE_CONTROL, NO_STORE);
        }
    }

    fn authenticate(self, front: &SharedFront, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
        if self == Self::Public {
            return Ok(None);
        }
        let caller = caller::identify(&front.accounts, &front.keys, headers)?;
        self.authorise(caller.as_ref())?;
        Ok(caller)
    }
}

/// Authenticates, authorises and counts the caller before the handler. Its reply, and every refusal, has its caching
/// headers.
pub(crate) async fn enforce<W>(
    policy: Policy,
    front: &SharedFront,
    request: Request,
    handler: impl FnOnce(Request) -> W,
) -> Response
where
    W: Future<Output = Response>,
{
    let outcome = checked(policy, front, request, handler).await;
    let mut response = outcome.unwrap_or_else(Refusal::into_response);
    policy.add_caching_headers(response.headers_mut());
    response
}

async fn checked<W>(
    policy: Policy,
    front: &SharedFront,
    mut request: Request,
    handler: impl FnOnce(Request) -> W,
) -> Result<Response, Refusal>
where
    W: Future<Output = Response>,
{
    let limits = &front.rate_limits;
    let client = limits.client(request.extensions(), request.headers());
    // The address first: it limits senders of invalid tokens too, whose verification costs time.
    let mut allowance = limits.by_address(client).await?;
    let mut response = match policy.authenticate(front, request.headers()) {
        Err(problem) => problem.into_response(),
        Ok(None) => handler(request).await,
        Ok(Some(caller)) => {
            allowance = Allowance::tighter(limits.by_caller(&caller).await?, allowance);
            request.extensions_mut().insert(caller);
            handler(request).await
        }
    };
    if let Some(allowance) = allowance {
        allowance.write(response.headers_mut());
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_says_whom_it_is_for() {
        let caller = VARY_BY_CALLER;
        let named = caller.to_str().unwrap();
        for header in [header::AUTHORIZATION, crate::http::edge::headers::CART_TOKEN] {
            assert!(named.split(", ").any(|name| name == header), "{header}");
        }
        let marked = |policy: Policy| {
            let mut headers = HeaderMap::from_iter([(header::VARY, HeaderValue::from_static("origin"))]);
            policy.add_caching_headers(&mut headers);
            let vary = headers.get_all(header::VARY).iter().count();
            (vary, headers.contains_key(header::CACHE_CONTROL))
        };
        assert_eq!(marked(Policy::Public), (1, false));
        for policy in [Policy::Optional, Policy::Shopper, Policy::Merchant, Policy::Admin] {
            assert_eq!(marked(policy), (2, false), "{policy:?}");
        }
        assert_eq!(marked(Policy::Account), (2, true));
    }
}
