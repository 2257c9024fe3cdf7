//! What clients call: one file a resource, named as in the URL, and the conventions that they share.
//!
//! Nothing here keeps state beyond caches: any node answers any request. A handler authenticates, validates, asks the
//! entity that decides, and renders its answer.

use std::sync::Arc;

use axum::Router;
use tokio_util::task::TaskTracker;

use crate::actors::Regions;
use crate::authentication::service::Accounts;
pub use crate::clock::Clock;
use crate::stores::documents::DocumentStore;
use crate::stores::idempotency::IdempotencyStore;
use crate::stores::products::ProductStore;
use crate::stores::search::SearchIndex;

pub mod admission;
pub mod caller;
pub mod client_address;
pub mod compression;
pub mod conventions;
pub mod cors;
pub mod entity;
pub mod etag;
pub mod health;
pub mod idempotency;
pub mod json;
pub mod keys;
pub mod path;
pub mod policy;
pub mod problem;
pub mod query;
pub mod routes;
pub mod security;
pub mod server;
pub mod settings;
pub mod shelf;
pub mod tls;

#[cfg(test)]
mod account_tests;
mod auth;
mod background;
mod cart;
mod categories;
mod checkout;
mod connections;
mod erasure;
#[cfg(test)]
mod flow_tests;
mod gate;
#[cfg(test)]
mod gateway_tests;
mod images;
mod inventory;
mod jwks;
mod me;
mod openapi;
mod orders;
mod products;
mod rate_limit;
#[cfg(test)]
pub(crate) mod test_support;
mod unstalled;

pub use admission::Admission;
pub use conventions::{Conventions, wrap};
pub use health::{Health, HealthReport, HealthSource};
pub use server::serve;
pub use settings::{HttpSettings, ServerSettings};

/// What the front needs of the shop.
pub struct Shop {
    /// The way to carts, orders and SKUs.
    pub regions: Regions,
    /// Products and categories.
    pub products: Arc<dyn ProductStore>,
    /// Product search.
    pub search: Arc<dyn SearchIndex>,
    /// Orders, for listing a buyer's.
    pub orders: Arc<dyn DocumentStore>,
    /// Stock, for its ledger.
    pub inventory: Arc<dyn DocumentStore>,
    /// Accounts and their sessions.
    pub accounts: Arc<Accounts>,
    /// Replies kept for repeated requests.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// Limits.
    pub settings: HttpSettings,
    /// What tokens and cursors are signed with; the same on every node.
    pub secret: [u8; keys::SECRET_LENGTH],
    /// Tells the time.
    pub clock: Clock,
    /// Tells how the node is.
    pub health: HealthSource,
    /// How many requests are worked on at once, and whether the node drains.
    pub admission: Arc<Admission>,
    /// Work that goes on when its client has gone away: a node waits for it before it ends.
    pub background: TaskTracker,
}

/// The state that handlers share.
pub struct Front {
    regions: Regions,
    products: Arc<dyn ProductStore>,
    search: Arc<dyn SearchIndex>,
    orders: Arc<dyn DocumentStore>,
    inventory: Arc<dyn DocumentStore>,
    accounts: Arc<Accounts>,
    idempotency: Arc<dyn IdempotencyStore>,
    settings: HttpSettings,
    keys: keys::Keys,
    rate_limits: rate_limit::RateLimiter,
    shelf: shelf::Shelf,
    clock: Clock,
    background: TaskTracker,
}

/// How handlers get at it.
pub type SharedFront = Arc<Front>;

/// The routes of the shop, with their conventions around them: ready for [`serve`].
pub fn router(shop: Shop) -> Router {
    let conventions = Conventions::from(&shop.settings);
    wrap(routes(shop), conventions)
}

/// The routes of the shop alone, to be merged with others (the pages) before [`wrap`].
pub fn routes(shop: Shop) -> Router {
    let health = health::router(shop.health, Arc::clone(&shop.admission));
    let front = Arc::new(Front {
        shelf: shelf::Shelf::new(Arc::clone(&shop.products), &shop.settings.shelf),
        keys: keys::Keys::derive(&shop.secret),
        rate_limits: rate_limit::RateLimiter::new(
            Arc::clone(&shop.accounts.throttle.counters),
            shop.settings.rate_limits,
            shop.settings.trusted_proxies.clone(),
            Arc::clone(&shop.clock),
        ),
        regions: shop.regions,
        products: shop.products,
        search: shop.search,
        orders: shop.orders,
        inventory: shop.inventory,
        accounts: shop.accounts,
        idempotency: shop.idempotency,
        settings: shop.settings,
        clock: shop.clock,
        background: shop.background,
    });
    routes::router(&front, &shop.admission)
        .with_state(front)
        .merge(health)
}
