//! The engine of a single node, for the tests of what uses it. No workers: an order stays where it is put.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ractor::Actor;

use super::entity::NoEffects;
use super::persistence::PersistenceActor;
use super::region::{AnyRegion, Region, RegionLimits};
use super::remote::NodeTransport;
use super::{RegionParts, Regions};
use crate::clock;
use crate::stores::documents::faulty::FaultyDocuments;
use crate::stores::documents::outbox::{INVENTORY_CONSUMERS, ORDER_CONSUMERS};
use crate::stores::documents::{BATCH_LIMIT, DocumentStore};
use souk_cluster::lanes::SendError;
use souk_cluster::ownership::{Routing, fixtures};
use souk_domain::Aggregate;

/// The node's name.
pub const HERE: &str = "here";
/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(3600);
/// Far beyond what a test needs.
pub const LIMITS: RegionLimits = RegionLimits {
    in_flight_per_kind: 1024,
    in_flight_background: 1024,
    in_flight_per_entity: 1024,
    live_entities: 1024,
    idle: LONG,
    retry_after: Duration::from_secs(1),
    crashes: 5,
    parked: LONG,
};

/// There is no other node.
struct Nowhere;

impl NodeTransport for Nowhere {
    fn send(&self, _node: &str, _item: Vec<u8>) -> Result<(), SendError> {
        Err(SendError::NoLink)
    }

    fn disconnect(&self, _node: &str) {}
}

impl Regions {
    /// Regions whose entities live in this process, each kind over an empty store of its own.
    pub async fn alone() -> Self {
        let (carts, orders, inventory) = (
            FaultyDocuments::new("carts").await,
            FaultyDocuments::with_consumers("orders", ORDER_CONSUMERS).await,
            FaultyDocuments::with_consumers("inventory", INVENTORY_CONSUMERS).await,
        );
        Self::over(carts, orders, inventory).await
    }

    /// Regions whose entities live in this process and are kept in these stores.
    pub async fn over(
        carts: Arc<dyn DocumentStore>,
        orders: Arc<dyn DocumentStore>,
        inventory: Arc<dyn DocumentStore>,
    ) -> Self {
        Self::limited(carts, orders, inventory, LIMITS).await
    }

    /// The same, with these limits.
    pub async fn limited(
        carts: Arc<dyn DocumentStore>,
        orders: Arc<dyn DocumentStore>,
        inventory: Arc<dyn DocumentStore>,
        limits: RegionLimits,
    ) -> Self {
        let stores = [carts, orders, inventory];
        let store = |name| {
            Ok(Arc::clone(
                stores.iter().find(|store| store.name() == name).unwrap(),
            ))
        };
        let parts = parts(&fixtures::alone(HERE, 1), limits);
        let Ok(regions) = Self::new::<Infallible>(&parts, store, Arc::new(NoEffects));
        for region in regions.all() {
            start(region).await;
        }
        regions
    }
}

/// A running region over a store.
pub async fn region<A: Aggregate>(
    store: Arc<dyn DocumentStore>,
    routing: &Arc<Routing>,
    limits: RegionLimits,
) -> Region<A> {
    let region = Region::new(&parts(routing, limits), store, Arc::new(NoEffects));
    start(&region).await;
    region
}

fn parts(routing: &Arc<Routing>, limits: RegionLimits) -> RegionParts {
    RegionParts {
        routing: Arc::clone(routing),
        clock: clock::system(),
        limits,
        batch_rows: BATCH_LIMIT,
        requests: Arc::default(),
        transport: Arc::new(Nowhere),
    }
}

/// Starts the actors of a region.
async fn start(region: &dyn AnyRegion) {
    let persistence = region.persistence();
    let (actor, _) = Actor::spawn(None, PersistenceActor, persistence.clone())
        .await
        .unwrap();
    let parent = actor.get_cell();
    persistence.actor.point_at(actor);
    region.starter()(parent).await.unwrap();
}
