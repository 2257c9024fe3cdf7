//! The store process, killed: what it has acknowledged is there, and every transaction is there as a whole or not at all.
//!
//! It is the real one, `souk store`, which dies by SIGKILL in the middle of its work; what it does within one process is
//! tested beside its code.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use rustix::process::Signal;
use souk::stores::sql::SqlDatabase;
use souk::stores::sqlite::Database;
use souk_embedded::{ErrorKind, Spawner, Statement, Writer};

use support::command::{run, souk, text};
use support::waiting::{eventually, within};

/// How often the process is killed.
const KILLS: usize = 12;
/// Transactions acknowledged between two kills.
const BETWEEN: usize = 100;
/// Writers at once, so that many transactions are under way whenever the process dies.
const WRITERS: usize = 16;
/// Rows of one transaction.
const PARTS: usize = 2;
/// Bytes of a row: more than a page of the file, so that a row that was torn would show.
const ROW_BYTES: usize = 6_000;
/// Longest time for anything here that happens by itself.
const LIMIT: Duration = Duration::from_secs(120);

const INSERT: &str =
    "INSERT INTO carts_documents (id, shard, version, fence, mark, body) VALUES (?1, 0, 1, 0, 'm', ?2)";
const PAGE: &str = "SELECT id, body FROM carts_documents WHERE id > ?1 ORDER BY id LIMIT 500";

/// The store processes of one folder, as clients start them; killed when this is dropped.
struct Processes {
    folder: PathBuf,
    log: File,
    started: Mutex<Vec<Child>>,
}

impl Processes {
    fn of(folder: &Path) -> Arc<Self> {
        Arc::new(Self {
            folder: folder.to_owned(),
            log: File::create(folder.join("store.log")).expect("a log can be made"),
            started: Mutex::default(),
        })
    }

