//! The databases of an engine and their migrations.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// A database of the embedded store: one file, one writer.
#[derive(Debug)]
pub struct Schema {
    /// The file's name without `.db`.
    pub name: &'static str,
    /// The SQL of every migration, oldest first. One that was released must never change.
    pub migrations: &'static [&'static str],
}

impl Schema {
    pub(crate) fn migrator(&self) -> Migrator {
        let migrations = (1..).zip(self.migrations).map(|(version, sql)| {
            Migration::new(
                version,
                self.name.into(),
                MigrationType::Simple,
                sql.into_sql_str(),
                false,
            )
        });
        Migrator::with_migrations(migrations.collect())
    }
}
