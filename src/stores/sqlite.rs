//! SQLite as the technology of every port by default: its databases, and its errors as [`StoreError`].

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use souk_embedded::{Engine, ErrorKind, OpenError, Rows, Schema, Spawner, Statement, Writer};

use super::documents::outbox::{INVENTORY_CONSUMERS, ORDER_CONSUMERS};
use super::sql::SqlDatabase;
use super::{StoreError, documents, idempotency, products, sessions, users, views};
use crate::config::{Scheme, StoreUrl, StoreUrls};

/// The stores of rows, each with the consumers of its events.
pub const ROWS: [(&str, &[&str]); 5] = [
    ("carts", &[]),
    ("orders", ORDER_CONSUMERS),
    ("inventory", INVENTORY_CONSUMERS),
    ("payments", &[]),
    ("sandbox", &[]),
];

/// The database of the catalogue and its index.
pub const CATALOGUE: &str = "catalogue";
/// The database of kept replies.
pub const IDEMPOTENCY: &str = "idempotency";
/// The database of sessions, one-time codes and counters.
pub const SESSIONS: &str = "sessions";
/// The database of accounts, signing keys and revocations.
pub const USERS: &str = "users";
/// The database of the cluster's views.
pub const VIEWS: &str = "views";

/// The databases that stores with these URLs are in.
pub fn databases(urls: &StoreUrls) -> Vec<&'static str> {
    let is_embedded = |url: &StoreUrl| url.scheme() == Scheme::Sqlite;
    let rows = ROWS.iter().filter_map(|(name, _)| urls.of(name)).any(is_embedded);
    let (catalogue, sessions) = (is_embedded(&urls.catalogue), is_embedded(&urls.sessions));
    [
        (documents::sqlite::FILE, rows),
        (CATALOGUE, catalogue),
        (IDEMPOTENCY, sessions),
        (SESSIONS, sessions),
        (USERS, is_embedded(&urls.users)),
        (VIEWS, is_embedded(&urls.views)),
    ]
    .into_iter()
    .filter_map(|(name, is_used)| is_used.then_some(name))
    .collect()
}

/// The databases of the embedded store.
pub static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    vec![
        documents::sqlite::schema(&ROWS.map(|(name, _)| name)),
        schema(CATALOGUE, products::sqlite::MIGRATIONS),
        schema(IDEMPOTENCY, idempotency::sqlite::MIGRATIONS),
        schema(SESSIONS, sessions::sqlite::MIGRATIONS),
        schema(USERS, users::sqlite::MIGRATIONS),
        schema(VIEWS, views::sqlite::MIGRATIONS),
    ]
});

const fn schema(name: &'static str, migrations: &'static [&'static str]) -> Schema {
    Schema {
        name,
        migrations,
        formers: &[],
    }
}

/// A writer of `directory` within this process: for tests and benches.
///
/// # Errors
/// [`OpenError`] where the directory is in use or can't be used.
pub fn in_process_writer(directory: &Path) -> Result<Writer, OpenError> {
    Engine::open(directory, &SCHEMAS).map(Writer::in_process)
}

/// A writer of `directory` through its store process, which is started from this very binary where none runs. Must be
/// called within a Tokio runtime, which reaps that process when it ends.
///
/// # Errors
/// [`StoreError::Unavailable`] where the store process can't be reached.
pub async fn store_process_writer(directory: &Path) -> Result<Writer, StoreError> {
    let folder = directory.to_owned();
    let spawner: Spawner = Arc::new(move || start_store_process(&folder));
    Writer::connect(directory, spawner)
        .await
        .map_err(|error| store_error("embedded", error))
}

/// Runs `souk store --data DIRECTORY` in a process group of its own, so that Ctrl-C in a terminal reaches the nodes and
/// not the store that they still need.
fn start_store_process(directory: &Path) -> io::Result<()> {
    let own = std::env::current_exe()?;
    // The file may have been replaced since this process began: its name then leads to another version, or nowhere.
    let image = if cfg!(target_os = "linux") {
        Path::new("/proc/self/exe")
    } else {
        &own
    };
    let child = tokio::process::Command::new(image)
        .arg0(&own)
        .arg("store")
        .arg("--data")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .process_group(0)
        .kill_on_drop(false)
        .spawn()?;
    // Not waited for: Tokio reaps a dropped child that has ended.
    drop(child);
    Ok(())
}

/// An error of the embedded store as the ports have it.
pub(super) fn store_error(store: &'static str, error: souk_embedded::Error) -> StoreError {
    let cause = Box::new(error.cause);
    match error.kind {
        ErrorKind::Unavailable => StoreError::Unavailable { store, cause },
        ErrorKind::OutcomeUnknown => StoreError::OutcomeUnknown { store, cause },
        ErrorKind::Refused => StoreError::Refused { store, cause },
    }
}

/// A database of the embedded store, with the errors of the ports. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    database: souk_embedded::Database,
    store: &'static str,
}

impl Database {
    /// Opens `name` of `directory`, which must be the directory that `writer` writes to. The writer creates the file and
    /// applies its migrations.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn open(writer: &Writer, directory: &Path, name: &'static str) -> Result<Self, StoreError> {
        Self::open_for(name, writer, directory, name).await
    }

    /// As [`Database::open`], of the database `name`, for a store that shares it with others.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn open_for(
        store: &'static str,
        writer: &Writer,
        directory: &Path,
        name: &'static str,
    ) -> Result<Self, StoreError> {
        match souk_embedded::Database::open(writer, directory, name).await {
            Ok(database) => Ok(Self { database, store }),
            Err(error) => Err(store_error(store, error)),
        }
    }

    fn named<T>(&self, result: Result<T, souk_embedded::Error>) -> Result<T, StoreError> {
        result.map_err(|error| store_error(self.name(), error))
    }
}

#[async_trait]
impl SqlDatabase for Database {
    const TECHNOLOGY: &'static str = "sqlite";

    fn name(&self) -> &'static str {
        self.store
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.named(self.database.ping().await)
    }

    async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        self.named(self.database.read(statement).await)
    }

    async fn transact(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        self.named(self.database.transact(statements).await)
    }

    /// SQLite runs one transaction after the other.
    async fn transact_alone(&self, _: &str, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        self.transact(statements).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every database belongs to some store, so that a backup of all embedded stores has them all.
    #[test]
    fn the_default_stores_are_in_all_databases() {
        let schemas: BTreeSet<&str> = SCHEMAS.iter().map(|schema| schema.name).collect();
        let databases = databases(&StoreUrls::default());
        assert_eq!(databases.into_iter().collect::<BTreeSet<_>>(), schemas);
    }
}
