//! The store process: serves an [`Engine`] to the other processes of the machine over a Unix domain socket.
//!
//! It outlives the death or the stop of any client: a client has an own task, a limit on what it may have in flight,
//! and is disconnected when it does not read its replies. It leaves when nobody has needed it for a while.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::socket_path;
use crate::commit::Outcome;
use crate::engine::{self, Engine, OpenError};
use crate::error::Error;
use crate::frame::{self, Ask, PROTOCOL, Request, Response};
use crate::schema::Schema;
use souk_wire::WireError;

/// How long the server stays after its last client has gone.
pub const GRACE: Duration = Duration::from_secs(2);

/// How long it waits for its first client.
pub const FIRST_CLIENT_TIME_LIMIT: Duration = Duration::from_secs(10);

/// Clients at a time; more are turned away.
const CLIENT_LIMIT: usize = 64;

/// Requests that one client may have in flight; then its next request is not read before a reply has been written.
const IN_FLIGHT_LIMIT: usize = 256;

/// How long a client may not take a reply before it is disconnected.
pub const WRITE_STALL_LIMIT: Duration = Duration::from_secs(5);

/// How long a server that leaves waits for its clients to take their last replies.
const FAREWELL_TIME_LIMIT: Duration = Duration::from_secs(2);

/// Replies are put together up to this many bytes before they are written.
const WRITE_BYTES: usize = 64 * 1024;

/// The pause after an accept that failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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

/// How patient a server is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long it waits for its first client.
    pub first: Duration,
    /// How long it stays after its last client has gone.
    pub grace: Duration,
    /// How long a client may not take a reply before it is disconnected.
    pub stall: Duration,
}

/// As good as for ever.
const FOR_GOOD: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl Patience {
    /// Of one that is started by whoever supervises it, and stays until it is told to stop.
    pub fn unending() -> Self {
        Self {
            first: FOR_GOOD,
            grace: FOR_GOOD,
            ..Self::default()
        }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: FIRST_CLIENT_TIME_LIMIT,
            grace: GRACE,
            stall: WRITE_STALL_LIMIT,
        }
    }
}

/// The store process from beginning to end: serves `directory` until nobody needs it or SIGTERM comes.
/// Where another process serves the directory already there is nothing to do, and it returns at once; one that is to `stay`
/// says so.
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
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Signal)?;
    let _listening = tokio::spawn({
        let stop = stop.clone();
        async move {
            if terminate.recv().await.is_some() {
                stop.cancel();
            }
        }
    });
    let patience = if stay {
        Patience::unending()
    } else {
        Patience::default()
    };
    let socket = socket_path(engine.directory());
    serve(engine, &socket, stop, patience).await
}

/// Serves `engine` on `socket` until `stop`, or until nobody needs it. What was accepted by then is committed and
/// answered before it returns.
///
/// # Errors
/// [`ServerError::Socket`]
pub(crate) async fn serve(
    engine: Engine,
    socket: &Path,
    stop: CancellationToken,
    patience: Patience,
) -> Result<(), ServerError> {
    let listener = bind(socket).map_err(|cause| ServerError::Socket {
        path: socket.to_owned(),
        cause,
    })?;
    let leaving = CancellationToken::new();
    let mut clients = JoinSet::new();
    let mut leave_at = Instant::now() + patience.first;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if clients.len() < CLIENT_LIMIT && is_ours(&stream) => {
                    clients.spawn(serve_client(stream, engine.clone(), leaving.clone(), patience.stall));
                }
                Ok(_) => tracing::warn!("a connection to the store was turned away"),
                Err(error) => {
                    tracing::warn!(%error, "the store could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = clients.join_next() => leave_at = Instant::now() + patience.grace,
            () = sleep_until(leave_at), if clients.is_empty() => break,
            () = stop.cancelled() => break,
        }
    }
    drop(listener);
    // While the engine's lock is held nobody else binds here: it is our file that goes.
    if let Err(error) = std::fs::remove_file(socket) {
        tracing::debug!(%error, "the store's socket was gone already");
    }
    leaving.cancel();
    engine.close().await;
    let farewell = async { while clients.join_next().await.is_some() {} };
    if timeout(FAREWELL_TIME_LIMIT, farewell).await.is_err() {
        tracing::debug!("a client of the store did not take its last replies");
    }
    Ok(())
}

