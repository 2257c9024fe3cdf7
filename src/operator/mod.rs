//! The operator's interface: what a node shows of itself and of its cluster, and the little that it does when asked.
//!
//! Every node knows only itself. Where an answer is about the cluster, the node that was asked asks the others (see
//! [`peers`]), so that any node answers for all.

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
use crate::http::{Admission, Conventions, HealthSource, health, wrap};
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

pub use supervision::{SupervisionStatus, SupervisionTree};

/// What the interface needs of its node.
pub struct OperatorState {
    /// This node, as it announced itself when it started.
    pub me: Member,
    /// When it started.
    pub started_at: Timestamp,
    /// The time.
    pub clock: Clock,
    /// Whoever shows this may look and act; the same on every node.
    pub token: Secret,
    /// The effective configuration without its secrets, as of [`Config::redacted`](crate::config::Config::redacted).
    pub config: serde_json::Value,
    /// The way to the entities, and their figures.
    pub regions: Regions,
    /// Who owns what.
    pub routing: Arc<Routing>,
    /// The persistence actors of this node: carts, orders, inventory, payments.
    pub persistence: Vec<Persistence>,
    /// The stores themselves.
    pub stores: Stores,
    /// The checkouts under way on this node.
    pub traces: Arc<DashMap<String, Trace>>,
    /// The membership, which knows who else is there.
    pub membership: Handle<MembershipMessage>,
    /// What is supervised on this node, and how often each part was started again.
    pub supervision: Arc<dyn Fn() -> SupervisionTree + Send + Sync>,
    /// Tells how the node is.
    pub health: HealthSource,
    /// Tells whether the node drains.
    pub admission: Arc<Admission>,
    /// The metrics of this node.
    pub metrics: PrometheusHandle,
    /// Has this node drain and end. Called again, it does nothing more.
    pub drain: Arc<dyn Fn() + Send + Sync>,
    /// Asks other nodes.
    pub client: peers::OperatorClient,
    /// Limits of a request.
    pub conventions: Conventions,
}

/// How handlers get at it.
type Shared = Arc<OperatorState>;

/// The routes, with their conventions around them: ready for [`serve`](crate::http::serve).
///
/// All of them ask for the operator token but `/livez` and `/readyz`.
pub fn router(state: OperatorState) -> Router {
    let conventions = state.conventions.clone().internal();
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
        .route("/v1/stores", get(stores::list))
        .route("/v1/config", get(config::show))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state),
            access::require,
        ))
        .with_state(state)
        .merge(health);
    wrap(routes, conventions)
}
