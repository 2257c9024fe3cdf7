//! Gossip: which nodes are alive, and what they publish about themselves. It detects and proposes; who is a member is
//! decided in the coordination store (see [`view`](crate::view)).

mod member;
mod seal;
mod socket;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::{Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, spawn_chitchat};
use metrics::gauge;
use tokio::net::UdpSocket;
use tokio::sync::watch;

pub use member::NodeReport;

use crate::key::ClusterKey;
use crate::view::{Member, MemberState};
use member::{STATE, UNREACHABLE, key_values, name, reports};
use socket::SealedTransport;

/// For how long a deleted key is remembered. Souk deletes none.
const TOMBSTONE_GRACE: Duration = Duration::from_secs(900);

/// When a silent node is considered dead.
///
/// chitchat divides the time since the last heartbeat by a smoothed mean of the last intervals, and considers a node dead
/// above `phi_threshold`. The mean is (sum of samples + 5 × `initial_interval`) / (samples + 5). How often heartbeats of a
/// node arrive depends on the size of the cluster (two or three times an interval, directly and through others), so a large
/// window would make the time to detection depend on it as well. With a window of 5 the prior has half the weight: at
/// arrivals of 30 to 120 ms the mean is 215 to 260 ms, so 6 of them are 1.3 to 1.6 s. On a starved machine the samples grow,
/// and the time to detection with them.
fn failure_detector() -> FailureDetectorConfig {
    FailureDetectorConfig {
        phi_threshold: 6.0,
        sampling_window_size: 5,
        initial_interval: Duration::from_millis(400),
        // Longer intervals are not sampled: the node was unavailable.
        max_interval: Duration::from_secs(2),
        // After this time a dead node is forgotten.
        dead_node_grace_period: Duration::from_secs(300),
    }
}

/// How a node gossips, as far as an operator sets it.
#[derive(Clone, Debug)]
pub struct GossipSettings {
    /// The cluster's name. Nodes of other clusters are ignored.
    pub cluster: String,
    /// Where to find the first others, as `host:port`.
    pub seeds: Vec<String>,
    /// Between rounds.
    pub interval: Duration,
}

/// Why gossip did not start.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    /// The address is in use, or does not belong to this machine.
    #[error("cannot gossip on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// chitchat did not start.
    #[error("gossip did not start")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A node's gossip. Dropping it ends it.
pub struct Gossip {
    handle: ChitchatHandle,
    published: watch::Sender<Published>,
    reports: watch::Receiver<Vec<NodeReport>>,
}

/// What this node publishes about itself and changes while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Published {
    state: MemberState,
    unreachable: Vec<String>,
}

impl Gossip {
    /// Binds the node's gossip address and begins to gossip. A greater incarnation of the same name supersedes a smaller.
    ///
    /// # Errors
    /// [`GossipError`].
    pub async fn start(
        settings: GossipSettings,
        key: &ClusterKey,
        me: &Member,
    ) -> Result<Arc<Self>, GossipError> {
        let bind_error = |source| GossipError::Bind {
            address: me.gossip_address,
            source,
        };
        let socket = UdpSocket::bind(me.gossip_address).await.map_err(bind_error)?;
        let address = socket.local_addr().map_err(bind_error)?;
        let chitchat_id = ChitchatId::new(me.name.as_str(), me.incarnation, address);
        let configuration = ChitchatConfig {
            chitchat_id,
            cluster_id: settings.cluster,
            gossip_interval: settings.interval,
            listen_addr: address,
            seed_nodes: settings.seeds,
            failure_detector_config: failure_detector(),
            marked_for_deletion_grace_period: TOMBSTONE_GRACE,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let transport = SealedTransport::new(key.clone(), socket);
        let handle = spawn_chitchat(configuration, key_values(me), &transport)
            .await
            .map_err(|error| GossipError::Start(error.into()))?;
        let published = watch::Sender::new(Published {
            state: me.state,
            unreachable: Vec::new(),
        });
        let (sender, reports) = watch::channel(Vec::new());
        follow(&handle, published.subscribe(), sender).await;
        Ok(Arc::new(Self {
            handle,
            published,
            reports,
        }))
    }

    /// Publishes the state of this node.
    pub fn publish_state(&self, state: MemberState) {
        self.published.send_modify(|published| published.state = state);
    }

    /// Publishes the names of the live nodes to which this node has had no link for too long.
    pub fn publish_unreachable(&self, names: Vec<String>) {
        self.published
            .send_modify(|published| published.unreachable = names);
    }

    /// What the live nodes including this one say of themselves, sorted by name. Of each name only the greatest incarnation
    /// that was ever seen counts, even if that one is dead.
    pub fn reports(&self) -> watch::Receiver<Vec<NodeReport>> {
        self.reports.clone()
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Takes what this node publishes to chitchat, and passes on the reports of all whenever chitchat has a change. Ends with
/// the [`Gossip`], which holds the other end of `published`.
async fn follow(
    handle: &ChitchatHandle,
    mut published: watch::Receiver<Published>,
    sender: watch::Sender<Vec<NodeReport>>,
) {
    let chitchat = handle.chitchat();
    let mut live = chitchat.lock().await.live_nodes_watcher();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = live.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let current = reports(&*chitchat.lock().await);
                    gauge!("souk_gossip_members").set(current.len() as f64);
                    sender.send_if_modified(|previous| {
                        let changed = *previous != current;
                        *previous = current;
                        changed
                    });
                }
                changed = published.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let own = published.borrow_and_update().clone();
                    publish(&mut *chitchat.lock().await, &own);
                }
            }
        }
    });
}

/// Values that have not changed are not sent again.
fn publish(chitchat: &mut Chitchat, own: &Published) {
    let state = chitchat.self_node_state();
    state.set(STATE, name(own.state));
    state.set(UNREACHABLE, own.unreachable.join(","));
}
