//! ractor's side of the links: its `NodeServer` and the events of its sessions.
//!
//! A session is identified by the label of its stream, because ractor reports nothing else about a stream that it did not
//! open itself.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use ractor::{Actor, ActorCell, ActorId, ActorRef, SpawnErr};
use ractor_cluster::node::{NodeConnectionMode, NodeServerSessionInformation};
use ractor_cluster::{
    ClusterBidiStream, IncomingEncryptionMode, NodeEventSubscription, NodeServer, NodeServerMessage,
};
use tokio_rustls::TlsAcceptor;

use super::link::LinkMessage;
use crate::certificates;
use crate::frames::LaneMessage;
use crate::key::ClusterKey;
use crate::lanes::Gateway;
use crate::view::NodeIdentity;

const LABEL: &str = "souk-link-";
const SUBSCRIPTION: &str = "souk-links";

/// Numbers the connections of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Serial(u64);

impl Serial {
    fn label(self) -> String {
        format!("{LABEL}{}", self.0)
    }

    fn parse(label: &str) -> Option<Self> {
        label.strip_prefix(LABEL)?.parse().ok().map(Self)
    }
}

/// An event of a session.
#[derive(Debug)]
pub(super) enum SessionEvent {
    /// Both sides have announced their gateway.
    Ready {
        /// ractor's number of the session: remote actors of it carry it in their id.
        node: u64,
        /// The peer's name in ractor.
        name: Option<String>,
    },
    /// ractor has closed the session.
    Closed,
}

/// Gives streams to the `NodeServer`, and its events to the links.
pub(super) struct Sessions {
    next: AtomicU64,
    server: ArcSwapOption<ActorRef<NodeServerMessage>>,
    links: DashMap<Serial, ActorRef<LinkMessage>>,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
            server: ArcSwapOption::empty(),
            links: DashMap::new(),
        }
    }

    pub(super) fn next_serial(&self) -> Serial {
        Serial(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Starts a `NodeServer` below `supervisor`. Earlier ones, and their sessions, are forgotten.
    pub(super) async fn start_server(
        self: &Arc<Self>,
        own: &NodeIdentity,
        key: &ClusterKey,
        supervisor: ActorCell,
    ) -> Result<ActorId, SpawnErr> {
        self.server.store(None);
        self.links.clear();
        // It requires a listener of its own, which nobody may use: it listens on loopback only, and its TLS configuration
        // has no certificate, so no handshake succeeds.
        let unusable =
            certificates::refusing_server().map_err(|error| SpawnErr::StartupFailed(error.into()))?;
        let (name, host) = ractor_name_parts(own);
        let server = NodeServer::new(
            0,
            key.cookie(),
            name,
            host,
            Some(IncomingEncryptionMode::Tls(TlsAcceptor::from(Arc::new(unusable)))),
            Some(NodeConnectionMode::Isolated),
        )
        .with_listen_addr(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let (server, _) = Actor::spawn_linked(None, server, (), supervisor).await?;
        server
            .cast(NodeServerMessage::SubscribeToEvents {
                id: SUBSCRIPTION.to_owned(),
                subscription: Box::new(Subscription(Arc::clone(self))),
            })
            .map_err(|error| SpawnErr::StartupFailed(error.to_string().into()))?;
        let id = server.get_id();
        self.server.store(Some(Arc::new(server)));
        Ok(id)
    }

    /// Gives a stream to ractor; events of its session go to `link`. False if there is no `NodeServer` at the moment; the
    /// stream is closed then.
    pub(super) fn hand_over(
        &self,
        serial: Serial,
        link: ActorRef<LinkMessage>,
        is_server: bool,
        stream: impl FnOnce(String) -> Box<dyn ClusterBidiStream>,
    ) -> bool {
        let Some(server) = self.server.load_full() else {
            return false;
        };
        self.links.insert(serial, link);
        let handed = server.cast(NodeServerMessage::ConnectionOpenedExternal {
            stream: stream(serial.label()),
            is_server,
        });
        if handed.is_err() {
            self.forget(serial);
        }
        handed.is_ok()
    }

    /// Reports no more events of this session.
    pub(super) fn forget(&self, serial: Serial) {
        self.links.remove(&serial);
    }

    fn tell(&self, session: &NodeServerSessionInformation, event: SessionEvent) {
        let Some(serial) = Serial::parse(&session.peer_addr) else {
            return;
        };
        let link = if matches!(event, SessionEvent::Closed) {
            self.links.remove(&serial).map(|(_, link)| link)
        } else {
            self.links.get(&serial).map(|entry| entry.value().clone())
        };
        // A link that is no longer wanted has stopped.
        if let Some(link) = link {
            let _ = link.cast(LinkMessage::Session(serial, event));
        }
    }
}

/// A node's name and host in ractor, which joins them with an `@`. The host contains the name as well, because ractor
/// confuses two nodes with the same host and port.
fn ractor_name_parts(node: &NodeIdentity) -> (String, String) {
    (node.name.clone(), format!("{}.{}", node.incarnation, node.name))
}

/// A node's name in ractor.
pub(super) fn ractor_name(node: &NodeIdentity) -> String {
    let (name, host) = ractor_name_parts(node);
    format!("{name}@{host}")
}

/// The gateway that a session announced.
pub(super) fn gateway(node: u64) -> Option<ActorRef<LaneMessage>> {
    let members = ractor::pg::get_members(&Gateway::GROUP.to_owned());
    let is_of_node =
        |cell: &ActorCell| matches!(cell.get_id(), ActorId::Remote { node_id, .. } if node_id == node);
    members.into_iter().find(is_of_node).map(ActorRef::from)
}

struct Subscription(Arc<Sessions>);

impl NodeEventSubscription for Subscription {
    fn node_session_opened(&self, _session: NodeServerSessionInformation) {}

    fn node_session_authenticated(&self, _session: NodeServerSessionInformation) {}

    fn node_session_ready(&self, session: NodeServerSessionInformation) {
        let event = SessionEvent::Ready {
            node: session.node_id,
            name: session.peer_name.as_ref().map(|name| name.name.clone()),
        };
        self.0.tell(&session, event);
    }

    fn node_session_disconnected(&self, session: NodeServerSessionInformation) {
        self.0.tell(&session, SessionEvent::Closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_identify_connections() {
        let sessions = Sessions::new();
        let (first, second) = (sessions.next_serial(), sessions.next_serial());
        assert_ne!(first, second);
        assert_eq!(Serial::parse(&second.label()), Some(second));
        assert_eq!(Serial::parse("127.0.0.1:80"), None);
    }

    #[test]
    fn incarnations_have_names_of_their_own() {
        let node = |incarnation| NodeIdentity {
            name: "n1".to_owned(),
            incarnation,
        };
        assert_eq!(ractor_name(&node(7)), "n1@7.n1");
        assert_ne!(ractor_name(&node(7)), ractor_name(&node(8)));
    }
}
