//! One database of the embedded store as an adapter sees it: reads from the file, writes through the one writer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::client::Writer;
use crate::error::Error;
use crate::limits::{READ_TIME_LIMIT, READERS};
use crate::options;
use crate::statement::{Rows, Statement};

/// All runs of a statement see the database at one moment.
fn read(
    connection: &Connection,
    statement: &Statement,
    is_cancelled: impl Fn() -> bool,
) -> Result<Rows, Error> {
    let _snapshot = match statement.runs.len() {
        ..=1 => None,
        _ => Some(connection.unchecked_transaction()?),
    };
    statement.run(connection, |_| {
        if is_cancelled() {
            return Err(Error::unavailable("nobody waits for the rows any more"));
        }
        Ok(())
    })
}

/// A database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    name: &'static str,
    directory: PathBuf,
    writer: Writer,
    /// Reads that may run at once: as many connections there are at most.
    readers: Arc<Semaphore>,
    /// Connections that nobody reads through now.
    idle: Mutex<Vec<Connection>>,
}

impl Inner {
    /// Reads through an idle connection, or a new one. Blocks; ends at the next row after `is_cancelled`.
    fn read(&self, statement: &Statement, is_cancelled: impl Fn() -> bool) -> Result<Rows, Error> {
        let connection = match self.idle().pop() {
            Some(connection) => connection,
            None => options::reader(&self.directory, self.name).map_err(Error::unavailable)?,
        };
        let rows = read(&connection, statement, is_cancelled);
        self.idle().push(connection);
        rows
    }

    /// No code panics while it holds the lock.
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database {
    /// Opens `name` of `directory`, which must be the directory that `writer` writes to. The writer creates the file and
    /// applies its migrations.
    ///
    /// # Errors
    /// As of [`Writer::open`].
    pub async fn open(writer: &Writer, directory: &Path, name: &'static str) -> Result<Self, Error> {
        writer.open(name).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                name,
                directory: directory.to_owned(),
                writer: writer.clone(),
                readers: Arc::new(Semaphore::new(READERS)),
                idle: Mutex::default(),
            }),
        })
    }

    /// The database's name.
    pub fn name(&self) -> &'static str {
        self.inner.name
    }

    /// Reads from the file, everything that was acknowledged before.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), or
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) for an invalid statement.
    pub async fn read(&self, statement: Statement) -> Result<Rows, Error> {
        let reading = async {
            let permit = Arc::clone(&self.inner.readers)
                .acquire_owned()
                .await
                .map_err(Error::unavailable)?;
            let (reply, rows) = oneshot::channel();
            let inner = Arc::clone(&self.inner);
            // On one of Tokio's threads for blocking work, which all databases share.
            drop(spawn_blocking(move || {
                let rows = inner.read(&statement, || reply.is_closed());
                // Before the reply: a caller may then drop the database and open its files anew.
                drop((inner, permit));
                // Fails where the caller has stopped waiting.
                let _ = reply.send(rows);
            }));
            rows.await.map_err(Error::unavailable)?
        };
        timeout(READ_TIME_LIMIT, reading)
            .await
            .map_err(Error::unavailable)?
    }

    /// Runs statements in one transaction and returns the rows of each once it is durable.
    ///
    /// # Errors
    /// As of [`Writer::transact`].
    pub async fn transact(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, Error> {
        self.inner.writer.transact(self.inner.name, statements).await
    }

    /// Whether the writer responds and the file can be read.
    ///
    /// # Errors
    /// As of [`Writer::open`] and [`Database::read`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.inner.writer.open(self.inner.name).await?;
        // Touches the file, which SELECT 1 would not.
        self.read(Statement::new("SELECT count(*) FROM sqlite_schema"))
            .await?;
        Ok(())
    }
}
