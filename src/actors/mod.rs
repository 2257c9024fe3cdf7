//! Who does it: entities, the shards and regions that keep them, the persistence actors, and the workers of a node.

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

use std::sync::atomic::Ordering;

use metrics::KindMetrics;
use region::Region;
use souk_domain::stock::Stock;
use souk_domain::{Cart, Order};

/// The way to every entity of the shop.
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
    /// The metrics of each kind.
    pub fn metrics(&self) -> [&KindMetrics; 3] {
        [
            &self.carts.context().entity.metrics,
            &self.orders.context().entity.metrics,
            &self.skus.context().entity.metrics,
        ]
    }

    /// Commands in flight on this node, of all kinds together.
    pub fn in_flight(&self) -> usize {
        self.carts.context().in_flight.load(Ordering::Relaxed)
    }
}