/// Binds the socket, for this user alone. The engine's lock is held: a file that lies there is left over.
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
pub(crate) fn is_ours(stream: &UnixStream) -> bool {
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
}

/// A reply on its way out, and its share of what the client may have in flight.
type Reply = (Vec<u8>, OwnedSemaphorePermit);

async fn serve_client(stream: UnixStream, engine: Engine, leaving: CancellationToken, stall: Duration) {
    let (incoming, outgoing) = stream.into_split();
    let (replies, queue) = mpsc::channel(IN_FLIGHT_LIMIT);
    let writing = write_replies(outgoing, queue, stall);
    tokio::pin!(writing);
    let ended = tokio::select! {
        ended = &mut writing => ended,
        // The replies of what is still in flight are written; then the last sender is gone and the writing ends.
        ended = read_requests(incoming, engine, replies, leaving) => match ended {
            Ok(()) => writing.await,
            failed => failed,
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client of the store was disconnected");
    }
}

async fn read_requests(
    incoming: OwnedReadHalf,
    engine: Engine,
    replies: mpsc::Sender<Reply>,
    leaving: CancellationToken,
) -> io::Result<()> {
    let mut incoming = BufReader::new(incoming);
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_LIMIT));
    loop {
        let next = async {
            // Never closed, so that the error can't occur; if it did, there would be nothing more to serve.
            let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else {
                return Ok(None);
            };
            let body = frame::read_frame(&mut incoming).await?;
            Ok::<_, io::Error>(body.map(|body| (permit, body)))
        };
        let (permit, body) = tokio::select! {
            biased;
            () = leaving.cancelled() => return Ok(()),
            next = next => match next? {
                Some(next) => next,
                None => return Ok(()),
            },
        };
        let Request { id, ask } = frame::decode(&body)?;
        // Submitted here, one after the other: the order of a client's transactions is that of its requests.
        let pending = match ask {
            Ask::Hello { protocol, directory } => Pending::Done(greet(&engine, protocol, &directory)),
            Ask::Open(database) => Pending::Done(engine.open_database(&database).await.map(|()| Vec::new())),
            Ask::Transact(transaction) => match engine.submit(transaction).await {
                Ok(outcome) => Pending::Submitted(outcome),
                Err(failure) => Pending::Done(Err(failure)),
            },
        };
        let replies = replies.clone();
        tokio::spawn(async move {
            let outcome = match pending {
                Pending::Done(outcome) => outcome,
                Pending::Submitted(outcome) => engine::settled(outcome.await),
            };
            match encode(id, outcome) {
                // Fails where the client has gone.
                Ok(bytes) => drop(replies.send((bytes, permit)).await),
                Err(error) => tracing::error!(%error, "a reply of the store does not encode"),
            }
        });
    }
}

/// An outcome that is there, or on its way.
enum Pending {
    Done(Outcome),
    Submitted(oneshot::Receiver<Outcome>),
}

fn greet(engine: &Engine, protocol: u32, directory: &str) -> Outcome {
    if protocol == PROTOCOL && Path::new(directory) == engine.directory() {
        return Ok(Vec::new());
    }
    Err(Error::refused(format!(
        "the store process speaks protocol {PROTOCOL} for {}, not {protocol} for {directory}",
        engine.directory().display()
    )))
}

fn encode(id: u64, outcome: Outcome) -> Result<Vec<u8>, WireError> {
    frame::frame(&Response {
        id,
        answer: outcome.map_err(Into::into),
    })
}

async fn write_replies(
    mut outgoing: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Reply>,
    stall: Duration,
) -> io::Result<()> {
    while let Some((mut bytes, permit)) = queue.recv().await {
        let mut permits = vec![permit];
        while bytes.len() < WRITE_BYTES
            && let Ok((more, permit)) = queue.try_recv()
        {
            bytes.extend_from_slice(&more);
            permits.push(permit);
        }
        timeout(stall, outgoing.write_all(&bytes))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the client does not read its replies"))??;
    }
    Ok(())
}
