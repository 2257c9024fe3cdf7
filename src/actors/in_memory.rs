//! The engine of a single node over stores in memory, for the tests of what stands in front of it. No workers: an order
//! stays where it is put.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::Actor;

use super::Regions;
use super::entity::{EntityContext, NoEffects};
use super::metrics::KindMetrics;
use super::persistence::{Persistence, PersistenceActor};
use super::region::{Region, RegionLimits, RegionSupervisor};
use super::remote::NodeTransport;
use crate::clock;
use crate::stores::documents::BATCH_LIMIT;
use crate::stores::documents::memory::MemoryDocuments;
use souk_cluster::lanes::SendError;
use souk_cluster::ownership::Routing;
use souk_cluster::view::{Member, MemberState, Role, View};
use souk_domain::Aggregate;

/// The node's name.
const HERE: &str = "here";
/// Longer than any test runs.
const LONG: Duration = Duration::from_secs(3600);

/// There is no other node.
struct Nowhere;

impl NodeTransport for Nowhere {
    fn send(&self, _node: &str, _key: u64, _item: Vec<u8>) -> Result<(), SendError> {
        Err(SendError::NoLink)
    }

    fn disconnect(&self, _node: &str) {}
}

impl Regions {
    /// Regions whose entities live and are kept in this process alone.
    pub async fn in_memory() -> Self {
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
        Self {
            carts: region("carts", &routing).await,
            orders: region("orders", &routing).await,
            skus: region("inventory", &routing).await,
        }
    }
}

async fn region<A: Aggregate>(store: &'static str, routing: &Arc<Routing>) -> Region<A> {
    let persistence = Persistence::new(Arc::new(MemoryDocuments::new(store)), BATCH_LIMIT);
    let (actor, _) = Actor::spawn(None, PersistenceActor, persistence.clone())
        .await
        .unwrap();
    persistence.actor.point_at(actor);
    let entity = EntityContext {
        persistence,
        routing: Arc::clone(routing),
        effects: Arc::new(NoEffects),
        clock: clock::system(),
        metrics: Arc::new(KindMetrics::new(A::KIND)),
    };
    let limits = RegionLimits {
        in_flight_per_node: 1024,
        in_flight_per_entity: 1024,
        live_entities: 1024,
        idle: LONG,
        retry_after: Duration::from_secs(1),
        crashes: 5,
        parked: LONG,
    };
    let region = Region::new(entity, limits, Arc::default(), Arc::default(), Arc::new(Nowhere));
    let (actor, _) = Actor::spawn(None, RegionSupervisor::<A>::default(), region.clone())
        .await
        .unwrap();
    region.context().supervisor.point_at(actor);
    region
}
