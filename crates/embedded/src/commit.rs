//! Many transactions, one COMMIT: the part of the engine that talks to SQLite.

use std::path::PathBuf;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Error, ErrorKind};
use crate::limits::{IDLE_LOG_BYTES, RESULT_LIMIT};
use crate::options;
use crate::protocol::Outcome;
use crate::schema::Schema;
use crate::statement::{Statement, Transaction, Value};

/// First words of permitted statements. BEGIN, COMMIT, ATTACH and PRAGMA would interfere with the transaction that others
/// share, or reach another file.
const VERBS: [&str; 6] = ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"];

/// Whether a refused transaction undoes the others of its batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Isolation {
    /// It does; the fast way, without two statements more per transaction.
    Shared,
    /// Each transaction has its own savepoint.
    Savepoints,
}

/// The one writer of a database file. Its methods block: it belongs to a thread of its own.
pub(crate) struct DatabaseWriter {
    directory: PathBuf,
    schema: &'static Schema,
    /// `None` after an error that may have left the connection in a transaction: the next batch opens a new one.
    connection: Option<Connection>,
}

impl DatabaseWriter {
    /// Opens the file, creates it where there is none, and applies the migrations that it lacks.
    pub(crate) fn open(directory: PathBuf, schema: &'static Schema) -> Result<Self, Error> {
        let connection = Some(schema.open(&directory)?);
        Ok(Self {
            directory,
            schema,
            connection,
        })
    }

    /// Runs transactions within one `BEGIN IMMEDIATE … COMMIT`, so that they share one fsync, and returns the outcome of
    /// each, in order, after the commit.
    ///
    /// They first run without savepoints, since a refusal is rare (a lost compare-and-set is not refused, but a statement
    /// without rows). After a refusal everything is rolled back, before any caller has a reply, and runs again with a
    /// savepoint each.
    pub(crate) fn execute(&mut self, batch: &[&Transaction]) -> Vec<Outcome> {
        let outcomes = match self.attempt(batch, Isolation::Shared) {
            Err(error) if error.kind == ErrorKind::Refused && batch.len() > 1 => {
                self.attempt(batch, Isolation::Savepoints)
            }
            outcomes => outcomes,
        };
        outcomes.unwrap_or_else(|error| vec![Err(error); batch.len()])
    }

    /// Moves a log that is larger than [`IDLE_LOG_BYTES`] into the database, and cuts it off. Where a reader needs the log
    /// longer, it moves what it can: nobody who comes to write waits for readers.
    pub(crate) fn empty_log(&mut self) {
        let [log, ..] = options::files(&options::path(&self.directory, self.schema.name));
        let is_small = std::fs::metadata(log).is_ok_and(|log| log.len() < IDLE_LOG_BYTES);
        let Some(connection) = self.connection.as_ref().filter(|_| !is_small) else {
            return;
        };
        if let Err(error) = options::empty_log(connection) {
            tracing::warn!(database = self.schema.name, %error, "the log could not be moved into the database");
        }
    }

    /// Closes the file; the last connection moves the log into the database.
    pub(crate) fn close(self) {
        if let Some(connection) = self.connection
            && let Err((_, error)) = connection.close()
        {
            tracing::warn!(database = self.schema.name, %error, "the database did not close cleanly");
        }
    }

    /// Runs a batch once. An error is that of the whole batch: nothing was written, unless it says that the outcome is
    /// unknown. It is [`ErrorKind::Refused`] only under [`Isolation::Shared`].
    fn attempt(&mut self, batch: &[&Transaction], isolation: Isolation) -> Result<Vec<Outcome>, Error> {
        // Taken, and put back only where it is certainly in no transaction.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => options::writer(&self.directory, self.schema.name).map_err(Error::unavailable)?,
        };
        let mut commit = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Error::unavailable)?;
        let mut outcomes = Vec::with_capacity(batch.len());
        for transaction in batch {
            let outcome = match isolation {
                Isolation::Shared => run(&commit, transaction).map(Ok),
                Isolation::Savepoints => run_in_savepoint(&mut commit, transaction),
            };
            match outcome {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => {
                    // Fails where SQLite has rolled back by itself, as it does when the disk is full.
                    if commit.rollback().is_ok() {
                        self.connection = Some(connection);
                    }
                    return Err(error);
                }
            }
        }
        commit.commit().map_err(|error| {
            // An fsync that failed may still have reached the disk.
            tracing::error!(database = self.schema.name, %error, "a commit failed");
            Error::outcome_unknown(error)
        })?;
        self.connection = Some(connection);
        Ok(outcomes)
    }
}

/// Runs one transaction of a batch so that its refusal is its own outcome alone.
fn run_in_savepoint(
    commit: &mut rusqlite::Transaction<'_>,
    transaction: &Transaction,
) -> Result<Outcome, Error> {
    let savepoint = commit.savepoint().map_err(Error::unavailable)?;
    let outcome = run(&savepoint, transaction);
    match &outcome {
        Ok(_) => savepoint.commit().map_err(Error::unavailable)?,
        // Rolls back to the savepoint and releases it.
        Err(error) if error.kind == ErrorKind::Refused => savepoint.finish().map_err(Error::unavailable)?,
        Err(error) => return Err(error.clone()),
    }
    Ok(outcome)
}

/// Runs the statements of one transaction within the open one.
fn run(connection: &Connection, transaction: &Transaction) -> Outcome {
    let mut bytes_left = RESULT_LIMIT;
    transaction
        .statements
        .iter()
        .map(|statement| {
            permit(statement)?;
            statement.run(connection, |row| {
                let size = row.iter().map(Value::size).sum();
                bytes_left = bytes_left.checked_sub(size).ok_or_else(|| {
                    Error::refused(format!("the result is larger than {RESULT_LIMIT} bytes"))
                })?;
                Ok(())
            })
        })
        .collect()
}

/// Refuses a statement that would interfere with the transaction that others share.
fn permit(statement: &Statement) -> Result<(), Error> {
    let verb = statement.sql.split_whitespace().next().unwrap_or_default();
    if VERBS.iter().any(|allowed| verb.eq_ignore_ascii_case(allowed)) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "a statement must not begin with {verb:?}"
    )))
}
