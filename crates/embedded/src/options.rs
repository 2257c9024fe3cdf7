//! How database files are opened, for the one writer and for the many readers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

/// How long a statement waits for a lock that another process holds: nobody else writes, but a file that was left by
/// a killed process is recovered under a lock.
const BUSY_TIME_LIMIT: Duration = Duration::from_secs(5);

/// Page cache of a writer, in KiB (negative is SQLite's notation for that unit).
const WRITER_CACHE: &str = "-32768";

/// Page cache of one reading connection, in KiB; the operating system caches the rest.
const READER_CACHE: &str = "-4096";

/// Pages in the log at which the writer moves them to the database: 16 MiB. SQLite's 1,000 would spend an fsync of
/// both files every 4 MiB.
const CHECKPOINT_PAGES: &str = "4000";

/// Size to which the log file is truncated after a checkpoint, in bytes.
const LOG_SIZE_LIMIT: &str = "67108864";

/// Where a writer keeps its statement journal: in memory, bounded by the batch. SQLite's default is a file, which it would
/// write with every batch and never read.
const STATEMENT_JOURNAL: &str = "memory";

/// Prepared statements per connection.
const STATEMENT_CACHE: usize = 128;

/// Rows that SQLite's thread may read ahead.
const ROW_BUFFER: usize = 1_024;

/// The file of a database.
pub(crate) fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.db"))
}

fn common(directory: &Path, name: &'static str) -> SqliteConnectOptions {
    // No memory mapping: a disk error in a mapped file is a signal that kills the process, not an error.
    SqliteConnectOptions::new()
        .filename(path(directory, name))
        .busy_timeout(BUSY_TIME_LIMIT)
        .statement_cache_capacity(STATEMENT_CACHE)
        .row_buffer_size(ROW_BUFFER)
        .disable_statement_logging()
}

/// The one connection that writes. `synchronous=FULL`: a commit returns after the fsync of the log.
pub(crate) fn writer(directory: &Path, name: &'static str) -> SqliteConnectOptions {
    common(directory, name)
        .create_if_missing(true)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", WRITER_CACHE)
        .pragma("temp_store", STATEMENT_JOURNAL)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", LOG_SIZE_LIMIT)
        .thread_name(move |_| format!("write-{name}"))
}

/// Connections that read. They are opened read-only, so that none of them ever runs a checkpoint: a process that is
/// stopped in the middle of one would hold the lock of everybody.
pub(crate) fn reader(directory: &Path, name: &'static str) -> SqliteConnectOptions {
    common(directory, name)
        .read_only(true)
        .pragma("query_only", "on")
        .pragma("cache_size", READER_CACHE)
        .thread_name(move |number| format!("read-{name}-{number}"))
}
