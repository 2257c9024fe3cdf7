//! The state that handlers share.

use std::sync::{Arc, LazyLock};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::asset::Asset;
use super::exports::Exports;
use super::keys::Keys;
use super::rate_limit::RateLimiter;
use crate::actors::Regions;
use crate::authentication::service::Accounts;
use crate::clock::Clock;
use crate::http::catalogue_cache::CatalogueCache;
use crate::http::edge::settings::HttpSettings;
use crate::http::edge::shares::Shares;
use crate::stores::documents::{DocumentStore, Outbox};
use crate::stores::idempotency::IdempotencyStore;
use crate::stores::products::ProductStore;
use crate::stores::search::SearchIndex;

/// What handlers and the checks before them work with. Nothing here keeps state beyond caches: any node answers any request.
pub struct Front {
    pub(in crate::http) regions: Regions,
    pub(in crate::http) products: Arc<dyn ProductStore>,
    pub(in crate::http) search: Arc<dyn SearchIndex>,
    pub(in crate::http) catalogue_cache: CatalogueCache,
    pub(in crate::http) orders: Arc<dyn DocumentStore>,
    pub(in crate::http) inventory: Arc<dyn DocumentStore>,
    pub(in crate::http) stock_events: Arc<dyn Outbox>,
    pub(in crate::http) accounts: Arc<Accounts>,
    pub(in crate::http) idempotency: Arc<dyn IdempotencyStore>,
    pub(in crate::http) settings: HttpSettings,
    pub(in crate::http) keys: Keys,
    pub(in crate::http) rate_limits: Arc<RateLimiter>,
    /// The bodies that are being received.
    pub(in crate::http) bodies: Shares,
    /// The exports under way.
    pub(in crate::http) exports: Exports,
    /// A permit for each order in a list that is being made.
    pub(in crate::http) listed_orders: Semaphore,
    pub(in crate::http) clock: Clock,
    pub(in crate::http) background: TaskTracker,
    /// The published description of the interface; made when it is asked for.
    pub(in crate::http) document: LazyLock<Asset>,
}

/// The state as axum hands it to handlers.
pub type SharedFront = Arc<Front>;
