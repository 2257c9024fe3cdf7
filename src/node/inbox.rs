//! The inbox: commands, replies and notices from other nodes.

use std::sync::{Arc, OnceLock};

use crate::actors::Regions;
use crate::actors::handle::Handle;
use crate::actors::remote::{Envelope, NodeTransport, PendingRequests, ReturnPath};
use souk_cluster::frames::Item;
use souk_cluster::lanes::FrameSink;
use souk_cluster::membership::MembershipMessage;
use souk_cluster::view::NodeIdentity;
use souk_domain::Kind;

/// Receives items from other nodes. It is created before the regions, which need the links, which need the inbox; items
/// that arrive before it is connected are dropped like any item that is lost.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) connected: OnceLock<Connected>,
}

pub(super) struct Connected {
    pub(super) regions: Regions,
    pub(super) requests: Arc<PendingRequests>,
    pub(super) membership: Handle<MembershipMessage>,
    pub(super) transport: Arc<dyn NodeTransport>,
}

impl FrameSink for Inbox {
    fn deliver(&self, from: &NodeIdentity, items: Vec<Item>) {
        let Some(connected) = self.connected.get() else {
            return;
        };
        let node: Arc<str> = Arc::from(from.name.as_str());
        for Item(bytes) in items {
            match souk_wire::decode::<Envelope>(&bytes) {
                Ok(envelope) => connected.receive(&node, envelope),
                Err(error) => tracing::warn!(%error, %node, "cannot decode an item of another node"),
            }
        }
    }
}

impl Connected {
    fn receive(&self, node: &Arc<str>, envelope: Envelope) {
        match envelope {
            Envelope::Command {
                correlation,
                kind,
                id,
                body,
            } => {
                let path = ReturnPath {
                    node: Arc::clone(node),
                    correlation,
                    transport: Arc::clone(&self.transport),
                };
                match kind {
                    Kind::Cart => self.regions.carts.accept(&id, &body, path),
                    Kind::Order => self.regions.orders.accept(&id, &body, path),
                    Kind::Sku => self.regions.skus.accept(&id, &body, path),
                }
            }
            Envelope::Reply { correlation, body } => self.requests.complete(correlation, body),
            Envelope::Released { view } => {
                self.membership.cast(MembershipMessage::Released {
                    from: node.to_string(),
                    view,
                });
            }
            Envelope::LookNow => {
                self.membership.cast(MembershipMessage::Look);
            }
        }
    }
}
