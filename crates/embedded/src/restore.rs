//! Puts the copies of a backup into a data directory that has no databases.
//!
//! A directory with some of the databases only would look like a shop that lost the others. So a file in it says for as long as
//! the copying takes that the databases are not complete; no engine opens such a directory, and the next restore begins anew.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::{self, OpenError};
use crate::options;
use crate::schema::Schema;

/// The file that says that a restore has begun and not ended.
const INCOMPLETE_FILE: &str = "restore.incomplete";

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory is in use or can't be used.
    #[error(transparent)]
    Directory(#[from] OpenError),
    /// There is a database already.
    #[error("{} exists: a backup is restored where there is no database", file.display())]
    Exists {
        /// Its file.
        file: PathBuf,
    },
    /// A file can't be copied.
    #[error("{} can't be restored", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// Whether a restore into the directory was begun and did not end.
pub(crate) fn is_incomplete(directory: &Path) -> bool {
    directory.join(INCOMPLETE_FILE).exists()
}

/// Copies the files of `databases` from `backup` into `directory`, in which there must be none of `schemas` and no running
/// engine. `copied` is called with the bytes of each file. Blocks.
///
/// # Errors
/// [`RestoreError`]
pub fn restore(
    backup: &Path,
    directory: &Path,
    schemas: &[Schema],
    databases: &[&str],
    mut copied: impl FnMut(u64),
) -> Result<(), RestoreError> {
    let (directory, _lock) = engine::lock(directory)?;
    let begun = directory.join(INCOMPLETE_FILE);
    let own = |schema: &Schema| {
        let formers = schema.formers.iter().map(|former| former.schema.name);
        let names: Vec<_> = formers.chain([schema.name]).collect();
        names
    };
    let there = schemas.iter().flat_map(own);
    let there = there.flat_map(|name| options::files(&options::path(&directory, name)));
    let mut there = there.filter(|file| file.exists());
    if is_incomplete(&directory) {
        // Nobody has written to what an interrupted restore left.
        there.try_for_each(|file| step(&file, |file| fs::remove_file(file)))?;
    } else if let Some(file) = there.next() {
        return Err(RestoreError::Exists { file });
    }
    step(&begun, |begun| File::create(begun)?.sync_all())?;
    step(&directory, sync)?;
    for name in databases {
        let target = options::path(&directory, name);
        let size = step(&target, |target| {
            let size = fs::copy(options::path(backup, name), target)?;
            File::open(target)?.sync_all()?;
            Ok(size)
        })?;
        copied(size);
    }
    step(&directory, sync)?;
    step(&begun, |begun| fs::remove_file(begun))?;
    step(&directory, sync)
}

/// Brings the names of a directory's files to the disk.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn step<T>(file: &Path, operation: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, RestoreError> {
    operation(file).map_err(|cause| RestoreError::File {
        file: file.to_owned(),
        cause,
    })
}
