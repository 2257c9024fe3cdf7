//! Writes all rows of a shop into files that are the same whatever the stores are on: one file of JSON lines per table.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::StoreError;
use super::migration::{OfflineError, offline};
use super::new_folder::NewFolder;
use super::open::transfer::is_movable;
use super::transfer;
use crate::config::Config;

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The folder is there already.
    #[error("{} exists: name a folder that does not", .0.display())]
    Exists(PathBuf),
    /// A store can't be exported yet.
    #[error("stores.{store} can't be exported from {technology} by this version")]
    NotExportable {
        /// Which.
        store: &'static str,
        /// Its technology.
        technology: &'static str,
    },
    /// A node runs, or it is not known that none does.
    #[error(transparent)]
    Offline(#[from] OfflineError),
    /// A store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file can't be written.
    #[error("{} can't be written", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// What was exported.
#[derive(Debug, PartialEq, Eq)]
pub struct Exported {
    /// Files.
    pub tables: usize,
    /// Lines of all files.
    pub rows: u64,
}

/// Exports every store of `config` into the new folder `target`, for this user alone, while no node runs: a file
/// `STORE.TABLE.jsonl` for each table. The folder has its name only when it is whole. `seen` is called with the rows of each
/// page.
///
/// # Errors
/// [`ExportError`]
pub async fn export(
    config: &Config,
    target: &Path,
    mut seen: impl FnMut(u64),
) -> Result<Exported, ExportError> {
    if target.exists() {
        return Err(ExportError::Exists(target.to_owned()));
    }
    for (store, url) in config.stores.all() {
        if !is_movable(url.scheme()) {
            return Err(ExportError::NotExportable {
                store,
                technology: url.scheme().name(),
            });
        }
    }
    offline::expect_stores(config)?;
    let folders = offline::hold(&[config]).await?;
    offline::check(&[config]).await?;
    let folder = step(target, NewFolder::create)?;
    let mut exported = Exported { tables: 0, rows: 0 };
    for (store, _) in config.stores.all() {
        for source in folders.places(config).transfers(store).await? {
            for table in source.tables() {
                let name = format!("{}.{}.jsonl", source.store(), table.name);
                let path = folder.path().join(name);
                let mut file = BufWriter::new(step(&path, |path| File::create_new(path))?);
                let write = |line: &[u8]| step(&path, |_| file.write_all(line));
                let digest = transfer::lines::<ExportError>(&*source, table, None, write, &mut seen).await?;
                step(&path, |_| {
                    file.flush()?;
                    file.get_ref().sync_all()
                })?;
                exported.tables += 1;
                exported.rows += digest.rows;
            }
        }
    }
    step(target, |_| folder.publish())?;
    Ok(exported)
}

fn step<T>(file: &Path, operation: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, ExportError> {
    operation(file).map_err(|cause| ExportError::File {
        file: file.to_owned(),
        cause,
    })
}
