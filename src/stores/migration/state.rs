//! How far a migration is, in a file that is replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::stores::transfer::Position;

/// The version of what the file says.
const FORMAT: u32 = 1;

/// Why the state of a migration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file can't be read or written.
    #[error("{} can't be used", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file is none of a migration that this version knows.
    #[error("{} does not say how far a migration is: name another file with --state", file.display())]
    Invalid {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file belongs to another migration.
    #[error(
        "{} says how far another migration is, which moves {other}: name another file with --state, or remove it if that migration is of no use any more",
        file.display()
    )]
    Other {
        /// Which.
        file: PathBuf,
        /// What that migration moves.
        other: String,
    },
    /// This migration was completed.
    #[error("{} says that this migration was completed: remove it to begin another one", .0.display())]
    Done(PathBuf),
}

/// The stores that are moved, each with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Places {
    pub(super) from: BTreeMap<String, String>,
    pub(super) to: BTreeMap<String, String>,
}

impl Places {
    fn described(&self) -> String {
        let one = |(store, from): (&String, &String)| {
            let to = self.to.get(store).map_or("nowhere", String::as_str);
            format!("{store} from {from} to {to}")
        };
        self.from.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// How far a table is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Copied {
    /// Rows that were imported.
    pub(super) rows: u64,
    /// Where the next page begins.
    pub(super) position: Option<Position>,
    /// Whether there is no further page.
    pub(super) complete: bool,
}

/// How far a migration is.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    format: u32,
    places: Places,
    /// Whether all was copied and compared.
    done: bool,
    /// By `STORE.TABLE`.
    pub(super) tables: BTreeMap<String, Copied>,
}

impl State {
    /// Nothing was copied.
    pub(super) fn begun(places: Places) -> Self {
        Self {
            format: FORMAT,
            places,
            done: false,
            tables: BTreeMap::new(),
        }
    }

    /// All was copied and compared.
    pub(super) fn done(places: Places) -> Self {
        Self {
            done: true,
            ..Self::begun(places)
        }
    }
}

/// The file of a migration's state.
#[derive(Debug)]
pub struct StateFile(PathBuf);

impl StateFile {
    /// A file, which need not exist.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// How far the migration between these places is; nothing where it has not begun.
    pub(super) fn read(&self, places: &Places) -> Result<Option<State>, StateError> {
        let file = || self.0.clone();
        let text = match fs::read(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(StateError::File { file: file(), cause }),
            Ok(text) => text,
        };
        let invalid = |cause| StateError::Invalid { file: file(), cause };
        let state: State = serde_json::from_slice(&text).map_err(|error| invalid(error.into()))?;
        if state.format != FORMAT {
            let format = state.format;
            let cause = format!("it has format {format}, and this version knows {FORMAT}");
            return Err(invalid(cause.into()));
        }
        if state.places != *places {
            let other = state.places.described();
            return Err(StateError::Other { file: file(), other });
        }
        if state.done {
            return Err(StateError::Done(file()));
        }
        Ok(Some(state))
    }

    /// Replaces the file; when this returns, it is on the disk. It has keys of rows in it: for its owner alone.
    pub(super) fn write(&self, state: &State) -> Result<(), StateError> {
        let folder = match self.0.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec_pretty(state)?)?;
            file.as_file().sync_all()?;
            file.persist(&self.0)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|cause| StateError::File {
            file: self.0.clone(),
            cause,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(to: &str) -> Places {
        Places {
            from: [("orders".to_owned(), "sqlite:/data".to_owned())].into(),
            to: [("orders".to_owned(), to.to_owned())].into(),
        }
    }

    #[test]
    fn a_state_belongs_to_one_migration() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(&folder.path().join("state.json"));
        assert_eq!(file.read(&places("postgres://a")).unwrap(), None);
        let mut state = State::begun(places("postgres://a"));
        state.tables.insert(
            "orders.documents".into(),
            Copied {
                rows: 3,
                position: Some(vec![3_i64.into(), vec![0_u8, 255].into(), "ord_3".into()]),
                complete: false,
            },
        );
        file.write(&state).unwrap();
        assert_eq!(file.read(&places("postgres://a")).unwrap(), Some(state));
        let other = file.read(&places("postgres://b")).unwrap_err();
        assert!(
            other
                .to_string()
                .contains("which moves orders from sqlite:/data to postgres://a"),
            "{other}"
        );
        file.write(&State::done(places("postgres://a"))).unwrap();
        let done = file.read(&places("postgres://a")).unwrap_err();
        assert!(matches!(done, StateError::Done(_)), "{done}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(file.path(), "{}").unwrap();
        let invalid = file.read(&places("postgres://a")).unwrap_err();
        assert!(matches!(invalid, StateError::Invalid { .. }), "{invalid}");
    }
}
