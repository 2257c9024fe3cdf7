//! The engine: the one writer of a data directory. Each database file has a lane of its own, and a lane commits
//! whatever has gathered while its last commit was in flight.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FlockOperation;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::commit::{DatabaseWriter, Outcome};
use crate::error::Error;
use crate::schema::Schema;
use crate::statement::{Rows, Transaction};

/// Transactions that may wait for one database; more are refused as unavailable.
pub(crate) const QUEUE_LIMIT: usize = 4_096;

/// Bytes of transactions that may wait in an engine; more are refused as unavailable.
pub(crate) const QUEUE_BYTES_LIMIT: usize = 128 * 1024 * 1024;

/// How long a transaction may wait before it runs. Shorter than [`crate::client::REQUEST_TIME_LIMIT`], so that what a
/// client has given up is not run much later.
pub(crate) const QUEUE_TIME_LIMIT: Duration = Duration::from_secs(5);

/// How long the opening of a database may take, its migrations included.
const OPEN_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Most transactions that share a commit.
const BATCH_TRANSACTIONS: usize = 128;

/// Most bytes of transactions that share a commit (one alone may be larger): bounds how long the first one waits.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

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

/// The one writer of a data directory. Cheap to clone; it ends with its last clone, when what it has accepted is
/// committed. Must be used within a Tokio runtime.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    lanes: BTreeMap<&'static str, Lane>,
    room: Arc<Semaphore>,
    closing: CancellationToken,
    tasks: TaskTracker,
    /// Each lane holds it too: the lock is free only after the last commit.
    lock: Arc<File>,
}

struct Lane {
    schema: &'static Schema,
    queue: OnceCell<mpsc::Sender<Job>>,
}

struct Job {
    transaction: Transaction,
    size: usize,
    accepted: Instant,
    reply: oneshot::Sender<Outcome>,
    _room: OwnedSemaphorePermit,
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
        let lanes = schemas
            .iter()
            .map(|schema| {
                (
                    schema.name,
                    Lane {
                        schema,
                        queue: OnceCell::new(),
                    },
                )
            })
            .collect();
        Ok(Self {
            inner: Arc::new(Inner {
                directory,
                lanes,
                room: Arc::new(Semaphore::new(QUEUE_BYTES_LIMIT)),
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
    /// [`ErrorKind::Refused`] for an unknown name, [`ErrorKind::Unavailable`] where the file does not open.
    pub(crate) async fn open_database(&self, name: &str) -> Result<(), Error> {
        self.lane(name).await.map(|_| ())
    }

    async fn lane(&self, name: &str) -> Result<&mpsc::Sender<Job>, Error> {
        let inner = &self.inner;
        let lane = inner
            .lanes
            .get(name)
            .ok_or_else(|| Error::refused(format!("there is no database {name:?}")))?;
        lane.queue
            .get_or_try_init(|| async {
                let opening = DatabaseWriter::open(inner.directory.clone(), lane.schema);
                let writer = timeout(OPEN_TIME_LIMIT, opening)
                    .await
                    .map_err(Error::unavailable)?
                    .map_err(Error::unavailable)?;
                let (sender, queue) = mpsc::channel(QUEUE_LIMIT);
                let (closing, lock) = (inner.closing.clone(), Arc::clone(&inner.lock));
                inner.tasks.spawn(async move {
                    work(writer, queue, closing).await;
                    drop(lock);
                });
                Ok(sender)
            })
            .await
    }

    /// Accepts a transaction; its outcome comes when its commit has succeeded or failed. Transactions of one database
    /// that are accepted one after the other are committed in that order.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] where too much waits already, [`ErrorKind::Refused`] for an unknown database.
    pub(crate) async fn submit(&self, transaction: Transaction) -> Result<oneshot::Receiver<Outcome>, Error> {
        let queue = self.lane(&transaction.database).await?;
        let size = transaction.size();
        let room = u32::try_from(size)
            .ok()
            .and_then(|size| Arc::clone(&self.inner.room).try_acquire_many_owned(size).ok())
            .ok_or_else(|| Error::unavailable("too many bytes wait for the disk already"))?;
        let (reply, outcome) = oneshot::channel();
        queue
            .try_send(Job {
                transaction,
                size,
                accepted: Instant::now(),
                reply,
                _room: room,
            })
            .map_err(|refused| {
                let sentence = match refused {
                    mpsc::error::TrySendError::Full(_) => "too many transactions wait for the disk already",
                    mpsc::error::TrySendError::Closed(_) => "the store is closing",
                };
                Error::unavailable(sentence)
            })?;
        Ok(outcome)
    }

    /// [`Engine::submit`], and waits for the outcome.
    ///
    /// # Errors
    /// As of [`Engine::submit`], and what the commit met.
    pub(crate) async fn transact(&self, transaction: Transaction) -> Result<Vec<Rows>, Error> {
        settled(self.submit(transaction).await?.await)
    }

    /// Accepts nothing more, commits what was accepted, and closes the files.
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

/// The outcome that came, or that none will.
pub(crate) fn settled(outcome: Result<Outcome, oneshot::error::RecvError>) -> Outcome {
    outcome.unwrap_or_else(|lost| Err(Error::outcome_unknown(lost)))
}

/// The life of a lane: gather, commit, answer.
async fn work(mut writer: DatabaseWriter, mut queue: mpsc::Receiver<Job>, closing: CancellationToken) {
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(job) => job,
            None => tokio::select! {
                biased;
                job = queue.recv() => match job {
                    Some(job) => job,
                    None => break,
                },
                () = closing.cancelled(), if !queue.is_closed() => {
                    queue.close();
                    continue;
                }
            },
        };
        let batch = gather(first, &mut queue, &mut held);
        if batch.is_empty() {
            continue;
        }
        let transactions: Vec<&Transaction> = batch.iter().map(|job| &job.transaction).collect();
        let outcomes = writer.execute(&transactions).await;
        for (job, outcome) in batch.into_iter().zip(outcomes) {
            // Whoever no longer listens has been told that the outcome is unknown.
            let _ = job.reply.send(outcome);
        }
    }
    writer.close().await;
}

/// What is waiting, up to the limits of a batch, without what nobody waits for any more.
fn gather(first: Job, queue: &mut mpsc::Receiver<Job>, held: &mut Option<Job>) -> Vec<Job> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(job) = next {
        if !batch.is_empty() && bytes + job.size > BATCH_BYTES {
            *held = Some(job);
            break;
        }
        if job.accepted.elapsed() > QUEUE_TIME_LIMIT {
            let _ = job.reply.send(Err(Error::unavailable(
                "the transaction waited too long for its turn",
            )));
        } else if !job.reply.is_closed() {
            bytes += job.size;
            batch.push(job);
        }
        next = if batch.len() < BATCH_TRANSACTIONS {
            queue.try_recv().ok()
        } else {
            None
        };
    }
    batch
}
