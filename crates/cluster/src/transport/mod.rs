//! Connections between nodes: mutual TLS, both ends verified by name, limits on everything that a peer could hold open.
//!
//! ractor's own listener accepts one connection after another and its handshake blocks that; so this listener stands in
//! its place, and a finished connection is handed to ractor as an external one.

mod listener;
mod prelude;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ractor_cluster::ClusterBidiStream;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::sync::CancellationToken;

pub use listener::{Arrivals, Listener, ListenerArguments, ListenerMessage};
pub use prelude::{Admission, NodeIdentity, PreludeError, Refusal};
pub use stream::{GuardedStream, StreamLimits};

use super::certificates::{self, CertificateError};
use prelude::{Answer, Hello};

/// The limits of the transport.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// For a TCP connection to come about.
    pub connect_limit: Duration,
    /// For a handshake, TLS and prelude together, on either side.
    pub handshake_limit: Duration,
    /// For ractor to have a session ready after that.
    pub ready_limit: Duration,
    /// Handshakes that run at the same time; further connections are closed unread.
    pub concurrent_handshakes: usize,
    /// Incoming sessions at the same time.
    pub sessions: usize,
    /// How long a link may be silent (ractor pings every 1 to 5 s, so it never is by itself) or stuck.
    pub stream: StreamLimits,
    /// The pause after the first failed attempt at a link; it doubles with each further one.
    pub redial_first: Duration,
    /// The longest pause between attempts.
    pub redial_limit: Duration,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            connect_limit: Duration::from_secs(1),
            handshake_limit: Duration::from_secs(5),
            ready_limit: Duration::from_secs(5),
            concurrent_handshakes: 64,
            sessions: 256,
            stream: StreamLimits {
                idle: Duration::from_secs(10),
                write_stall: Duration::from_secs(5),
            },
            redial_first: Duration::from_millis(50),
            redial_limit: Duration::from_secs(2),
        }
    }
}

/// A connection whose two ends know each other, not yet ractor's.
pub struct Secured {
    /// Who is at the other end: verified by its certificate, the incarnation by its own word.
    pub peer: NodeIdentity,
    /// Whether the other end dialled.
    pub incoming: bool,
    /// Marks the frames that come in.
    pub inbound_token: u64,
    /// Marks the frames that go out.
    pub outbound_token: u64,
    /// Cancelled when the connection has ended; ends it when cancelled.
    pub over: CancellationToken,
    stream: GuardedStream<TlsStream<TcpStream>>,
}

impl Secured {
    /// The stream, as ractor takes it; ractor reports its session under `label`.
    pub fn into_stream(self, label: String) -> Box<dyn ClusterBidiStream> {
        Box::new(self.stream.labelled(label))
    }
}

impl std::fmt::Debug for Secured {
    // Tokens are left out: who knows one can speak for the connection.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Secured")
            .field("peer", &self.peer)
            .field("incoming", &self.incoming)
            .finish_non_exhaustive()
    }
}

