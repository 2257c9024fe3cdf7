//! The contract, plans, and writes whose answer is lost.

use std::time::Duration;

use serde_json::json;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Row as _, raw_sql};
use tokio::task::JoinHandle;

use super::*;
use crate::stores::documents::contract::{self, CONSUMERS, emitting, write};
use crate::stores::documents::mysql_sql::{
    DELIVERABLE, DELIVERED, DEPTH, FORGET, LEDGER, LOCK_DEAD_LETTERS, PENDING, RETRY,
};
use crate::stores::documents::outbox::Outbox;
use crate::stores::mysql::testing::TestDatabase;
use souk_embedded::{Statement, Value};

async fn open(database: &TestDatabase, name: &'static str) -> MysqlDocuments {
    let consumers = if name == "orders" { CONSUMERS } else { &[] };
    MysqlDocuments::open(database.url(), name, consumers)
        .await
        .unwrap()
}

async fn run(session: &mut MySqlConnection, sql: &str) {
    raw_sql(AssertSqlSafe(sql)).execute(session).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    // Two stores in one database.
    for name in ["carts", "orders"] {
        contract::rows(Arc::new(open(&database, name).await)).await;
    }
    let carts = open(&database, "carts").await;
    contract::reseals(&carts).await;
    let orders = open(&database, "orders").await;
    contract::events(&orders, &orders).await;
}

/// Rows of which one hexadecimal literal is more than a statement may have.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_statement_can_hold_is_refused_alone() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let store = open(&database, "carts").await;
    let mut batch = ["small", "most", "more", "k"].map(|id| write(id, 0));
    batch[1].document.body = "x".repeat(ROW_LIMIT);
    batch[2].document.body = "x".repeat(ROW_LIMIT + 1);
    batch[3].document.id = "k".repeat(KEY_LIMIT + 1);
    let outcomes = store.write("sizes", &batch).await.unwrap();
    assert!(
        matches!(
            outcomes[..],
            [
                WriteOutcome::Applied,
                WriteOutcome::Applied,
                WriteOutcome::Refused(_),
                WriteOutcome::Refused(_)
            ]
        ),
        "{outcomes:?}"
    );
    let most = store.load("most").await.unwrap().unwrap();
    assert!(most.body == batch[1].document.body, "came back changed");
}

/// A server lists its locks anew after so long without a query of them, and otherwise shows the last list again.
const LOCKS_ARE_LISTED_ANEW: Duration = Duration::from_millis(120);
/// Sessions of this database that wait for a lock.
const WAITING: &str = "SELECT p.id FROM information_schema.innodb_trx AS t \
     JOIN information_schema.processlist AS p ON p.id = t.trx_mysql_thread_id \
     WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()";

async fn waiting(observer: &mut MySqlConnection) -> Vec<i64> {
    let rows = raw_sql(WAITING).fetch_all(observer).await.unwrap();
    rows.iter().map(|row| row.get_unchecked(0)).collect()
}

async fn until_one_waits<T>(observer: &mut MySqlConnection, work: &JoinHandle<T>) -> i64 {
    loop {
        if let [id] = waiting(observer).await[..] {
            return id;
        }
        assert!(!work.is_finished(), "the write did not wait for the lock");
        tokio::time::sleep(LOCKS_ARE_LISTED_ANEW).await;
    }
}

/// A store, and a write under the mark `lost` that replaces the row `held` and creates `free`, and waits in the middle of its second round trip for
/// what `blocker` holds.
async fn stuck(
    database: &TestDatabase,
    blocker: &mut MySqlConnection,
) -> (
    Arc<MysqlDocuments>,
    JoinHandle<Result<Vec<WriteOutcome>, StoreError>>,
) {
    let store = Arc::new(open(database, "orders").await);
    store.write("first", &[write("held", 0)]).await.unwrap();
    run(
        blocker,
        "BEGIN; INSERT INTO orders_ledger (entity, version, ordinal, shard, at, name, detail) \
         VALUES ('held', 2, 0, 7, 0, 'n', 'null')",
    )
    .await;
    let lost = tokio::spawn({
        let store = Arc::clone(&store);
        let batch = [emitting("held", 1, 7, &[(2, "two")]), write("free", 0)];
        async move { store.write("lost", &batch).await }
    });
    (store, lost)
}

fn ids() -> [String; 2] {
    ["held", "free"].map(str::to_owned)
}

