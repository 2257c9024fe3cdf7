//! What a view means for the rest of the node.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::join;

use crate::actors::Regions;
use crate::actors::handle::Handle;
use crate::actors::remote::{Correlations, Courier, Envelope};
use crate::sagas::checkout::SagasMessage;
use crate::sagas::sweeper::SweeperMessage;
use souk_cluster::gossip::{Gossip, GossipState};
use souk_cluster::membership::ViewConsequences;
use souk_cluster::peers::{Peer, PeersMessage};
use souk_cluster::transport::NodeIdentity;
use souk_cluster::view::{Member, MemberState};

/// Notices to one node go by this lane, in order.
const NOTICE_KEY: u64 = 0;

/// Everything that hears of views.
pub(super) struct Consequences {
    pub(super) me: String,
    pub(super) regions: Regions,
    pub(super) sagas: Handle<SagasMessage>,
    pub(super) sweeper: Handle<SweeperMessage>,
    pub(super) peers: Handle<PeersMessage>,
    pub(super) gossip: Gossip,
    pub(super) correlations: Arc<Correlations>,
    pub(super) courier: Arc<dyn Courier>,
    pub(super) verified: Duration,
}

impl Consequences {
    fn announce(&self, members: &[Member], notice: &Envelope) {
        let item = match souk_wire::encode(notice) {
            Ok(item) => item,
            Err(error) => {
                tracing::warn!(%error, "a notice could not be encoded");
                return;
            }
        };
        for member in members.iter().filter(|member| member.name != self.me) {
            // Notices only save time: whoever misses one finds out at its next look, or waits its time.
            if let Err(error) = self.courier.send(&member.name, NOTICE_KEY, item.clone()) {
                tracing::debug!(%error, node = member.name, "a notice was not sent");
            }
        }
    }
}

#[async_trait]
impl ViewConsequences for Consequences {
    fn wanted(&self, members: &[Member]) {
        let peers = members
            .iter()
            .map(|member| Peer {
                identity: NodeIdentity {
                    name: member.name.clone(),
                    incarnation: member.incarnation,
                },
                address: member.cluster_address,
            })
            .collect();
        self.peers.cast(PeersMessage::Wanted(peers));
    }

    async fn lost(&self, shards: Vec<u16>) {
        if shards.is_empty() {
            return;
        }
        self.sagas.cast(SagasMessage::Lost(shards.clone()));
        join!(
            self.regions.carts.hand_over(shards.clone()),
            self.regions.orders.hand_over(shards.clone()),
            self.regions.skus.hand_over(shards),
        );
    }

    fn gained(&self) {
        self.sweeper.cast(SweeperMessage::Sweep);
        // Shards that were taken from a node that did not release them may be served only then.
        let sweeper = self.sweeper.clone();
        let after = self.verified;
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            sweeper.cast(SweeperMessage::Sweep);
        });
    }

    fn announce_release(&self, members: &[Member], number: u64) {
        self.announce(members, &Envelope::Released { view: number });
    }

    fn announce_view(&self, members: &[Member]) {
        self.announce(members, &Envelope::LookNow);
    }

    fn forget(&self, node: &str) {
        self.correlations.forget(node);
    }

    fn publish(&self, me: &Member) {
        let state = match me.state {
            MemberState::Ready => GossipState::Ready,
            MemberState::Leaving => GossipState::Leaving,
        };
        let gossip = self.gossip.clone();
        tokio::spawn(async move { gossip.publish_state(state).await });
    }
}
