//! How database files are opened, for the one writer and for the many readers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Result};

/// How long a statement waits for a lock that another process holds: nobody else writes, but a file that was left by
/// a killed process is recovered under a lock.
const BUSY_TIME_LIMIT: Duration = Duration::from_secs(5);

/// Page cache of a writer, in KiB (negative is SQLite's notation for that unit).
const WRITER_CACHE: i32 = -32_768;

/// Page cache of one reading connection, in KiB; the operating system caches the rest.
const READER_CACHE: i32 = -4_096;

/// Pages in the log at which the writer moves them to the database: 16 MiB. SQLite's 1,000 would spend an fsync of
/// both files every 4 MiB.
const CHECKPOINT_PAGES: u32 = 4_000;

/// Size to which the log file is truncated after a checkpoint, in bytes.
const LOG_SIZE_LIMIT: u32 = 64 * 1024 * 1024;

/// Where a writer keeps its statement journal: in memory, bounded by the batch. SQLite's default is a file, which it would
/// write with every batch and never read.
const STATEMENT_JOURNAL: &str = "memory";

/// Prepared statements per connection.
const STATEMENT_CACHE: usize = 128;

/// The file of a database.
pub(crate) fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.db"))
}

/// A database's log and index of the log, and last the file itself.
pub(crate) fn files(path: &Path) -> [PathBuf; 3] {
    ["db-wal", "db-shm", "db"].map(|extension| path.with_extension(extension))
}

fn open(directory: &Path, name: &str, access: OpenFlags) -> Result<Connection> {
    // No memory mapping: a disk error in a mapped file is a signal that kills the process, not an error. No mutex: a
    // connection is used by one thread at a time.
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path(directory, name), flags)?;
    connection.busy_timeout(BUSY_TIME_LIMIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(connection)
}

/// The one connection that writes. `synchronous=FULL`: a commit returns after the fsync of the log. `secure_delete`: what is
/// deleted or replaced is overwritten with zeros, so that what was erased does not stay on free pages.
pub(crate) fn writer(directory: &Path, name: &str) -> Result<Connection> {
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = open(directory, name, access)?;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;
         PRAGMA cache_size = {WRITER_CACHE};
         PRAGMA temp_store = {STATEMENT_JOURNAL};
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA journal_size_limit = {LOG_SIZE_LIMIT};"
    ))?;
    Ok(connection)
}

/// Moves the log into the database and cuts it off; where a reader still needs it, moves what it can, and waits for nobody.
pub(crate) fn empty_log(writer: &Connection) -> Result<()> {
    writer.busy_timeout(Duration::ZERO)?;
    let emptied = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    writer.busy_timeout(BUSY_TIME_LIMIT)?;
    emptied
}

/// A connection that reads. It is opened read-only, so that it never runs a checkpoint: a process that is stopped in the
/// middle of one would hold the lock of everybody.
pub(crate) fn reader(directory: &Path, name: &str) -> Result<Connection> {
    let connection = open(directory, name, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.execute_batch(&format!(
        "PRAGMA query_only = ON;
         PRAGMA cache_size = {READER_CACHE};"
    ))?;
    Ok(connection)
}
