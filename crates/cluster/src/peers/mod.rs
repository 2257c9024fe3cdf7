//! Peers: the actor that keeps a link to exactly the nodes to which one is wanted.

mod link;
mod sessions;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use ractor_cluster::RactorMessage;
use tokio::net::TcpListener;

use crate::certificates::NodeTls;
use crate::key::ClusterKey;
use crate::lanes::{Gateway, Links};
use crate::transport::{Admission, Listener, ListenerArguments, Secured, TransportSettings};
use crate::view::NodeIdentity;
use link::{Link, LinkContext, LinkMessage};
use sessions::Sessions;

/// The pause before a child that failed is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// A node to which a link is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which incarnation of which node.
    pub identity: NodeIdentity,
    /// Where it accepts links.
    pub address: SocketAddr,
}

/// Changes of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Items can be sent to this node.
    Up {
        /// Which incarnation of which node.
        peer: NodeIdentity,
    },
    /// Items can't be sent to this node. Reported at once when a link ends, and once more with `refused` when the peer's
    /// address refuses connections: its process is gone, not just the network.
    Down {
        /// Which incarnation of which node.
        peer: NodeIdentity,
        /// Whether the process is known to be gone.
        refused: bool,
    },
}

/// Receives the changes of links. Called on the link's actor: must not block.
pub type LinkEvents = Arc<dyn Fn(LinkEvent) + Send + Sync>;

/// Messages of [`Peers`].
#[derive(Debug, RactorMessage)]
pub enum PeersMessage {
    /// Links are wanted to exactly these nodes. A node with another incarnation or address than before gets a new link; this
    /// node itself is ignored.
    Wanted(Vec<Peer>),
    /// A node has dialled and was admitted.
    Incoming(Box<Secured>),
    /// Restart a child.
    Restart(Child),
}

/// The children of [`Peers`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Child {
    /// ractor's server, which owns the sessions.
    Server,
    /// The listener.
    Listener,
    /// The gateway.
    Gateway,
    /// The link to the node of this name.
    Link(String),
}

/// The arguments of [`Peers`].
pub struct PeersArguments {
    /// This node.
    pub identity: NodeIdentity,
    /// Where it accepts links; bound before, so that a port in use is an error at startup.
    pub listener: TcpListener,
    /// Its certificates.
    pub tls: NodeTls,
    /// The cluster's secret.
    pub key: ClusterKey,
    /// The limits.
    pub settings: TransportSettings,
    /// Where connections are registered.
    pub links: Links,
    /// Receives their changes.
    pub events: LinkEvents,
}

/// The actor.
pub struct Peers;

/// The actor's state.
pub struct PeersState {
    key: ClusterKey,
    context: Arc<LinkContext>,
    listener: ListenerArguments,
    wanted: HashMap<String, Peer>,
    links: HashMap<String, ActorRef<LinkMessage>>,
    children: HashMap<ActorId, Child>,
}

impl PeersState {
    async fn start(&mut self, child: Child, supervisor: ActorCell) -> Result<(), SpawnErr> {
        let id = match &child {
            Child::Server => {
                self.context
                    .sessions
                    .start_server(self.context.admission.own(), &self.key, supervisor)
                    .await?
            }
            Child::Listener => Actor::spawn_linked(None, Listener, self.listener.clone(), supervisor)
                .await?
                .0
                .get_id(),
            // Without a name: the exit of a named remote actor would remove a local one of the same name from ractor's
            // registry.
            Child::Gateway => Actor::spawn_linked(None, Gateway, self.context.links.clone(), supervisor)
                .await?
                .0
                .get_id(),
            Child::Link(name) => {
                let Some(peer) = self.wanted.get(name).cloned() else {
                    return Ok(());
                };
                let arguments = (Arc::clone(&self.context), peer);
                let link = Actor::spawn_linked(None, Link, arguments, supervisor).await?.0;
                let id = link.get_id();
                self.links.insert(name.clone(), link);
                id
            }
        };
        self.children.insert(id, child);
        Ok(())
    }