    fn spawner(self: &Arc<Self>) -> Spawner {
        let processes = Arc::clone(self);
        Arc::new(move || {
            let child = souk(&["store", "--data", text(&processes.folder)], &[])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(processes.log.try_clone()?)
                .spawn()?;
            processes.lock().push(child);
            Ok(())
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Child>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills whatever runs; how many of them a signal ended. (One that was started too many has left by itself.)
    fn kill(&self) -> usize {
        self.lock()
            .drain(..)
            .filter_map(|mut child| {
                child.kill().ok()?;
                child.wait().ok()
            })
            .filter(|status| status.signal() == Some(Signal::KILL.as_raw()))
            .count()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the writer of a transaction was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Acknowledged,
    Unknown,
    NotWritten,
}

/// A row's content, which tells whose it is from its first byte to its last.
fn body(id: &str) -> String {
    format!("{id}.").repeat(ROW_BYTES / (id.len() + 1))
}

fn part(id: &str, number: usize) -> String {
    format!("{id}/{number}")
}

async fn write(writer: &Writer, id: &str) -> Told {
    let row = |number| {
        let id = part(id, number);
        let content = body(&id);
        Statement::new(INSERT).bind(id).bind(content)
    };
    let rows = (0..PARTS).map(row).collect();
    match writer.transact("shop", rows).await {
        Ok(_) => Told::Acknowledged,
        Err(error) => match error.kind {
            ErrorKind::OutcomeUnknown => Told::Unknown,
            ErrorKind::Unavailable => Told::NotWritten,
            ErrorKind::Refused => panic!("{id}: {error}"),
        },
    }
}

async fn rows(database: &Database) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    loop {
        let last = found.keys().next_back().cloned().unwrap_or_default();
        let rows = database
            .read(Statement::new(PAGE).bind(last))
            .await
            .expect("the file can be read");
        if rows.is_empty() {
            return found;
        }
        let page = database.decode(rows, |row| Ok((row.text("id")?, row.text("body")?)));
        found.extend(page.expect("rows of texts"));
    }
}

async fn reached<T, E: Debug>(what: &str, attempt: impl AsyncFn() -> Result<T, E>) -> T {
    eventually(what, LIMIT, async || {
        attempt().await.map_err(|error| format!("{error:?}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_store_process_loses_no_acknowledged_write() {
    let folder = tempfile::Builder::new()
        .prefix("souk-test-")
        .tempdir()
        .expect("a temporary folder can be made");
    let processes = Processes::of(folder.path());
    let writer = reached("the store process listens", async || {
        Writer::connect(folder.path(), processes.spawner()).await
    })
    .await;
    let database = reached("the carts are open", async || {
        Database::open(&writer, folder.path(), "shop").await
    })
    .await;

    let (acknowledged, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let writing = |number: usize| {
        let (writer, acknowledged, over) = (&writer, &acknowledged, &over);
        async move {
            let mut told = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let id = format!("{number}-{}", told.len());
                let fate = write(writer, &id).await;
                acknowledged.fetch_add(usize::from(fate == Told::Acknowledged), Ordering::Relaxed);
                told.push((id, fate));
            }
            told
        }
    };
    let killing = async {
        for kill in 0..=KILLS {
            let goal = acknowledged.load(Ordering::Relaxed) + BETWEEN;
            eventually(
                "writes are acknowledged again",
                LIMIT,
                async || match acknowledged.load(Ordering::Relaxed) {
                    so_far if so_far < goal => Err(format!("{so_far} of {goal} after {kill} kills")),
                    _ => Ok(()),
                },
            )
            .await;
            if kill < KILLS {
                assert!(processes.kill() > 0, "no store process was there to be killed");
            }
        }
        over.store(true, Ordering::Relaxed);
    };
    let (told, ()) = within("the writers' last replies", LIMIT * 2, async {
        tokio::join!(join_all((0..WRITERS).map(writing)), killing)
    })
    .await;
    let told: Vec<(String, Told)> = told.into_iter().flatten().collect();

    // The last one too, and nobody but a new one has the files now.
    drop((writer, database));
    assert!(processes.kill() > 0, "the last process was there");
    let writer = reached("a new store process listens", async || {
        Writer::connect(folder.path(), processes.spawner()).await
    })
    .await;
    let database = reached("the carts are open again", async || {
        Database::open(&writer, folder.path(), "shop").await
    })
    .await;
    let stored = rows(&database).await;
    for (id, content) in &stored {
        assert_eq!(content, &body(id), "{id} is not whole");
    }
    let mut counts = [0; 3];
    for (id, told) in &told {
        let there = (0..PARTS)
            .filter(|number| stored.contains_key(&part(id, *number)))
            .count();
        match told {
            Told::Acknowledged => assert_eq!(there, PARTS, "{id} was acknowledged and lost"),
            Told::NotWritten => assert_eq!(there, 0, "{id} was refused and written"),
            Told::Unknown => assert!([0, PARTS].contains(&there), "{id} was written by halves"),
        }
        counts[*told as usize] += 1;
    }
    let [acknowledged, unknown, not_written] = counts;
    println!(
        "{KILLS} kills: {acknowledged} transactions acknowledged, {unknown} with an unknown outcome, {not_written} not written"
    );
    assert!(acknowledged >= KILLS * BETWEEN);
    assert!(
        unknown > 0,
        "the process never died while a write was under way: this test has shown nothing"
    );
    let integrity = database.read(Statement::new("PRAGMA integrity_check")).await;
    assert_eq!(
        format!("{:?}", integrity.expect("a check of the file")),
        r#"[[Text("ok")]]"#
    );
}

#[tokio::test]
async fn a_staying_store_process_outlives_its_clients() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = text(folder.path()).to_owned();
    let mut staying = souk(&["store", "--data", &data, "--stay"], &[])
        .stdin(Stdio::null())
        .spawn()
        .expect("it starts");
    let socket = souk_embedded::socket_path(folder.path());
    // The file alone does not say so: it is there a moment before connections are accepted.
    eventually("it listens", LIMIT, async || {
        std::os::unix::net::UnixStream::connect(&socket).map(drop)
    })
    .await;
    // A client that comes and goes; whoever finds nobody would start another one, which is an error here.
    let nobody: Spawner = Arc::new(|| Err(std::io::Error::other("it was not there")));
    drop(Writer::connect(folder.path(), nobody).await.expect("it serves"));
    let second = run(&["store", "--data", &data, "--stay"], &[]).await.expect(1);
    assert!(second.stderr.contains("another process writes to"), "{second:?}");
    run(&["store", "--data", &data], &[]).await.expect(0);
    assert!(staying.try_wait().expect("its status").is_none(), "it left");
    let pid = rustix::process::Pid::from_raw(staying.id().cast_signed()).expect("its pid");
    rustix::process::kill_process(pid, Signal::TERM).expect("it can be told");
    let status = staying.wait().expect("it ends");
    assert!(status.success(), "{status}");
}
