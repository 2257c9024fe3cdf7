//! The engine, and the store process over a real socket.

use std::collections::BTreeSet;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt;
use futures::future::join_all;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::limits::{IDLE_LOG_BYTES, READERS, ServerLimits};
use super::protocol::{self, Command, Outcome, Request, Response};
use super::server::{self, ServerError};
use super::statement::Transaction;
use super::*;

static SCHEMAS: &[Schema] = &[Schema {
    name: "carts",
    migrations: &["CREATE TABLE documents (id TEXT PRIMARY KEY) STRICT"],
    formers: &[],
}];

const INSERT: &str = "INSERT INTO documents (id) VALUES (?1) RETURNING id";

fn insert(id: &str) -> Transaction {
    Transaction::new("carts", vec![Statement::new(INSERT).bind(id)])
}

async fn write(writer: &Writer, id: &str) -> Result<Vec<Rows>, Error> {
    writer
        .transact("carts", vec![Statement::new(INSERT).bind(id)])
        .await
}

async fn ids(database: &Database) -> BTreeSet<String> {
    let rows = database
        .read(Statement::new("SELECT id FROM documents"))
        .await
        .unwrap();
    rows.into_iter()
        .flatten()
        .map(|value| match value {
            Value::Text(id) => id,
            other => panic!("{other:?}"),
        })
        .collect()
}

async fn local(directory: &Path) -> (Engine, Database) {
    let engine = Engine::open(directory, SCHEMAS).unwrap();
    let database = Database::open(&Writer::in_process(engine.clone()), directory, "carts")
        .await
        .unwrap();
    (engine, database)
}

/// Submits a transaction without waiting for its outcome.
async fn submit(engine: &Engine, transaction: Transaction) -> oneshot::Receiver<Outcome> {
    let (reply, outcome) = oneshot::channel();
    engine
        .submit(transaction, |outcome| drop(reply.send(outcome)))
        .await;
    outcome
}

fn kind(outcome: &Result<Vec<Rows>, Error>) -> Option<ErrorKind> {
    outcome.as_ref().err().map(|failure| failure.kind)
}

/// A log that has grown is emptied when nothing is written any more, and the rows are where they were.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_database_has_no_large_log() {
    let directory = TempDir::new().unwrap();
    let (engine, database) = local(directory.path()).await;
    let log = || {
        std::fs::metadata(directory.path().join("carts.db-wal"))
            .unwrap()
            .len()
    };
    let rows: Vec<String> = (0..20)
        .map(|row| format!("{row}-{}", "x".repeat(100_000)))
        .collect();
    for row in &rows {
        engine.transact(insert(row)).await.unwrap();
    }
    assert!(log() > IDLE_LOG_BYTES, "{} bytes", log());
    let emptied = async {
        while log() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), emptied).await;
    assert!(in_time.is_ok(), "{} bytes are left", log());
    assert_eq!(ids(&database).await, rows.into_iter().collect());
    engine.transact(insert("next")).await.unwrap();
}

