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

/// The stores of rows, each with the consumers of its events.
pub const ROWS: [(&str, &[&str]); 5] = [
    ("carts", &[]),
    ("orders", ORDER_CONSUMERS),
    ("inventory", INVENTORY_CONSUMERS),
    ("payments", &[]),
    ("sandbox", &[]),
];

/// The databases of the embedded store.
pub static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    vec![
        documents::sqlite::schema(&ROWS.map(|(name, _)| name)),
        schema("catalogue", products::sqlite::MIGRATIONS),
        schema("idempotency", idempotency::sqlite::MIGRATIONS),
        schema("sessions", sessions::sqlite::MIGRATIONS),
        schema("users", users::sqlite::MIGRATIONS),
        schema("views", views::sqlite::MIGRATIONS),
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
fn store_error(store: &'static str, error: souk_embedded::Error) -> StoreError {
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
