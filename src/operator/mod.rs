//! The operator's interface: the state of a node and of its cluster, metrics, and a few actions.
//!
//! Every node knows only itself. For a reply about the cluster, the node asks the others (see [`peers`]), so that any node
//! can reply for all.

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use dashmap::DashMap;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::actors::Regions;
use crate::actors::handle::Handle;
use crate::actors::persistence::Persistence;
use crate::clock::Clock;
use crate::config::Secret;
use crate::http::api::health;
use crate::http::api::health::HealthSource;
use crate::http::edge::admission::Admission;
use crate::http::edge::conventions::wrap;
use crate::http::edge::settings::HttpSettings;
use crate::sagas::checkout::Trace;
use crate::stores::Stores;
use souk_cluster::membership::MembershipMessage;
use souk_cluster::ownership::Routing;
use souk_cluster::view::Member;
use souk_domain::Timestamp;

pub mod metrics;
pub mod peers;
pub mod redact;
pub mod supervision;

mod access;
mod actors;
mod config;
mod console;
mod drain;
mod nodes;
mod outbox;
mod sagas;
mod shards;
mod stores;
#[cfg(test)]
mod tests;

pub use supervision::{SupervisionState, SupervisionTree};

/// The parts of the node that the interface uses.
pub struct OperatorState {
    /// This node, as it announced itself when it started.
    pub me: Member,
    /// When it started.
    pub started_at: Timestamp,
    /// The clock.
    pub clock: Clock,
    /// The operator token; the same on every node.
    pub token: Secret,
    /// The effective configuration without secrets, from [`Config::redacted`](crate::config::Config::redacted).
    pub config: serde_json::Value,
    /// The entities and their metrics.
    pub regions: Regions,
    /// The owners of shards.
    pub routing: Arc<Routing>,
    /// The persistence actors of this node: carts, orders, inventory, payments.
    pub persistence: Vec<Persistence>,
    /// The stores themselves.
    pub stores: Stores,
    /// The checkouts in progress on this node.
    pub traces: Arc<DashMap<String, Trace>>,
    /// The membership actor, which knows the other nodes.
    pub membership: Handle<MembershipMessage>,
    /// The supervision tree of this node.
    pub supervision: Arc<dyn Fn() -> SupervisionTree + Send + Sync>,
    /// The health of the node.
    pub health: HealthSource,
    /// Whether the node drains.
    pub admission: Arc<Admission>,
    /// The metrics of this node.
    pub metrics: PrometheusHandle,
    /// Drains and ends this node. Further calls have no effect.
    pub drain: Arc<dyn Fn() + Send + Sync>,
    /// The client for other nodes.
    pub client: peers::OperatorClient,
    /// Limits of a request.
    pub settings: HttpSettings,
}

/// The state of the handlers.
type Shared = Arc<OperatorState>;

/// The routes, with their conventions around them: ready for [`serve`](crate::http::edge::server::serve).
///
/// All of them require the operator token except `/livez` and `/readyz`.
pub fn router(state: OperatorState) -> Router {
    let settings = state.settings.clone().internal();
    let health = health::router(Arc::clone(&state.health), Arc::clone(&state.admission));
    let state = Arc::new(state);
    let routes = Router::new()
        .route("/", get(console::show))
        .route("/metrics", get(metrics::show))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/{name}/drain", post(drain::start))
        .route("/v1/shards", get(shards::list))
        .route("/v1/actors", get(actors::list))
        .route("/v1/actors/{kind}/{id}", get(actors::show))
        .route("/v1/supervision", get(supervision::show))
        .route("/v1/outbox", get(outbox::list))
        .route("/v1/dead-letters", get(outbox::dead_letters))
        .route("/v1/dead-letters/{id}/replay", post(outbox::replay))
        .route("/v1/sagas", get(sagas::list))
        .route("/v1/sagas/{order_id}", get(sagas::show))
        .route("/v1/sagas/{order_id}/retry", post(sagas::retry))
        .route("/v1/stores", get(stores::list))
        .route("/v1/config", get(config::show))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state),
            access::require,
        ))
        .with_state(state)
        .merge(health);
    wrap(routes, settings)
}
