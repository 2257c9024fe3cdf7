//! Connections between nodes: mutual TLS, both ends verified by name, and limits on everything that a peer could hold open.
//!
//! ractor's own listener runs one handshake after another, so a slow one blocks all. This listener replaces it and gives
//! ractor finished connections as external ones.

mod handshake;
mod listener;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ractor_cluster::ClusterBidiStream;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::sync::CancellationToken;

pub use handshake::{Admission, HandshakeError, Refusal};
pub use listener::{Listener, ListenerArguments, ListenerMessage, OnConnection};

pub use stream::{GuardedStream, StreamLimits};

use crate::certificates::{self, CertificateError};
use crate::view::NodeIdentity;
use handshake::{Answer, Hello};

/// The limits of the transport.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// For the TCP connection.
    pub connect_limit: Duration,
    /// For the handshake including TLS, on either side.
    pub handshake_limit: Duration,
    /// For the session of ractor after that.
    pub ready_limit: Duration,
    /// Concurrent handshakes; further connections are closed unread.
    pub concurrent_handshakes: usize,
    /// Concurrent incoming sessions.
    pub sessions: usize,
    /// How long a link may be silent (ractor pings every 1 to 5 s) or a write may be blocked.
    pub stream: StreamLimits,
    /// The pause after the first failed attempt to connect; it doubles with each further one.
    pub redial_first: Duration,
    /// The longest pause between attempts.
    pub redial_limit: Duration,
}

impl TransportSettings {
    /// With these limits, which an operator sets; the others are the same everywhere.
    pub fn new(
        handshake_limit: Duration,
        concurrent_handshakes: usize,
        stream: StreamLimits,
        redial_limit: Duration,
    ) -> Self {
        Self {
            connect_limit: Duration::from_secs(1),
            handshake_limit,
            ready_limit: Duration::from_secs(5),
            concurrent_handshakes,
            sessions: 256,
            stream,
            redial_first: Duration::from_millis(50),
            redial_limit,
        }
    }
}

/// A connection after the handshake, before it is given to ractor.
pub struct Secured {
    /// The node at the other end. Its name is verified by its certificate; its incarnation is its own claim.
    pub peer: NodeIdentity,
    /// Whether the other end dialled.
    pub incoming: bool,
    /// The token of incoming frames.
    pub inbound_token: u64,
    /// The token of outgoing frames.
    pub outbound_token: u64,
    /// Cancelled when the connection has ended; closes it when cancelled.
    pub closed: CancellationToken,
    stream: GuardedStream<TlsStream<TcpStream>>,
}

impl Secured {
    /// The stream as ractor expects it; ractor reports its session under `label`.
    pub fn into_stream(mut self, label: String) -> Box<dyn ClusterBidiStream> {
        self.stream.label = label;
        Box::new(self.stream)
    }
}

impl std::fmt::Debug for Secured {
    // Without the tokens: whoever knows one can send frames for the connection.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Secured")
            .field("peer", &self.peer)
            .field("incoming", &self.incoming)
            .finish_non_exhaustive()
    }
}

