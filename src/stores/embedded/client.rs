//! The way to the one writer of a data directory, whether it lives here or in the store process.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::engine::{Engine, private_directory};
use super::failure::{Failure, FailureKind};
use super::frame::Ask;
use super::link::Remote;
use super::schema::schema;
use super::statement::{Rows, Transaction};
use crate::stores::StoreError;

/// How long a request may take in all, connecting included. Longer than [`super::engine::QUEUE_TIME_LIMIT`].
pub const REQUEST_TIME_LIMIT: Duration = Duration::from_secs(10);

/// How long connecting may take in all, the start of the store process included.
pub const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(8);

/// Longest path of a socket that every system takes, in bytes (Linux has room for 107, others for 103).
const SOCKET_PATH_LIMIT: usize = 100;

/// Starts a store process. Called whenever nobody listens, so that a start too many must do no harm.
pub type Spawner = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// The way to the one writer of a data directory. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    way: Way,
}

#[derive(Clone)]
enum Way {
    InProcess(Engine),
    Remote(Arc<Remote>),
}

impl Writer {
    /// Writes through an engine of this very process: for tests, benches and tools that work alone.
    pub fn in_process(engine: Engine) -> Self {
        Self {
            way: Way::InProcess(engine),
        }
    }

    /// Writes through the store process of `directory`, which `spawner` starts when nobody listens. Returns when the
    /// connection stands; later losses are repaired on the next request.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no server could be reached within [`CONNECT_TIME_LIMIT`].
    pub async fn connect(directory: &Path, spawner: Spawner) -> Result<Self, StoreError> {
        let named = |failure: Failure| failure.into_store_error("embedded");
        let directory = private_directory(directory)
            .map_err(Failure::unavailable)
            .map_err(named)?;
        let remote = Remote::new(socket_path(&directory), directory, spawner);
        remote.link().await.map_err(named)?;
        Ok(Self {
            way: Way::Remote(Arc::new(remote)),
        })
    }

    /// Makes sure that a database's file exists and has the latest schema.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for an unknown name, [`StoreError::Unavailable`] where the file does not open.
    pub async fn open(&self, database: &'static str) -> Result<(), StoreError> {
        match &self.way {
            Way::InProcess(engine) => engine.open_database(database).await,
            Way::Remote(remote) => remote
                .request(Ask::Open(database.to_owned()))
                .await
                .map(|_| ())
                .map_err(|failure| Failure {
                    // Opening twice does no harm: there is no outcome to be unsure of.
                    kind: match failure.kind {
                        FailureKind::OutcomeUnknown => FailureKind::Unavailable,
                        kind => kind,
                    },
                    ..failure
                }),
        }
        .map_err(|failure| failure.into_store_error(database))
    }

    /// Runs a transaction: all rows of each statement, when it is durable.
    ///
    /// # Errors
    /// [`StoreError`]. A request that got no answer is [`StoreError::OutcomeUnknown`] and is never sent again.
    pub async fn transact(&self, transaction: Transaction) -> Result<Vec<Rows>, StoreError> {
        let store = schema(&transaction.database).map_or("embedded", |schema| schema.name);
        match &self.way {
            Way::InProcess(engine) => timeout(REQUEST_TIME_LIMIT, engine.transact(transaction))
                .await
                .unwrap_or_else(|late| Err(Failure::new(FailureKind::OutcomeUnknown, late))),
            Way::Remote(remote) => remote.request(Ask::Transact(transaction)).await,
        }
        .map_err(|failure| failure.into_store_error(store))
    }
}

/// Where the store process of a directory listens: in the directory itself, which is private; or, where that path is
/// too long for a socket, in the folder for temporary files under a name that is derived from the directory.
pub fn socket_path(directory: &Path) -> PathBuf {
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let within = directory.join("store.sock");
    if within.as_os_str().len() <= SOCKET_PATH_LIMIT {
        return within;
    }
    let digest = Sha256::digest(directory.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    std::env::temp_dir().join(format!("souk-{name}.sock"))
}

/// Starts `souk store --data DIRECTORY` from this very binary, in a process group of its own, so that Ctrl-C in a
/// terminal reaches the nodes and not the store that they still need. Must be called within a Tokio runtime, which
/// reaps the process when it ends.
pub fn store_process(directory: &Path) -> Spawner {
    let directory = directory.to_owned();
    Arc::new(move || {
        let own = std::env::current_exe()?;
        // Where the file was replaced by a new version since this process began, its name leads nowhere, or to another one.
        let image = if cfg!(target_os = "linux") {
            Path::new("/proc/self/exe")
        } else {
            &own
        };
        let child = tokio::process::Command::new(image)
            .arg0(&own)
            .arg("store")
            .arg("--data")
            .arg(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .process_group(0)
            .kill_on_drop(false)
            .spawn()?;
        // Not waited for: Tokio reaps a dropped child that has ended.
        drop(child);
        Ok(())
    })
}
