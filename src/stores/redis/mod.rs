//! Redis as the technology of sessions, counters, one-time codes and kept replies: connections to one server, its errors as
//! [`StoreError`], and what it must be set to.
//!
//! Every operation is one Lua script or command, which the server runs alone, and takes one round trip. Scripts name all of their
//! keys, so that what is found by something else than its key lies in a hash (a table: row by primary key) with sorted sets
//! beside it (its indexes). What is found by its key alone has a key of its own, which the server removes when it expires.

mod address;
mod lane;
#[cfg(test)]
mod outage_tests;
mod settings;
#[cfg(test)]
pub(crate) mod testing;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, RedisError, ScriptInvocation, TlsCertificates,
    Value,
};
use souk_cluster::certificates;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use self::address::Address;
use self::lane::Lane;
use super::StoreError;

/// Connections to the server. It executes what arrives on several of them before one flush of its log to disk.
const CONNECTIONS: usize = 4;
/// Commands in flight over all connections; others wait.
const IN_FLIGHT_LIMIT: usize = 1_024;
/// Longest wait for the first connection.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// Longest wait of a call for its turn and for a connection, before anything is sent; calls don't wait at all while the server has been
/// away for longer.
const WAIT_LIMIT: Duration = Duration::from_secs(1);
/// Longest wait for a reply.
const RESPONSE_LIMIT: Duration = Duration::from_secs(5);
/// The server keeps what expires for this long after its time, or after it was written, whichever is later: the clocks of the nodes
/// decide, and the server's may be ahead of them.
pub(super) const EXPIRY_SLACK: Duration = Duration::from_secs(3_600);

/// Error codes of the server for commands of which nothing was executed, and that may succeed later.
const TRANSIENT_CODES: [&str; 10] = [
    "OOM",
    "READONLY",
    "LOADING",
    "MASTERDOWN",
    "BUSY",
    "MISCONF",
    "NOREPLICAS",
    "NOSCRIPT",
    "TRYAGAIN",
    "CLUSTERDOWN",
];

/// A script made of a header and files: `script!(header; "file.lua", …)`, or of files alone.
macro_rules! script {
    ($header:expr; $($file:literal),+) => {
        std::sync::LazyLock::new(|| ::redis::Script::new(&(String::from($header) + concat!($(include_str!($file)),+))))
    };
    ($($file:literal),+) => { script!(""; $($file),+) };
}
pub(super) use script;

/// A Lua function `keep(key, at)`, by which the server removes a key some time after `at`.
pub(super) fn keep_function() -> String {
    format!(
        "local SLACK = {}\n{}",
        EXPIRY_SLACK.as_millis(),
        include_str!("keep.lua")
    )
}

/// What a lost reply leaves behind.
#[derive(Clone, Copy)]
enum Effect {
    Read,
    Write,
}

/// What is sent.
pub enum Request<'a> {
    /// A script; it is loaded where the server does not know it.
    Script(&'a ScriptInvocation<'a>),
    /// A command.
    Command(&'a Cmd),
}

impl<'a> From<&'a ScriptInvocation<'a>> for Request<'a> {
    fn from(script: &'a ScriptInvocation<'a>) -> Self {
        Self::Script(script)
    }
}

impl<'a> From<&'a Cmd> for Request<'a> {
    fn from(command: &'a Cmd) -> Self {
        Self::Command(command)
    }
}

/// A server, as one of the stores sees it. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    store: &'static str,
}

struct Shared {
    lanes: Vec<Lane>,
    /// The lane of the next call.
    next: AtomicUsize,
    permits: Semaphore,
    prefix: String,
}

/// Trusts the authorities of the file; the system's where there is none.
fn client(
    server: ConnectionInfo,
    authorities: Option<&Path>,
) -> Result<Client, Box<dyn Error + Send + Sync>> {
    let Some(authorities) = authorities else {
        return Ok(Client::open(server)?);
    };
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(certificates::authorities(authorities)?.into_bytes()),
    };
    Ok(Client::build_with_tls(server, certificates)?)
}

