//! The databases of a directory as they all were at one moment, for a backup while others write.
//!
//! The writers are held for as long as it takes to begin one reading transaction on each file. In write-ahead-log mode such a
//! transaction sees its moment until it ends, whatever is written meanwhile; the files are copied from there. Until then
//! the logs can't be emptied, and grow with what is written.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use tokio::task::spawn_blocking;

use crate::client::Writer;
use crate::error::Error;
use crate::limits::COPY_PAGES;
use crate::options;

/// Several databases at one moment.
pub struct Snapshot {
    /// Each in a reading transaction that began within the pause.
    connections: Vec<(&'static str, Connection)>,
    paused: Duration,
}

impl Snapshot {
    /// The moment at which this is called, or soon after: everything that was acknowledged before is in it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where the writers could not be held long enough, and as of
    /// [`Writer::open`].
    pub async fn take(writer: &Writer, directory: &Path, databases: &[&'static str]) -> Result<Self, Error> {
        // Before the pause: a migration may take longer than that lasts.
        for database in databases {
            writer.open(database).await?;
        }
        let pause = writer.pause(databases).await?;
        let begun = Instant::now();
        let (directory, databases) = (directory.to_owned(), databases.to_owned());
        let connections = spawn_blocking(move || {
            databases
                .iter()
                .map(|name| Ok((*name, begin(&directory, name)?)))
                .collect::<rusqlite::Result<Vec<_>>>()
        })
        .await
        .map_err(Error::unavailable)?
        .map_err(Error::unavailable)?;
        pause.end().await?;
        Ok(Self {
            connections,
            paused: begun.elapsed(),
        })
    }

    /// How long the writers were held, from when all of them were.
    pub fn paused(&self) -> Duration {
        self.paused
    }

    /// The databases, each with its size in bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where a file can't be read.
    pub fn sizes(&self) -> Result<Vec<(&'static str, u64)>, Error> {
        let pages = |connection: &Connection| {
            connection.pragma_query_value(None, "page_count", |row| row.get::<_, u32>(0))
        };
        self.connections
            .iter()
            .map(|(name, connection)| {
                let size = u64::from(pages(connection)?) * page_size(connection)?;
                Ok((*name, size))
            })
            .collect()
    }

    /// Copies each database into a file of its own in `target`, which must have none of these names, and sees to it that the
    /// copies are whole and on the disk. `copied` is called with the bytes of each step. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where a file can't be read or written;
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) where SQLite finds a database damaged.
    pub fn copy(self, target: &Path, mut copied: impl FnMut(u64)) -> Result<(), Error> {
        for (name, source) in self.connections {
            let copy = copy(&source, &options::path(target, name), &mut copied)?;
            check(name, &copy)?;
            copy.close().map_err(|(_, error)| Error::unavailable(error))?;
            let on_disk = || -> io::Result<()> { File::open(options::path(target, name))?.sync_all() };
            on_disk().map_err(Error::unavailable)?;
        }
        Ok(())
    }
}

/// A connection that goes on seeing the database as it is now. SQLite takes the moment with the first read.
fn begin(directory: &Path, name: &str) -> rusqlite::Result<Connection> {
    let connection = options::reader(directory, name)?;
    connection.execute_batch("BEGIN")?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// In bytes.
fn page_size(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))
        .map(u64::from)
}

fn copy(source: &Connection, file: &Path, copied: &mut impl FnMut(u64)) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut target = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // A copy that is interrupted is thrown away, and one that is whole is brought to the disk at the end.
    target.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    let page_size = page_size(source)?;
    let backup = Backup::new(source, &mut target)?;
    let mut pages_left = None;
    loop {
        let step = backup.step(COPY_PAGES)?;
        let progress = backup.progress();
        let before = pages_left
            .replace(progress.remaining)
            .unwrap_or(progress.pagecount);
        copied(u64::try_from(before - progress.remaining).unwrap_or_default() * page_size);
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            // Nobody else has the target, and the source is in its transaction already: not to be expected.
            _ => return Err(Error::unavailable("a database or its copy is locked")),
        }
    }
    drop(backup);
    Ok(target)
}

/// Has SQLite go through a copy once.
fn check(name: &str, copy: &Connection) -> Result<(), Error> {
    let found: String = copy
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(Error::unavailable)?;
    if found == "ok" {
        return Ok(());
    }
    Err(Error::refused(format!("the database {name} is damaged: {found}")))
}
