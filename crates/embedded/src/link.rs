//! One connection to the store process at a time, made again when it is lost. What was sent over a lost one is never
//! sent again: its outcome is unknown.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::{CONNECT_TIME_LIMIT, REQUEST_TIME_LIMIT, Spawner};
use crate::commit::Outcome;
use crate::error::{Error, ErrorKind};
use crate::frame::{self, Ask, PROTOCOL, Request, Response};
use crate::server::is_ours;

/// How long a server may take to greet.
const GREETING_TIME_LIMIT: Duration = Duration::from_secs(2);

/// How long a store process that was started has to listen, before another one is started.
const SPAWN_PATIENCE: Duration = Duration::from_secs(1);

/// First pause between two tries to connect; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Longest pause between two tries to connect.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Requests that may wait to be written to the socket.
const OUTGOING_LIMIT: usize = 256;

/// Requests without an answer; more are refused as unavailable.
const PENDING_LIMIT: usize = 8_192;

/// Requests are put together up to this many bytes before they are written.
const WRITE_BYTES: usize = 256 * 1024;

/// The store process as seen from a client.
pub(crate) struct Remote {
    directory: PathBuf,
    socket: PathBuf,
    spawner: Spawner,
    /// Held while connecting, so that only one task of this process does.
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
}

impl Remote {
    pub(crate) fn new(socket: PathBuf, directory: PathBuf, spawner: Spawner) -> Self {
        Self {
            directory,
            socket,
            spawner,
            link: tokio::sync::Mutex::new(None),
        }
    }

    /// Asks, and waits for the answer, in [`REQUEST_TIME_LIMIT`] at most.
    pub(crate) async fn request(&self, ask: Ask) -> Outcome {
        let deadline = Instant::now() + REQUEST_TIME_LIMIT;
        let link = timeout_at(deadline, self.link())
            .await
            .map_err(Error::unavailable)??;
        link.request(ask, deadline).await
    }

    /// The connection that stands, or a new one.
    pub(crate) async fn link(&self) -> Result<Arc<Link>, Error> {
        let mut current = self.link.lock().await;
        if let Some(link) = current.as_ref().filter(|link| !link.lost.is_cancelled()) {
            return Ok(Arc::clone(link));
        }
        let link = Arc::new(self.connect().await?);
        *current = Some(Arc::clone(&link));
        Ok(link)
    }

    async fn connect(&self) -> Result<Link, Error> {
        let began = Instant::now();
        let mut spawned: Option<Instant> = None;
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self.try_connect().await {
                Ok(link) => return Ok(link),
                // A server of another version, or of another directory, will not change its mind.
                Err(failure) if failure.kind == ErrorKind::Refused => return Err(failure),
                Err(failure) => failure,
            };
            if began.elapsed() >= CONNECT_TIME_LIMIT {
                return Err(failure);
            }
            if spawned.is_none_or(|at| at.elapsed() >= SPAWN_PATIENCE) {
                (self.spawner)().map_err(Error::unavailable)?;
                spawned = Some(Instant::now());
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_connect(&self) -> Result<Link, Error> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(Error::unavailable)?;
        if !is_ours(&stream) {
            return Err(Error::refused(format!(
                "{} belongs to another user",
                self.socket.display()
            )));
        }
        let link = Link::start(stream);
        let greeting = Ask::Hello {
            protocol: PROTOCOL,
            directory: self.directory.to_string_lossy().into_owned(),
        };
        match link.request(greeting, Instant::now() + GREETING_TIME_LIMIT).await {
            Ok(_) => Ok(link),
            Err(failure) => Err(failure.of_idempotent_request()),
        }
    }
}

/// One connection. Dropping it ends its tasks.
pub(crate) struct Link {
    outgoing: mpsc::Sender<Vec<u8>>,
    pending: Arc<Mutex<Pending>>,
    next: AtomicU64,
    lost: CancellationToken,
    _end: DropGuard,
}

/// Who waits for which answer.
#[derive(Default)]
struct Pending {
    waiting: HashMap<u64, oneshot::Sender<Outcome>>,
    lost: bool,
}

/// Nothing here panics while it holds the lock; even so, the map is whole after every single step.
fn lock(pending: &Mutex<Pending>) -> MutexGuard<'_, Pending> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    fn start(stream: UnixStream) -> Self {
        let (incoming, stream) = stream.into_split();
        let (outgoing, queue) = mpsc::channel(OUTGOING_LIMIT);
        let pending = Arc::new(Mutex::new(Pending::default()));
        let lost = CancellationToken::new();
        tokio::spawn(carry(incoming, stream, queue, Arc::clone(&pending), lost.clone()));
        Self {
            outgoing,
            pending,
            next: AtomicU64::new(1),
            _end: lost.clone().drop_guard(),
            lost,
        }
    }

    async fn request(&self, ask: Ask, deadline: Instant) -> Outcome {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let bytes = frame::frame(&Request { id, ask }).map_err(|error| Error::refused(error))?;
        let (sender, answer) = oneshot::channel();
        {
            let mut pending = lock(&self.pending);
            if pending.lost || pending.waiting.len() >= PENDING_LIMIT {
                return Err(Error::unavailable("the store process is gone or behind"));
            }
            pending.waiting.insert(id, sender);
        }
        // Forgets the request also where the caller stops waiting.
        let _forget = Forget { link: self, id };
        match timeout_at(deadline, self.outgoing.send(bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(closed)) => return Err(Error::unavailable(closed_channel(&closed))),
            Err(late) => return Err(Error::unavailable(late)),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Error::outcome_unknown(
                "the connection to the store process was lost",
            )),
            Err(late) => Err(Error::outcome_unknown(late)),
        }
    }
}

/// The error without the bytes that could not be sent.
fn closed_channel(_: &mpsc::error::SendError<Vec<u8>>) -> io::Error {
    io::Error::from(io::ErrorKind::BrokenPipe)
}

struct Forget<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.link.pending).waiting.remove(&self.id);
    }
}

/// The life of a connection: ends with the first error, or when nobody uses it any more. Then everybody who still
/// waits learns that the outcome is unknown.
async fn carry(
    incoming: OwnedReadHalf,
    outgoing: OwnedWriteHalf,
    queue: mpsc::Receiver<Vec<u8>>,
    pending: Arc<Mutex<Pending>>,
    lost: CancellationToken,
) {
    let ended = tokio::select! {
        ended = write_requests(outgoing, queue) => ended,
        ended = read_answers(incoming, &pending) => ended,
        () = lost.cancelled() => Ok(()),
    };
    if let Err(error) = ended {
        tracing::warn!(%error, "the connection to the store process was lost");
    }
    lost.cancel();
    let mut pending = lock(&pending);
    pending.lost = true;
    // Dropping the senders is the news.
    pending.waiting.clear();
}

async fn write_requests(mut outgoing: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(mut bytes) = queue.recv().await {
        while bytes.len() < WRITE_BYTES
            && let Ok(more) = queue.try_recv()
        {
            bytes.extend_from_slice(&more);
        }
        outgoing.write_all(&bytes).await?;
    }
    Ok(())
}

async fn read_answers(incoming: OwnedReadHalf, pending: &Mutex<Pending>) -> io::Result<()> {
    let mut incoming = BufReader::new(incoming);
    while let Some(body) = frame::read_frame(&mut incoming).await? {
        let Response { id, answer } = frame::decode(&body)?;
        if let Some(waiting) = lock(pending).waiting.remove(&id) {
            // Fails where the caller stopped waiting at this very moment.
            let _ = waiting.send(answer.map_err(Error::from));
        }
    }
    Ok(())
}
