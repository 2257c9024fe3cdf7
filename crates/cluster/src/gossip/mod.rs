//! Gossip: which nodes are alive, and what they say of themselves. It detects and proposes; who is a member is decided in
//! the coordination store (see `view`).

mod member;
mod seal;
mod socket;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, spawn_chitchat};
use metrics::gauge;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use member::{Announcement, GossipMember, GossipState, keys};
pub use seal::SealError;

use super::key::ClusterKey;
use super::transport::NodeIdentity;
use member::members;
use socket::SealedTransport;

/// For how long a deleted key is remembered. Souk deletes none.
const TOMBSTONE_GRACE: Duration = Duration::from_secs(900);

/// How a node gossips.
///
/// # When a silent node is dead
/// chitchat divides the time since the last heartbeat by a smoothed mean of the last intervals, and calls a node dead above
/// `phi_threshold`. The mean is (sum of samples + 5 × `initial_interval`) / (samples + 5). How often heartbeats of a node
/// arrive depends on the size of the cluster (two or three times an interval, directly and by way of others), so a large
/// window would make the time to detection depend on it as well. With a window of 5 the prior has half the weight: at
/// arrivals of 30 to 120 ms the mean is 215 to 260 ms, so 7 of them are 1.5 to 1.8 s. On a starved machine the samples grow,
/// and with them the patience.
#[derive(Clone, Debug)]
pub struct GossipSettings {
    /// Nodes of another cluster are not talked to.
    pub cluster: String,
    /// Who this node is; a greater incarnation of the same name supersedes a smaller.
    pub identity: NodeIdentity,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where others reach this node; the address listened on where absent.
    pub advertise: Option<SocketAddr>,
    /// Where to find the first others, as `host:port`.
    pub seeds: Vec<String>,
    /// Between rounds.
    pub interval: Duration,
    /// In mean intervals of silence.
    pub phi_threshold: f64,
    /// How many intervals are remembered for a node.
    pub sampling_window: usize,
    /// The interval that is assumed before any is known.
    pub initial_interval: Duration,
    /// Longer intervals are not remembered: the node was away.
    pub longest_interval: Duration,
    /// After which a dead node is forgotten.
    pub dead_grace: Duration,
}

impl GossipSettings {
    /// The defaults for a node.
    pub fn new(cluster: impl Into<String>, identity: NodeIdentity, listen: SocketAddr) -> Self {
        Self {
            cluster: cluster.into(),
            identity,
            listen,
            advertise: None,
            seeds: Vec::new(),
            interval: Duration::from_millis(120),
            phi_threshold: 7.0,
            sampling_window: 5,
            initial_interval: Duration::from_millis(400),
            longest_interval: Duration::from_secs(2),
            dead_grace: Duration::from_secs(300),
        }
    }
}

/// Why gossip did not start.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    /// The address is taken or not this machine's.
    #[error("cannot gossip on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// chitchat did not start.
    #[error("gossip did not start")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A node's gossip. Dropping the last handle ends it.
#[derive(Clone)]
pub struct Gossip {
    inner: Arc<Inner>,
}

struct Inner {
    handle: ChitchatHandle,
    address: SocketAddr,
    members: watch::Receiver<Vec<GossipMember>>,
    follower: JoinHandle<()>,
}

impl Gossip {
    /// Binds the socket, announces this node and begins to gossip.
    ///
    /// # Errors
    /// [`GossipError`].
    pub async fn start(
        settings: GossipSettings,
        key: &ClusterKey,
        announcement: &Announcement,
    ) -> Result<Self, GossipError> {
        let bind_error = |source| GossipError::Bind {
            address: settings.listen,
            source,
        };
        let socket = UdpSocket::bind(settings.listen).await.map_err(bind_error)?;
        let address = socket.local_addr().map_err(bind_error)?;
        let chitchat_id = ChitchatId::new(
            settings.identity.name.as_str(),
            settings.identity.incarnation,
            settings.advertise.unwrap_or(address),
        );
        let configuration = ChitchatConfig {
            chitchat_id,
            cluster_id: settings.cluster,
            gossip_interval: settings.interval,
            listen_addr: address,
            seed_nodes: settings.seeds,
            failure_detector_config: FailureDetectorConfig {
                phi_threshold: settings.phi_threshold,
                sampling_window_size: settings.sampling_window,
                max_interval: settings.longest_interval,
                initial_interval: settings.initial_interval,
                dead_node_grace_period: settings.dead_grace,
            },
            marked_for_deletion_grace_period: TOMBSTONE_GRACE,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let transport = SealedTransport::new(key.clone(), socket);
        let handle = spawn_chitchat(configuration, announcement.key_values(), &transport)
            .await
            .map_err(|error| GossipError::Start(error.into()))?;
        let (sender, receiver) = watch::channel(Vec::new());
        let follower = follow(&handle, sender).await;
        Ok(Self {
            inner: Arc::new(Inner {
                handle,
                address,
                members: receiver,
                follower,
            }),
        })
    }

    /// The address listened on.
    pub fn local_address(&self) -> SocketAddr {
        self.inner.address
    }

    /// Says something of this node to all others; see [`keys`].
    pub async fn publish(&self, key: &str, value: &str) {
        self.inner
            .handle
            .with_chitchat(|chitchat| chitchat.self_node_state().set(key, value))
            .await;
    }

    /// Says that this node has come to another state.
    pub async fn publish_state(&self, state: GossipState) {
        self.publish(keys::STATE, state.as_str()).await;
    }

    /// The nodes that are alive, this one among them, sorted by name; of each name the greatest incarnation that was ever
    /// seen, or none where that one is silent.
    pub fn members(&self) -> watch::Receiver<Vec<GossipMember>> {
        self.inner.members.clone()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.follower.abort();
        self.handle.abort();
    }
}

/// Keeps the member list up to date from what chitchat says.
async fn follow(handle: &ChitchatHandle, sender: watch::Sender<Vec<GossipMember>>) -> JoinHandle<()> {
    let chitchat = handle.chitchat();
    let mut live = chitchat.lock().await.live_nodes_watcher();
    tokio::spawn(async move {
        while live.changed().await.is_ok() {
            let current = members(&*chitchat.lock().await);
            gauge!("souk_gossip_members").set(current.len() as f64);
            sender.send_if_modified(|previous| {
                let changed = *previous != current;
                if changed {
                    *previous = current;
                }
                changed
            });
        }
    })
}
