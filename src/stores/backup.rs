//! Backups of the embedded stores, made while they run, and their restore.
//!
//! A backup is a folder with a copy of each embedded database, all of one moment, and a description ([`MANIFEST`]) with their
//! sizes and hashes. Stores on servers are not in it: their servers have means of their own.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use souk_embedded::{RestoreError, Snapshot};
use souk_retry::{RetryPolicy, retry};

use super::StoreError;
use super::new_folder::NewFolder;
use super::sqlite::{self, SCHEMAS, SESSIONS, store_error};
use crate::config::StoreUrls;
use crate::digest::sha256_of_file;

/// The file that describes a backup.
pub const MANIFEST: &str = "backup.json";

/// The version of what [`MANIFEST`] says.
const FORMAT: u32 = 1;

/// A machine may be too busy to read the first page of each database within one pause of the writers.
const MOMENT: RetryPolicy = RetryPolicy {
    attempts: 5,
    first_pause: Duration::from_millis(200),
    longest_pause: Duration::from_secs(2),
};

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Every store is on a server.
    #[error("no store is embedded: back up the servers that [stores] names by their own means")]
    NothingEmbedded,
    /// The folder for the backup is there already.
    #[error("{} exists: name a folder that does not", .0.display())]
    Exists(PathBuf),
    /// The databases can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file can't be read or written.
    #[error("{} can't be used", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The description is not one of a backup that this version knows.
    #[error("{} does not describe a backup that this version can restore", file.display())]
    Manifest {
        /// Its file.
        file: PathBuf,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file is not as it was written.
    #[error("{} is not as it was when the backup was made", .0.display())]
    Changed(PathBuf),
    /// The backup has other databases than the configuration.
    #[error(
        "the backup has the databases {}, and the stores of the configuration are in {}: restore it with the [stores] it was made with",
        backup.join(", "), configuration.join(", ")
    )]
    OtherDatabases {
        /// Those of the backup.
        backup: Vec<String>,
        /// Those of the configuration.
        configuration: Vec<&'static str>,
    },
    /// The copies can't be put in their place.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The version of the program that made it.
    pub program: String,
    /// When, by the clock of that machine.
    pub taken_at: Timestamp,
    /// The databases.
    pub databases: Vec<Copy>,
}

impl Manifest {
    /// The size of all databases, in bytes.
    pub fn bytes(&self) -> u64 {
        self.databases.iter().map(|copy| copy.bytes).sum()
    }
}

/// One database of a backup.
#[derive(Debug, Serialize, Deserialize)]
pub struct Copy {
    /// Its name; the file is `NAME.db`.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// A moment of the embedded stores that is still to be copied.
pub struct Moment {
    snapshot: Snapshot,
    taken_at: Timestamp,
    /// The databases, each with its size in bytes.
    sizes: Vec<(&'static str, u64)>,
    /// How long the writers were held for it.
    pub paused: Duration,
}

impl Moment {
    /// Everything that was acknowledged before this is called.
    ///
    /// # Errors
    /// [`BackupError::NothingEmbedded`], [`BackupError::Store`]
    pub async fn take(urls: &StoreUrls, data: &Path, now: Timestamp) -> Result<Self, BackupError> {
        let databases = sqlite::databases(urls);
        if databases.is_empty() {
            return Err(BackupError::NothingEmbedded);
        }
        let writer = sqlite::store_process_writer(data).await?;
        let take = async || {
            let taken = Snapshot::take(&writer, data, &databases).await;
            taken.map_err(|error| store_error("embedded", error))
        };
        let snapshot = retry("backup", MOMENT, StoreError::is_transient, take).await?;
        let sizes = snapshot.sizes();
        Ok(Self {
            sizes: sizes.map_err(|error| store_error("embedded", error))?,
            paused: snapshot.paused(),
            snapshot,
            taken_at: now,
        })
    }

