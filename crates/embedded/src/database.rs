//! One database of the embedded store as an adapter sees it: reads from the file, writes through the one writer.

use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use tokio::time::timeout;

use crate::client::Writer;
use crate::error::Error;
use crate::limits::{READ_TIME_LIMIT, READERS};
use crate::options;
use crate::statement::{self, Rows, Statement};

/// A database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    name: &'static str,
    readers: SqlitePool,
    writer: Writer,
}

impl Database {
    /// Opens `name` of `directory`, which must be the directory that `writer` writes to. The writer creates the file and
    /// applies its migrations.
    ///
    /// # Errors
    /// As of [`Writer::open`].
    pub async fn open(writer: &Writer, directory: &Path, name: &'static str) -> Result<Self, Error> {
        writer.open(name).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READ_TIME_LIMIT)
            // A connection to a file does not go stale, and the test costs a turn to its thread.
            .test_before_acquire(false)
            .connect_lazy_with(options::reader(directory, name));
        Ok(Self {
            inner: Arc::new(Inner {
                name,
                readers,
                writer: writer.clone(),
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
            let arguments = statement.arguments()?;
            sqlx::query_with(AssertSqlSafe(statement.sql), arguments)
                .fetch(&self.inner.readers)
                .map(|row| statement::row(&row?))
                .try_collect()
                .await
        };
        let rows: Result<Rows, sqlx::Error> = timeout(READ_TIME_LIMIT, reading)
            .await
            .map_err(Error::unavailable)?;
        Ok(rows?)
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
