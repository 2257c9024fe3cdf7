//! SQLite as the technology of every port by default: its databases, its errors as [`StoreError`], and how rows are
//! taken apart.

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, LazyLock};

use serde::Serialize;
use souk_domain::Timestamp;
use souk_embedded::{Engine, ErrorKind, OpenError, Row, Rows, Schema, Spawner, Statement, Value, Writer};

use super::documents::outbox::{INVENTORY_CONSUMERS, ORDER_CONSUMERS};
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

    /// The store's name.
    pub fn name(&self) -> &'static str {
        self.store
    }

    fn named<T>(&self, result: Result<T, souk_embedded::Error>) -> Result<T, StoreError> {
        result.map_err(|error| store_error(self.name(), error))
    }

    /// Whether the writer responds and the file can be read.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.named(self.database.ping().await)
    }

    /// Reads from the file, everything that was acknowledged before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], or [`StoreError::Refused`] for an invalid statement.
    pub async fn read(&self, statement: Statement) -> Result<Rows, StoreError> {
        self.named(self.database.read(statement).await)
    }

    /// Runs statements in one transaction and returns the rows of each once it is durable.
    ///
    /// # Errors
    /// [`StoreError`]. A request without a reply is [`StoreError::OutcomeUnknown`].
    pub async fn transact(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, StoreError> {
        self.named(self.database.transact(statements).await)
    }

    /// As [`Database::transact`], with one statement.
    ///
    /// # Errors
    /// As of [`Database::transact`].
    pub async fn transact_one(&self, statement: Statement) -> Result<Rows, StoreError> {
        let mut results = self.transact(vec![statement]).await?;
        Ok(results.pop().unwrap_or_default())
    }

    /// As [`Database::transact_one`], and counts the rows that it returns.
    ///
    /// # Errors
    /// As of [`Database::transact`].
    pub async fn count(&self, statement: Statement) -> Result<u64, StoreError> {
        Ok(self.transact_one(statement).await?.len() as u64)
    }

    /// Removes what ended before `until`, at most `limit` rows, by a statement that takes these two; how many.
    ///
    /// # Errors
    /// As of [`Database::transact`].
    pub async fn sweep(&self, sql: &'static str, until: Timestamp, limit: usize) -> Result<u64, StoreError> {
        self.count(Statement::new(sql).bind(until.as_millis()).bind(limit))
            .await
    }

    /// Decodes each row by `decode`.
    ///
    /// # Errors
    /// Those of `decode`.
    pub fn decode<T>(
        &self,
        rows: Rows,
        decode: impl Fn(&mut Columns) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        rows.into_iter()
            .map(|row| decode(&mut Columns::new(self.name(), row)))
            .collect()
    }

    /// `value` as a JSON parameter.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where it can't be encoded.
    pub fn json(&self, value: &(impl Serialize + ?Sized)) -> Result<String, StoreError> {
        serde_json::to_string(value).map_err(|error| self.refused(error))
    }

    /// The refusal of a call.
    pub fn refused(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        StoreError::Refused {
            store: self.name(),
            cause: cause.into(),
        }
    }

    /// An error for a row that does not decode.
    pub fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            store: self.name(),
            what: what.into(),
        }
    }
}

/// Whether the statement at `index` of a transaction returned a row.
pub fn has_row(results: &[Rows], index: usize) -> bool {
    results.get(index).is_some_and(|rows| !rows.is_empty())
}

/// Takes the columns of a row one after the other; another type is [`StoreError::Corrupt`].
pub struct Columns {
    store: &'static str,
    values: std::vec::IntoIter<Value>,
}

impl Columns {
    /// The columns of `row`, read from `store`.
    pub fn new(store: &'static str, row: Row) -> Self {
        Self {
            store,
            values: row.into_iter(),
        }
    }

    fn corrupt(&self, column: &str, wanted: &str) -> StoreError {
        StoreError::Corrupt {
            store: self.store,
            what: format!("column {column} holds no {wanted}"),
        }
    }

    /// The next column, a text.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]
    pub fn text(&mut self, column: &str) -> Result<String, StoreError> {
        match self.values.next() {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(self.corrupt(column, "text")),
        }
    }

    /// The next column, a text or nothing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]
    pub fn optional_text(&mut self, column: &str) -> Result<Option<String>, StoreError> {
        match self.values.next() {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.corrupt(column, "text")),
        }
    }

    /// The next column, an integer that fits `T`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]
    pub fn integer<T: TryFrom<i64>>(&mut self, column: &str) -> Result<T, StoreError> {
        match self.values.next() {
            Some(Value::Integer(integer)) => {
                T::try_from(integer).map_err(|_| self.corrupt(column, "integer of the right size"))
            }
            _ => Err(self.corrupt(column, "integer")),
        }
    }

    /// The next column, an integer or nothing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]
    pub fn optional_integer(&mut self, column: &str) -> Result<Option<i64>, StoreError> {
        match self.values.next() {
            Some(Value::Integer(integer)) => Ok(Some(integer)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.corrupt(column, "integer")),
        }
    }

    /// The next column, bytes or nothing.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]
    pub fn optional_blob(&mut self, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.values.next() {
            Some(Value::Blob(bytes)) => Ok(Some(bytes)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.corrupt(column, "blob")),
        }
    }
}
