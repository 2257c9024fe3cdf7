//! The databases of an engine, their migrations, and the files of earlier layouts that they take over.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::error::Error;
use crate::options;

/// A database of the embedded store: one file, one writer.
#[derive(Debug)]
pub struct Schema {
    /// The file's name without `.db`.
    pub name: &'static str,
    /// The SQL of every migration, oldest first. One that was released must never change.
    pub migrations: &'static [&'static str],
    /// Files of an earlier layout whose rows belong into this one.
    pub formers: &'static [Former],
}

/// A database file of an earlier layout.
#[derive(Debug)]
pub struct Former {
    /// What it was; its missing migrations are applied first.
    pub schema: Schema,
    /// Copies its tables, which are called `former.TABLE`, into those of the new file.
    pub copy: &'static str,
}

impl Schema {
    /// Opens the file in `directory` for its one writer, brings it up to date, and takes over the files of an earlier
    /// layout.
    ///
    /// # Errors
    /// As of [`Schema::migrate`]; [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where a file can't be used.
    pub(crate) fn open(&self, directory: &Path) -> Result<Connection, Error> {
        let mut connection = options::writer(directory, self.name).map_err(Error::unavailable)?;
        self.migrate(&mut connection)?;
        for former in self.formers {
            former.take_over(directory, &mut connection)?;
        }
        Ok(connection)
    }

    /// Applies the migrations that the database lacks, each in a transaction of its own. SQLite's `user_version` counts
    /// those that it has.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) for a database of a newer version.
    fn migrate(&self, connection: &mut Connection) -> Result<(), Error> {
        adopt_version(connection).map_err(Error::unavailable)?;
        let applied: u32 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(Error::unavailable)?;
        let Some(missing) = self.migrations.get(applied as usize..) else {
            return Err(Error::refused(format!(
                "the database {} has version {applied} of its schema, and this program knows {}: start a newer one",
                self.name,
                self.migrations.len()
            )));
        };
        for (version, migration) in (applied + 1..).zip(missing) {
            apply(connection, version, migration).map_err(Error::unavailable)?;
        }
        Ok(())
    }
}

impl Former {
    /// Copies the rows in one transaction, which also says that this was done, and then removes the file: where the process
    /// ends in between, the next one finds the rows copied, or begins anew.
    fn take_over(&self, directory: &Path, connection: &mut Connection) -> Result<(), Error> {
        let file = options::path(directory, self.schema.name);
        if !file.try_exists().map_err(Error::unavailable)? {
            return Ok(());
        }
        tracing::info!(
            former = self.schema.name,
            "the rows of a file of an earlier layout are taken over"
        );
        // Its log is moved into the file when this connection closes.
        drop(self.schema.open(directory)?);
        self.copy(&file, connection).map_err(Error::unavailable)?;
        options::files(&file)
            .iter()
            .try_for_each(|file| remove(file))
            .map_err(Error::unavailable)
    }

    fn copy(&self, file: &Path, connection: &mut Connection) -> rusqlite::Result<()> {
        connection
            .execute_batch("CREATE TABLE IF NOT EXISTS taken_over (file TEXT NOT NULL PRIMARY KEY) STRICT")?;
        connection.execute("ATTACH ?1 AS former", [file.to_string_lossy()])?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let note = "INSERT INTO taken_over (file) VALUES (?1) ON CONFLICT (file) DO NOTHING";
        if transaction.execute(note, [self.schema.name])? == 1 {
            transaction.execute_batch(self.copy)?;
        }
        transaction.commit()?;
        connection.execute_batch("DETACH former")
    }
}

/// Removes a file, which may be gone.
fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn apply(connection: &mut Connection, version: u32, migration: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(migration)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

/// Until Souk 0.1 a table counted the migrations: takes the number over, and drops the table, so that a program that
/// still goes by it does not run over a later schema.
fn adopt_version(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let has_table = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')";
    if transaction.query_row(has_table, [], |row| row.get(0))? {
        let count = "SELECT count(*) FROM _sqlx_migrations WHERE success";
        let applied: u32 = transaction.query_row(count, [], |row| row.get(0))?;
        transaction.pragma_update(None, "user_version", applied)?;
        transaction.execute_batch("DROP TABLE _sqlx_migrations")?;
    }
    transaction.commit()
}
