//! A node: everything that one process is made of, put together, supervised, drained and ended.

mod accounts;
mod assembly;
mod health;
mod inbox;
mod listeners;
mod ownership;
mod root;
mod service;
mod tree;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ractor::Actor;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::stores::StoreError;
use assembly::Assembly;
pub use root::{ChildStatus, SupervisionStatus};
use root::{Root, RootArguments};
use souk_cluster::certificates::CertificateError;
use souk_cluster::gossip::GossipError;
use souk_cluster::membership::MembershipMessage;

/// What the listener has beyond the grace for its requests, until it is taken for dead.
const FRONT_MARGIN: Duration = Duration::from_secs(5);

/// Why a node ended that was not asked to.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration has no such node.
    #[error("the configuration has no node {0:?}")]
    Unknown(String),
    /// An address is taken or not this machine's.
    #[error("cannot listen on {address} for {what}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Whom it is for.
        what: &'static str,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A store does not open.
    #[error("a store does not open")]
    Store(#[from] StoreError),
    /// The node's certificates can't be used.
    #[error("the node's certificates can't be used; `souk certs` makes new ones")]
    Certificates(#[from] CertificateError),
    /// The keys that sign access tokens can't be read.
    #[error("the signing keys can't be read")]
    SigningKeys(#[from] crate::authentication::SigningError),
    /// The sessions that have ended can't be read.
    #[error("the revoked sessions can't be read")]
    Revocations(#[source] crate::stores::StoreError),
    /// Passwords can't be hashed.
    #[error("passwords can't be hashed")]
    Passwords(#[from] crate::authentication::passwords::PasswordSetupError),
    /// Gossip does not start.
    #[error("gossip does not start")]
    Gossip(#[from] GossipError),
    /// The metrics recorder does not start.
    #[error("the metrics do not start")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The client that asks other nodes does not start.
    #[error("the client that asks other nodes does not start")]
    Client(#[from] crate::operator::peers::ClientError),
    /// A listener's certificate can't be used.
    #[error(
        "the certificate for {what} can't be used; put a certificate chain and its key (PEM) where [tls] says"
    )]
    ListenerCertificate {
        /// Whom the listener is for.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        cause: CertificateError,
    },
    /// The supervision tree does not start.
    #[error("the node's actors do not start")]
    Spawn(#[from] ractor::SpawnErr),
    /// A newer process has this node's name.
    #[error("a newer process runs as {0}; only one can, so this one has ended")]
    Superseded(String),
    /// A child could not be kept alive.
    #[error("the node gives up: {0}")]
    GaveUp(String),
}

/// Runs a node until `shutdown`, and then drains it: what is in flight is finished, the shards are handed over, the
/// node leaves the view, and only then its listeners close.
///
/// # Errors
/// [`NodeError`].
pub async fn run(
    config: Arc<Config>,
    name: String,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), NodeError> {
    crate::fail::set_up();
    let assembly = Arc::new(Assembly::build(config, &name).await?);
    let (gave_up, given_up) = oneshot::channel();
    let arguments = RootArguments {
        children: assembly.children(),
        supervision: assembly.supervision.clone(),
        gave_up,
    };
    let (root, ended) = Root::spawn(None, Root, arguments).await?;
    tracing::info!(node = name, shop = %assembly.me.shop_address, "the node has started");
    let mut outcome = Ok(());
    tokio::select! {
        () = shutdown => {}
        () = assembly.drain.cancelled() => {}
        () = assembly.ownership.superseded.cancelled() => {
            tracing::error!(node = name, "a newer process runs under this node's name; this one ends");
            outcome = Err(NodeError::Superseded(name.clone()));
        }
        reason = given_up => {
            let reason = reason.unwrap_or_else(|_| "its root died".to_owned());
            return Err(NodeError::GaveUp(reason));
        }
    }
    leave(&assembly, &name).await;
    root.stop(Some("drained".to_owned()));
    // The task of a stopped actor ends by itself.
    let _ = ended.await;
    tracing::info!(node = name, "the node has ended");
    outcome
}

async fn leave(assembly: &Assembly, name: &str) {
    tracing::info!(node = name, "the node drains");
    assembly.admission.drain();
    let (done, left) = oneshot::channel();
    if assembly.membership.cast(MembershipMessage::Leave(done.into())) {
        // Where membership is dead there is nobody to wait for; otherwise it answers in bounded time.
        let _ = left.await;
    }
    assembly.shutdown.cancel();
    let grace = assembly.config.limits.drain_seconds.duration();
    // The listener keeps to the grace itself; one that died and is about to be started again tells nobody.
    let front_ended = assembly.front_ended.cancelled();
    if tokio::time::timeout(grace + FRONT_MARGIN, front_ended)
        .await
        .is_err()
    {
        tracing::warn!("the listener did not end");
    }
    assembly.background.close();
    if tokio::time::timeout(grace, assembly.background.wait())
        .await
        .is_err()
    {
        let left = assembly.background.len();
        tracing::warn!(left, "work behind replies was cut when the grace was over");
    }
}
