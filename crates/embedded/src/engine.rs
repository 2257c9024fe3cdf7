//! The engine: the one writer of a data directory. Each database has a queue and a thread, which commits in one batch
//! the transactions that arrived during the commit before.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::fs::FlockOperation;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::commit::DatabaseWriter;
use crate::error::Error;
use crate::limits::{
    BATCH_BYTES, BATCH_TRANSACTIONS, IDLE_TIME, OPEN_TIME_LIMIT, PAUSE_WAIT, QUEUE_BYTES_LIMIT, QUEUE_LIMIT,
    QUEUE_TIME_LIMIT,
};
use crate::pause::{self, Hold, Pause};
use crate::protocol::Outcome;
use crate::restore;
use crate::schema::Schema;
use crate::statement::Transaction;

/// The file whose lock makes an engine the only one of its directory.
const LOCK_FILE: &str = "store.lock";

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another engine, here or in another process, has the directory.
    #[error("another process writes to {}", directory.display())]
    Held {
        /// The data directory.
        directory: PathBuf,
    },
    /// A restore into the directory was interrupted.
    #[error("a backup was not restored to its end into {}: restore it again", directory.display())]
    HalfRestored {
        /// The data directory.
        directory: PathBuf,
    },
    /// The directory can't be used.
    #[error("the data directory {} can't be used", directory.display())]
    Directory {
        /// The data directory.
        directory: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// The one writer of a data directory. Cheap to clone. With its last clone it ends, once all accepted transactions are
/// committed.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    databases: BTreeMap<&'static str, DatabaseQueue>,
    queue_bytes: Arc<Semaphore>,
    /// Locked during a pause: two that waited for each other's databases would both fail.
    pausing: Arc<Mutex<()>>,
    /// Counts the threads, one for each open database.
    threads: TaskTracker,
    /// Shared with those threads: unlocked only after the last commit.
    lock: Arc<File>,
}

struct DatabaseQueue {
    schema: &'static Schema,
    /// Locked while the database is being opened.
    state: Mutex<QueueState>,
}

/// A database is opened on first use, and again should its thread have ended.
enum QueueState {
    Unopened,
    Open(Queue, JoinHandle<()>),
    /// The engine is closing.
    Closed,
}

/// A queue has room for its limit from the beginning: for pointers alone.
type Queue = SyncSender<Job>;

enum Job {
    Write(Box<Write>),
    /// Commit nothing until this is over.
    Pause(Box<Hold>),
}

struct Write {
    transaction: Transaction,
    size: usize,
    accepted: Instant,
    reply: Reply,
    _queue_bytes: OwnedSemaphorePermit,
}

/// Takes the outcome of a transaction, on the thread that wrote it. Where that ends without one, the outcome is unknown.
struct Reply(Option<Box<dyn FnOnce(Outcome) + Send>>);

impl Reply {
    fn send(mut self, outcome: Outcome) {
        if let Some(reply) = self.0.take() {
            reply(outcome);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply(Err(Error::outcome_unknown("the writer ended without an outcome")));
        }
    }
}

impl Engine {
    /// Takes the directory (created with mode 0700 where it is missing) for this engine alone. The databases of
    /// `schemas` are opened on first use; another name is refused, so that no request can reach another file.
    ///
    /// # Errors
    /// [`OpenError::Held`] where another engine has it.
    pub fn open(directory: &Path, schemas: &'static [Schema]) -> Result<Self, OpenError> {
        let (directory, lock) = lock(directory)?;
        if restore::is_incomplete(&directory) {
            return Err(OpenError::HalfRestored { directory });
        }
        let databases = schemas
            .iter()
            .map(|schema| {
                let state = Mutex::new(QueueState::Unopened);
                (schema.name, DatabaseQueue { schema, state })
            })
            .collect();
        Ok(Self {
            inner: Arc::new(Inner {
                directory,
                databases,
                queue_bytes: Arc::new(Semaphore::new(QUEUE_BYTES_LIMIT)),
                pausing: Arc::default(),
                threads: TaskTracker::new(),
                lock: Arc::new(lock),
            }),
        })
    }

    /// The data directory, in canonical form.
    pub(crate) fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Makes sure that a database's file exists and has the latest schema.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) for an unknown name,
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the file does not open.
    pub(crate) async fn open_database(&self, name: &str) -> Result<(), Error> {
        self.queue(name).await.map(|_| ())
    }

