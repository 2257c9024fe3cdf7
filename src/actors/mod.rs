//! The engine: entities, the shards and regions that supervise them, and the persistence actors of their stores.

pub mod entity;
pub mod handle;
#[cfg(test)]
mod in_memory;
pub mod metrics;
pub mod outcome;
pub mod persistence;
pub mod region;
pub mod remote;
pub mod shard;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use entity::{Effects, NoEffects};
use region::{AnyRegion, Region, RegionLimits};
use remote::{NodeTransport, PendingRequests};

use crate::clock::Clock;
use crate::stores::documents::DocumentStore;
use souk_cluster::ownership::Routing;
use souk_domain::stock::Stock;
use souk_domain::{Cart, Order};

/// The regions of all kinds of entities.
#[derive(Clone)]
pub struct Regions {
    /// Carts by cart id.
    pub carts: Region<Cart>,
    /// Orders by order id.
    pub orders: Region<Order>,
    /// Stock by SKU.
    pub skus: Region<Stock>,
}

impl Regions {
    /// Regions without their supervisors, over the stores of these names.
    ///
    /// # Errors
    /// That of `store`.
    pub fn new<E>(
        parts: &RegionParts,
        store: impl Fn(&'static str) -> Result<Arc<dyn DocumentStore>, E>,
        checkouts: Arc<dyn Effects<Order>>,
    ) -> Result<Self, E> {
        Ok(Self {
            carts: Region::new(parts, store("carts")?, Arc::new(NoEffects)),
            orders: Region::new(parts, store("orders")?, checkouts),
            skus: Region::new(parts, store("inventory")?, Arc::new(NoEffects)),
        })
    }

    /// All regions, in the order in which operators see them.
    pub fn all(&self) -> [&dyn AnyRegion; 3] {
        [&self.carts, &self.orders, &self.skus]
    }

    /// Commands in flight on this node, of all kinds together.
    pub fn in_flight(&self) -> usize {
        self.all().into_iter().map(AnyRegion::in_flight).sum()
    }

    /// The region of a kind by its name.
    pub fn of_kind(&self, kind: &str) -> Option<&dyn AnyRegion> {
        self.all()
            .into_iter()
            .find(|region| region.kind().as_str() == kind)
    }
}

/// What the regions of a node share.
pub struct RegionParts {
    /// The ownership of shards.
    pub routing: Arc<Routing>,
    /// The time passed to decisions.
    pub clock: Clock,
    /// The limits of each region.
    pub limits: RegionLimits,
    /// Most rows in one batch.
    pub batch_rows: usize,
    /// Commands that wait for replies from other nodes.
    pub requests: Arc<PendingRequests>,
    /// Sends items to other nodes.
    pub transport: Arc<dyn NodeTransport>,
}
