//! The engine of one node over the embedded store in this process, for benches: no listeners, no peers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::Actor;
use souk::actors::entity::{EntityContext, NoEffects};
use souk::actors::metrics::KindMetrics;
use souk::actors::outcome::Ask;
use souk::actors::persistence::{Persistence, PersistenceActor};
use souk::actors::region::{Region, RegionLimits, RegionSupervisor};
use souk::actors::remote::NodeTransport;
use souk::clock;
use souk::config::KEY_BYTES;
use souk::sealing::{Key, Keyring};
use souk::stores::Stores;
use souk::stores::documents::{BATCH_LIMIT, DocumentStore};
use souk::stores::sqlite;
use souk_cluster::lanes::SendError;
use souk_cluster::ownership::Routing;
use souk_cluster::view::{Member, MemberState, Role, View};
use souk_domain::stock::Stock;
use souk_domain::{Aggregate, Cart};

/// Longer than any bench runs.
const LONG: Duration = Duration::from_secs(24 * 3600);

struct Nowhere;

impl NodeTransport for Nowhere {
    fn send(&self, _node: &str, _key: u64, _item: Vec<u8>) -> Result<(), SendError> {
        Err(SendError::NoLink)
    }

    fn disconnect(&self, _node: &str) {}
}

/// The regions that are measured, over real stores in a folder.
pub struct Rig {
    /// Carts.
    pub carts: Region<Cart>,
    /// Stock.
    pub skus: Region<Stock>,
    _folder: tempfile::TempDir,
}

impl Rig {
    /// Starts it; at most `live_entities` of each kind are kept in memory.
    pub async fn start(live_entities: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let stores = open(folder.path()).await;
        let routing = routing();
        Self {
            carts: region(&stores.carts, &routing, live_entities).await,
            skus: region(&stores.inventory, &routing, live_entities).await,
            _folder: folder,
        }
    }
}

async fn open(folder: &Path) -> Stores {
    let writer = sqlite::in_process_writer(folder).expect("an engine");
    let key = Key::new("bench", &[1; KEY_BYTES]).expect("a key");
    let keyring = Arc::new(Keyring::new(key, Vec::new()));
    souk::stores::open::open_embedded(&writer, folder, &keyring)
        .await
        .expect("open stores")
}

fn routing() -> Arc<Routing> {
    let address = "127.0.0.1:1".parse().expect("an address");
    let member = Member {
        name: "bench".to_owned(),
        incarnation: 1,
        state: MemberState::Ready,
        roles: vec![Role::Entities],
        cluster_address: address,
        gossip_address: address,
        shop_address: address,
        operator_address: address,
        version: String::new(),
    };
    let routing = Routing::new("bench");
    let view = View {
        number: 1,
        members: vec![member],
    };
    routing.install(view, Instant::now(), LONG);
    routing.renew_lease(Instant::now(), LONG);
    routing
}

async fn region<A: Aggregate>(
    store: &Arc<dyn DocumentStore>,
    routing: &Arc<Routing>,
    live_entities: usize,
) -> Region<A> {
    let persistence = Persistence::new(Arc::clone(store), BATCH_LIMIT);
    let (actor, _) = Actor::spawn(None, PersistenceActor, persistence.clone())
        .await
        .expect("persistence");
    persistence.actor.point_at(actor);
    let entity = EntityContext {
        persistence,
        routing: Arc::clone(routing),
        effects: Arc::new(NoEffects),
        clock: clock::system(),
        metrics: Arc::new(KindMetrics::new(A::KIND)),
    };
    let limits = RegionLimits {
        in_flight_per_node: 1_000_000,
        in_flight_per_entity: 1_000_000,
        live_entities,
        idle: LONG,
        retry_after: Duration::from_secs(1),
        crashes: 5,
        parked: LONG,
    };
    let region = Region::new(entity, limits, Arc::default(), Arc::default(), Arc::new(Nowhere));
    let (actor, _) = Actor::spawn(None, RegionSupervisor::<A>::default(), region.clone())
        .await
        .expect("a region");
    region.context().supervisor.point_at(actor);
    region
}

/// An ask without a limit that matters.
pub fn ask<A: Aggregate>(command: A::Command) -> Ask<A> {
    Ask::new(
        command,
        Instant::now() + Duration::from_secs(60),
        Arc::from("bench"),
    )
}