/// A batch that waits for a lock is lost with its caller, who asks at once. Whether it would still have been applied is decided by the
/// answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_write_is_applied_before_the_answer_or_never() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let (mut blocker, mut observer) = (database.connect().await, database.connect().await);
    let (store, lost) = stuck(&database, &mut blocker).await;
    until_one_waits(&mut observer, &lost).await;
    lost.abort();
    assert!(lost.await.unwrap_err().is_cancelled());

    assert_eq!(store.applied("lost", &ids()).await.unwrap(), [false, false]);
    run(&mut blocker, "ROLLBACK").await;
    // The lock is free, and nobody is left to take it.
    assert_eq!(store.versions(&ids()).await.unwrap(), [1, 0]);
    assert_eq!(store.applied("lost", &ids()).await.unwrap(), [false, false]);
    let next = store.write("next", &[write("held", 1)]).await.unwrap();
    assert_eq!(next, [WriteOutcome::Applied]);
}

/// What waits longer than a statement may ends in an answer: nothing was written.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_past_its_limit_was_not_applied() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let store = open(&database, "carts").await;
    store.write("first", &[write("held", 0)]).await.unwrap();
    let mut blocker = database.connect().await;
    run(
        &mut blocker,
        "BEGIN; SELECT 1 FROM carts_documents WHERE id = 'held' FOR UPDATE",
    )
    .await;
    let late = store.write("late", &[write("held", 1)]).await;
    assert!(matches!(late, Err(StoreError::Unavailable { .. })), "{late:?}");
    // Readers wait for nobody.
    assert_eq!(store.version("held").await.unwrap(), 1);
    run(&mut blocker, "COMMIT").await;
    assert_eq!(
        store.applied("late", &["held".to_owned()]).await.unwrap(),
        [false]
    );
}

/// When the server ends a session in the middle of a write, that write is not applied, and reads go on over another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_ends_leaves_nothing() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let (mut blocker, mut observer) = (database.connect().await, database.connect().await);
    let (store, broken) = stuck(&database, &mut blocker).await;
    let id = until_one_waits(&mut observer, &broken).await;
    run(&mut observer, &format!("KILL CONNECTION {id}")).await;
    let broken = broken.await.unwrap();
    assert!(
        matches!(
            broken,
            Err(StoreError::OutcomeUnknown { .. } | StoreError::Unavailable { .. })
        ),
        "{broken:?}"
    );
    assert_eq!(store.applied("lost", &ids()).await.unwrap(), [false, false]);
    run(&mut blocker, "ROLLBACK").await;

    // All idle sessions at once, as when the server starts again.
    let own = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
    for row in raw_sql(own).fetch_all(&mut observer).await.unwrap() {
        let id: i64 = row.get_unchecked(0);
        // The one of the blocker too; some may have ended.
        let kill = format!("KILL CONNECTION {id}");
        let _ = raw_sql(AssertSqlSafe(kill)).execute(&mut observer).await;
    }
    assert_eq!(store.versions(&ids()).await.unwrap(), [1, 0]);
}

/// The server commits, and its answer gets lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_with_a_lost_answer_is_found() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let Some((proxy, url)) = database.proxied().await else {
        return;
    };
    let store = MysqlDocuments::open(&url, "carts", &[]).await.unwrap();
    contract::lost::is_found(&store, &proxy, "COMMIT").await;
}

/// The answer to the first round trip gets lost: nothing was written yet, and the write is repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lock_is_taken_again() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let Some((proxy, url)) = database.proxied().await else {
        return;
    };
    let store = MysqlDocuments::open(&url, "carts", &[]).await.unwrap();
    proxy.mute("FOR UPDATE");
    let written = store.write("mark", &[write("row", 0)]).await.unwrap();
    assert_eq!(written, [WriteOutcome::Applied]);
}

/// A write lies on its way to the server while its outcome is asked for, and arrives after the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_arrives_after_the_answer_is_not_applied() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let Some((proxy, url)) = database.proxied().await else {
        return;
    };
    let store = MysqlDocuments::open(&url, "carts", &[]).await.unwrap();
    contract::lost::is_not_applied_late(&store, &proxy, "COMMIT").await;
}

