//! Folders that have their name only when they are whole.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder for this user alone that is still being filled, under another name beside its own. It is removed on drop.
pub struct NewFolder {
    folder: TempDir,
    target: PathBuf,
}

impl NewFolder {
    /// Makes the folder that will be `target`, and what is missing above it.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn create(target: &Path) -> io::Result<Self> {
        let parent = parent(target);
        fs::create_dir_all(parent)?;
        let folder = tempfile::Builder::new()
            .prefix(".souk-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        Ok(Self {
            folder,
            target: target.to_owned(),
        })
    }

    /// Where its files are put, and brought to the disk.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives it its name, and brings that to the disk.
    ///
    /// # Errors
    /// Where the name is taken, or can't be written.
    pub fn publish(self) -> io::Result<()> {
        sync(self.folder.path())?;
        fs::rename(self.folder.path(), &self.target)?;
        // It has another name now.
        let _ = self.folder.keep();
        sync(parent(&self.target))
    }
}

fn parent(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Brings the names of a folder's files to the disk.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