/// What was deleted is not on free pages, once the log has been moved into the file. Long values have pages of their own.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_bytes_are_overwritten() {
    let directory = TempDir::new().unwrap();
    let (engine, database) = local(directory.path()).await;
    let long = format!("secret-{}", "long".repeat(5_000));
    for id in ["secret-short", &long, "kept"] {
        engine.transact(insert(id)).await.unwrap();
    }
    let delete = Statement::new("DELETE FROM documents WHERE id LIKE 'secret%'");
    let delete = Transaction::new("carts", vec![delete]);
    engine.transact(delete).await.unwrap();
    drop(database);
    engine.close().await;
    let file = std::fs::read(directory.path().join("carts.db")).unwrap();
    let holds = |text: &[u8]| file.windows(text.len()).any(|window| window == text);
    assert!(holds(b"kept"));
    assert!(!holds(b"secret") && !holds(b"longlong"));
    assert!(!directory.path().join("carts.db-wal").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Transactions are submitted faster than they are committed, so that good and bad ones share commits.
    #[test]
    fn a_refused_transaction_spoils_no_other(good in prop::collection::vec(any::<bool>(), 1..40)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let directory = TempDir::new().unwrap();
            let (engine, database) = local(directory.path()).await;
            let mut outcomes = Vec::new();
            for (number, good) in good.iter().enumerate() {
                let mut transaction = insert(&format!("id{number:03}"));
                if !good {
                    // Its first statement succeeds, its second breaks the primary key.
                    transaction.statements.push(transaction.statements[0].clone());
                }
                outcomes.push(submit(&engine, transaction).await);
            }
            let mut expected = BTreeSet::new();
            for (number, (good, outcome)) in good.iter().zip(join_all(outcomes).await).enumerate() {
                let outcome = outcome.unwrap();
                if *good {
                    let id = format!("id{number:03}");
                    assert_eq!(outcome.unwrap(), vec![vec![vec![Value::Text(id.clone())]]]);
                    expected.insert(id);
                } else {
                    assert_eq!(kind(&outcome), Some(ErrorKind::Refused));
                }
            }
            assert_eq!(ids(&database).await, expected);
        });
    }
}

#[tokio::test]
async fn a_closing_engine_commits_what_it_accepted() {
    let directory = TempDir::new().unwrap();
    let (engine, database) = local(directory.path()).await;
    assert!(matches!(
        Engine::open(directory.path(), SCHEMAS),
        Err(OpenError::Held { .. })
    ));
    let mut outcomes = Vec::new();
    for number in 0..300 {
        outcomes.push(submit(&engine, insert(&format!("id{number}"))).await);
    }
    engine.close().await;
    for outcome in join_all(outcomes).await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(ids(&database).await.len(), 300);
    let late = engine.transact(insert("late")).await;
    assert_eq!(kind(&late), Some(ErrorKind::Unavailable));
    drop((engine, database));
    Engine::open(directory.path(), SCHEMAS).unwrap();
}

#[tokio::test]
async fn forbidden_statements_and_names_are_refused() {
    let directory = TempDir::new().unwrap();
    let (engine, database) = local(directory.path()).await;
    for sql in [
        "COMMIT",
        "BEGIN",
        "  rollback",
        "ATTACH 'x.db' AS x",
        "PRAGMA query_only=1",
        "VACUUM INTO 'y.db'",
        "",
        "nonsense",
        "SELECT * FROM nowhere",
        "SELECT 1; COMMIT",
    ] {
        let transaction = Transaction::new(
            "carts",
            vec![Statement::new(INSERT).bind("x"), Statement::new(sql)],
        );
        assert_eq!(
            kind(&engine.transact(transaction).await),
            Some(ErrorKind::Refused),
            "{sql}"
        );
    }
    for name in ["", "nosuch", "../carts", "carts.db", "/etc/passwd"] {
        let transaction = Transaction::new(name, vec![Statement::new("SELECT 1")]);
        assert_eq!(
            kind(&engine.transact(transaction).await),
            Some(ErrorKind::Refused),
            "{name}"
        );
    }
    // A transaction whose result is too large is not committed.
    let large = Statement::new("SELECT hex(zeroblob(4000000))");
    let outcome = engine
        .transact(Transaction::new(
            "carts",
            vec![Statement::new(INSERT).bind("x"), large],
        ))
        .await;
    assert_eq!(kind(&outcome), Some(ErrorKind::Refused));
    assert!(ids(&database).await.is_empty());
    // A reader can't write.
    assert!(database.read(Statement::new(INSERT).bind("x")).await.is_err());
}

#[tokio::test]
async fn values_of_every_class_round_trip() {
    let directory = TempDir::new().unwrap();
    let (_engine, database) = local(directory.path()).await;
    let values = vec![
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Real(1.5),
        Value::Text("ünï\u{1F980}".into()),
        Value::Text(String::new()),
        Value::Blob(vec![0, 255]),
        Value::Blob(Vec::new()),
    ];
    let statement = Statement {
        sql: "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7".into(),
        runs: vec![values.clone()],
    };
    assert_eq!(
        database.read(statement.clone()).await.unwrap(),
        vec![values.clone()]
    );
    assert_eq!(
        database.transact(vec![statement]).await.unwrap(),
        vec![vec![values]]
    );
}