    async fn want(&mut self, peers: Vec<Peer>, myself: &ActorRef<PeersMessage>) {
        let own = self.context.admission.own().name.clone();
        let wanted: HashMap<String, Peer> = peers
            .into_iter()
            .filter(|peer| peer.identity.name != own)
            .map(|peer| (peer.identity.name.clone(), peer))
            .collect();
        // Admission first: a peer that is no longer wanted must not reconnect at once.
        self.context
            .admission
            .replace(wanted.values().map(|peer| peer.identity.clone()));
        let changed = |name: &String| self.wanted.get(name) != wanted.get(name);
        let names: HashSet<String> = self.wanted.keys().chain(wanted.keys()).cloned().collect();
        let names: Vec<String> = names.into_iter().filter(changed).collect();
        self.wanted = wanted;
        for name in names {
            if let Some(link) = self.links.remove(&name) {
                self.children.remove(&link.get_id());
                link.stop(Some("no longer wanted".to_owned()));
            }
            self.start_or_retry(Child::Link(name), myself).await;
        }
    }

    async fn start_or_retry(&mut self, child: Child, myself: &ActorRef<PeersMessage>) {
        if let Err(error) = self.start(child.clone(), myself.get_cell()).await {
            tracing::warn!(%error, ?child, "a child of the links did not start; retrying");
            myself.send_after(RESTART_PAUSE, move || PeersMessage::Restart(child));
        }
    }

    /// A child has ended unexpectedly.
    fn lost(&mut self, id: ActorId, why: &str, myself: &ActorRef<PeersMessage>) {
        let Some(child) = self.children.remove(&id) else {
            return;
        };
        counter!("souk_links_restarts_total").increment(1);
        tracing::warn!(?child, why, "a child of the links has ended; restarting");
        match &child {
            // Peers learn the address of a new gateway only with the next session.
            Child::Server | Child::Gateway => self.context.links.end_all(),
            Child::Link(name) => {
                self.links.remove(name);
            }
            Child::Listener => {}
        }
        myself.send_after(RESTART_PAUSE, move || PeersMessage::Restart(child));
    }
}

impl Actor for Peers {
    type Msg = PeersMessage;
    type State = PeersState;
    type Arguments = PeersArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let admission = Arc::new(Admission::new(arguments.identity));
        let settings = Arc::new(arguments.settings);
        let incoming = myself.clone();
        let mut state = PeersState {
            key: arguments.key,
            listener: ListenerArguments {
                socket: Arc::new(arguments.listener),
                tls: arguments.tls.server,
                admission: Arc::clone(&admission),
                settings: Arc::clone(&settings),
                // If the actor has stopped, the connection is dropped with the message.
                on_connection: Arc::new(move |secured| {
                    let _ = incoming.cast(PeersMessage::Incoming(Box::new(secured)));
                }),
            },
            context: Arc::new(LinkContext {
                admission,
                tls: arguments.tls.client,
                settings,
                sessions: Arc::new(Sessions::new()),
                links: arguments.links,
                events: arguments.events,
            }),
            wanted: HashMap::new(),
            links: HashMap::new(),
            children: HashMap::new(),
        };
        // The gateway starts before the listener: a session announces it if it exists.
        for child in [Child::Gateway, Child::Server, Child::Listener] {
            state.start(child, myself.get_cell()).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PeersMessage::Wanted(peers) => state.want(peers, &myself).await,
            PeersMessage::Incoming(secured) => {
                // It is dropped if the peer is no longer wanted since it was admitted.
                let wanted = state
                    .wanted
                    .get(&secured.peer.name)
                    .is_some_and(|peer| peer.identity == secured.peer);
                if let Some(link) = state.links.get(&secured.peer.name).filter(|_| wanted) {
                    let _ = link.cast(LinkMessage::Incoming(secured));
                }
            }
            PeersMessage::Restart(child) => {
                let running = state.children.values().any(|running| *running == child);
                if !running {
                    state.start_or_retry(child, &myself).await;
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(who, _, reason) => {
                state.lost(who.get_id(), reason.as_deref().unwrap_or("stopped"), &myself);
            }
            SupervisionEvent::ActorFailed(who, error) => {
                state.lost(who.get_id(), &error.to_string(), &myself);
            }
            _ => {}
        }
        Ok(())
    }
}
