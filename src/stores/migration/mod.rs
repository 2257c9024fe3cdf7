//! Moves the rows of stores from where one configuration has them to where another one has them, while no node of either runs.
//!
//! A store whose place is the same in both is left alone. The others are copied page by page; a file says how far,
//! so that whoever was interrupted goes on from there. Importing a page twice is the same as importing it once, and so nothing
//! is lost or doubled wherever the interruption was. At the end every table of both sides is read once more and compared.
//! The source is not changed.

mod keys;
pub mod offline;
mod state;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use super::StoreError;
use super::open::transfer::is_movable;
use super::transfer::{self, Digest, Table, Transfer};
use crate::clock;
use crate::config::{Config, Scheme, StoreUrl};
use crate::digest::sha256;

pub use keys::KeysError;
pub use offline::OfflineError;
use state::{Places, State};
pub use state::{StateError, StateFile};

/// Why rows were not moved, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Every store has the same place in both configurations.
    #[error("both configurations have every store at the same place: there is nothing to move")]
    NothingToMove,
    /// A store can't be moved yet.
    #[error(
        "stores.{store} can't be moved from {from} to {to} by this version: keep it at the same place in both configurations"
    )]
    NotMovable {
        /// Which.
        store: &'static str,
        /// The technology of the source.
        from: &'static str,
        /// The technology of the target.
        to: &'static str,
    },
    /// The target could not read what is moved.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A node runs, or it is not known that none does.
    #[error(transparent)]
    Offline(#[from] OfflineError),
    /// A store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A table of a store can't be read or written.
    #[error("the rows of {table} can't be moved")]
    Table {
        /// Which, as in `orders.ledger`.
        table: String,
        /// Why.
        #[source]
        cause: StoreError,
    },
    /// There are rows in the target that this migration has not written.
    #[error("{table} of the target has rows already: rows are moved where there are none")]
    NotEmpty {
        /// Which, as in `orders.ledger`.
        table: String,
    },
    /// The state can't be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Source and target are not the same at the end.
    #[error(
        "{table} is not the same on both sides: {} rows with SHA-256 {} in the source, {} rows with {} in the target. \
         Rows were changed while they were moved: empty the target, remove {}, and begin again",
        from.rows, from.sha256, to.rows, to.sha256, state.display()
    )]
    Differs {
        /// Which, as in `orders.ledger`.
        table: String,
        /// The source.
        from: Digest,
        /// The target.
        to: Digest,
        /// The file with the state.
        state: PathBuf,
    },
}

/// What a migration does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Rows are copied.
    Copying,
    /// Both sides are compared.
    Comparing,
}

/// Progress of a migration.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// What it does.
    pub phase: Phase,
    /// The table, as in `orders.ledger`.
    pub table: &'a str,
    /// Rows of all tables that are done, of [`Progress::total`].
    pub rows: u64,
    /// Rows of all tables.
    pub total: u64,
}

/// What a migration has done.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved {
    /// The stores.
    pub stores: Vec<&'static str>,
    /// Tables of all of them.
    pub tables: usize,
    /// Rows of all tables.
    pub rows: u64,
}

/// Where the state is kept unless somebody says otherwise: beside the target's configuration.
pub fn default_state_file(to: &Config) -> PathBuf {
    to.file.with_extension("migration.json")
}

/// Moves every store whose place differs; `progress` is called after each page.
///
/// # Errors
/// [`MigrationError`]. After one that passes, another call goes on where this one ended.
pub async fn migrate(
    from: &Config,
    to: &Config,
    state_file: &Path,
    progress: impl FnMut(Progress<'_>),
) -> Result<Moved, MigrationError> {
    let stores = differing(from, to);
    if stores.is_empty() {
        return Err(MigrationError::NothingToMove);
    }
    for store in &stores {
        let scheme = |config: &Config| config.stores.of(store).map_or(Scheme::Sqlite, StoreUrl::scheme);
        let (from, to) = (scheme(from), scheme(to));
        if !is_movable(from) || !is_movable(to) {
            return Err(MigrationError::NotMovable {
                store,
                from: from.name(),
                to: to.name(),
            });
        }
    }
    keys::check(from, to)?;
    let places = Places {
        from: stores.iter().map(|store| place(from, store)).collect(),
        to: stores.iter().map(|store| place(to, store)).collect(),
    };
    let file = StateFile::new(state_file);
    let state = file.read(&places)?;
    offline::expect_stores(from)?;
    let folders = offline::hold(&[from, to]).await?;
    offline::check(&[from, to]).await?;
    let mut pairs = Vec::new();
    for store in &stores {
        let sources = folders.places(from).transfers(store).await?;
        let targets = folders.places(to).transfers(store).await?;
        pairs.extend(
            sources
                .into_iter()
                .zip(targets)
                .map(|(from, to)| Pair { from, to }),
        );
    }
    let migration = Migration { pairs, file, places };
    let (tables, rows) = migration.run(state, progress).await?;
    // One that was started meanwhile has written to what has been compared.
    offline::check(&[from, to]).await?;
    migration.file.write(&State::done(migration.places.clone()))?;
    Ok(Moved { stores, tables, rows })
}

/// The stores that have another place in `to` than in `from`.
fn differing(from: &Config, to: &Config) -> Vec<&'static str> {
    let names = from.stores.all().into_iter().map(|(name, _)| name);
    names
        .filter(|store| place(from, store) != place(to, store))
        .collect()
}