    /// The size of all databases, in bytes.
    pub fn bytes(&self) -> u64 {
        self.sizes.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Writes the backup into the new folder `target`, for this user alone. It has that name only when it is whole and on the
    /// disk. `copied` is called with the bytes of each step. Blocks.
    ///
    /// # Errors
    /// [`BackupError::Exists`], [`BackupError::File`], [`BackupError::Store`]
    pub fn write(self, target: &Path, copied: impl FnMut(u64)) -> Result<Manifest, BackupError> {
        if target.exists() {
            return Err(BackupError::Exists(target.to_owned()));
        }
        let folder = step(target, NewFolder::create)?;
        let copied = self.snapshot.copy(folder.path(), copied);
        copied.map_err(|error| store_error("embedded", error))?;
        let describe = |(name, bytes): (&str, u64)| {
            let file = database(folder.path(), name);
            let sha256 = hex::encode(step(&file, sha256_of_file)?);
            let name = name.to_owned();
            Ok(Copy { name, bytes, sha256 })
        };
        let manifest = Manifest {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at: self.taken_at,
            databases: self
                .sizes
                .into_iter()
                .map(describe)
                .collect::<Result<_, BackupError>>()?,
        };
        step(&folder.path().join(MANIFEST), |file| {
            let mut file = File::create_new(file)?;
            file.write_all(&serde_json::to_vec_pretty(&manifest)?)?;
            file.sync_all()
        })?;
        step(target, |_| folder.publish())?;
        Ok(manifest)
    }
}

/// Reads the description of a backup, and compares each file with it.
///
/// # Errors
/// [`BackupError::File`], [`BackupError::Manifest`], [`BackupError::Changed`]
pub fn verify(backup: &Path) -> Result<Manifest, BackupError> {
    let file = backup.join(MANIFEST);
    let text = step(&file, |file| fs::read(file))?;
    let invalid = |cause| BackupError::Manifest {
        file: file.clone(),
        cause,
    };
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| invalid(error.into()))?;
    if manifest.format != FORMAT {
        return Err(invalid(
            format!(
                "it has format {}, and this version knows {FORMAT}",
                manifest.format
            )
            .into(),
        ));
    }
    for copy in &manifest.databases {
        // A name is a path otherwise.
        if !SCHEMAS.iter().any(|schema| schema.name == copy.name) {
            return Err(invalid(format!("there is no database {:?}", copy.name).into()));
        }
        let file = database(backup, &copy.name);
        let found = step(&file, |file| {
            Ok((fs::metadata(file)?.len(), sha256_of_file(file)?))
        })?;
        if found.0 != copy.bytes || hex::encode(found.1) != copy.sha256 {
            return Err(BackupError::Changed(file));
        }
    }
    Ok(manifest)
}

/// Puts a backup that was [verified](verify) into `data`, where no database is and no node runs; of the database of sessions, with
/// `sessions` alone: those that ended after the backup would come back. `copied` is called with the bytes of each file.
/// Blocks.
///
/// # Errors
/// [`BackupError::OtherDatabases`], [`BackupError::Restore`]
pub fn restore(
    manifest: &Manifest,
    backup: &Path,
    urls: &StoreUrls,
    data: &Path,
    sessions: bool,
    copied: impl FnMut(u64),
) -> Result<(), BackupError> {
    let mut databases = sqlite::databases(urls);
    databases.sort_unstable();
    let mut names: Vec<&str> = manifest.databases.iter().map(|copy| &*copy.name).collect();
    names.sort_unstable();
    if databases != names {
        return Err(BackupError::OtherDatabases {
            backup: names.into_iter().map(str::to_owned).collect(),
            configuration: databases,
        });
    }
    databases.retain(|name| sessions || *name != SESSIONS);
    Ok(souk_embedded::restore(
        backup, data, &SCHEMAS, &databases, copied,
    )?)
}

fn database(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.db"))
}

fn step<T>(file: &Path, operation: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, BackupError> {
    operation(file).map_err(|cause| BackupError::File {
        file: file.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backup of one database with these bytes.
    fn backup(change: impl FnOnce(Manifest) -> Manifest) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let file = database(folder.path(), "views");
        fs::write(&file, b"rows").unwrap();
        let manifest = change(Manifest {
            format: FORMAT,
            program: "1.0.0".into(),
            taken_at: Timestamp::UNIX_EPOCH,
            databases: vec![Copy {
                name: "views".into(),
                bytes: 4,
                sha256: hex::encode(sha256_of_file(&file).unwrap()),
            }],
        });
        let text = serde_json::to_string(&manifest).unwrap();
        fs::write(folder.path().join(MANIFEST), text).unwrap();
        folder
    }

    #[test]
    fn a_changed_byte_shows() {
        let whole = backup(|manifest| manifest);
        assert_eq!(verify(whole.path()).unwrap().bytes(), 4);
        for bytes in [&b"rowt"[..], b"row", b"rows "] {
            fs::write(database(whole.path(), "views"), bytes).unwrap();
            let error = verify(whole.path()).unwrap_err();
            assert!(matches!(error, BackupError::Changed(_)), "{error}");
        }
    }

    #[test]
    fn another_format_or_name_is_refused() {
        let newer = backup(|manifest| Manifest {
            format: 2,
            ..manifest
        });
        let other = |name: &str| {
            let name = name.to_owned();
            backup(|mut manifest| {
                manifest.databases[0].name = name;
                manifest
            })
        };
        for folder in [newer, other("../views"), other("carts")] {
            let error = verify(folder.path()).unwrap_err();
            assert!(matches!(error, BackupError::Manifest { .. }), "{error}");
        }
    }

    #[test]
    fn a_backup_of_other_stores_is_refused() {
        let one = backup(|manifest| manifest);
        let manifest = verify(one.path()).unwrap();
        let data = tempfile::tempdir().unwrap();
        let error = restore(
            &manifest,
            one.path(),
            &StoreUrls::default(),
            data.path(),
            false,
            |_| {},
        )
        .unwrap_err();
        assert!(error.to_string().contains("the databases views, and"), "{error}");
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0);
    }
}