#[tokio::test]
async fn statements_may_be_given_more_values_than_they_name() {
    let directory = TempDir::new().unwrap();
    let (_engine, database) = local(directory.path()).await;
    let select = || Statement::new("SELECT ?2").bind(1_i64).bind(2_i64).bind(3_i64);
    let expected = vec![vec![Value::Integer(2)]];
    assert_eq!(database.read(select()).await.unwrap(), expected);
    assert_eq!(database.transact(vec![select()]).await.unwrap(), [expected]);
}

#[tokio::test]
async fn a_statement_runs_once_for_each_list_of_values() {
    let directory = TempDir::new().unwrap();
    let (_engine, database) = local(directory.path()).await;
    let inserts = |ids: &[&str]| Statement::each(INSERT, ids.iter().map(|id| vec![(*id).into()]).collect());
    let row = |id: &str| vec![Value::Text(id.to_owned())];
    let rows = database.transact(vec![inserts(&["a", "b"]), inserts(&[])]).await;
    assert_eq!(rows.unwrap(), [vec![row("a"), row("b")], vec![]]);
    // One run that fails undoes the others.
    let refused = database.transact(vec![inserts(&["c", "a"])]).await;
    assert_eq!(kind(&refused), Some(ErrorKind::Refused));
    let select = "SELECT id FROM documents WHERE id = ?1";
    let found = Statement::each(select, vec![vec!["b".into()], vec!["c".into()], vec!["a".into()]]);
    assert_eq!(database.read(found).await.unwrap(), [row("b"), row("a")]);
}

/// A read whose caller has gone ends, and gives its connection back.
#[tokio::test]
async fn abandoned_reads_hold_up_no_other() {
    let directory = TempDir::new().unwrap();
    let (_engine, database) = local(directory.path()).await;
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    for _ in 0..2 * READERS {
        let mut read = pin!(database.read(Statement::new(endless)));
        assert!(futures::poll!(&mut read).is_pending());
    }
    assert!(ids(&database).await.is_empty());
}

mod migrations {
    use rusqlite::Connection;

    use super::*;

    const FIRST: &str =
        "CREATE TABLE documents (id TEXT PRIMARY KEY) STRICT; INSERT INTO documents VALUES ('first')";
    const SECOND: &str = "INSERT INTO documents VALUES ('second')";

    static BOTH: &[Schema] = &[Schema {
        name: "carts",
        migrations: &[FIRST, SECOND],
        formers: &[],
    }];
    static BROKEN: &[Schema] = &[Schema {
        name: "carts",
        migrations: &[FIRST, SECOND, "INSERT INTO documents VALUES ('third'); nonsense"],
        formers: &[],
    }];

    async fn opened(directory: &Path, schemas: &'static [Schema]) -> Result<BTreeSet<String>, Error> {
        let engine = Engine::open(directory, schemas).unwrap();
        let writer = Writer::in_process(engine.clone());
        let found = match Database::open(&writer, directory, "carts").await {
            Ok(database) => Ok(ids(&database).await),
            Err(error) => Err(error),
        };
        engine.close().await;
        found
    }

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    /// The version before this counted migrations in a table.
    #[tokio::test]
    async fn the_number_of_the_old_table_is_taken_over() {
        let directory = TempDir::new().unwrap();
        let file = Connection::open(directory.path().join("carts.db")).unwrap();
        file.execute_batch(
            "CREATE TABLE _sqlx_migrations (
                version BIGINT PRIMARY KEY,
                description TEXT NOT NULL,
                installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
                success BOOLEAN NOT NULL,
                checksum BLOB NOT NULL,
                execution_time BIGINT NOT NULL
            );
            INSERT INTO _sqlx_migrations VALUES (1, 'carts', '2026-11-27 00:00:00', TRUE, x'00', 1);
            CREATE TABLE documents (id TEXT PRIMARY KEY) STRICT;
            INSERT INTO documents VALUES ('kept')",
        )
        .unwrap();
        drop(file);
        for _ in 0..2 {
            assert_eq!(
                opened(directory.path(), BOTH).await.unwrap(),
                set(&["kept", "second"])
            );
        }
        let file = Connection::open(directory.path().join("carts.db")).unwrap();
        let version: u32 = file
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        assert_eq!(version, 2);
        assert!(!file.table_exists(None, "_sqlx_migrations").unwrap());
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused() {
        let directory = TempDir::new().unwrap();
        opened(directory.path(), BOTH).await.unwrap();
        let error = opened(directory.path(), SCHEMAS).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        let expected =
            "the database carts has version 2 of its schema, and this program knows 1: start a newer one";
        assert_eq!(error.to_string(), expected);
    }

