//! The listener: it only accepts; every handshake runs in a task of its own, within limits.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{AcceptError, Admission, Secured, TransportSettings, accept};

/// The pause after a failed accept: out of file descriptors, as a rule, and that is not over at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes the connections that came in.
pub type Arrivals = Arc<dyn Fn(Secured) + Send + Sync>;

/// What the listener needs.
#[derive(Clone)]
pub struct ListenerArguments {
    /// The socket; shared, so that a listener that failed can be replaced without giving up the address.
    pub socket: Arc<TcpListener>,
    /// The acceptor's side of the mutual TLS.
    pub tls: Arc<ServerConfig>,
    /// Whom to let in.
    pub admission: Arc<Admission>,
    /// The limits.
    pub settings: Arc<TransportSettings>,
    /// Where connections go.
    pub arrivals: Arrivals,
}

/// Accepts the next connection; sent by the listener to itself.
#[derive(RactorMessage)]
pub struct ListenerMessage;

/// The actor that listens on the cluster's address.
pub struct Listener;

/// The listener's state.
pub struct ListenerState {
    arguments: ListenerArguments,
    handshakes: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
}

impl Actor for Listener {
    type Msg = ListenerMessage;
    type State = ListenerState;
    type Arguments = ListenerArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.cast(ListenerMessage)?;
        Ok(ListenerState {
            handshakes: Arc::new(Semaphore::new(arguments.settings.concurrent_handshakes)),
            sessions: Arc::new(Semaphore::new(arguments.settings.sessions)),
            arguments,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        ListenerMessage: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match state.arguments.socket.accept().await {
            Ok((stream, address)) => {
                if let Ok(permit) = Arc::clone(&state.handshakes).try_acquire_owned() {
                    let arguments = state.arguments.clone();
                    let sessions = Arc::clone(&state.sessions);
                    tokio::spawn(async move {
                        let accepted = accept(
                            stream,
                            &arguments.tls,
                            &arguments.admission,
                            &sessions,
                            &arguments.settings,
                        )
                        .await;
                        drop(permit);
                        match accepted {
                            Ok(secured) => (arguments.arrivals)(secured),
                            Err(error) => report(address, &error),
                        }
                    });
                } else {
                    counter!("souk_link_handshakes_failed_total", "kind" => "crowded").increment(1);
                    tracing::debug!(%address, "too many handshakes at the same time: closed unread");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the cluster's listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        myself.cast(ListenerMessage)?;
        Ok(())
    }
}

/// Anybody can knock, so a knock is counted and no more; a node of the cluster that lies is worth a line.
fn report(address: std::net::SocketAddr, error: &AcceptError) {
    counter!("souk_link_handshakes_failed_total", "kind" => error.kind()).increment(1);
    let cause = std::error::Error::source(error).map(ToString::to_string);
    if matches!(error, AcceptError::Impostor { .. }) {
        tracing::warn!(%address, %error, cause, "a connection was refused");
    } else {
        tracing::debug!(%address, %error, cause, "a connection was refused");
    }
}
