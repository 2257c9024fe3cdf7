//! Membership, ownership of shards, and the links between nodes.

pub mod certificates;
pub mod election;
pub mod frames;
pub mod gossip;
pub mod key;
pub mod lanes;
pub mod lease;
pub mod membership;
pub mod ownership;
pub mod peers;
pub mod placement;
pub mod transport;
pub mod view;
pub mod views;
