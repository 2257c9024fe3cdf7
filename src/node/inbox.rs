//! What comes in from other nodes: commands for this node's entities, replies to its own, and notices about views.

use std::sync::{Arc, OnceLock};

use crate::actors::Regions;
use crate::actors::handle::Handle;
use crate::actors::remote::{Correlations, Courier, CourierError, Envelope, ReturnPath};
use souk_cluster::frames::Item;
use souk_cluster::lanes::{FrameSink, Links, SendError};
use souk_cluster::membership::MembershipMessage;
use souk_cluster::transport::NodeIdentity;
use souk_domain::Kind;

/// Links as the regions see them.
pub(super) struct LinkCourier(pub(super) Links);

impl Courier for LinkCourier {
    fn send(&self, node: &str, key: u64, item: Vec<u8>) -> Result<(), CourierError> {
        self.0.send(node, key, Item(item)).map_err(|error| match error {
            SendError::NoLink => CourierError::NoLink,
            SendError::Busy => CourierError::Full,
            SendError::TooLarge(_) => CourierError::TooLarge,
        })
    }

    fn break_off(&self, node: &str) {
        self.0.end(node);
    }
}

/// Takes what comes in. It is made before the regions, which need the links, which need it: what comes before it is
/// connected is dropped, like anything that is lost on the way.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) connected: OnceLock<Connected>,
}

pub(super) struct Connected {
    pub(super) regions: Regions,
    pub(super) correlations: Arc<Correlations>,
    pub(super) membership: Handle<MembershipMessage>,
    pub(super) courier: Arc<dyn Courier>,
}

impl FrameSink for Inbox {
    fn deliver(&self, from: &NodeIdentity, items: Vec<Item>) {
        let Some(connected) = self.connected.get() else {
            return;
        };
        let node: Arc<str> = Arc::from(from.name.as_str());
        for Item(bytes) in items {
            match souk_wire::decode::<Envelope>(&bytes) {
                Ok(envelope) => connected.take(&node, envelope),
                Err(error) => tracing::warn!(%error, %node, "an item from another node does not decode"),
            }
        }
    }
}

impl Connected {
    fn take(&self, node: &Arc<str>, envelope: Envelope) {
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
                    courier: Arc::clone(&self.courier),
                };
                match kind {
                    Kind::Cart => self.regions.carts.accept(&id, &body, path),
                    Kind::Order => self.regions.orders.accept(&id, &body, path),
                    Kind::Sku => self.regions.skus.accept(&id, &body, path),
                }
            }
            Envelope::Reply { correlation, body } => self.correlations.answered(correlation, body),
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
