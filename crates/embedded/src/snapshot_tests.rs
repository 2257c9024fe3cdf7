//! Snapshots of several databases while others write, and what is restored from them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::limits::ServerLimits;
use super::protocol::{self, Command, Response};
use super::tests::{Servers, frame, hello, raw_client};
use super::*;

const FIRST: &str = "first";
const SECOND: &str = "second";

const fn schema(name: &'static str) -> Schema {
    Schema {
        name,
        migrations: &["CREATE TABLE numbers (number INTEGER PRIMARY KEY, filling BLOB) STRICT"],
        formers: &[],
    }
}

static SCHEMAS: &[Schema] = &[schema(FIRST), schema(SECOND), schema("absent")];

/// Longer than a page, so that a copy takes several steps.
const FILLING: usize = 8_192;

/// Snapshots that are taken while others write.
const SNAPSHOTS: usize = 12;

async fn insert(writer: &Writer, database: &'static str, number: i64) -> Result<Vec<Rows>, Error> {
    let statement = Statement::new("INSERT INTO numbers (number, filling) VALUES (?1, ?2)")
        .bind(number)
        .bind(Value::Blob(vec![7; FILLING]));
    writer.transact(database, vec![statement]).await
}

/// The highest number of a copy, all before it being there; -1 where it has none.
fn highest(folder: &Path, database: &str) -> i64 {
    let file = folder.join(format!("{database}.db"));
    let copy = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let (highest, count): (i64, i64) = copy
        .query_row(
            "SELECT coalesce(max(number), -1), count(*) FROM numbers",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(count, highest + 1, "{database} has gaps");
    highest
}

/// Writes 0, 1, 2, … into both databases, each into the second only when the first has acknowledged it.
async fn write_until(writer: Writer, stop: CancellationToken, acknowledged: Arc<AtomicI64>) {
    for number in 0.. {
        insert(&writer, FIRST, number).await.unwrap();
        insert(&writer, SECOND, number).await.unwrap();
        acknowledged.store(number, Ordering::SeqCst);
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Every snapshot has what was acknowledged before it, nothing that was begun after it, and both databases at one moment.
async fn are_of_one_moment(directory: &Path, writer: Writer, backup: Writer) {
    let (stop, acknowledged) = (CancellationToken::new(), Arc::new(AtomicI64::new(-1)));
    let mut writing = JoinSet::new();
    writing.spawn(write_until(writer, stop.clone(), Arc::clone(&acknowledged)));
    for _ in 0..SNAPSHOTS {
        let before = acknowledged.load(Ordering::SeqCst);
        let snapshot = Snapshot::take(&backup, directory, &[FIRST, SECOND])
            .await
            .unwrap();
        // The next one is acknowledged after the snapshot.
        let after = acknowledged.load(Ordering::SeqCst) + 1;
        // What is written meanwhile does not get in.
        while acknowledged.load(Ordering::SeqCst) <= after {
            tokio::task::yield_now().await;
        }
        let copies = TempDir::new().unwrap();
        let sizes: u64 = snapshot.sizes().unwrap().iter().map(|(_, size)| size).sum();
        let mut copied = 0;
        snapshot.copy(copies.path(), |bytes| copied += bytes).unwrap();
        assert_eq!(copied, sizes, "the progress adds up");
        let (first, second) = (highest(copies.path(), FIRST), highest(copies.path(), SECOND));
        assert!(second == first || second == first - 1, "{first} and {second}");
        assert!(
            before <= second && first <= after,
            "{before} <= {second}, {first} <= {after}"
        );
        assert!(!copies.path().join("absent.db").exists());
    }
    stop.cancel();
    writing.join_all().await;
    assert!(!directory.join("absent.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_an_engine_are_of_one_moment() {
    let directory = TempDir::new().unwrap();
    let writer = Writer::in_process(Engine::open(directory.path(), SCHEMAS).unwrap());
    are_of_one_moment(directory.path(), writer.clone(), writer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_through_the_store_process_are_of_one_moment() {
    let directory = TempDir::new().unwrap();
    let servers = Servers::new(directory.path(), SCHEMAS, ServerLimits::default());
    let connect = async || {
        Writer::connect(directory.path(), servers.spawner())
            .await
            .unwrap()
    };
    let (writer, backup) = (connect().await, connect().await);
    are_of_one_moment(directory.path(), writer, backup).await;
}

/// Reads that are made during a pause: many times as long as a write takes without one.
const READS: usize = 100;

async fn count(database: &Database) -> Value {
    let rows = database
        .read(Statement::new("SELECT count(*) FROM numbers"))
        .await;
    rows.unwrap().remove(0).remove(0)
}

/// Repeated where the pause was over before the reads were, as on a machine that is very busy.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_during_a_pause() {
    let directory = TempDir::new().unwrap();
    let writer = Writer::in_process(Engine::open(directory.path(), SCHEMAS).unwrap());
    let second = Database::open(&writer, directory.path(), SECOND).await.unwrap();
    for number in 0.. {
        let pause = writer.pause(&[FIRST, SECOND]).await.unwrap();
        let other = writer.clone();
        let writing = tokio::spawn(async move { insert(&other, SECOND, number).await });
        let mut seen = BTreeSet::new();
        for _ in 0..READS {
            seen.insert(format!("{:?}", count(&second).await));
        }
        let is_written = writing.is_finished();
        let lasted = pause.end().await.is_ok();
        writing.await.unwrap().unwrap();
        if lasted {
            assert!(!is_written && seen.len() == 1, "{seen:?}");
            return;
        }
    }
}

async fn reply(stream: &mut tokio::net::UnixStream) -> Response {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.unwrap();
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).await.unwrap();
    souk_wire::decode(&body).unwrap()
}

/// Whoever asks for a pause and then does nothing holds the writers up for the limit of a pause only, and learns of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_pause_ends() {
    let directory = TempDir::new().unwrap();
    let servers = Servers::new(directory.path(), SCHEMAS, ServerLimits::default());
    let writer = Writer::connect(directory.path(), servers.spawner())
        .await
        .unwrap();
    let mut forgetful = raw_client(directory.path()).await;
    let pause = Command::Pause(vec![FIRST.to_owned(), SECOND.to_owned()]);
    for request in [hello(directory.path(), protocol::VERSION), frame(2, pause)] {
        forgetful.write_all(&request).await.unwrap();
        assert!(reply(&mut forgetful).await.outcome.is_ok());
    }
    insert(&writer, FIRST, 0).await.unwrap();
    insert(&writer, SECOND, 0).await.unwrap();
    forgetful.write_all(&frame(3, Command::Resume)).await.unwrap();
    let late: Error = reply(&mut forgetful).await.outcome.unwrap_err().into();
    assert_eq!(late.kind, ErrorKind::Unavailable);
    // Another one is not held up by it.
    Snapshot::take(&writer, directory.path(), &[FIRST]).await.unwrap();
}

/// A pause ends with the connection that asked for it; and one that lasts is waited for by the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_with_its_connection() {
    let directory = TempDir::new().unwrap();
    let servers = Servers::new(directory.path(), SCHEMAS, ServerLimits::default());
    let writer = Writer::connect(directory.path(), servers.spawner())
        .await
        .unwrap();
    let mut stream = raw_client(directory.path()).await;
    stream
        .write_all(&hello(directory.path(), protocol::VERSION))
        .await
        .unwrap();
    let pause = Command::Pause(vec![FIRST.to_owned()]);
    stream.write_all(&frame(2, pause)).await.unwrap();
    assert!(reply(&mut stream).await.outcome.is_ok());
    assert!(reply(&mut stream).await.outcome.is_ok());
    drop(stream);
    insert(&writer, FIRST, 0).await.unwrap();
    Snapshot::take(&writer, directory.path(), &[FIRST, SECOND])
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_without_a_beginning_is_refused() {
    let directory = TempDir::new().unwrap();
    let servers = Servers::new(directory.path(), SCHEMAS, ServerLimits::default());
    let writer = Writer::connect(directory.path(), servers.spawner())
        .await
        .unwrap();
    let mut stream = raw_client(directory.path()).await;
    let unknown = Command::Pause(vec!["nothing".to_owned()]);
    for request in [
        hello(directory.path(), protocol::VERSION),
        frame(2, Command::Resume),
        frame(3, unknown),
    ] {
        stream.write_all(&request).await.unwrap();
    }
    assert!(reply(&mut stream).await.outcome.is_ok());
    for _ in 0..2 {
        let refused: Error = reply(&mut stream).await.outcome.unwrap_err().into();
        assert_eq!(refused.kind, ErrorKind::Refused);
    }
    insert(&writer, FIRST, 0).await.unwrap();
}

/// A snapshot with one number in the second database.
async fn backup() -> TempDir {
    let (directory, copies) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let writer = Writer::in_process(Engine::open(directory.path(), SCHEMAS).unwrap());
    writer.open(SECOND).await.unwrap();
    insert(&writer, SECOND, 0).await.unwrap();
    let snapshot = Snapshot::take(&writer, directory.path(), &[FIRST, SECOND])
        .await
        .unwrap();
    snapshot.copy(copies.path(), |_| {}).unwrap();
    copies
}

#[tokio::test]
async fn a_restored_directory_has_the_rows_and_can_be_written() {
    let (copies, directory) = (backup().await, TempDir::new().unwrap());
    restore(copies.path(), directory.path(), SCHEMAS, &[FIRST, SECOND], |_| {}).unwrap();
    assert_eq!(highest(directory.path(), SECOND), 0);
    let again = restore(copies.path(), directory.path(), SCHEMAS, &[FIRST, SECOND], |_| {}).unwrap_err();
    assert!(matches!(again, RestoreError::Exists { .. }), "{again}");
    let engine = Engine::open(directory.path(), SCHEMAS).unwrap();
    let held = restore(copies.path(), directory.path(), SCHEMAS, &[FIRST], |_| {}).unwrap_err();
    assert!(
        matches!(held, RestoreError::Directory(OpenError::Held { .. })),
        "{held}"
    );
    let writer = Writer::in_process(engine);
    insert(&writer, FIRST, 0).await.unwrap();
    insert(&writer, SECOND, 1).await.unwrap();
    drop(writer);
}

/// What was restored in part is served to nobody, and the next restore begins anew.
#[tokio::test]
async fn a_restore_that_was_interrupted_is_done_again() {
    let (copies, directory) = (backup().await, TempDir::new().unwrap());
    let lacking = restore(
        copies.path(),
        directory.path(),
        SCHEMAS,
        &[SECOND, "absent"],
        |_| {},
    )
    .unwrap_err();
    assert!(matches!(lacking, RestoreError::File { .. }), "{lacking}");
    assert!(directory.path().join("second.db").exists());
    let opened = Engine::open(directory.path(), SCHEMAS).err().unwrap();
    assert!(matches!(opened, OpenError::HalfRestored { .. }), "{opened}");
    restore(copies.path(), directory.path(), SCHEMAS, &[FIRST, SECOND], |_| {}).unwrap();
    assert_eq!(highest(directory.path(), FIRST), -1);
    assert_eq!(highest(directory.path(), SECOND), 0);
    Engine::open(directory.path(), SCHEMAS).unwrap();
}
