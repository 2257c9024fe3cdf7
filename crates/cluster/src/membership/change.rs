//! Changes of membership and ownership as the rest of a node learns of them.

use async_trait::async_trait;

use crate::view::{Member, MemberState, NodeIdentity};

/// A change of membership or ownership. Lost shards are not among them: [`OwnershipListener::release`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnershipChange {
    /// Links are wanted to exactly these nodes.
    Peers(Vec<Member>),
    /// This node may serve more shards than before, now or when the lease of their previous owner has expired.
    Gained,
    /// This node has released the shards that it lost with the view of this number; the members should be told.
    Released {
        /// The view's number.
        view: u64,
        /// Whom to tell.
        members: Vec<Member>,
    },
    /// This node's proposal has become the view; its members should be told.
    Decided(Vec<Member>),
    /// A node has left the view: commands that were sent to it will not be answered.
    NodeLeft(String),
    /// The state of this node that gossip should publish.
    State(MemberState),
    /// The names of the live nodes to which this node has had no link for too long, as gossip should publish them.
    Unreachable(Vec<String>),
    /// A newer process with this node's name and this incarnation is in the cluster: this one must end.
    Superseded(u64),
}

/// Receives changes, in order.
#[async_trait]
pub trait OwnershipListener: Send + Sync + 'static {
    /// Called on the membership actor: must not block.
    fn changed(&self, change: OwnershipChange);

    /// Whether there is a link to this node at present. Must not block.
    fn is_linked(&self, peer: &NodeIdentity) -> bool;

    /// Releases shards that this node has lost; returns when their last write in flight has ended.
    async fn release(&self, shards: Vec<u16>);
}
