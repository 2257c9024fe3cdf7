//! Migrations between embedded stores, with interruptions. Those that end the process are in `tests/`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use souk_embedded::{Value, Writer};
use tempfile::TempDir;

use super::*;
use crate::config::SecretKey;
use crate::stores::sqlite::in_process_writer;
use crate::stores::transfer::testing::{assert_filled, embedded, fill};
use crate::stores::transfer::{PAGE_ROWS, Page, Position, Record};

/// Rows of each table: the second page is not full.
const ROWS: u64 = PAGE_ROWS as u64 + 3;

/// A configuration of one node, whose file would be in `folder`.
pub(super) fn config(folder: &Path, key: &SecretKey, rest: &str) -> Config {
    let text = format!(
        "[cluster]\nkey = \"{}\"\n[operator]\ntoken = \"{}\"\n[[nodes]]\nname = \"n1\"\nshop = \"127.0.0.1:1\"\n\
         operator = \"127.0.0.1:2\"\ncluster = \"127.0.0.1:3\"\ngossip = \"127.0.0.1:4\"\n{rest}",
        key.to_base64(),
        "t".repeat(48)
    );
    Config::parse(&text, &folder.join("cluster.toml"), []).unwrap()
}

/// What becomes of imports into a store.
enum Fault {
    /// They succeed.
    None,
    /// The rows of that many are written, and the last time nobody hears of it.
    EndsAfter(AtomicUsize),
    /// A value of this table is changed on its way.
    Changes(&'static str),
}

/// A store with a fault.
struct Faulty {
    inner: Box<dyn Transfer>,
    fault: Arc<Fault>,
}

#[async_trait]
impl Transfer for Faulty {
    fn store(&self) -> &'static str {
        self.inner.store()
    }

    fn tables(&self) -> &'static [Table] {
        self.inner.tables()
    }

    async fn count(&self, table: &'static Table) -> Result<u64, StoreError> {
        self.inner.count(table).await
    }

    async fn export(&self, table: &'static Table, after: Option<&Position>) -> Result<Page, StoreError> {
        self.inner.export(table, after).await
    }

    async fn import(&self, table: &'static Table, before: u64, records: &[Record]) -> Result<(), StoreError> {
        let mut records = records.to_vec();
        if matches!(&*self.fault, Fault::Changes(name) if *name == table.name) {
            let value = records[1]
                .iter_mut()
                .rfind(|value| matches!(value, Value::Integer(_)));
            *value.unwrap() = Value::Integer(-1);
        }
        self.inner.import(table, before, &records).await?;
        match &*self.fault {
            Fault::EndsAfter(left) if left.fetch_sub(1, Ordering::SeqCst) == 1 => Err(StoreError::Refused {
                store: self.store(),
                cause: "the process ends here".into(),
            }),
            _ => Ok(()),
        }
    }

    async fn finish(&self) -> Result<(), StoreError> {
        self.inner.finish().await
    }
}

/// Two shops, the first one with rows.
struct Shops {
    from: (Writer, TempDir),
    to: (Writer, TempDir),
    state: TempDir,
}

impl Shops {
    async fn new() -> Self {
        let shop = || {
            let folder = TempDir::new().unwrap();
            (in_process_writer(folder.path()).unwrap(), folder)
        };
        let shops = Self {
            from: shop(),
            to: shop(),
            state: TempDir::new().unwrap(),
        };
        for transfer in embedded(&shops.from.0, shops.from.1.path()).await {
            fill(&*transfer, ROWS).await;
        }
        shops
    }

    /// A process that migrates from one to the other.
    async fn migrate(&self, fault: Fault) -> Result<(usize, u64), MigrationError> {
        let from = embedded(&self.from.0, self.from.1.path()).await;
        let to = embedded(&self.to.0, self.to.1.path()).await;
        migrate_between(from, to, &self.state.path().join("state.json"), fault).await
    }
}

/// A process that migrates between these.
async fn migrate_between(
    from: Vec<Box<dyn Transfer>>,
    to: Vec<Box<dyn Transfer>>,
    state: &Path,
    fault: Fault,
) -> Result<(usize, u64), MigrationError> {
    let fault = Arc::new(fault);
    let pair = |(from, inner)| {
        let fault = Arc::clone(&fault);
        let to = Box::new(Faulty { inner, fault }) as Box<dyn Transfer>;
        Pair { from, to }
    };
    let places = Places {
        from: BTreeMap::new(),
        to: BTreeMap::new(),
    };
    let file = StateFile::new(state);
    let state = file.read(&places)?;
    let migration = Migration {
        pairs: from.into_iter().zip(to).map(pair).collect(),
        file,
        places,
    };
    let mut last = 0;
    migration
        .run(state, |progress| {
            assert!(progress.rows <= progress.total, "{progress:?}");
            if progress.phase == Phase::Copying {
                assert!(progress.rows >= last, "{progress:?}");
                last = progress.rows;
            }
        })
        .await
}

