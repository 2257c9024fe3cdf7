//! The engine of a single node, for the tests of what uses it. No workers: an order stays where it is put.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::Actor;

use super::entity::NoEffects;
use super::persistence::PersistenceActor;
use super::region::{AnyRegion, RegionLimits};
use super::remote::NodeTransport;
use super::{RegionParts, Regions};
use crate::clock;
use crate::stores::documents::faulty::FaultyDocuments;
use crate::stores::documents::outbox::{INVENTORY_CONSUMERS, ORDER_CONSUMERS};
use crate::stores::documents::{BATCH_LIMIT, DocumentStore};
use souk_cluster::lanes::SendError;
use souk_cluster::ownership::Routing;
use souk_cluster::view::{Member, MemberState, Role, View};

/// The node's name.
const HERE: &str = "here";
/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(3600);
const LIMITS: RegionLimits = RegionLimits {
    in_flight_per_node: 1024,
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
    fn send(&self, _node: &str, _key: u64, _item: Vec<u8>) -> Result<(), SendError> {
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
        let routing = Routing::new(HERE);
        let address = "127.0.0.1:1".parse().unwrap();
        let member = Member {
            name: HERE.to_owned(),
            incarnation: 1,
            state: MemberState::Ready,
            roles: vec![Role::Front, Role::Entities],
            cluster_address: address,
            gossip_address: address,
            shop_address: address,
            operator_address: address,
            version: String::new(),
        };
        let view = View {
            number: 1,
            members: vec![member],
        };
        routing.install(view, Instant::now(), LONG);
        routing.renew_lease(Instant::now(), LONG);
        let parts = RegionParts {
            routing,
            clock: clock::system(),
            limits: LIMITS,
            batch_rows: BATCH_LIMIT,
            in_flight: Arc::default(),
            requests: Arc::default(),
            transport: Arc::new(Nowhere),
        };
        let regions = Self::new(
            &parts,
            |name| match name {
                "carts" => Arc::clone(&carts),
                "orders" => Arc::clone(&orders),
                _ => Arc::clone(&inventory),
            },
            Arc::new(NoEffects),
        );
        for region in regions.all() {
            start(region).await;
        }
        regions
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