/// The queries that run all the time must not walk a table that grows for ever, whatever its size is today.
#[tokio::test(flavor = "multi_thread")]
async fn every_query_goes_by_an_index() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let store = open(&database, "orders").await;
    assert_eq!(store.consumers(), CONSUMERS);
    let event: EventId = "ord_00001.1.0".parse().unwrap();
    let (key, number, all) = (values::text("ord_00001"), "1".to_owned(), "TRUE".to_owned());
    let statements: Vec<String> = [
        (LOCK, vec![&key]),
        (LOCK_BODIES, vec![&key]),
        (LOAD_MANY, vec![&key]),
        (VERSIONS, vec![&key]),
        (APPLIED, vec![&key, &key]),
        (DUE, vec![&number, &number, &number, &number]),
        (BY_OWNER, vec![&key, &number]),
        (BY_OWNER_BEFORE, vec![&key, &number, &key]),
        (SCAN, vec![&key, &number]),
        (AT_REST, vec![&key, &number]),
        (RESEAL, vec![&key, &key]),
        (FAN_OUT, vec![&key, &is_event("", &event)]),
        (DELIVERABLE, vec![&key, &number, &number, &number]),
        (DELIVERED, vec![&key, &number]),
        (RETRY, vec![&key, &number, &number]),
        (PENDING, vec![&key, &number]),
        (LEDGER, vec![&key, &number, &number]),
        (DEPTH, vec![&key]),
        (LOCK_DEAD_LETTERS, vec![&is_event("l.", &event), &all]),
        (FORGET[0], vec![&key, &key]),
        (FORGET[1], vec![&key]),
    ]
    .map(|(sql, literals)| {
        store
            .pool
            .sql(sql, &literals.into_iter().cloned().collect::<Vec<_>>())
    })
    .into();
    let mut session = database.connect().await;
    for is_filled in [false, true] {
        if is_filled {
            let batch = |first: usize| {
                let ids = (first..first + 500).map(|row| format!("ord_{row:05}"));
                ids.map(|id| emitting(&id, 0, 7, &[(1, "one")]))
                    .collect::<Vec<_>>()
            };
            for first in [0, 500] {
                store.write("fill", &batch(first)).await.unwrap();
            }
            run(
                &mut session,
                "ANALYZE TABLE orders_documents, orders_ledger, orders_outbox",
            )
            .await;
        }
        for sql in &statements {
            let plan = store.pool.read(Statement::new(format!("EXPLAIN {sql}"))).await;
            for step in plan.unwrap_or_else(|error| panic!("{sql}: {error:?}")) {
                assert_ne!(step[3], Value::from("ALL"), "{sql}: {step:?}");
            }
        }
    }
}

/// The adapter by hand, in turns: its own statements, and the fastest one known, which needs RETURNING. For a build with optimisation,
/// on an idle machine: `cargo test --release --features mysql --lib mysql::tests::rows_a_second -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn rows_a_second() {
    const BY_HAND: &str = "INSERT INTO carts_documents (id, shard, version, fence, mark, body, created) \
         SELECT t.id, 7, t.expected + 1, 0, ?, t.body, 0 FROM JSON_TABLE(?, '$[*]' COLUMNS( \
             id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin PATH '$.id', expected BIGINT PATH '$.v', \
             body LONGTEXT PATH '$.b')) AS t \
         ON DUPLICATE KEY UPDATE \
             mark = IF(carts_documents.version = VALUES(version) - 1, VALUES(mark), carts_documents.mark), \
             body = IF(carts_documents.mark = VALUES(mark), VALUES(body), carts_documents.body), \
             version = IF(carts_documents.mark = VALUES(mark), VALUES(version), carts_documents.version) \
         RETURNING id, version, mark";
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let store = open(&database, "carts").await;
    let mut session = database.connect().await;
    run(
        &mut session,
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    )
    .await;
    let mut batches = 0_u64;
    println!("its own statements:");
    contract::throughput::compare(&store, false, async |batch| {
        batches += 1;
        let places: Vec<_> = batch.iter().enumerate().collect();
        let ids = values::texts(batch.iter().map(|write| &write.document.id));
        let lock = format!("BEGIN; {}", store.pool.sql(LOCK, &[ids]));
        let versions = raw_sql(AssertSqlSafe(lock))
            .fetch_all(&mut session)
            .await
            .unwrap();
        assert_eq!(versions.len(), batch.len());
        let statements = store.statements(&format!("by hand {batches}"), &places);
        let write = format!("{}; COMMIT", statements.unwrap().join("; "));
        run(&mut session, &write).await;
    })
    .await;
    println!("the fastest statement:");
    contract::throughput::compare(&store, false, async |batch| {
        batches += 1;
        let mark = format!("by hand {batches}");
        let row =
            |write: &DocumentWrite| json!({"id": write.document.id, "v": write.expected, "b": write.document.body});
        let input: Vec<_> = batch.iter().map(row).collect();
        let applied = sqlx::query(BY_HAND)
            .bind(mark.as_bytes())
            .bind(json!(input).to_string())
            .fetch_all(&mut session)
            .await
            .unwrap();
        let is_applied = |row: &sqlx::mysql::MySqlRow| row.get::<Vec<u8>, _>(2) == mark.as_bytes();
        assert!(applied.len() == batch.len() && applied.iter().all(is_applied));
    })
    .await;
}