    async fn queue(&self, name: &str) -> Result<Queue, Error> {
        let database = self
            .inner
            .databases
            .get(name)
            .ok_or_else(|| Error::refused(format!("there is no database {name:?}")))?;
        let mut state = database.state.lock().await;
        match &*state {
            QueueState::Open(queue, thread) if !thread.is_finished() => Ok(queue.clone()),
            QueueState::Closed => Err(Error::unavailable("the store is closing")),
            QueueState::Open(..) | QueueState::Unopened => {
                let (queue, thread) = self.start_thread(database.schema).await?;
                *state = QueueState::Open(queue.clone(), thread);
                Ok(queue)
            }
        }
    }

    /// Starts the thread of a database, and waits until it has opened the file.
    async fn start_thread(&self, schema: &'static Schema) -> Result<(Queue, JoinHandle<()>), Error> {
        let (sender, queue) = sync_channel(QUEUE_LIMIT);
        let (opened, opening) = oneshot::channel();
        let directory = self.inner.directory.clone();
        let (lock, running) = (Arc::clone(&self.inner.lock), self.inner.threads.token());
        let thread = thread::Builder::new()
            .name(format!("write-{}", schema.name))
            .spawn(move || {
                run(directory, schema, opened, queue);
                drop(lock);
                drop(running);
            })
            .map_err(Error::unavailable)?;
        timeout(OPEN_TIME_LIMIT, opening)
            .await
            .map_err(Error::unavailable)?
            .map_err(Error::unavailable)??;
        Ok((sender, thread))
    }

    /// Accepts a transaction; `reply` gets its outcome when its commit has succeeded or failed, or at once where it is not
    /// accepted: [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where too many wait already,
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) for an unknown database. Transactions of one database are
    /// committed in the order in which they were accepted.
    pub(crate) async fn submit(
        &self,
        transaction: Transaction,
        reply: impl FnOnce(Outcome) + Send + 'static,
    ) {
        let size = transaction.size();
        let reply = Reply(Some(Box::new(reply)));
        let (queue, queue_bytes) = match self.admit(&transaction.database, size).await {
            Ok(admitted) => admitted,
            Err(error) => return reply.send(Err(error)),
        };
        let write = Box::new(Write {
            transaction,
            size,
            accepted: Instant::now(),
            reply,
            _queue_bytes: queue_bytes,
        });
        if let Err((Job::Write(write), error)) = enqueue(&queue, Job::Write(write)) {
            write.reply.send(Err(error));
        }
    }

    /// Holds the writers of `databases` between two commits, so that all files stand still at one moment. What was accepted
    /// before is committed first.
    ///
    /// # Errors
    /// As of [`Engine::open_database`]; [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) also where another pause
    /// lasts, or where too many transactions wait.
    pub(crate) async fn pause(&self, databases: &[String]) -> Result<Pause, Error> {
        let alone = timeout(PAUSE_WAIT, Arc::clone(&self.inner.pausing).lock_owned())
            .await
            .map_err(Error::unavailable)?;
        let mut beginning = pause::Beginning::new(alone);
        for database in databases {
            let queue = self.queue(database).await?;
            enqueue(&queue, Job::Pause(Box::new(beginning.hold()))).map_err(|(_, error)| error)?;
        }
        beginning.begun().await
    }

    /// The queue of a database, and a share of the bytes that may wait.
    async fn admit(&self, database: &str, size: usize) -> Result<(Queue, OwnedSemaphorePermit), Error> {
        let queue = self.queue(database).await?;
        let bytes = Arc::clone(&self.inner.queue_bytes);
        let share = u32::try_from(size)
            .ok()
            .and_then(|size| bytes.try_acquire_many_owned(size).ok())
            .ok_or_else(|| Error::unavailable("too many bytes wait to be written"))?;
        Ok((queue, share))
    }

    /// [`Engine::submit`], and waits for the outcome.
    ///
    /// # Errors
    /// As of [`Engine::submit`], and those of the commit.
    pub(crate) async fn transact(&self, transaction: Transaction) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        self.submit(transaction, |outcome| drop(reply.send(outcome)))
            .await;
        outcome
            .await
            .unwrap_or_else(|lost| Err(Error::outcome_unknown(lost)))
    }

    /// Accepts no further transactions, commits those that were accepted, closes the files, and waits until the threads
    /// have ended.
    pub(crate) async fn close(&self) {
        for database in self.inner.databases.values() {
            *database.state.lock().await = QueueState::Closed;
        }
        self.inner.threads.close();
        self.inner.threads.wait().await;
    }
}

