//! The listener: accepts connections and runs each handshake in a task of its own, within limits.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{AcceptError, Admission, Secured, TransportSettings, accept};

/// The pause after a failed accept. Usually there are no file descriptors left, which lasts for a while.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Receives incoming connections after their handshake.
pub type OnConnection = Arc<dyn Fn(Secured) + Send + Sync>;

/// The listener's arguments.
#[derive(Clone)]
pub struct ListenerArguments {
    /// The socket, shared so that a failed listener can be replaced without releasing the address.
    pub socket: Arc<TcpListener>,
    /// The acceptor's side of the mutual TLS.
    pub tls: Arc<ServerConfig>,
    /// Which nodes may connect.
    pub admission: Arc<Admission>,
    /// The limits.
    pub settings: Arc<TransportSettings>,
    /// Receives the connections.
    pub on_connection: OnConnection,
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
                            Ok(secured) => (arguments.on_connection)(secured),
                            Err(error) => report(address, &error),
                        }
                    });
                } else {
                    counter!("souk_link_handshakes_failed_total", "kind" => "crowded").increment(1);
                    tracing::debug!(%address, "too many concurrent handshakes: connection closed");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection from another node");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        myself.cast(ListenerMessage)?;
        Ok(())
    }
}

/// Anyone can connect, so failures are only counted, except a node of the cluster that claims another name.
fn report(address: std::net::SocketAddr, error: &AcceptError) {
    counter!("souk_link_handshakes_failed_total", "kind" => error.kind()).increment(1);
    let cause = std::error::Error::source(error).map(ToString::to_string);
    if matches!(error, AcceptError::Impostor { .. }) {
        tracing::warn!(%address, %error, cause, "connection refused");
    } else {
        tracing::debug!(%address, %error, cause, "connection refused");
    }
}
