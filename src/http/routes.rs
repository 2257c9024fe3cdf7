//! The routes of the shop as one table: how each is called, who may call it, what a repetition means, and what answers.
//!
//! The router is made from the table and from nothing else, so that there is no route without a policy. A handler gets to
//! know its caller from what its gate found out; there is no other way.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::http::api::{
    auth, cart, categories, checkout, docs, images, inventory, jwks, me, orders, products,
};
use crate::http::edge::admission::Admission;
use crate::http::openapi::{Operation, operations};
use crate::http::request::front::SharedFront;
use crate::http::request::gate::{self, Gate};
use crate::http::request::policy::{Policy, Repetition};

/// One route.
pub struct Route {
    /// The method; GET answers HEAD as well.
    pub method: Method,
    /// The path, its variable parts in braces.
    pub path: &'static str,
    /// Who may call it.
    pub policy: Policy,
    /// What a repetition means.
    pub repetition: Repetition,
    /// What the published document says of it beyond that.
    pub(super) describe: fn() -> Operation,
    handler: MethodRouter<SharedFront>,
}

impl Route {
    fn new<H, T>(
        method: Method,
        path: &'static str,
        policy: Policy,
        handler: H,
        describe: fn() -> Operation,
    ) -> Self
    where
        H: Handler<T, SharedFront>,
        T: 'static,
    {
        let filter = match method {
            Method::POST => MethodFilter::POST,
            Method::PUT => MethodFilter::PUT,
            Method::PATCH => MethodFilter::PATCH,
            Method::DELETE => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        };
        Self {
            handler: on(filter, handler),
            method,
            path,
            policy,
            repetition: Repetition::Plain,
            describe,
        }
    }

    fn honours_keys(mut self) -> Self {
        self.repetition = Repetition::Honoured;
        self
    }

    fn requires_key(mut self) -> Self {
        self.repetition = Repetition::Required;
        self
    }

    /// The handler behind its gate.
    fn guarded(self, front: &SharedFront, admission: &Arc<Admission>) -> MethodRouter<SharedFront> {
        let gate = Gate {
            front: front.clone(),
            admission: Arc::clone(admission),
            policy: self.policy,
            repetition: self.repetition,
        };
        let gate = middleware::from_fn_with_state(Arc::new(gate), gate::pass);
        self.handler.route_layer(gate)
    }
}

/// A route with its handler, and the description that is named as the handler.
macro_rules! route {
    ($method:ident $path:literal, $policy:ident => $($handler:ident)::+) => {
        Route::new(
            Method::$method,
            $path,
            Policy::$policy,
            $($handler)::+,
            operations::$($handler)::+,
        )
    };
}

/// Every route of the shop, but those of its health.
pub fn table() -> Vec<Route> {
    vec![
        route!(GET "/v1/products", Public => products::list),
        route!(GET "/v1/products/{id}", Public => products::show),
        route!(GET "/v1/categories", Public => categories::list),
        route!(GET "/images/{file}", Public => images::show),
        route!(POST "/v1/carts", Optional => cart::create).honours_keys(),
        route!(GET "/v1/cart", Shopper => cart::show),
        route!(DELETE "/v1/cart", Shopper => cart::empty),
        route!(POST "/v1/cart/items", Shopper => cart::add_item).honours_keys(),
        route!(PUT "/v1/cart/items/{sku}", Shopper => cart::set_item),
        route!(DELETE "/v1/cart/items/{sku}", Shopper => cart::remove_item),
        route!(POST "/v1/cart/merge", Shopper => cart::merge).honours_keys(),
        route!(POST "/v1/checkout/quote", Shopper => checkout::quote),
        route!(POST "/v1/orders", Shopper => orders::place).requires_key(),
        route!(GET "/v1/orders", Shopper => orders::list),
        route!(GET "/v1/orders/{id}", Shopper => orders::show),
        route!(POST "/v1/orders/{id}/cancel", Shopper => orders::cancel).honours_keys(),
        route!(POST "/v1/auth/register", Public => auth::register).honours_keys(),
        route!(POST "/v1/auth/login", Public => auth::login),
        route!(POST "/v1/auth/refresh", Public => auth::refresh),
        route!(POST "/v1/auth/logout", Account => auth::logout),
        route!(GET "/v1/auth/sessions", Account => auth::sessions),
        route!(DELETE "/v1/auth/sessions/{id}", Account => auth::end_session),
        route!(POST "/v1/auth/password/forgot", Public => auth::forgot_password),
        route!(POST "/v1/auth/password/reset", Public => auth::reset_password),
        route!(POST "/v1/auth/email/verify", Optional => auth::verify_email),
        route!(GET "/.well-known/jwks.json", Public => jwks::show),
        route!(GET "/openapi.json", Public => docs::document),
        route!(GET "/docs", Public => docs::show),
        route!(GET "/docs/{file}", Public => docs::file),
        route!(GET "/v1/me", Account => me::profile::show),
        route!(PATCH "/v1/me", Account => me::profile::change),
        route!(DELETE "/v1/me", Account => me::profile::erase),
        route!(GET "/v1/me/export", Account => me::export::show),
        route!(GET "/v1/me/addresses", Account => me::addresses::list),
        route!(POST "/v1/me/addresses", Account => me::addresses::add).honours_keys(),
        route!(PATCH "/v1/me/addresses/{id}", Account => me::addresses::change),
        route!(DELETE "/v1/me/addresses/{id}", Account => me::addresses::remove),
        route!(GET "/v1/me/purchases", Account => me::purchases::list),
        route!(GET "/v1/me/notification-preferences", Account => me::preferences::show),
        route!(PUT "/v1/me/notification-preferences", Account => me::preferences::replace),
        route!(GET "/v1/admin/inventory/{sku}", Merchant => inventory::show),
        route!(POST "/v1/admin/inventory/{sku}/receipts", Merchant => inventory::receive).honours_keys(),
        route!(POST "/v1/admin/inventory/{sku}/adjustments", Merchant => inventory::adjust).honours_keys(),
        route!(GET "/v1/admin/inventory/{sku}/movements", Merchant => inventory::movements),
    ]
}

/// The router of the whole table.
pub(super) fn router(front: &SharedFront, admission: &Arc<Admission>) -> Router<SharedFront> {
    table().into_iter().fold(Router::new(), |router, route| {
        let path = route.path;
        router.route(path, route.guarded(front, admission))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_route_stands_there_twice() {
        let routes = table();
        let names: BTreeSet<_> = routes
            .iter()
            .map(|route| (route.method.as_str(), route.path))
            .collect();
        assert_eq!(names.len(), routes.len());
    }

    #[test]
    fn what_is_of_an_account_or_of_the_shop_itself_is_never_open_to_strangers() {
        for route in table() {
            let guarded = matches!(route.policy, Policy::Account | Policy::Merchant | Policy::Admin);
            if route.path.starts_with("/v1/me") || route.path.starts_with("/v1/admin") {
                assert!(guarded, "{} {}", route.method, route.path);
            }
            if route.path.starts_with("/v1/admin") {
                assert!(route.policy != Policy::Account, "{} {}", route.method, route.path);
            }
        }
    }
}