/// Why dialling failed.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No TCP connection.
    #[error("no connection to {address}")]
    Connect {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{what} took longer than {limit:?}")]
    TooSlow {
        /// Which step.
        what: &'static str,
        /// Its limit.
        limit: Duration,
    },
    /// No TLS session: no certificate, or one of another node or CA.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The name is not a valid node name.
    #[error("the node cannot be dialled")]
    Name(#[from] CertificateError),
    /// The handshake after TLS failed.
    #[error("the handshake failed")]
    Handshake(#[from] HandshakeError),
    /// The other node refused the link.
    #[error("the node refused: {0}")]
    Refused(Refusal),
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    Randomness,
}

impl DialError {
    /// Whether the connection was refused because no process listens on the address.
    pub fn is_connection_refused(&self) -> bool {
        matches!(self, Self::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// Why an incoming connection was closed.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The socket failed.
    #[error("the socket failed")]
    Socket(#[source] io::Error),
    /// It took too long.
    #[error("the handshake took longer than {0:?}")]
    TooSlow(Duration),
    /// No TLS session: no certificate, one of another CA, or no TLS at all.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The handshake after TLS failed.
    #[error("the handshake failed")]
    Handshake(#[from] HandshakeError),
    /// The peer claims a name that its certificate does not contain.
    #[error("the peer claims to be `{claimed}` and shows the certificate of another node")]
    Impostor {
        /// The claimed name.
        claimed: String,
        /// The error of the verification.
        #[source]
        source: CertificateError,
    },
    /// The peer showed no certificate, which the TLS configuration does not allow.
    #[error("the peer showed no certificate")]
    Anonymous,
    /// The link was refused.
    #[error("{peer} was refused: {refusal}")]
    Refused {
        /// Which node.
        peer: NodeIdentity,
        /// Why.
        refusal: Refusal,
    },
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    Randomness,
}

impl AcceptError {
    /// The value of the metric's label `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Socket(_) => "socket",
            Self::TooSlow(_) => "too_slow",
            Self::Tls(_) => "tls",
            Self::Handshake(_) => "handshake",
            Self::Impostor { .. } => "impostor",
            Self::Anonymous => "anonymous",
            Self::Refused { .. } => "refused",
            Self::Randomness => "randomness",
        }
    }
}

/// Opens a TCP connection within the time limit, with `TCP_NODELAY`.
///
/// # Errors
/// [`DialError::Connect`] and [`DialError::TooSlow`].
pub async fn connect(address: SocketAddr, settings: &TransportSettings) -> Result<TcpStream, DialError> {
    let limit = settings.connect_limit;
    timeout(limit, TcpStream::connect(address))
        .await
        .map_err(|_| DialError::TooSlow {
            what: "connecting",
            limit,
        })?
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| DialError::Connect { address, source })
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
    let handshake = async {
        let connector = TlsConnector::from(Arc::clone(tls));
        let mut stream = connector.connect(name, stream).await.map_err(DialError::Tls)?;
        let token = random_token().ok_or(DialError::Randomness)?;
        let hello = Hello {
            from: own.clone(),
            to: peer.clone(),
            token,
        };
        handshake::write(&mut stream, &hello).await?;
        match handshake::read(&mut stream).await? {
            Answer::Welcome {
                token: outbound_token,
            } => {
                let closed = CancellationToken::new();
                Ok(Secured {
                    peer: peer.clone(),
                    incoming: false,
                    inbound_token: token,
                    outbound_token,
                    stream: GuardedStream::new(stream.into(), settings.stream, closed.clone(), None),
                    closed,
                })
            }
            Answer::Refused(refusal) => Err(DialError::Refused(refusal)),
        }
    };
    timeout(limit, handshake).await.map_err(|_| DialError::TooSlow {
        what: "the handshake",
        limit,
    })?
}

/// The acceptor's side of a connection.
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
    let handshake = async {
        stream.set_nodelay(true).map_err(AcceptError::Socket)?;
        let mut stream = TlsAcceptor::from(Arc::clone(tls))
            .accept(stream)
            .await
            .map_err(AcceptError::Tls)?;
        let hello: Hello = handshake::read(&mut stream).await?;
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
                handshake::write(&mut stream, &Answer::Refused(refusal)).await?;
                return Err(AcceptError::Refused {
                    peer: hello.from,
                    refusal,
                });
            }
        };
        let token = random_token().ok_or(AcceptError::Randomness)?;
        handshake::write(&mut stream, &Answer::Welcome { token }).await?;
        let closed = CancellationToken::new();
        Ok(Secured {
            peer: hello.from,
            incoming: true,
            inbound_token: token,
            outbound_token: hello.token,
            stream: GuardedStream::new(stream.into(), settings.stream, closed.clone(), Some(permit)),
            closed,
        })
    };
    timeout(limit, handshake)
        .await
        .map_err(|_| AcceptError::TooSlow(limit))?
}

fn random_token() -> Option<u64> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;
