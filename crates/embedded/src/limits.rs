//! Limits of the engine, its server and its clients.

use std::ffi::c_int;
use std::time::Duration;

/// Transactions that may wait for one database; more are refused as unavailable.
pub(crate) const QUEUE_LIMIT: usize = 4_096;

/// Bytes of transactions that may wait in an engine; more are refused as unavailable.
pub(crate) const QUEUE_BYTES_LIMIT: usize = 128 * 1024 * 1024;

/// How long a transaction may wait before it runs. Shorter than [`REQUEST_TIME_LIMIT`], so that a transaction is not run
/// long after its client has given up.
pub(crate) const QUEUE_TIME_LIMIT: Duration = Duration::from_secs(5);

/// How long the opening of a database may take, its migrations included.
pub(crate) const OPEN_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Most transactions that share a commit.
pub(crate) const BATCH_TRANSACTIONS: usize = 128;

/// How long nothing is written before the log of a database is emptied.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(1);

/// Size of a log from which on it is emptied then, in bytes: a few rows are not worth the fsyncs.
pub(crate) const IDLE_LOG_BYTES: u64 = 1024 * 1024;

/// Bytes of transactions at which a commit takes no further one: bounds how long the first one waits.
pub(crate) const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Most bytes that one transaction may return. Checked before the commit, so that every committed transaction can be
/// answered.
pub(crate) const RESULT_LIMIT: usize = 4 * 1024 * 1024;

/// How long a pause of the writers may last before they go on by themselves. Shorter than the interval at which nodes write
/// that they live, so that none is taken for dead.
pub(crate) const PAUSE_TIME_LIMIT: Duration = Duration::from_millis(500);

/// How long a backup waits until another one has taken its moment.
pub(crate) const PAUSE_WAIT: Duration = Duration::from_secs(5);

/// Pages that are copied from a snapshot at a time, between two reports of the progress.
pub(crate) const COPY_PAGES: c_int = 1_024;

/// Reads of one database that run at once, per process; each has a connection, and a thread while it runs.
pub(crate) const READERS: usize = 4;

/// How long a read may take, waiting for a connection included.
pub(crate) const READ_TIME_LIMIT: Duration = Duration::from_secs(5);

/// How long a write request may take in all, connecting included.
pub(crate) const REQUEST_TIME_LIMIT: Duration = Duration::from_secs(10);

/// Write requests without a reply, per client; more are refused as unavailable.
pub(crate) const PENDING_LIMIT: usize = 8_192;

/// Requests of a client, and replies to a client, that may wait to be written to the socket. A server reads no further
/// request of a client with this many in flight.
pub(crate) const IN_FLIGHT_LIMIT: usize = 256;

/// Frames are collected up to this many bytes before they are written to the socket.
pub(crate) const WRITE_BYTES: usize = 64 * 1024;

/// How long connecting may take in all, the start of the store process included.
pub(crate) const CONNECT_TIME_LIMIT: Duration = Duration::from_secs(8);

/// How long a server may take to answer the greeting.
pub(crate) const GREETING_TIME_LIMIT: Duration = Duration::from_secs(2);

/// How long a started store process has to listen before another one is started.
pub(crate) const START_TIME_LIMIT: Duration = Duration::from_secs(1);

/// First pause between two attempts to connect.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Longest pause between two attempts to connect.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Clients of a server at a time; more are turned away.
pub(crate) const CLIENT_LIMIT: usize = 64;

/// How long a closing server waits for its clients to read their last replies.
pub(crate) const CLOSE_TIME_LIMIT: Duration = Duration::from_secs(2);

/// The pause after a failed accept, as when file descriptors run out.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Longest path of a socket that every system accepts, in bytes (107 on Linux, 103 elsewhere).
pub(crate) const SOCKET_PATH_LIMIT: usize = 100;

/// Time limits of a server, which differ by how it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerLimits {
    /// How long it waits for its first client.
    pub first_client: Duration,
    /// How long it stays after its last client has disconnected.
    pub idle: Duration,
    /// How long a client may read nothing of a waiting reply before it is disconnected.
    pub write: Duration,
}

impl ServerLimits {
    /// A server that runs until shutdown.
    pub(crate) fn until_stopped() -> Self {
        Self {
            first_client: Duration::MAX,
            idle: Duration::MAX,
            ..Self::default()
        }
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            first_client: Duration::from_secs(10),
            idle: Duration::from_secs(2),
            write: Duration::from_secs(5),
        }
    }
}
