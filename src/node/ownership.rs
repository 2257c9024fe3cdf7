//! What a node does when membership or ownership changes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;

use crate::actors::Regions;
use crate::actors::handle::Handle;
use crate::actors::remote::{Envelope, PendingRequests};
use crate::sagas::checkout::SagasMessage;
use crate::sagas::sweeper::Sweep;
use souk_cluster::frames::Item;
use souk_cluster::gossip::Gossip;
use souk_cluster::lanes::Links;
use souk_cluster::membership::{OwnershipChange, OwnershipListener};
use souk_cluster::peers::{Peer, PeersMessage};
use souk_cluster::view::{Member, NodeIdentity};
use tokio_util::sync::CancellationToken;

/// Passes changes on to the parts of a node.
pub(super) struct OwnershipEffects {
    pub(super) me: String,
    pub(super) regions: Regions,
    pub(super) sagas: Handle<SagasMessage>,
    pub(super) sweeper: Handle<Sweep>,
    pub(super) peers: Handle<PeersMessage>,
    pub(super) gossip: Arc<Gossip>,
    pub(super) links: Links,
    /// Cancelled when a newer process has this node's name.
    pub(super) superseded: CancellationToken,
    pub(super) requests: Arc<PendingRequests>,
    pub(super) lease: Duration,
}

impl OwnershipEffects {
    fn announce(&self, members: &[Member], notice: &Envelope) {
        let item = match souk_wire::encode(notice) {
            Ok(item) => Item(item),
            Err(error) => {
                tracing::warn!(%error, "cannot encode a notice");
                return;
            }
        };
        for member in members.iter().filter(|member| member.name != self.me) {
            // Notices only save time: a node that misses one learns the same at its next look, or waits for the lease.
            if let Err(error) = self.links.send(&member.name, item.clone()) {
                tracing::debug!(%error, node = member.name, "cannot send a notice");
            }
        }
    }

    fn sweep(&self) {
        self.sweeper.cast(Sweep);
        // Shards whose previous owner does not release them may be served only after its lease.
        let (sweeper, lease) = (self.sweeper.clone(), self.lease);
        tokio::spawn(async move {
            tokio::time::sleep(lease).await;
            sweeper.cast(Sweep);
        });
    }
}

#[async_trait]
impl OwnershipListener for OwnershipEffects {
    fn changed(&self, change: OwnershipChange) {
        match change {
            OwnershipChange::Peers(members) => {
                let peer = |member: &Member| Peer {
                    identity: member.identity(),
                    address: member.cluster_address,
                };
                self.peers
                    .cast(PeersMessage::Wanted(members.iter().map(peer).collect()));
            }
            OwnershipChange::Gained => self.sweep(),
            OwnershipChange::Released { view, members } => {
                self.announce(&members, &Envelope::Released { view });
            }
            OwnershipChange::Decided(members) => self.announce(&members, &Envelope::LookNow),
            OwnershipChange::NodeLeft(node) => self.requests.fail(&node),
            OwnershipChange::State(state) => self.gossip.publish_state(state),
            OwnershipChange::Unreachable(names) => self.gossip.publish_unreachable(names),
            OwnershipChange::Superseded(_) => self.superseded.cancel(),
        }
    }

    fn is_linked(&self, peer: &NodeIdentity) -> bool {
        self.links.is_up(peer)
    }

    async fn release(&self, shards: Vec<u16>) {
        if shards.is_empty() {
            return;
        }
        self.sagas.cast(SagasMessage::Lost(shards.clone()));
        let regions = self.regions.all();
        join_all(regions.map(|region| region.hand_over(shards.clone()))).await;
    }
}