/// Repeats `process`, given how many imports there are to its end, until it ends well. Returns how often it was interrupted.
async fn until_moved(
    process: impl AsyncFn(Fault) -> Result<(usize, u64), MigrationError>,
    imports: usize,
) -> usize {
    let mut interruptions = 0;
    loop {
        match process(Fault::EndsAfter(AtomicUsize::new(imports))).await {
            Ok(_) => return interruptions,
            Err(MigrationError::Table { cause, .. }) => {
                assert!(matches!(cause, StoreError::Refused { .. }), "{cause:?}");
                interruptions += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_moved_in_its_order() {
    let shops = Shops::new().await;
    let (tables, rows) = shops.migrate(Fault::None).await.unwrap();
    assert_eq!(rows, (tables as u64 - 1) * ROWS + 1);
    for transfer in embedded(&shops.to.0, shops.to.1.path()).await {
        assert_filled(&*transfer, ROWS).await;
    }
}

/// Wherever it ends, between the import of a page and the note of it, it goes on: from the second import of each process on,
/// every page is imported twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_migration_goes_on() {
    for imports in [2, 3, 7] {
        let shops = Shops::new().await;
        let interruptions = until_moved(async |fault| shops.migrate(fault).await, imports).await;
        assert!(interruptions > 5, "{interruptions} after {imports} imports each");
        for transfer in embedded(&shops.to.0, shops.to.1.path()).await {
            assert_filled(&*transfer, ROWS).await;
        }
    }
}

/// A catalogue, to Elasticsearch and back.
#[cfg(feature = "elasticsearch")]
#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_goes_on_to_elasticsearch_and_back() {
    use crate::stores::elasticsearch::testing::TestIndexes;
    use crate::stores::transfer::elasticsearch::ElasticTransfer;

    let Some(indexes) = TestIndexes::create() else {
        return;
    };
    let shops = Shops::new().await;
    let on_server =
        async || vec![Box::new(ElasticTransfer::new(indexes.products().await)) as Box<dyn Transfer>];
    let in_folder = async |(writer, folder): &(Writer, TempDir)| {
        let mut all = embedded(writer, folder.path()).await;
        all.retain(|transfer| transfer.store() == "catalogue");
        all
    };
    let state = |name: &str| shops.state.path().join(name);
    let there = async |fault| {
        migrate_between(
            in_folder(&shops.from).await,
            on_server().await,
            &state("there"),
            fault,
        )
        .await
    };
    let back = async |fault| {
        migrate_between(
            on_server().await,
            in_folder(&shops.to).await,
            &state("back"),
            fault,
        )
        .await
    };
    // Of six pages each process but the last writes one that it does not note.
    assert_eq!(until_moved(there, 2).await, 5);
    assert_filled(&*on_server().await[0], ROWS).await;
    assert_eq!(until_moved(back, 2).await, 5);
    assert_filled(&*in_folder(&shops.to).await[0], ROWS).await;
    // Nor is another one mixed with what is on the server.
    let state = shops.state.path().join("another");
    let error = migrate_between(
        in_folder(&shops.from).await,
        on_server().await,
        &state,
        Fault::None,
    )
    .await;
    assert!(matches!(error, Err(MigrationError::NotEmpty { .. })), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_others_are_not_mixed_with() {
    let shops = Shops::new().await;
    let target = embedded(&shops.to.0, shops.to.1.path()).await;
    let users = target
        .iter()
        .find(|transfer| transfer.store() == "users")
        .unwrap();
    fill(&**users, 1).await;
    let error = shops.migrate(Fault::None).await.unwrap_err();
    assert!(
        matches!(&error, MigrationError::NotEmpty { table } if table == "users.users"),
        "{error}"
    );
    // Nor when it is asked again.
    let error = shops.migrate(Fault::None).await.unwrap_err();
    assert!(matches!(error, MigrationError::NotEmpty { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_value_shows() {
    for (changed, name) in [
        ("dead_letters", "carts.dead_letters"),
        ("networks", "sessions.networks"),
        ("products", "catalogue.products"),
    ] {
        let shops = Shops::new().await;
        let error = shops.migrate(Fault::Changes(changed)).await.unwrap_err();
        assert!(
            matches!(&error, MigrationError::Differs { table, .. } if table == name),
            "{error}"
        );
    }
}

/// From one configuration to another, with a state beside the latter.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_moved_once() {
    let (one, two, key) = (
        TempDir::new().unwrap(),
        TempDir::new().unwrap(),
        SecretKey::random(),
    );
    let (from, to) = (config(one.path(), &key, ""), config(two.path(), &key, ""));
    let state = default_state_file(&to);
    assert_eq!(state, two.path().join("cluster.migration.json"));
    let again = async |to: &Config| migrate(&from, to, &state, |_| {}).await;

    let same = again(&from).await.unwrap_err();
    assert!(matches!(same, MigrationError::NothingToMove), "{same}");
    let missing = again(&to).await.unwrap_err();
    assert!(missing.to_string().contains("does not exist"), "{missing}");
    {
        let writer = in_process_writer(&from.cluster.data).unwrap();
        for transfer in embedded(&writer, &from.cluster.data).await {
            fill(&*transfer, 1).await;
        }
        let held = again(&to).await.unwrap_err();
        assert!(
            matches!(held, MigrationError::Offline(OfflineError::InUse(_))),
            "{held}"
        );
    }
    let moved = again(&to).await.unwrap();
    assert_eq!(moved.rows, moved.tables as u64);
    assert!(moved.stores.contains(&"carts") && moved.stores.contains(&"catalogue"));
    let done = again(&to).await.unwrap_err();
    assert!(
        matches!(done, MigrationError::State(StateError::Done(_))),
        "{done}"
    );
    // Waits for the writer of the migration to end.
    let folders = offline::hold(&[&to]).await.unwrap();
    for (store, _) in to.stores.all() {
        for transfer in folders.places(&to).transfers(store).await.unwrap() {
            assert_filled(&*transfer, 1).await;
        }
    }
}