/// Puts a job into a queue that has room; otherwise gives it back with the reason.
fn enqueue(queue: &Queue, job: Job) -> Result<(), (Job, Error)> {
    let (job, reason) = match queue.try_send(job) {
        Ok(()) => return Ok(()),
        Err(TrySendError::Full(job)) => (job, "too many transactions wait to be written"),
        Err(TrySendError::Disconnected(job)) => (job, "the writer has just ended"),
    };
    Err((job, Error::unavailable(reason)))
}

/// Takes the directory, in canonical form, for whoever has the file.
///
/// # Errors
/// [`OpenError::Held`], [`OpenError::Directory`]
pub(crate) fn lock(directory: &Path) -> Result<(PathBuf, File), OpenError> {
    let unusable = |cause| OpenError::Directory {
        directory: directory.to_owned(),
        cause,
    };
    let directory = private_directory(directory).map_err(unusable)?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(directory.join(LOCK_FILE))
        .map_err(unusable)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok((directory, lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Held { directory }),
        Err(error) => Err(unusable(error.into())),
    }
}

/// The directory in canonical form; created for this user alone where it is missing. An existing one is left as it is:
/// it may be the administrator's.
pub(crate) fn private_directory(directory: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    directory.canonicalize()
}

/// The thread of a database: opens the file, and writes until the queue is closed and empty.
fn run(
    directory: PathBuf,
    schema: &'static Schema,
    opened: oneshot::Sender<Result<(), Error>>,
    queue: Receiver<Job>,
) {
    let (writer, outcome) = match DatabaseWriter::open(directory, schema) {
        Ok(writer) => (Some(writer), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Nobody waits any more where the opening took too long; the queue is closed then.
    let _ = opened.send(outcome);
    if let Some(writer) = writer {
        write(writer, &queue);
    }
}

/// Writes the transactions of `queue` in batches, and pauses where that is asked for.
fn write(mut writer: DatabaseWriter, queue: &Receiver<Job>) {
    let mut waiting = None;
    while let Some(job) = waiting.take().or_else(|| next(&mut writer, queue)) {
        let batch = match job {
            Job::Pause(hold) => {
                hold.last();
                continue;
            }
            Job::Write(first) => {
                let (batch, pause) = batch(first, queue);
                waiting = pause;
                batch
            }
        };
        if batch.is_empty() {
            continue;
        }
        let transactions: Vec<&Transaction> = batch.iter().map(|write| &write.transaction).collect();
        let outcomes = writer.execute(&transactions);
        for (write, outcome) in batch.into_iter().zip(outcomes) {
            write.reply.send(outcome);
        }
    }
    writer.close();
}

/// The next job, or `None` once the queue is closed and empty. When nothing is to be written, the log is emptied: it takes
/// disk space, and what was deleted or replaced stands in it and in the file.
fn next(writer: &mut DatabaseWriter, queue: &Receiver<Job>) -> Option<Job> {
    match queue.recv_timeout(IDLE_TIME) {
        Ok(job) => Some(job),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            writer.empty_log();
            queue.recv().ok()
        }
    }
}

/// The transactions that wait, up to the limits of a batch or to the next pause, without those that waited too long; and
/// that pause.
fn batch(first: Box<Write>, queue: &Receiver<Job>) -> (Vec<Write>, Option<Job>) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut next = Some(Job::Write(first));
    while let Some(job) = next {
        let Job::Write(write) = job else {
            return (batch, Some(job));
        };
        if write.accepted.elapsed() > QUEUE_TIME_LIMIT {
            write.reply.send(Err(Error::unavailable(
                "the transaction waited too long to be written",
            )));
        } else {
            bytes += write.size;
            batch.push(*write);
        }
        let full = batch.len() >= BATCH_TRANSACTIONS || bytes >= BATCH_BYTES;
        next = if full { None } else { queue.try_recv().ok() };
    }
    (batch, None)
}
