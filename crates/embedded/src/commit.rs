//! Many transactions, one COMMIT: the part of the engine that talks to SQLite.

use std::path::PathBuf;

use futures::TryStreamExt;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use crate::connection;
use crate::error::{Error, ErrorKind};
use crate::schema::Schema;
use crate::statement::{self, Rows, Statement, Transaction};

/// Most bytes that one transaction may return. Checked before the commit: what is committed can also be answered.
const RESULT_LIMIT: usize = 4 * 1024 * 1024;

/// What a statement may begin with. BEGIN, COMMIT, ATTACH and PRAGMA would take the transaction, or the file, out of
/// the engine's hands.
const VERBS: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"];

/// What a transaction gets.
pub(crate) type Outcome = Result<Vec<Rows>, Error>;

/// Why a database could not be opened for writing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenDatabaseError {
    #[error("the file does not open")]
    Connect(#[source] sqlx::Error),
    #[error("its schema could not be brought up to date")]
    Migrate(#[source] MigrateError),
}

/// Why a whole attempt ended early. Nothing of it was written, unless the failure says that the outcome is unknown.
enum Aborted {
    /// One transaction was refused; the others may succeed without it.
    Refused(Error),
    /// The database failed; so do all transactions.
    Failed(Error),
}

/// Whether a refused transaction takes the others with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Isolation {
    /// No savepoints, the fast way: each costs two more turns to SQLite's thread.
    Together,
    /// Each transaction within a savepoint of its own.
    Savepoints,
}

/// The one writer of a database file.
pub(crate) struct DatabaseWriter {
    directory: PathBuf,
    schema: &'static Schema,
    /// `None` after a failure that may have left the connection in a transaction: the next batch opens a new one.
    connection: Option<SqliteConnection>,
}

impl DatabaseWriter {
    /// Opens the file, creates it where there is none, and brings its schema up to date.
    pub(crate) async fn open(directory: PathBuf, schema: &'static Schema) -> Result<Self, OpenDatabaseError> {
        let mut connection = connection::writer(&directory, schema.name)
            .connect()
            .await
            .map_err(OpenDatabaseError::Connect)?;
        schema
            .migrator()
            // As `run`, whose bound on Acquire can't be met in a future that must be Send.
            .run_direct(None, &mut connection, false)
            .await
            .map_err(OpenDatabaseError::Migrate)?;
        Ok(Self {
            directory,
            schema,
            connection: Some(connection),
        })
    }

    /// Runs transactions within one `BEGIN IMMEDIATE … COMMIT`, so that they share one fsync; one outcome each, in
    /// order, known only after the commit.
    ///
    /// They first run without savepoints, since hardly ever is one refused (a lost compare-and-set is no refusal but
    /// a statement without rows). When one is, everything is rolled back, nobody having been told anything, and runs
    /// again with a savepoint each.
    pub(crate) async fn execute(&mut self, batch: &[&Transaction]) -> Vec<Outcome> {
        let attempt = match self.attempt(batch, Isolation::Together).await {
            Err(Aborted::Refused(_)) if batch.len() > 1 => self.attempt(batch, Isolation::Savepoints).await,
            attempt => attempt,
        };
        match attempt {
            Ok(outcomes) => outcomes,
            Err(Aborted::Refused(failure) | Aborted::Failed(failure)) => {
                batch.iter().map(|_| Err(failure.clone())).collect()
            }
        }
    }

    /// Closes the file; the last connection moves the log into the database.
    pub(crate) async fn close(self) {
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(database = self.schema.name, %error, "the database did not close cleanly");
        }
    }

    async fn attempt(
        &mut self,
        batch: &[&Transaction],
        isolation: Isolation,
    ) -> Result<Vec<Outcome>, Aborted> {
        let failed = |error| Aborted::Failed(Error::unavailable(error));
        // Taken out, and put back only where it is known to be in no transaction.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connection::writer(&self.directory, self.schema.name)
                .connect()
                .await
                .map_err(failed)?,
        };
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for item in batch {
            match run(&mut transaction, item, isolation).await {
                Ok(outcome) => outcomes.push(outcome),
                Err(aborted) => {
                    // Fails where SQLite has rolled back by itself, as it does when the disk is full.
                    if transaction.rollback().await.is_ok() {
                        self.connection = Some(connection);
                    }
                    return Err(aborted);
                }
            }
        }
        transaction.commit().await.map_err(|error| {
            // An fsync that failed may still have reached the disk.
            tracing::error!(database = self.schema.name, %error, "a commit failed");
            Aborted::Failed(Error::outcome_unknown(error))
        })?;
        self.connection = Some(connection);
        Ok(outcomes)
    }
}

/// Runs one transaction within the open one.
async fn run(
    connection: &mut SqliteConnection,
    transaction: &Transaction,
    isolation: Isolation,
) -> Result<Outcome, Aborted> {
    let failed = |error| Aborted::Failed(Error::unavailable(error));
    if isolation == Isolation::Savepoints {
        connection
            .execute(sqlx::raw_sql("SAVEPOINT item"))
            .await
            .map_err(failed)?;
    }
    let mut room = RESULT_LIMIT;
    let mut results = Vec::with_capacity(transaction.statements.len());
    let mut refusal = None;
    for statement in &transaction.statements {
        match run_statement(connection, statement, &mut room).await {
            Ok(rows) => results.push(rows),
            Err(failure) if failure.kind == ErrorKind::Refused => {
                refusal = Some(failure);
                break;
            }
            Err(failure) => return Err(Aborted::Failed(failure)),
        }
    }
    match (refusal, isolation) {
        (None, Isolation::Together) => Ok(Ok(results)),
        (Some(failure), Isolation::Together) => Err(Aborted::Refused(failure)),
        (None, Isolation::Savepoints) => {
            connection
                .execute(sqlx::raw_sql("RELEASE item"))
                .await
                .map_err(failed)?;
            Ok(Ok(results))
        }
        (Some(failure), Isolation::Savepoints) => {
            connection
                .execute(sqlx::raw_sql("ROLLBACK TO item; RELEASE item"))
                .await
                .map_err(failed)?;
            Ok(Err(failure))
        }
    }
}

/// Runs one statement and reads all of its rows: one row read is enough to apply it, but which rows were applied is
/// what the caller wants to know.
async fn run_statement(
    connection: &mut SqliteConnection,
    statement: &Statement,
    room: &mut usize,
) -> Result<Rows, Error> {
    let verb = statement.sql.split_whitespace().next().unwrap_or_default();
    if !VERBS.iter().any(|allowed| verb.eq_ignore_ascii_case(allowed)) {
        return Err(Error::refused(format!(
            "a statement must not begin with {verb:?}"
        )));
    }
    let arguments = statement.arguments().map_err(Error::from)?;
    let mut stream =
        sqlx::query_with(AssertSqlSafe(statement.sql.clone()), arguments).fetch(&mut *connection);
    let mut rows = Vec::new();
    while let Some(row) = stream.try_next().await.map_err(Error::from)? {
        let row = statement::row(&row).map_err(Error::from)?;
        let size = row.iter().map(statement::Value::size).sum();
        *room = room
            .checked_sub(size)
            .ok_or_else(|| Error::refused(format!("the result is larger than {RESULT_LIMIT} bytes")))?;
        rows.push(row);
    }
    Ok(rows)
}