    static MERGED: &[Schema] = &[Schema {
        name: "carts",
        migrations: &[FIRST],
        formers: &[Former {
            schema: Schema {
                name: "baskets",
                migrations: &[
                    "CREATE TABLE baskets (id TEXT) STRICT",
                    "INSERT INTO baskets VALUES ('migrated')",
                ],
                formers: &[],
            },
            copy: "INSERT INTO documents (id) SELECT id FROM former.baskets",
        }],
    }];

    /// The file as the version before left it: without the second migration, and with a row of its own.
    fn former_file(directory: &Path) {
        let file = Connection::open(directory.join("baskets.db")).unwrap();
        file.execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE baskets (id TEXT) STRICT;
             INSERT INTO baskets VALUES ('kept'); PRAGMA user_version = 1",
        )
        .unwrap();
    }

    #[tokio::test]
    async fn the_rows_of_a_former_file_are_taken_over_once() {
        let directory = TempDir::new().unwrap();
        former_file(directory.path());
        let taken = set(&["first", "kept", "migrated"]);
        assert_eq!(opened(directory.path(), MERGED).await.unwrap(), taken);
        let file = directory.path().join("baskets.db");
        assert!(!file.exists());
        // As if the process had ended between the copy and the removal.
        former_file(directory.path());
        assert_eq!(opened(directory.path(), MERGED).await.unwrap(), taken);
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn a_former_file_that_can_not_be_copied_is_kept() {
        let directory = TempDir::new().unwrap();
        let file = Connection::open(directory.path().join("baskets.db")).unwrap();
        file.execute_batch("CREATE TABLE baskets (id TEXT) STRICT; INSERT INTO baskets VALUES ('first')")
            .unwrap();
        file.pragma_update(None, "user_version", 2).unwrap();
        for _ in 0..2 {
            let error = opened(directory.path(), MERGED).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unavailable);
            assert!(error.to_string().contains("UNIQUE"), "{error}");
            assert!(file.table_exists(None, "baskets").unwrap());
        }
    }

    #[tokio::test]
    async fn a_migration_that_fails_changes_nothing() {
        let directory = TempDir::new().unwrap();
        opened(directory.path(), BROKEN).await.unwrap_err();
        let found = opened(directory.path(), BOTH).await.unwrap();
        assert_eq!(found, set(&["first", "second"]));
    }
}

/// Store processes as tasks of this test.
pub(super) struct Servers {
    directory: PathBuf,
    schemas: &'static [Schema],
    limits: ServerLimits,
    started: AtomicUsize,
    current: Mutex<Option<JoinHandle<Result<(), ServerError>>>>,
}

impl Servers {
    pub(super) fn new(directory: &Path, schemas: &'static [Schema], limits: ServerLimits) -> Arc<Self> {
        Arc::new(Self {
            directory: directory.to_owned(),
            schemas,
            limits,
            started: AtomicUsize::new(0),
            current: Mutex::new(None),
        })
    }

