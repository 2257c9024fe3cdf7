//! The health of a node for `/readyz`, from what is known already, without waiting for anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::http::api::health::{Health, HealthReport};
use crate::stores::Stores;
use souk_cluster::lanes::Links;
use souk_cluster::ownership::Routing;
use souk_cluster::view::NodeIdentity;

/// Interval of pings to the stores.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// The known health of a node.
pub(super) struct Probe {
    pub(super) routing: Arc<Routing>,
    pub(super) links: Links,
    pub(super) identity: NodeIdentity,
    /// Whether the node was linked to all others and served all its shards at least once.
    joined: AtomicBool,
    unreachable: std::sync::Mutex<Vec<&'static str>>,
}

impl Probe {
    pub(super) fn new(routing: Arc<Routing>, links: Links, identity: NodeIdentity) -> Self {
        Self {
            routing,
            links,
            identity,
            joined: AtomicBool::new(false),
            unreachable: std::sync::Mutex::default(),
        }
    }

    /// The current report.
    pub(super) fn report(&self) -> HealthReport {
        let table = self.routing.table();
        let within = table.view.contains(&self.identity);
        let view = match (within, self.routing.holds_lease()) {
            (false, _) => Health::Unavailable,
            (true, true) => Health::Ok,
            (true, false) => Health::Degraded,
        };
        let linked = table
            .view
            .members
            .iter()
            .filter(|member| member.name != self.identity.name)
            .all(|member| self.links.is_up(&member.identity()));
        let serving = self.routing.served().len() == self.routing.owned().len();
        if within && linked && serving {
            self.joined.store(true, Ordering::Relaxed);
        }
        let joined = self.joined.load(Ordering::Relaxed);
        let partial = |complete: bool| match (complete, joined) {
            (true, _) => Health::Ok,
            (false, true) => Health::Degraded,
            (false, false) => Health::Unavailable,
        };
        let mut checks = BTreeMap::from([
            ("view".to_owned(), view),
            ("links".to_owned(), partial(linked)),
            ("shards".to_owned(), partial(serving)),
        ]);
        let unreachable = self
            .unreachable
            .lock()
            .map(|names| names.clone())
            .unwrap_or_default();
        let stores = if unreachable.is_empty() {
            Health::Ok
        } else {
            Health::Degraded
        };
        checks.insert("stores".to_owned(), stores);
        for name in unreachable {
            checks.insert(format!("store {name}"), Health::Degraded);
        }
        HealthReport::of(checks)
    }

    /// Pings the stores until shutdown.
    pub(super) async fn watch_stores(self: Arc<Self>, stores: Stores, shutdown: CancellationToken) {
        let mut interval = tokio::time::interval(PING_INTERVAL);
        while shutdown.run_until_cancelled(interval.tick()).await.is_some() {
            let unreachable = ping_all(&stores).await;
            if let Ok(mut known) = self.unreachable.lock() {
                *known = unreachable;
            }
        }
    }
}

/// The names of the stores that do not answer. The sandbox stands for a third party, which is not part of the health of a
/// node.
async fn ping_all(stores: &Stores) -> Vec<&'static str> {
    let pings = stores.pings().into_iter().filter(|ping| ping.store != "sandbox");
    let checks = pings.map(|ping| async {
        let store = ping.store;
        let error = ping.send().await.err()?;
        tracing::warn!(
            store,
            error = &error as &dyn std::error::Error,
            "a store does not answer"
        );
        Some(store)
    });
    join_all(checks).await.into_iter().flatten().collect()
}