/// Why a dialled connection did not come about.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No TCP connection.
    #[error("no connection to {address}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{what} took longer than {limit:?}")]
    TooSlow {
        /// The step.
        what: &'static str,
        /// Its limit.
        limit: Duration,
    },
    /// No TLS session: no, or another node's, or another CA's certificate.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The name cannot be a node's.
    #[error("the node cannot be dialled")]
    Name(#[from] CertificateError),
    /// The prelude failed.
    #[error("the prelude failed")]
    Prelude(#[from] PreludeError),
    /// The other end does not want the link.
    #[error("the node refused: {0}")]
    Refused(Refusal),
    /// The system has no randomness.
    #[error("the system gave no randomness")]
    Randomness,
}

impl DialError {
    /// Whether the system of the other node said that nobody listens: the process is gone.
    pub fn nobody_listens(&self) -> bool {
        matches!(self, Self::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// Why an accepted connection was not kept.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The socket failed.
    #[error("the socket failed")]
    Socket(#[source] io::Error),
    /// It took too long.
    #[error("the handshake took longer than {0:?}")]
    TooSlow(Duration),
    /// No TLS session: no, or another CA's, certificate, or no TLS at all.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The prelude failed.
    #[error("the prelude failed")]
    Prelude(#[from] PreludeError),
    /// The peer claims a name that its certificate does not have.
    #[error("the peer claims to be `{claimed}` and has another's certificate")]
    Impostor {
        /// The claimed name.
        claimed: String,
        /// What the verification says.
        #[source]
        source: CertificateError,
    },
    /// The peer showed no certificate, which the TLS configuration does not allow.
    #[error("the peer showed no certificate")]
    Anonymous,
    /// The link is not wanted.
    #[error("{peer} was refused: {refusal}")]
    Refused {
        /// Who asked.
        peer: NodeIdentity,
        /// Why not.
        refusal: Refusal,
    },
    /// The system has no randomness.
    #[error("the system gave no randomness")]
    Randomness,
}

impl AcceptError {
    /// A word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Socket(_) => "socket",
            Self::TooSlow(_) => "too_slow",
            Self::Tls(_) => "tls",
            Self::Prelude(_) => "prelude",
            Self::Impostor { .. } => "impostor",
            Self::Anonymous => "anonymous",
            Self::Refused { .. } => "refused",
            Self::Randomness => "randomness",
        }
    }
}

/// Opens a TCP connection, within the limit and without Nagle's delay.
///
/// # Errors
/// [`DialError::Connect`] and [`DialError::TooSlow`].
pub async fn connect(address: SocketAddr, settings: &TransportSettings) -> Result<TcpStream, DialError> {
    let limit = settings.connect_limit;
    let stream = tokio::time::timeout(limit, TcpStream::connect(address))
        .await
        .map_err(|_| DialError::TooSlow {
            what: "connecting",
            limit,
        })?
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| DialError::Connect { address, source })?;
    Ok(stream)
}

/// Opens a connection to one incarnation of a node.
///
/// # Errors
/// [`DialError`].
pub async fn dial(
    own: &NodeIdentity,
    peer: &NodeIdentity,
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    settings: &TransportSettings,
) -> Result<Secured, DialError> {
    let name = certificates::server_name(&peer.name)?;
    let stream = connect(address, settings).await?;
    let limit = settings.handshake_limit;
    let deadline = Instant::now() + limit;
    let handshake = async {
        let connector = TlsConnector::from(Arc::clone(tls));
        let mut stream = connector.connect(name, stream).await.map_err(DialError::Tls)?;
        let token = random_token().ok_or(DialError::Randomness)?;
        let hello = Hello {
            from: own.clone(),
            to: peer.clone(),
            token,
        };
        prelude::write(&mut stream, &hello).await?;
        match prelude::read(&mut stream).await? {
            Answer::Welcome { token: outbound } => Ok((stream, token, outbound)),
            Answer::Refused(refusal) => Err(DialError::Refused(refusal)),
        }
    };
    let (stream, inbound_token, outbound_token) =
        timeout_at(deadline, handshake)
            .await
            .map_err(|_| DialError::TooSlow {
                what: "the handshake",
                limit,
            })??;
    Ok(secured(
        peer.clone(),
        false,
        (inbound_token, outbound_token),
        TlsStream::Client(stream),
        settings,
        None,
    ))
}

/// Does the acceptor's part on one connection.
///
/// # Errors
/// [`AcceptError`]; the connection is closed then.
pub async fn accept(
    stream: TcpStream,
    tls: &Arc<ServerConfig>,
    admission: &Admission,
    sessions: &Arc<Semaphore>,
    settings: &TransportSettings,
) -> Result<Secured, AcceptError> {
    let limit = settings.handshake_limit;
    tokio::time::timeout(
        limit,
        accept_unlimited(stream, tls, admission, sessions, settings),
    )
    .await
    .map_err(|_| AcceptError::TooSlow(limit))?
}

async fn accept_unlimited(
    stream: TcpStream,
    tls: &Arc<ServerConfig>,
    admission: &Admission,
    sessions: &Arc<Semaphore>,
    settings: &TransportSettings,
) -> Result<Secured, AcceptError> {
    stream.set_nodelay(true).map_err(AcceptError::Socket)?;
    let mut stream = TlsAcceptor::from(Arc::clone(tls))
        .accept(stream)
        .await
        .map_err(AcceptError::Tls)?;
    let hello: Hello = prelude::read(&mut stream).await?;
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .ok_or(AcceptError::Anonymous)?;
    certificates::verify_node(certificate, &hello.from.name).map_err(|source| AcceptError::Impostor {
        claimed: hello.from.name.clone(),
        source,
    })?;
    let permit = admission.check(&hello).and_then(|()| {
        Arc::clone(sessions)
            .try_acquire_owned()
            .map_err(|_| Refusal::Full)
    });
    let permit = match permit {
        Ok(permit) => permit,
        Err(refusal) => {
            prelude::write(&mut stream, &Answer::Refused(refusal)).await?;
            return Err(AcceptError::Refused {
                peer: hello.from,
                refusal,
            });
        }
    };
    let token = random_token().ok_or(AcceptError::Randomness)?;
    prelude::write(&mut stream, &Answer::Welcome { token }).await?;
    Ok(secured(
        hello.from,
        true,
        (token, hello.token),
        TlsStream::Server(stream),
        settings,
        Some(permit),
    ))
}

fn secured(
    peer: NodeIdentity,
    incoming: bool,
    (inbound_token, outbound_token): (u64, u64),
    stream: TlsStream<TcpStream>,
    settings: &TransportSettings,
    permit: Option<OwnedSemaphorePermit>,
) -> Secured {
    let over = CancellationToken::new();
    Secured {
        peer,
        incoming,
        inbound_token,
        outbound_token,
        stream: GuardedStream::new(stream, settings.stream, over.clone(), permit),
        over,
    }
}

fn random_token() -> Option<u64> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;
