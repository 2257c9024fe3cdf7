//! Who does it: entities, the shards and regions that keep them, the persistence actors, and the workers of a node.

pub mod badges;
pub mod checkout;
pub mod clock;
pub mod entity;
pub mod figures;
pub mod handle;
#[cfg(test)]
mod in_memory;
pub mod node;
pub mod outcome;
pub mod persistence;
pub mod purchases;
pub mod region;
pub mod relay;
pub mod remote;
pub mod retry;
pub mod routing;
pub mod shard;
pub mod sweeper;

use crate::domain::stock::Stock;
use crate::domain::{Cart, Order};
use region::Region;

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