impl Server {
    /// Connects to the server of a URL, `redis://` or `rediss://`, and warns of settings by which it may lose what it acknowledged.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the URL is wrong or the server refuses us, [`StoreError::Unavailable`] where it does not
    /// answer.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let store = "sessions";
        let refused = |cause: Box<dyn Error + Send + Sync>| StoreError::Refused { store, cause };
        let address = Address::parse(url).map_err(|error| refused(error.into()))?;
        let client = client(address.server, address.authorities.as_deref()).map_err(refused)?;
        let server = Self {
            shared: Arc::new(Shared {
                lanes: (0..CONNECTIONS).map(|_| Lane::start(client.clone())).collect(),
                next: AtomicUsize::new(0),
                permits: Semaphore::new(IN_FLIGHT_LIMIT),
                prefix: address.prefix,
            }),
            store,
        };
        let opened = server.shared.lanes[0].opened(Instant::now() + OPEN_LIMIT).await;
        opened.map_err(|error| {
            if error.is_refusal() {
                refused(error.into())
            } else {
                server.unavailable(error)
            }
        })?;
        settings::check(&server).await?;
        Ok(server)
    }

    /// The same server for another store, which its errors name.
    #[must_use]
    pub fn for_store(&self, store: &'static str) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            store,
        }
    }

    /// The store's name.
    pub fn store(&self) -> &'static str {
        self.store
    }

    /// A key of ours.
    pub fn key(&self, name: &str) -> Vec<u8> {
        self.key_of(name, &[])
    }

    /// The key of something of this kind.
    pub fn key_of(&self, kind: &str, id: &[u8]) -> Vec<u8> {
        [self.shared.prefix.as_bytes(), kind.as_bytes(), id].concat()
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(&redis::cmd("PING")).await
    }

    /// Sends what changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without a reply, [`StoreError::Refused`], or [`StoreError::Corrupt`] where the reply is no `T`.
    pub async fn read<T: FromRedisValue>(
        &self,
        request: impl Into<Request<'_>> + Send,
    ) -> Result<T, StoreError> {
        let reply = self.send(Effect::Read, request.into()).await?;
        self.decode(reply)
    }

    /// Sends what changes something, once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where it was not sent or not executed, [`StoreError::OutcomeUnknown`] without a reply, and as of
    /// [`Server::read`].
    pub async fn write<T: FromRedisValue>(
        &self,
        request: impl Into<Request<'_>> + Send,
    ) -> Result<T, StoreError> {
        let reply = self.send(Effect::Write, request.into()).await?;
        self.decode(reply)
    }

    fn decode<T: FromRedisValue>(&self, reply: Value) -> Result<T, StoreError> {
        redis::from_redis_value(reply).map_err(|error| self.corrupt(error.to_string()))
    }

    async fn send(&self, effect: Effect, request: Request<'_>) -> Result<Value, StoreError> {
        let deadline = Instant::now() + WAIT_LIMIT;
        let Ok(Ok(_permit)) = timeout_at(deadline, self.shared.permits.acquire()).await else {
            return Err(self.unavailable("too many commands are in flight"));
        };
        let lane = self.lane();
        let mut up = lane
            .up(WAIT_LIMIT, deadline)
            .await
            .map_err(|error| self.unavailable(error))?;
        let connection = &mut up.connection;
        let reply = async {
            match request {
                Request::Script(script) => script.invoke_async(connection).await,
                Request::Command(command) => command.query_async(connection).await,
            }
        };
        match timeout_at(Instant::now() + RESPONSE_LIMIT, reply).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => {
                if is_lost(&error) {
                    lane.lose(&up);
                }
                Err(self.failed(effect, error))
            }
            // A reply that comes too late would be taken for that of the next command by nobody: the connection is given up.
            Err(elapsed) => {
                lane.lose(&up);
                Err(self.unanswered(effect, elapsed))
            }
        }
    }

    /// The next lane in turn that is connected; the next one where none is.
    fn lane(&self) -> &Lane {
        let lanes = &self.shared.lanes;
        let first = self.shared.next.fetch_add(1, Ordering::Relaxed) % lanes.len();
        let (later, earlier) = (&lanes[first..], &lanes[..first]);
        let connected = later.iter().chain(earlier).find(|lane| lane.is_up());
        connected.unwrap_or(&lanes[first])
    }

    fn failed(&self, effect: Effect, error: RedisError) -> StoreError {
        if is_lost(&error) {
            return self.unanswered(effect, error);
        }
        match error.code() {
            Some(code) if TRANSIENT_CODES.contains(&code) => self.unavailable(error),
            _ => self.refused(error),
        }
    }

    fn unanswered(&self, effect: Effect, cause: impl Error + Send + Sync + 'static) -> StoreError {
        let (store, cause) = (self.store, Box::new(cause));
        match effect {
            Effect::Read => StoreError::Unavailable { store, cause },
            Effect::Write => StoreError::OutcomeUnknown { store, cause },
        }
    }

    fn unavailable(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        StoreError::Unavailable {
            store: self.store,
            cause: cause.into(),
        }
    }

    /// The refusal of a call.
    pub fn refused(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        StoreError::Refused {
            store: self.store,
            cause: cause.into(),
        }
    }

    /// An error for a value that does not decode.
    pub fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            store: self.store,
            what: what.into(),
        }
    }
}

/// Whether there will be no more replies on the connection.
fn is_lost(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse)
}

/// Rows of one sweep's script: the server does nothing else while it runs.
const SWEEP_ROWS: usize = 500;

/// Removes at most `limit` rows in parts of at most [`SWEEP_ROWS`], by `part`, which takes a number of rows and returns how many it
/// removed.
pub(super) async fn in_parts<F>(limit: usize, part: impl Fn(usize) -> F) -> Result<u64, StoreError>
where
    F: Future<Output = Result<u64, StoreError>>,
{
    let mut removed = 0;
    loop {
        let rows = limit.saturating_sub(removed).min(SWEEP_ROWS);
        let done = part(rows).await?;
        removed += usize::try_from(done).unwrap_or(usize::MAX);
        if removed >= limit || done < rows as u64 {
            return Ok(removed as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::make_extension_error;

    use super::*;

    #[tokio::test]
    async fn errors_of_the_server_say_whether_something_was_written() {
        let server = Server {
            shared: Arc::new(Shared {
                lanes: Vec::new(),
                next: AtomicUsize::new(0),
                permits: Semaphore::new(1),
                prefix: String::new(),
            }),
            store: "sessions",
        };
        for code in TRANSIENT_CODES {
            let error = make_extension_error(code.to_owned(), None);
            let error = server.failed(Effect::Write, error);
            assert!(matches!(error, StoreError::Unavailable { .. }), "{code}");
        }
        for code in ["WRONGTYPE", "ERR", "NOPERM"] {
            let error = server.failed(Effect::Write, make_extension_error(code.to_owned(), None));
            assert!(matches!(error, StoreError::Refused { .. }), "{code}");
        }
        let reset = || RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        let read = server.failed(Effect::Read, reset());
        assert!(matches!(read, StoreError::Unavailable { .. }));
        let write = server.failed(Effect::Write, reset());
        assert!(matches!(write, StoreError::OutcomeUnknown { .. }));
    }
}
