//! The databases of an engine and their migrations.

use rusqlite::{Connection, TransactionBehavior};

use crate::error::Error;

/// A database of the embedded store: one file, one writer.
#[derive(Debug)]
pub struct Schema {
    /// The file's name without `.db`.
    pub name: &'static str,
    /// The SQL of every migration, oldest first. One that was released must never change.
    pub migrations: &'static [&'static str],
}

impl Schema {
    /// Applies the migrations that the database lacks, each in a transaction of its own. SQLite's `user_version` counts
    /// those that it has.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) for a database of a newer version.
    pub(crate) fn migrate(&self, connection: &mut Connection) -> Result<(), Error> {
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