/// A store's name and its place, without passwords.
fn place(config: &Config, store: &str) -> (String, String) {
    let url = config.stores.of(store);
    let place = match url {
        Some(url) if url.scheme() != Scheme::Sqlite => {
            // What the URL says behind its `?` may be a password too, and still tells one place from another.
            let query = url.expose().split_once('?').map_or("", |(_, query)| query);
            let digest = hex::encode(&sha256(query.as_bytes())[..8]);
            format!("{url} {digest}")
        }
        _ => {
            let folder = canonical(&config.cluster.data);
            format!("sqlite:{}", folder.display())
        }
    };
    (store.to_owned(), place)
}

/// A path without links, also of a folder that is still to be made: it is the same then.
fn canonical(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(path), _, _) => path,
        (Err(_), Some(parent), Some(name)) => canonical(parent).join(name),
        (Err(_), _, _) => path.to_owned(),
    }
}

/// A database of a store, and where its rows go.
struct Pair {
    from: Box<dyn Transfer>,
    to: Box<dyn Transfer>,
}

impl Pair {
    fn tables(&self) -> impl Iterator<Item = (&Self, &'static Table, String)> {
        let tables = self.from.tables().iter();
        tables.map(move |table| (self, table, format!("{}.{}", self.from.store(), table.name)))
    }
}

/// The error of a table.
fn of_table(table: &str) -> impl Fn(StoreError) -> MigrationError + '_ {
    move |cause| MigrationError::Table {
        table: table.to_owned(),
        cause,
    }
}

/// A migration whose stores are open.
struct Migration {
    pairs: Vec<Pair>,
    file: StateFile,
    places: Places,
}

impl Migration {
    fn tables(&self) -> impl Iterator<Item = (&Pair, &'static Table, String)> {
        self.pairs.iter().flat_map(Pair::tables)
    }

    /// Copies what `state` says is missing, and compares. Returns how many tables and rows there are.
    async fn run(
        &self,
        state: Option<State>,
        mut progress: impl FnMut(Progress<'_>),
    ) -> Result<(usize, u64), MigrationError> {
        let mut state = match state {
            Some(state) => state,
            None => self.begin().await?,
        };
        let (mut total, mut tables) = (0, 0);
        for (pair, table, name) in self.tables() {
            total += pair.from.count(table).await.map_err(of_table(&name))?;
            tables += 1;
        }
        self.copy(&mut state, total, &mut progress).await?;
        for pair in &self.pairs {
            pair.to.finish().await?;
        }
        self.compare(total, &mut progress).await?;
        Ok((tables, total))
    }

    /// Makes sure that the target has no rows, and says from then on that those it has are of this migration.
    async fn begin(&self) -> Result<State, MigrationError> {
        for (pair, table, name) in self.tables() {
            if pair.to.count(table).await.map_err(of_table(&name))? > 0 {
                return Err(MigrationError::NotEmpty { table: name });
            }
        }
        let state = State::begun(self.places.clone());
        self.file.write(&state)?;
        Ok(state)
    }

    async fn copy(
        &self,
        state: &mut State,
        total: u64,
        progress: &mut impl FnMut(Progress<'_>),
    ) -> Result<(), MigrationError> {
        let mut rows: u64 = state.tables.values().map(|table| table.rows).sum();
        for (pair, table, name) in self.tables() {
            loop {
                let copied = state.tables.entry(name.clone()).or_default();
                if copied.complete {
                    break;
                }
                let page = transfer::page(&*pair.from, table, copied.position.as_ref()).await;
                let page = page.map_err(of_table(&name))?;
                if page.records.is_empty() {
                    copied.complete = true;
                } else {
                    let imported = transfer::import(&*pair.to, table, copied.rows, &page.records).await;
                    imported.map_err(of_table(&name))?;
                    crate::fail::crash("migrate.imported");
                    copied.rows += page.records.len() as u64;
                    copied.position = Some(page.next);
                    rows += page.records.len() as u64;
                }
                self.file.write(state)?;
                progress(Progress {
                    phase: Phase::Copying,
                    table: &name,
                    rows,
                    total,
                });
            }
        }
        Ok(())
    }

    async fn compare(
        &self,
        total: u64,
        progress: &mut impl FnMut(Progress<'_>),
    ) -> Result<(), MigrationError> {
        let mut rows = 0;
        for (pair, table, name) in self.tables() {
            // What has expired may be gone on one side by now.
            let removes = pair.from.removes_expired() || pair.to.removes_expired();
            let now = removes.then(|| clock::system()());
            let nowhere = |_: &[u8]| Ok::<_, StoreError>(());
            let from = transfer::lines(&*pair.from, table, now, nowhere, |count| {
                rows += count;
                progress(Progress {
                    phase: Phase::Comparing,
                    table: &name,
                    rows,
                    total,
                });
            });
            let from = from.await.map_err(of_table(&name))?;
            let to = transfer::lines(&*pair.to, table, now, nowhere, |_| {}).await;
            let to = to.map_err(of_table(&name))?;
            if from != to {
                return Err(MigrationError::Differs {
                    table: name,
                    from,
                    to,
                    state: self.file.path().to_owned(),
                });
            }
        }
        Ok(())
    }
}
