//! The engine of one node over the embedded store in this process, for benches: no listeners, no peers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::Actor;
use souk::actors::RegionParts;
use souk::actors::entity::NoEffects;
use souk::actors::outcome::Ask;
use souk::actors::persistence::PersistenceActor;
use souk::actors::region::{AnyRegion, Region, RegionLimits};
use souk::actors::remote::NodeTransport;
use souk::clock;
use souk::config::KEY_BYTES;
use souk::sealing::{Key, Keyring};
use souk::stores::Stores;
use souk::stores::documents::{BATCH_LIMIT, DocumentStore};
use souk::stores::sqlite;
use souk_cluster::lanes::SendError;
use souk_cluster::ownership::Routing;
use souk_cluster::ownership::fixtures::alone;
use souk_domain::stock::Stock;
use souk_domain::{Aggregate, Cart, CartCommand, ProductId, Sku};

/// Longer than any bench runs.
const LONG: Duration = Duration::from_secs(24 * 3600);

struct Nowhere;

impl NodeTransport for Nowhere {
    fn send(&self, _node: &str, _item: Vec<u8>) -> Result<(), SendError> {
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
        let routing = alone("bench", 1);
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

async fn region<A: Aggregate>(
    store: &Arc<dyn DocumentStore>,
    routing: &Arc<Routing>,
    live_entities: usize,
) -> Region<A> {
    let limits = RegionLimits {
        in_flight_per_kind: 1_000_000,
        in_flight_background: 1_000_000,
        in_flight_per_entity: 1_000_000,
        live_entities,
        idle: LONG,
        retry_after: Duration::from_secs(1),
        crashes: 5,
        parked: LONG,
    };
    let parts = RegionParts {
        routing: Arc::clone(routing),
        clock: clock::system(),
        limits,
        batch_rows: BATCH_LIMIT,
        requests: Arc::default(),
        transport: Arc::new(Nowhere),
    };
    let region = Region::new(&parts, Arc::clone(store), Arc::new(NoEffects));
    let persistence = region.persistence();
    let (actor, _) = Actor::spawn(None, PersistenceActor, persistence.clone())
        .await
        .expect("persistence");
    let parent = actor.get_cell();
    persistence.actor.point_at(actor);
    region.starter()(parent).await.expect("a region");
    region
}

/// A command that puts something into a cart: an empty cart has no row, and does not stay in memory.
pub fn add() -> CartCommand {
    CartCommand::Add {
        sku: Sku::parse("BENCH-1").expect("a SKU"),
        product_id: ProductId::parse("prd_bench").expect("a product"),
        quantity: 1,
    }
}

/// An ask without a limit that matters.
pub fn ask<A: Aggregate>(command: A::Command) -> Ask<A> {
    Ask::new(
        command,
        Instant::now() + Duration::from_secs(60),
        Arc::from("bench"),
    )
}
