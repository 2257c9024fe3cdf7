//! The routes of the shop as one table: handler, policy, and what an idempotency key means. Methods and paths stand in the
//! annotations of the handlers.
//!
//! The router is made from the table and from nothing else, so that no route lacks a policy or documentation. A handler knows
//! its caller only through the checks of its route.

use std::sync::Arc;

use axum::Router;
use utoipa::OpenApi;

use super::api::me::{addresses, claimable, export, preferences, profile, purchases};
use super::api::orders::{self, place};
use super::api::{
    auth, cart, categories, checkout, credentials, docs, health, images, inventory, jwks, products,
};
use super::edge::admission::Admission;
use super::request::front::SharedFront;
use super::request::policy::Policy;
use super::request::route::{Endpoint, Route};

/// The endpoint of an annotated handler.
macro_rules! endpoint {
    ($module:ident::$handler:ident, $policy:ident) => {{
        #[derive(OpenApi)]
        #[openapi(paths($module::$handler))]
        struct Document;
        Endpoint::new(Document::openapi(), Policy::$policy)
    }};
}

/// The route of an annotated handler.
macro_rules! route {
    ($module:ident::$handler:ident, $policy:ident) => {
        Route::new(endpoint!($module::$handler, $policy), $module::$handler)
    };
}

/// Every route of the shop, but those of its health.
pub fn table() -> Vec<Route> {
    vec![
        route!(products::list, Public),
        route!(products::show, Public),
        route!(categories::list, Public),
        route!(images::show, Public),
        route!(cart::create, Optional).honours_keys(),
        route!(cart::show, Shopper),
        route!(cart::empty, Shopper),
        route!(cart::add_item, Shopper).honours_keys(),
        route!(cart::set_item, Shopper),
        route!(cart::remove_item, Shopper),
        route!(cart::merge, Shopper).honours_keys(),
        route!(checkout::quote, Shopper),
        route!(place::place, Shopper).records_key(),
        route!(orders::list, Shopper),
        route!(orders::show, Shopper),
        route!(orders::cancel, Shopper).honours_keys(),
        route!(auth::register, Public).honours_keys(),
        route!(auth::login, Public),
        route!(auth::refresh, Public),
        route!(auth::logout, Account),
        route!(auth::sessions, Account),
        route!(auth::end_session, Account),
        route!(credentials::forgot, Public),
        route!(credentials::reset, Public),
        route!(credentials::change, Account),
        route!(credentials::step_up, Account),
        route!(credentials::verify, Account),
        route!(credentials::resend, Account),
        route!(jwks::show, Public),
        route!(docs::document, Public),
        route!(docs::show, Public),
        route!(docs::file, Public),
        route!(profile::show, Account),
        route!(profile::change, Account),
        route!(profile::erase, Account),
        route!(export::show, Account),
        route!(addresses::list, Account),
        route!(addresses::add, Account).honours_keys(),
        route!(addresses::change, Account),
        route!(addresses::remove, Account),
        route!(purchases::list, Account),
        route!(claimable::list, Account),
        route!(claimable::claim, Account),
        route!(preferences::show, Account),
        route!(preferences::replace, Account),
        route!(inventory::show, Merchant),
        route!(inventory::receive, Merchant).honours_keys(),
        route!(inventory::adjust, Merchant).honours_keys(),
        route!(inventory::movements, Merchant),
    ]
}

/// Every endpoint of the interface, those of the node's health included: they stand outside of the table, since they reply however
/// busy the node is.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let routes = table().into_iter().map(|route| route.endpoint);
    let health = [endpoint!(health::live, Public), endpoint!(health::ready, Public)];
    routes.chain(health).collect()
}

/// The router of the whole table.
pub(super) fn router(front: &SharedFront, admission: &Arc<Admission>) -> Router<SharedFront> {
    table().into_iter().fold(Router::new(), |router, route| {
        let path = route.endpoint.path.clone();
        router.route(&path, route.guarded(front, admission))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn routes_are_unique() {
        let routes = table();
        let names: BTreeSet<_> = routes
            .iter()
            .map(|route| (route.endpoint.method.as_str(), route.endpoint.path.as_str()))
            .collect();
        assert_eq!(names.len(), routes.len());
    }

    #[test]
    fn accounts_and_administration_require_an_account() {
        for route in table().into_iter().map(|route| route.endpoint) {
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
