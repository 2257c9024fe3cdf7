//! The store process: serves an [`Engine`] to the other processes of the machine over a Unix domain socket.
//!
//! It survives the death or the stop of any client: each client has its own task and a limit of requests in flight, and
//! is disconnected when it does not read its replies. It exits when it has had no client for a while.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt;
use rustix::fs::Mode;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::client::socket_path;
use crate::engine::{Engine, OpenError};
use crate::error::Error;
use crate::limits::{ACCEPT_PAUSE, CLIENT_LIMIT, CLOSE_TIME_LIMIT, IN_FLIGHT_LIMIT, ServerLimits};
use crate::pause::Pause;
use crate::protocol::{self, Command, Outcome, Request, Response};
use crate::schema::Schema;

/// Why the store process could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data directory can't be used.
    #[error(transparent)]
    Engine(#[from] OpenError),
    /// The socket can't be used.
    #[error("the socket {} can't be used", path.display())]
    Socket {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// No signal handler could be installed.
    #[error("no handler for SIGTERM could be installed")]
    Signal(#[source] io::Error),
}

/// Runs a store process: serves `directory` until SIGTERM or, unless it shall `stay`, until it has had no client for a
/// while. Where another process already serves the directory there is nothing to do, and it returns at once, which is an
/// error for one that shall stay.
///
/// # Errors
/// [`ServerError`]
pub async fn run(directory: &Path, schemas: &'static [Schema], stay: bool) -> Result<(), ServerError> {
    // Whatever SQLite creates here is for this user alone.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let engine = match Engine::open(directory, schemas) {
        Err(OpenError::Held { .. }) if !stay => return Ok(()),
        opened => opened?,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Signal)?;
    let stop = async move {
        terminate.recv().await;
    };
    let limits = if stay {
        ServerLimits::until_stopped()
    } else {
        ServerLimits::default()
    };
    let socket = socket_path(engine.directory());
    serve(engine, &socket, stop, limits).await
}

/// Serves `engine` on `socket` until `stop`, or until it has had no client for a while. What was accepted by then is
/// committed and answered before it returns.
///
/// # Errors
/// [`ServerError::Socket`]
pub(crate) async fn serve(
    engine: Engine,
    socket: &Path,
    stop: impl Future<Output = ()>,
    limits: ServerLimits,
) -> Result<(), ServerError> {
    let listener = bind(socket).map_err(|cause| ServerError::Socket {
        path: socket.to_owned(),
        cause,
    })?;
    let closing = CancellationToken::new();
    let mut clients = JoinSet::new();
    let mut idle = pin!(sleep(limits.first_client));
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if clients.len() < CLIENT_LIMIT && is_same_user(&stream) => {
                    clients.spawn(serve_client(stream, engine.clone(), closing.clone(), limits.write));
                }
                Ok(_) => tracing::warn!("a connection to the store process was turned away"),
                Err(error) => {
                    tracing::warn!(%error, "the store process could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = clients.join_next() => idle.set(sleep(limits.idle)),
            () = &mut idle, if clients.is_empty() => break,
            () = &mut stop => break,
        }
    }
    drop(listener);
    // No other process binds here while the engine's lock is held: the file is ours.
    if let Err(error) = std::fs::remove_file(socket) {
        tracing::debug!(%error, "the socket of the store process was already removed");
    }
    closing.cancel();
    engine.close().await;
    let disconnected = async { while clients.join_next().await.is_some() {} };
    if timeout(CLOSE_TIME_LIMIT, disconnected).await.is_err() {
        tracing::debug!("a client of the store process did not read its last replies");
    }
    Ok(())
}

/// Binds the socket, for this user alone. The engine's lock is held, so that an existing file is a leftover.
fn bind(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Whether the process at the other end runs as the same user.
pub(crate) fn is_same_user(stream: &UnixStream) -> bool {
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
}

async fn serve_client(stream: UnixStream, engine: Engine, closing: CancellationToken, write_limit: Duration) {
    let (incoming, outgoing) = stream.into_split();
    let (replies, queue) = mpsc::channel(IN_FLIGHT_LIMIT);
    let mut outgoing = TimeoutWriter::new(outgoing);
    outgoing.set_timeout(Some(write_limit));
    let mut writing = pin!(protocol::write_frames(outgoing, queue));
    let ended = tokio::select! {
        ended = &mut writing => ended,
        ended = read_requests(incoming, engine, replies, closing) => match ended {
            // Writes the replies of all requests in flight, then ends.
            Ok(()) => writing.await,
            failed => failed,
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client of the store process was disconnected");
    }
}

async fn read_requests(
    incoming: OwnedReadHalf,
    engine: Engine,
    replies: mpsc::Sender<Bytes>,
    closing: CancellationToken,
) -> io::Result<()> {
    let mut requests = pin!(protocol::messages(incoming));
    // Ends with the connection at the latest.
    let mut pause: Option<Pause> = None;
    loop {
        let next = async {
            // A place for the reply comes first: that is the limit of requests in flight.
            let reply = replies.clone().reserve_owned().await.map_err(io::Error::other)?;
            let request = requests.try_next().await?;
            Ok::<_, io::Error>(request.map(|request| (request, reply)))
        };
        let next = tokio::select! {
            biased;
            () = closing.cancelled() => None,
            next = next => next?,
        };
        let Some((Request { id, command }, reply)) = next else {
            return Ok(());
        };
        let respond = move |outcome: Outcome| {
            let outcome = outcome.map_err(Into::into);
            match protocol::encode(&Response { id, outcome }) {
                Ok(frame) => drop(reply.send(frame)),
                Err(error) => tracing::error!(%error, "a reply of the store process can't be encoded"),
            }
        };
        match command {
            Command::Hello { version, directory } => respond(greet(&engine, version, &directory)),
            Command::Open(database) => respond(engine.open_database(&database).await.map(|()| Vec::new())),
            // Submitted before the next one is read: a client's transactions run in the order of its requests.
            Command::Transact(transaction) => engine.submit(transaction, respond).await,
            Command::Pause(databases) => respond(match engine.pause(&databases).await {
                Ok(begun) => {
                    pause = Some(begun);
                    Ok(Vec::new())
                }
                Err(error) => Err(error),
            }),
            Command::Resume => respond(match pause.take() {
                Some(pause) => pause.end().map(|()| Vec::new()),
                None => Err(Error::refused("there is no pause to end")),
            }),
        }
    }
}

fn greet(engine: &Engine, version: u32, directory: &str) -> Outcome {
    if version == protocol::VERSION && Path::new(directory) == engine.directory() {
        return Ok(Vec::new());
    }
    Err(Error::refused(format!(
        "the store process serves {} with protocol {}, not {directory} with protocol {version}",
        engine.directory().display(),
        protocol::VERSION,
    )))
}
