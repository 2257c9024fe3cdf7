//! One database of the embedded store as an adapter sees it: reads from the file, writes through the one writer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use tokio::time::timeout;

use super::client::Writer;
use super::connection;
use super::failure::Failure;
use super::statement::{self, Columns, Rows, Statement, Transaction};
use crate::stores::StoreError;

/// Connections that read one database, a process. Each costs a thread.
pub const READERS: u32 = 4;

/// How long a read may take, waiting for a connection included.
pub const READ_TIME_LIMIT: Duration = Duration::from_secs(5);

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
    /// Opens `name` of `directory`, which must be the directory that `writer` writes to. The file is created, and its
    /// schema brought up to date, by the writer.
    ///
    /// # Errors
    /// As of [`Writer::open`].
    pub async fn open(writer: &Writer, directory: &Path, name: &'static str) -> Result<Self, StoreError> {
        writer.open(name).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READ_TIME_LIMIT)
            // A connection to a file does not go stale, and the test costs a turn to its thread.
            .test_before_acquire(false)
            .connect_lazy_with(connection::reader(directory, name));
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
    /// [`StoreError::Unavailable`]
    pub async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        let reading = async {
            let arguments = statement.arguments()?;
            let mut stream =
                sqlx::query_with(AssertSqlSafe(statement.sql), arguments).fetch(&self.inner.readers);
            let mut rows = Vec::new();
            while let Some(row) = stream.try_next().await? {
                rows.push(statement::row(&row)?);
            }
            Ok::<_, sqlx::Error>(rows)
        };
        timeout(READ_TIME_LIMIT, reading)
            .await
            .map_err(Failure::unavailable)
            .and_then(|rows| rows.map_err(Failure::from_sql))
            .map_err(|failure| failure.into_store_error(self.inner.name))
    }

    /// Runs statements in one transaction: all rows of each, when it is durable.
    ///
    /// # Errors
    /// As of [`Writer::transact`].
    pub async fn transact(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        self.inner
            .writer
            .transact(Transaction::new(self.inner.name, statements))
            .await
    }

    /// As [`Database::transact`], with one statement.
    ///
    /// # Errors
    /// As of [`Writer::transact`].
    pub async fn transact_one(&self, statement: Statement) -> Result<Rows, StoreError> {
        let mut results = self.transact(vec![statement]).await?;
        Ok(results.pop().unwrap_or_default())
    }

    /// Whether the writer answers and the file can be read.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.inner.writer.open(self.inner.name).await?;
        // Touches the file, which SELECT 1 would not.
        self.read(Statement::new("SELECT count(*) FROM sqlite_schema"))
            .await
            .map(|_| ())
    }

    /// Takes rows apart, each by `decode`.
    ///
    /// # Errors
    /// What `decode` finds.
    pub fn decode<T>(
        &self,
        rows: Rows,
        decode: impl Fn(&mut Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        rows.into_iter()
            .map(|row| decode(&mut Columns::new(self.inner.name, row)))
            .collect()
    }

    /// An error for a row that does not decode.
    pub fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            store: self.inner.name,
            what: what.into(),
        }
    }
}
