//! Who is in the cluster, who owns what, and how nodes talk.

pub mod certificates;
pub mod election;
pub mod frames;
pub mod gossip;
pub mod key;
pub mod lanes;
pub mod membership;
pub mod peers;
pub mod placement;
pub mod transport;
pub mod view;
