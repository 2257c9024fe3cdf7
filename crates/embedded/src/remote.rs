//! The engine of another process: one connection at a time, made again when it is lost. A request that was sent over a
//! lost connection is never sent again: its outcome is unknown.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt;
use souk_retry::Backoff;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use crate::client::{Spawner, socket_path};
use crate::error::{Error, ErrorKind};
use crate::limits::{
    CONNECT_TIME_LIMIT, FIRST_PAUSE, GREETING_TIME_LIMIT, IN_FLIGHT_LIMIT, LONGEST_PAUSE, PENDING_LIMIT,
    REQUEST_TIME_LIMIT, START_TIME_LIMIT,
};
use crate::protocol::{self, Command, Outcome, Request, Response};
use crate::server::is_same_user;

/// The store process of a directory.
pub(crate) struct RemoteEngine {
    directory: PathBuf,
    socket: PathBuf,
    spawner: Spawner,
    /// Locked while connecting, so that one task of this process connects for all.
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

impl RemoteEngine {
    /// Connects to the store process of `directory`, which `spawner` starts where none listens.
    pub(crate) async fn connect(directory: PathBuf, spawner: Spawner) -> Result<Self, Error> {
        let remote = Self {
            socket: socket_path(&directory),
            directory,
            spawner,
            connection: tokio::sync::Mutex::new(None),
        };
        remote.connection().await?;
        Ok(remote)
    }

    /// Sends a request and waits for its reply, [`REQUEST_TIME_LIMIT`] in all.
    pub(crate) async fn request(&self, command: Command) -> Outcome {
        let deadline = Instant::now() + REQUEST_TIME_LIMIT;
        let connection = timeout_at(deadline, self.connection())
            .await
            .map_err(Error::unavailable)??;
        connection.request(command, deadline).await
    }

    /// The current connection, or a new one where it is lost.
    async fn connection(&self) -> Result<Arc<Connection>, Error> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = current.as_ref().filter(|connection| !connection.is_lost()) {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(self.new_connection().await?);
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    async fn new_connection(&self) -> Result<Connection, Error> {
        let deadline = Instant::now() + CONNECT_TIME_LIMIT;
        let mut started: Option<Instant> = None;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            match self.try_connect().await {
                // Another version, or the server of another directory, will refuse again.
                Err(error) if error.kind != ErrorKind::Refused && Instant::now() < deadline => {}
                done => return done,
            }
            if started.is_none_or(|at| at.elapsed() >= START_TIME_LIMIT) {
                (self.spawner)().map_err(Error::unavailable)?;
                started = Some(Instant::now());
            }
            sleep(backoff.next_pause()).await;
        }
    }

    async fn try_connect(&self) -> Result<Connection, Error> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(Error::unavailable)?;
        if !is_same_user(&stream) {
            return Err(Error::refused(format!(
                "{} belongs to another user",
                self.socket.display()
            )));
        }
        let connection = Connection::new(stream);
        let hello = Command::Hello {
            version: protocol::VERSION,
            directory: self.directory.to_string_lossy().into_owned(),
        };
        connection
            .request(hello, Instant::now() + GREETING_TIME_LIMIT)
            .await
            .map_err(Error::of_idempotent_request)?;
        Ok(connection)
    }
}

/// A connection; dropping it closes it.
struct Connection {
    /// Closed once the connection is lost.
    outgoing: mpsc::Sender<Bytes>,
    pending: Arc<PendingRequests>,
    next_id: AtomicU64,
    _task: AbortOnDropHandle<()>,
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        let (outgoing, queue) = mpsc::channel(IN_FLIGHT_LIMIT);
        let pending = Arc::new(PendingRequests::default());
        let task = tokio::spawn(run(stream, queue, Arc::clone(&pending)));
        Self {
            outgoing,
            pending,
            next_id: AtomicU64::new(1),
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn is_lost(&self) -> bool {
        self.outgoing.is_closed()
    }

    async fn request(&self, command: Command, deadline: Instant) -> Outcome {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = protocol::encode(&Request { id, command })?;
        let mut reply = self.pending.add(id)?;
        match timeout_at(deadline, self.outgoing.send(frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_closed)) => return Err(Error::unavailable(CONNECTION_LOST)),
            Err(late) => return Err(Error::unavailable(late)),
        }
        match timeout_at(deadline, &mut reply.outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_dropped)) => Err(Error::outcome_unknown(CONNECTION_LOST)),
            Err(late) => Err(Error::outcome_unknown(late)),
        }
    }
}

const CONNECTION_LOST: &str = "the connection to the store process was lost";

/// The requests without a reply, by id.
#[derive(Default)]
struct PendingRequests {
    replies: Mutex<HashMap<u64, oneshot::Sender<Outcome>>>,
}

impl PendingRequests {
    /// No code panics while it holds the lock, and the map is consistent after every step.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Outcome>>> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: u64) -> Result<PendingReply<'_>, Error> {
        let mut replies = self.lock();
        if replies.len() >= PENDING_LIMIT {
            return Err(Error::unavailable("too many requests wait for the store process"));
        }
        let (sender, outcome) = oneshot::channel();
        replies.insert(id, sender);
        drop(replies);
        Ok(PendingReply {
            requests: self,
            id,
            outcome,
        })
    }
}

/// The reply of a request; dropping it forgets the request.
struct PendingReply<'a> {
    requests: &'a PendingRequests,
    id: u64,
    outcome: oneshot::Receiver<Outcome>,
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        self.requests.lock().remove(&self.id);
    }
}

/// Writes requests and reads replies until the first error. Then the outcome of every pending request is unknown.
async fn run(stream: UnixStream, queue: mpsc::Receiver<Bytes>, pending: Arc<PendingRequests>) {
    let (incoming, outgoing) = stream.into_split();
    let reading = async {
        let mut responses = pin!(protocol::messages(incoming));
        while let Some(Response { id, outcome }) = responses.try_next().await? {
            if let Some(reply) = pending.lock().remove(&id) {
                // Fails where the caller has just stopped waiting.
                let _ = reply.send(outcome.map_err(Error::from));
            }
        }
        Ok(())
    };
    // Ends with the queue dropped, so that no request is added to the pending ones and sent after this.
    let ended = tokio::select! {
        ended = protocol::write_frames(outgoing, queue) => ended,
        ended = reading => ended,
    };
    if let Err(error) = ended {
        tracing::warn!(%error, "the connection to the store process was lost");
    }
    pending.lock().clear();
}