    pub(super) fn spawner(self: &Arc<Self>) -> Spawner {
        let servers = Arc::clone(self);
        Arc::new(move || {
            // As in a process: another engine may already serve the directory.
            if let Ok(engine) = Engine::open(&servers.directory, servers.schemas) {
                servers.started.fetch_add(1, Ordering::Relaxed);
                let socket = socket_path(&servers.directory);
                let limits = servers.limits;
                *servers.current.lock().unwrap() = Some(tokio::spawn(async move {
                    server::serve(engine, &socket, pending(), limits).await
                }));
            }
            Ok(())
        })
    }

    fn take(&self) -> JoinHandle<Result<(), ServerError>> {
        self.current.lock().unwrap().take().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_share_a_server_that_exits_after_the_last() {
    let directory = TempDir::new().unwrap();
    let servers = Servers::new(
        directory.path(),
        SCHEMAS,
        ServerLimits {
            // Longer than a greeting may take, so that a client whose first attempt is late finds the same server.
            idle: Duration::from_secs(3),
            ..ServerLimits::default()
        },
    );
    let clients: Vec<Writer> = join_all((0..3).map(|_| Writer::connect(directory.path(), servers.spawner())))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(servers.started.load(Ordering::Relaxed), 1);
    let database = Database::open(&clients[0], directory.path(), "carts")
        .await
        .unwrap();
    join_all(clients.iter().enumerate().flat_map(|(client, writer)| {
        let database = &database;
        (0..100).map(move |number| async move {
            let id = format!("{client}-{number}");
            write(writer, &id).await.unwrap();
            // An acknowledged write can be read.
            assert!(ids(database).await.contains(&id));
            assert_eq!(kind(&write(writer, &id).await), Some(ErrorKind::Refused));
        })
    }))
    .await;
    assert_eq!(ids(&database).await.len(), 300);
    drop((clients, database));
    servers.take().await.unwrap().unwrap();
    assert!(!socket_path(directory.path()).exists());
    Engine::open(directory.path(), SCHEMAS).unwrap();
}

#[tokio::test]
async fn a_server_without_clients_exits() {
    let directory = TempDir::new().unwrap();
    let engine = Engine::open(directory.path(), SCHEMAS).unwrap();
    let limits = ServerLimits {
        first_client: Duration::ZERO,
        ..ServerLimits::default()
    };
    server::serve(engine, &socket_path(directory.path()), pending(), limits)
        .await
        .unwrap();
}

#[derive(Debug, PartialEq)]
enum Fate {
    Acknowledged,
    Unknown,
    NotWritten,
}

/// The server's task is aborted several times during a stream of writes. Acknowledged writes are stored, unavailable ones
/// are not, and the clients connect to the next server by themselves. (A process that is killed: `tests/store.rs`.)
#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_server_loses_no_acknowledged_write() {
    const ABORTS: usize = 3;
    let directory = TempDir::new().unwrap();
    let servers = Servers::new(directory.path(), SCHEMAS, ServerLimits::default());
    let writer = Writer::connect(directory.path(), servers.spawner())
        .await
        .unwrap();
    let database = Database::open(&writer, directory.path(), "carts").await.unwrap();
    let acknowledged = AtomicUsize::new(0);
    let stop = CancellationToken::new();
    let stream = |task: usize| {
        let (writer, stop, acknowledged) = (&writer, &stop, &acknowledged);
        async move {
            let mut fates = Vec::new();
            for number in 0.. {
                if stop.is_cancelled() {
                    break;
                }
                let id = format!("{task}-{number}");
                let fate = match write(writer, &id).await {
                    Ok(_) => {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                        Fate::Acknowledged
                    }
                    Err(error) => match error.kind {
                        ErrorKind::OutcomeUnknown => Fate::Unknown,
                        ErrorKind::Unavailable => Fate::NotWritten,
                        ErrorKind::Refused => panic!("{error}"),
                    },
                };
                fates.push((id, fate));
            }
            fates
        }
    };
    let abort = async {
        for round in 0..=ABORTS {
            let target = acknowledged.load(Ordering::Relaxed) + 100;
            while acknowledged.load(Ordering::Relaxed) < target {
                tokio::task::yield_now().await;
            }
            if round < ABORTS {
                let server = servers.take();
                server.abort();
                assert!(server.await.unwrap_err().is_cancelled());
            }
        }
        stop.cancel();
    };
    let (fates, ()) = tokio::join!(join_all((0..16).map(stream)), abort);
    assert_eq!(servers.started.load(Ordering::Relaxed), ABORTS + 1);
    let stored = ids(&database).await;
    let mut unknown = 0;
    for (id, fate) in fates.into_iter().flatten() {
        match fate {
            Fate::Acknowledged => assert!(stored.contains(&id), "{id} was acknowledged and lost"),
            Fate::NotWritten => assert!(!stored.contains(&id), "{id} was refused and written"),
            Fate::Unknown => unknown += 1,
        }
    }
    assert!(unknown > 0, "no server was aborted in the middle of a write");
}

/// A client that sends what the test wants.
pub(super) async fn raw_client(directory: &Path) -> UnixStream {
    UnixStream::connect(socket_path(directory)).await.unwrap()
}

pub(super) fn frame(id: u64, command: Command) -> Vec<u8> {
    let body = protocol::encode(&Request { id, command }).unwrap();
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes(), &body[..]].concat()
}

