//! Many transactions, one COMMIT: the part of the engine that talks to SQLite.

use std::path::PathBuf;

use futures::TryStreamExt;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::error::{Error, ErrorKind};
use crate::limits::RESULT_LIMIT;
use crate::options;
use crate::protocol::Outcome;
use crate::schema::Schema;
use crate::statement::{self, Rows, Statement, Transaction, Value};

/// First words of permitted statements. BEGIN, COMMIT, ATTACH and PRAGMA would interfere with the transaction that others
/// share, or reach another file.
const VERBS: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"];

/// Whether a refused transaction undoes the others of its batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Isolation {
    /// It does; the fast way, since a savepoint costs two more turns to SQLite's thread.
    Shared,
    /// Each transaction has its own savepoint.
    Savepoints,
}

/// The one writer of a database file.
pub(crate) struct DatabaseWriter {
    directory: PathBuf,
    schema: &'static Schema,
    /// `None` after an error that may have left the connection in a transaction: the next batch opens a new one.
    connection: Option<SqliteConnection>,
}

impl DatabaseWriter {
    /// Opens the file, creates it where there is none, and applies the migrations that it lacks.
    pub(crate) async fn open(directory: PathBuf, schema: &'static Schema) -> Result<Self, Error> {
        let mut connection = options::writer(&directory, schema.name)
            .connect()
            .await
            .map_err(Error::unavailable)?;
        schema
            .migrator()
            // As `run`, whose bound on Acquire can't be met in a future that must be Send.
            .run_direct(None, &mut connection, false)
            .await
            .map_err(Error::unavailable)?;
        Ok(Self {
            directory,
            schema,
            connection: Some(connection),
        })
    }

    /// Runs transactions within one `BEGIN IMMEDIATE … COMMIT`, so that they share one fsync, and returns the outcome of
    /// each, in order, after the commit.
    ///
    /// They first run without savepoints, since a refusal is rare (a lost compare-and-set is not refused, but a statement
    /// without rows). After a refusal everything is rolled back, before any caller has a reply, and runs again with a
    /// savepoint each.
    pub(crate) async fn execute(&mut self, batch: &[&Transaction]) -> Vec<Outcome> {
        let outcomes = match self.attempt(batch, Isolation::Shared).await {
            Err(error) if error.kind == ErrorKind::Refused && batch.len() > 1 => {
                self.attempt(batch, Isolation::Savepoints).await
            }
            outcomes => outcomes,
        };
        outcomes.unwrap_or_else(|error| vec![Err(error); batch.len()])
    }

    /// Closes the file; the last connection moves the log into the database.
    pub(crate) async fn close(self) {
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(database = self.schema.name, %error, "the database did not close cleanly");
        }
    }

    /// Runs a batch once. An error is that of the whole batch: nothing was written, unless it says that the outcome is
    /// unknown. It is [`ErrorKind::Refused`] only under [`Isolation::Shared`].
    async fn attempt(&mut self, batch: &[&Transaction], isolation: Isolation) -> Result<Vec<Outcome>, Error> {
        // Taken, and put back only where it is certainly in no transaction.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => options::writer(&self.directory, self.schema.name)
                .connect()
                .await
                .map_err(Error::unavailable)?,
        };
        let mut commit = connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(Error::unavailable)?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for transaction in batch {
            let outcome = match isolation {
                Isolation::Shared => run(&mut commit, transaction).await.map(Ok),
                Isolation::Savepoints => run_in_savepoint(&mut commit, transaction).await,
            };
            match outcome {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => {
                    // Fails where SQLite has rolled back by itself, as it does when the disk is full.
                    if commit.rollback().await.is_ok() {
                        self.connection = Some(connection);
                    }
                    return Err(error);
                }
            }
        }
        commit.commit().await.map_err(|error| {
            // An fsync that failed may still have reached the disk.
            tracing::error!(database = self.schema.name, %error, "a commit failed");
            Error::outcome_unknown(error)
        })?;
        self.connection = Some(connection);
        Ok(outcomes)
    }
}

/// Runs one transaction of a batch so that its refusal is its own outcome alone.
async fn run_in_savepoint(
    connection: &mut SqliteConnection,
    transaction: &Transaction,
) -> Result<Outcome, Error> {
    // Within a transaction, `begin` makes a savepoint.
    let mut savepoint = connection.begin().await.map_err(Error::unavailable)?;
    let outcome = run(&mut savepoint, transaction).await;
    match &outcome {
        Ok(_) => savepoint.commit().await.map_err(Error::unavailable)?,
        Err(error) if error.kind == ErrorKind::Refused => {
            savepoint.rollback().await.map_err(Error::unavailable)?;
        }
        Err(error) => return Err(error.clone()),
    }
    Ok(outcome)
}

/// Runs the statements of one transaction within the open one.
async fn run(connection: &mut SqliteConnection, transaction: &Transaction) -> Outcome {
    let mut bytes_left = RESULT_LIMIT;
    let mut results = Vec::with_capacity(transaction.statements.len());
    for statement in &transaction.statements {
        results.push(run_statement(connection, statement, &mut bytes_left).await?);
    }
    Ok(results)
}

/// Runs one statement and reads all of its rows.
async fn run_statement(
    connection: &mut SqliteConnection,
    statement: &Statement,
    bytes_left: &mut usize,
) -> Result<Rows, Error> {
    let verb = statement.sql.split_whitespace().next().unwrap_or_default();
    if !VERBS.iter().any(|allowed| verb.eq_ignore_ascii_case(allowed)) {
        return Err(Error::refused(format!(
            "a statement must not begin with {verb:?}"
        )));
    }
    let mut stream = sqlx::query_with(AssertSqlSafe(statement.sql.clone()), statement.arguments()?)
        .fetch(&mut *connection);
    let mut rows = Vec::new();
    while let Some(row) = stream.try_next().await? {
        let row = statement::row(&row)?;
        let size = row.iter().map(Value::size).sum();
        *bytes_left = bytes_left
            .checked_sub(size)
            .ok_or_else(|| Error::refused(format!("the result is larger than {RESULT_LIMIT} bytes")))?;
        rows.push(row);
    }
    Ok(rows)
}
