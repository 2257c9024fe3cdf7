//! The inbox: commands, replies and notices from other nodes.

use std::sync::Arc;

use crate::actors::Regions;
use crate::actors::handle::Handle;
use crate::actors::remote::{Envelope, NodeTransport, PendingRequests, ReturnPath};
use souk_cluster::frames::Item;
use souk_cluster::membership::MembershipMessage;
use souk_cluster::view::NodeIdentity;

/// Receives items from other nodes.
pub(super) struct Inbox {
    pub(super) regions: Regions,
    pub(super) requests: Arc<PendingRequests>,
    pub(super) membership: Handle<MembershipMessage>,
    pub(super) transport: Arc<dyn NodeTransport>,
}

impl Inbox {
    pub(super) fn deliver(&self, from: &NodeIdentity, items: Vec<Item>) {
        let node: Arc<str> = Arc::from(from.name.as_str());
        for Item(bytes) in items {
            match souk_wire::decode::<Envelope>(&bytes) {
                Ok(envelope) => self.receive(&node, envelope),
                Err(error) => tracing::warn!(%error, %node, "cannot decode an item of another node"),
            }
        }
    }

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
                match self.regions.of_kind(&kind) {
                    Some(region) => region.accept(&id, &body, path),
                    None => {
                        tracing::warn!(kind, %node, "a command for an unknown kind of entity was dropped")
                    }
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
