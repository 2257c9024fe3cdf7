//! The client of the one writer of a data directory, whether that lives in this process or in the store process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::engine::{Engine, private_directory};
use crate::error::Error;
use crate::frame::Ask;
use crate::link::Remote;
use crate::statement::{Rows, Statement, Transaction};

/// How long a request may take in all, connecting included. Longer than [`crate::engine::QUEUE_TIME_LIMIT`].
pub(crate) const REQUEST_TIME_LIMIT: Duration = Duration::from_secs(10);

/// How long connecting may take in all, the start of the store process included.
pub(crate) const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(8);

/// Longest path of a socket that every system takes, in bytes (Linux has room for 107, others for 103).
const SOCKET_PATH_LIMIT: usize = 100;

/// Starts a store process. Called whenever none listens, so that an unnecessary start must do no harm.
pub type Spawner = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// The one writer of a data directory. Cheap to clone.
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

    /// Writes through the store process of `directory`, which `spawner` starts when none listens. Returns once
    /// connected; a connection that is lost later is made again by the next request.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where no server could be reached within 8 s.
    pub async fn connect(directory: &Path, spawner: Spawner) -> Result<Self, Error> {
        let directory = private_directory(directory).map_err(Error::unavailable)?;
        let remote = Remote::new(socket_path(&directory), directory, spawner);
        remote.link().await?;
        Ok(Self {
            way: Way::Remote(Arc::new(remote)),
        })
    }

    /// Makes sure that a database's file exists and has the latest schema.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) for an unknown name,
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the file does not open.
    pub async fn open(&self, database: &'static str) -> Result<(), Error> {
        match &self.way {
            Way::InProcess(engine) => engine.open_database(database).await,
            Way::Remote(remote) => remote
                .request(Ask::Open(database.to_owned()))
                .await
                .map(|_| ())
                .map_err(Error::of_idempotent_request),
        }
    }

    /// Runs statements in one transaction and returns the rows of each once it is durable.
    ///
    /// # Errors
    /// [`Error`]. A request without a reply is [`ErrorKind::OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) and is
    /// never sent again.
    pub async fn transact(
        &self,
        database: &'static str,
        statements: Vec<Statement>,
    ) -> Result<Vec<Rows>, Error> {
        let transaction = Transaction::new(database, statements);
        match &self.way {
            Way::InProcess(engine) => timeout(REQUEST_TIME_LIMIT, engine.transact(transaction))
                .await
                .unwrap_or_else(|late| Err(Error::outcome_unknown(late))),
            Way::Remote(remote) => remote.request(Ask::Transact(transaction)).await,
        }
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
