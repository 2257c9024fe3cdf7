//! The engine: the one writer of a data directory. Each database has a queue and a task, which commits in one batch
//! the transactions that arrived during the commit before.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::commit::DatabaseWriter;
use crate::error::Error;
use crate::limits::{
    BATCH_BYTES, BATCH_TRANSACTIONS, OPEN_TIME_LIMIT, QUEUE_BYTES_LIMIT, QUEUE_LIMIT, QUEUE_TIME_LIMIT,
};
use crate::protocol::Outcome;
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
/// committed. Must be used within a Tokio runtime.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    databases: BTreeMap<&'static str, DatabaseQueue>,
    queue_bytes: Arc<Semaphore>,
    closing: CancellationToken,
    tasks: TaskTracker,
    /// Shared with the task of each database: unlocked only after the last commit.
    lock: Arc<File>,
}

struct DatabaseQueue {
    schema: &'static Schema,
    /// Set on first use.
    queue: OnceCell<mpsc::Sender<Job>>,
}

struct Job {
    transaction: Transaction,
    size: usize,
    accepted: Instant,
    reply: oneshot::Sender<Outcome>,
    _queue_bytes: OwnedSemaphorePermit,
}

impl Engine {
    /// Takes the directory (created with mode 0700 where it is missing) for this engine alone. The databases of
    /// `schemas` are opened on first use; another name is refused, so that no request can reach another file.
    ///
    /// # Errors
    /// [`OpenError::Held`] where another engine has it.
    pub fn open(directory: &Path, schemas: &'static [Schema]) -> Result<Self, OpenError> {
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
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(OpenError::Held { directory }),
            Err(error) => return Err(unusable(error.into())),
        }
        let databases = schemas
            .iter()
            .map(|schema| {
                let queue = OnceCell::new();
                (schema.name, DatabaseQueue { schema, queue })
            })
            .collect();
        Ok(Self {
            inner: Arc::new(Inner {
                directory,
                databases,
                queue_bytes: Arc::new(Semaphore::new(QUEUE_BYTES_LIMIT)),
                closing: CancellationToken::new(),
                tasks: TaskTracker::new(),
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

    async fn queue(&self, name: &str) -> Result<&mpsc::Sender<Job>, Error> {
        let inner = &self.inner;
        let database = inner
            .databases
            .get(name)
            .ok_or_else(|| Error::refused(format!("there is no database {name:?}")))?;
        database
            .queue
            .get_or_try_init(|| async {
                let opening = DatabaseWriter::open(inner.directory.clone(), database.schema);
                let writer = timeout(OPEN_TIME_LIMIT, opening)
                    .await
                    .map_err(Error::unavailable)??;
                let (sender, queue) = mpsc::channel(QUEUE_LIMIT);
                let (closing, lock) = (inner.closing.clone(), Arc::clone(&inner.lock));
                inner.tasks.spawn(async move {
                    write(writer, queue, closing).await;
                    drop(lock);
                });
                Ok(sender)
            })
            .await
    }

    /// Accepts a transaction; its outcome is sent when its commit has succeeded or failed. Transactions of one database
    /// are committed in the order in which they were accepted.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where too many wait already,
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) for an unknown database.
    pub(crate) async fn submit(&self, transaction: Transaction) -> Result<oneshot::Receiver<Outcome>, Error> {
        let queue = self.queue(&transaction.database).await?;
        let size = transaction.size();
        let share = u32::try_from(size)
            .ok()
            .and_then(|size| {
                Arc::clone(&self.inner.queue_bytes)
                    .try_acquire_many_owned(size)
                    .ok()
            })
            .ok_or_else(|| Error::unavailable("too many bytes wait to be written"))?;
        let (reply, outcome) = oneshot::channel();
        let job = Job {
            transaction,
            size,
            accepted: Instant::now(),
            reply,
            _queue_bytes: share,
        };
        queue.try_send(job).map_err(|refused| {
            Error::unavailable(match refused {
                TrySendError::Full(_) => "too many transactions wait to be written",
                TrySendError::Closed(_) => "the store is closing",
            })
        })?;
        Ok(outcome)
    }

    /// [`Engine::submit`], and waits for the outcome.
    ///
    /// # Errors
    /// As of [`Engine::submit`], and those of the commit.
    pub(crate) async fn transact(&self, transaction: Transaction) -> Outcome {
        received(self.submit(transaction).await?).await
    }

    /// Accepts no further transactions, commits those that were accepted, and closes the files.
    pub(crate) async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

/// The directory in canonical form; created for this user alone where it is missing. An existing one is left as it is:
/// it may be the administrator's.
pub(crate) fn private_directory(directory: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    directory.canonicalize()
}

/// The outcome of a submitted transaction; unknown where its writer ended without one.
pub(crate) async fn received(outcome: oneshot::Receiver<Outcome>) -> Outcome {
    outcome
        .await
        .unwrap_or_else(|lost| Err(Error::outcome_unknown(lost)))
}

/// Writes the transactions of `queue` in batches, until `closing` and the queue is empty.
async fn write(mut writer: DatabaseWriter, mut queue: mpsc::Receiver<Job>, closing: CancellationToken) {
    loop {
        let first = tokio::select! {
            biased;
            job = queue.recv() => job,
            () = closing.cancelled(), if !queue.is_closed() => {
                queue.close();
                continue;
            }
        };
        let Some(first) = first else { break };
        let batch = batch(first, &mut queue);
        if batch.is_empty() {
            continue;
        }
        let transactions: Vec<&Transaction> = batch.iter().map(|job| &job.transaction).collect();
        let outcomes = writer.execute(&transactions).await;
        for (job, outcome) in batch.into_iter().zip(outcomes) {
            // A caller that no longer waits treats the outcome as unknown.
            let _ = job.reply.send(outcome);
        }
    }
    writer.close().await;
}

/// The transactions that wait, up to the limits of a batch, without those whose caller has given up or must.
fn batch(first: Job, queue: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(job) = next {
        if job.accepted.elapsed() > QUEUE_TIME_LIMIT {
            let _ = job.reply.send(Err(Error::unavailable(
                "the transaction waited too long to be written",
            )));
        } else if !job.reply.is_closed() {
            bytes += job.size;
            batch.push(job);
        }
        let full = batch.len() >= BATCH_TRANSACTIONS || bytes >= BATCH_BYTES;
        next = if full { None } else { queue.try_recv().ok() };
    }
    batch
}
