//! The interface that clients call, in parts that import downward only:
//!
//! - [`edge`]: what stands around every route, whatever it does: the listener, TLS, limits, headers, problems.
//! - `catalogue_cache`: products and stock badges kept at hand.
//! - [`request`]: what a request passes before its handler, what handlers read it with, and the state that they share.
//! - [`api`]: the handlers, one file per resource, named as in the URL.
//! - `openapi`: makes the published document out of the table of routes and the handlers' annotations.
//! - [`mod@routes`]: the table of routes, and the router that is made from it.
//!
//! A handler gets a caller who is authenticated, validates, asks the entity that decides, and renders its reply.

use std::sync::{Arc, LazyLock};

use axum::Router;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::actors::Regions;
use crate::authentication::service::Accounts;
use crate::clock::Clock;
use crate::stores::documents::{DocumentStore, Outbox};
use crate::stores::idempotency::IdempotencyStore;
use crate::stores::products::ProductStore;
use crate::stores::search::SearchIndex;

use api::health::HealthSource;
use catalogue_cache::CatalogueCache;
use edge::admission::Admission;
use edge::conventions::wrap;
use edge::settings::HttpSettings;
use edge::shares::Shares;
use request::asset::Asset;
use request::exports::Exports;
use request::front::Front;
use request::keys::{Keys, SECRET_LENGTH};
use request::rate_limit::RateLimiter;

pub mod api;
pub mod edge;
pub mod request;
pub mod routes;

mod catalogue_cache;
mod openapi;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;

/// What the interface needs of the node.
pub struct Shop {
    /// The way to carts, orders and SKUs.
    pub regions: Regions,
    /// Products and categories.
    pub products: Arc<dyn ProductStore>,
    /// Product search.
    pub search: Arc<dyn SearchIndex>,
    /// Orders, for listing a buyer's.
    pub orders: Arc<dyn DocumentStore>,
    /// Stock, for SKUs that are no longer in the catalogue.
    pub inventory: Arc<dyn DocumentStore>,
    /// The ledger of stock.
    pub stock_events: Arc<dyn Outbox>,
    /// Accounts and their sessions.
    pub accounts: Arc<Accounts>,
    /// Replies kept for repeated requests.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// Limits.
    pub settings: HttpSettings,
    /// What tokens and cursors are signed with; the same on every node.
    pub secret: [u8; SECRET_LENGTH],
    /// Tells the time.
    pub clock: Clock,
    /// Tells how the node is.
    pub health: HealthSource,
    /// How many requests are worked on at once, and whether the node drains.
    pub admission: Arc<Admission>,
    /// Work that goes on when its client has gone away: a node waits for it before it ends.
    pub background: TaskTracker,
}

/// The routes of the shop, with their conventions around them: ready for [`serve`](edge::server::serve).
pub fn router(shop: Shop) -> Router {
    let settings = shop.settings.clone();
    wrap(routes(shop), settings)
}

/// The routes of the shop alone, to be merged with others (the pages) before [`wrap`].
pub fn routes(shop: Shop) -> Router {
    let health = api::health::router(shop.health, Arc::clone(&shop.admission));
    let front = Arc::new(Front {
        catalogue_cache: CatalogueCache::new(Arc::clone(&shop.products), &shop.settings.catalogue_cache),
        keys: Keys::derive(&shop.secret),
        bodies: Shares::new(shop.settings.bodies),
        exports: Exports::default(),
        listed_orders: Semaphore::new(shop.settings.listed_orders),
        rate_limits: Arc::new(RateLimiter::new(
            Arc::clone(&shop.accounts.throttle.counters),
            shop.settings.rate_limits,
            shop.settings.trusted_proxies.clone(),
            Arc::clone(&shop.clock),
        )),
        regions: shop.regions,
        products: shop.products,
        search: shop.search,
        orders: shop.orders,
        inventory: shop.inventory,
        stock_events: shop.stock_events,
        accounts: shop.accounts,
        idempotency: shop.idempotency,
        settings: shop.settings,
        clock: shop.clock,
        background: shop.background,
        document: LazyLock::new(|| {
            let document = openapi::document(routes::endpoints());
            Asset::new("application/json", document.to_string())
        }),
    });
    routes::router(&front, &shop.admission)
        .with_state(front)
        .merge(health)
}
