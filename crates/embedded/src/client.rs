//! The client of the one writer of a data directory, whether that runs in this process or in the store process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::engine::{Engine, private_directory};
use crate::error::Error;
use crate::limits::{REQUEST_TIME_LIMIT, SOCKET_PATH_LIMIT};
use crate::pause;
use crate::protocol::Command;
use crate::remote::RemoteEngine;
use crate::statement::{Rows, Statement, Transaction};

/// Starts a store process. Called whenever none listens, so that an unnecessary start must do no harm.
pub type Spawner = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// The one writer of a data directory. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    engine: Location,
}

#[derive(Clone)]
enum Location {
    InProcess(Engine),
    StoreProcess(Arc<RemoteEngine>),
}

impl Writer {
    /// Writes through an engine of this process: for tests, benches and tools that work alone.
    pub fn in_process(engine: Engine) -> Self {
        Self {
            engine: Location::InProcess(engine),
        }
    }

    /// Writes through the store process of `directory`, which `spawner` starts when none listens. Returns once
    /// connected; a connection that is lost later is made again by the next request.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where no server could be reached within 8 s.
    pub async fn connect(directory: &Path, spawner: Spawner) -> Result<Self, Error> {
        let directory = private_directory(directory).map_err(Error::unavailable)?;
        let remote = RemoteEngine::connect(directory, spawner).await?;
        Ok(Self {
            engine: Location::StoreProcess(Arc::new(remote)),
        })
    }

    /// Makes sure that a database's file exists and has the latest schema.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) for an unknown name,
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the file does not open.
    pub async fn open(&self, database: &'static str) -> Result<(), Error> {
        match &self.engine {
            Location::InProcess(engine) => engine.open_database(database).await,
            Location::StoreProcess(remote) => remote
                .request(Command::Open(database.to_owned()))
                .await
                .map(|_| ())
                .map_err(Error::of_idempotent_request),
        }
    }

    /// Holds the writers of `databases` between two commits; see [`Engine::pause`].
    ///
    /// # Errors
    /// As of [`Engine::pause`].
    pub(crate) async fn pause(&self, databases: &[&'static str]) -> Result<Pause<'_>, Error> {
        let databases: Vec<String> = databases.iter().map(|name| (*name).to_owned()).collect();
        let location = match &self.engine {
            Location::InProcess(engine) => PausedAt::InProcess(engine.pause(&databases).await?),
            Location::StoreProcess(remote) => {
                let paused = remote.request(Command::Pause(databases)).await;
                paused.map_err(Error::of_idempotent_request)?;
                PausedAt::StoreProcess(remote)
            }
        };
        Ok(Pause { location })
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
        match &self.engine {
            Location::InProcess(engine) => timeout(REQUEST_TIME_LIMIT, engine.transact(transaction))
                .await
                .unwrap_or_else(|late| Err(Error::outcome_unknown(late))),
            Location::StoreProcess(remote) => remote.request(Command::Transact(transaction)).await,
        }
    }
}

/// The writers of several databases, held. Where it is dropped instead of ended, they go on after their limit, or with the
/// end of this process.
pub(crate) struct Pause<'a> {
    location: PausedAt<'a>,
}

enum PausedAt<'a> {
    InProcess(pause::Pause),
    StoreProcess(&'a RemoteEngine),
}

impl Pause<'_> {
    /// Lets the writers go on.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where they may have gone on before.
    pub(crate) async fn end(self) -> Result<(), Error> {
        match self.location {
            PausedAt::InProcess(pause) => pause.end(),
            PausedAt::StoreProcess(remote) => match remote.request(Command::Resume).await {
                Ok(_) => Ok(()),
                // Of a new connection, which has no pause: the one before was lost.
                Err(error) => Err(Error::unavailable(error)),
            },
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
    std::env::temp_dir().join(format!("souk-{}.sock", hex::encode(&digest[..8])))
}