pub(super) fn hello(directory: &Path, version: u32) -> Vec<u8> {
    let directory = directory.canonicalize().unwrap().display().to_string();
    frame(1, Command::Hello { version, directory })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_disconnected() {
    let directory = TempDir::new().unwrap();
    let servers = Servers::new(
        directory.path(),
        SCHEMAS,
        ServerLimits {
            write: Duration::from_millis(50),
            ..ServerLimits::default()
        },
    );
    let writer = Writer::connect(directory.path(), servers.spawner())
        .await
        .unwrap();
    let database = Database::open(&writer, directory.path(), "carts").await.unwrap();
    let mut stalled = raw_client(directory.path()).await;
    stalled
        .write_all(&hello(directory.path(), protocol::VERSION))
        .await
        .unwrap();
    let large = Statement::new("SELECT hex(zeroblob(500000))");
    let request = frame(2, Command::Transact(Transaction::new("carts", vec![large])));
    // Writes until the server closes: it reads no further request while its replies are not read.
    let closed = async { while stalled.write_all(&request).await.is_ok() {} };
    let others = async {
        for number in 0..100 {
            write(&writer, &format!("id{number}")).await.unwrap();
        }
    };
    tokio::join!(closed, others);
    assert_eq!(ids(&database).await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_the_protocol_is_disconnected() {
    let directory = TempDir::new().unwrap();
    let servers = Servers::new(directory.path(), SCHEMAS, ServerLimits::default());
    let writer = Writer::connect(directory.path(), servers.spawner())
        .await
        .unwrap();
    // Not a message, and a frame of 4 GiB.
    for bytes in [&[0, 0, 0, 3, 9, 9, 9][..], &u32::MAX.to_be_bytes()] {
        let mut client = raw_client(directory.path()).await;
        client.write_all(bytes).await.unwrap();
        assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0);
    }
    let mut newer = raw_client(directory.path()).await;
    newer
        .write_all(&hello(directory.path(), protocol::VERSION + 1))
        .await
        .unwrap();
    let mut responses = pin!(protocol::messages(newer));
    let response: Response = responses.try_next().await.unwrap().unwrap();
    assert_eq!(
        Error::from(response.outcome.unwrap_err()).kind,
        ErrorKind::Refused
    );
    writer.open("carts").await.unwrap();
    write(&writer, "last").await.unwrap();
}

#[test]
fn a_socket_path_is_never_too_long() {
    let directory = TempDir::new().unwrap();
    let short = directory.path().canonicalize().unwrap();
    assert_eq!(socket_path(&short), short.join("store.sock"));
    let deep = short.join("a".repeat(90));
    std::fs::create_dir(&deep).unwrap();
    let path = socket_path(&deep);
    assert!(path.as_os_str().len() < 104, "{}", path.display());
    assert_ne!(path, socket_path(&short.join("b".repeat(90))));
}
