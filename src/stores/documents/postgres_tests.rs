//! The contract, plans, and writes whose answer is lost.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Row as _, raw_sql};

use super::*;
use crate::stores::documents::contract::{self, CONSUMERS, write};
use crate::stores::documents::outbox::Outbox;
use crate::stores::documents::postgres_sql::{
    DELIVERABLE, DELIVERED, DEPTH, FAILED, FORGET, LEDGER, PENDING, REPLAY,
};
use crate::stores::postgres::testing::TestDatabase;

async fn open(database: &TestDatabase, name: &'static str) -> PostgresDocuments {
    let consumers = if name == "orders" { CONSUMERS } else { &[] };
    PostgresDocuments::open(database.url(), name, consumers)
        .await
        .unwrap()
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

/// A batch that waits for a lock is lost with its caller, who asks at once. Whether it would still have been applied is decided by the
/// answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_write_is_applied_before_the_answer_or_never() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let store = Arc::new(open(&database, "carts").await);
    let ids = ["held", "free"].map(str::to_owned);
    store.write("first", &[write("held", 0)]).await.unwrap();

    let mut blocker = database.connect("carts").await;
    let lock = "BEGIN; SELECT 1 FROM documents WHERE id = 'held' FOR UPDATE";
    raw_sql(lock).execute(&mut blocker).await.unwrap();
    let lost = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.write("lost", &[write("held", 1), write("free", 0)]).await }
    });
    let mut observer = database.connect("carts").await;
    let waiting = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'souk carts' AND wait_event_type = 'Lock'";
    loop {
        let row = raw_sql(waiting).fetch_one(&mut observer).await.unwrap();
        if row.get::<i64, _>(0) == 1 {
            break;
        }
        assert!(!lost.is_finished(), "the write did not wait for the lock");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    lost.abort();
    assert!(lost.await.unwrap_err().is_cancelled());

    assert_eq!(store.applied("lost", &ids).await.unwrap(), [false, false]);
    raw_sql("COMMIT").execute(&mut blocker).await.unwrap();
    // The lock is free, and nobody is left to take it.
    let row = raw_sql(waiting).fetch_one(&mut observer).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 0);
    assert_eq!(store.versions(&ids).await.unwrap(), [1, 0]);
    assert_eq!(store.applied("lost", &ids).await.unwrap(), [false, false]);
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
    let mut blocker = database.connect("carts").await;
    let lock = "BEGIN; SELECT 1 FROM documents WHERE id = 'held' FOR UPDATE";
    raw_sql(lock).execute(&mut blocker).await.unwrap();
    let late = store.write("late", &[write("held", 1)]).await;
    assert!(
        matches!(
            late,
            Err(StoreError::Unavailable { .. } | StoreError::OutcomeUnknown { .. })
        ),
        "{late:?}"
    );
    // Readers wait for nobody.
    assert_eq!(store.version("held").await.unwrap(), 1);
    raw_sql("COMMIT").execute(&mut blocker).await.unwrap();
    assert_eq!(
        store.applied("late", &["held".to_owned()]).await.unwrap(),
        [false]
    );
}

/// When the server ends a session in the middle of a write, the outcome is unknown, and reads go on over another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_leaves_the_outcome_unknown() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let store = Arc::new(open(&database, "carts").await);
    store.write("first", &[write("held", 0)]).await.unwrap();
    let mut blocker = database.connect("carts").await;
    let lock = "BEGIN; SELECT 1 FROM documents WHERE id = 'held' FOR UPDATE";
    raw_sql(lock).execute(&mut blocker).await.unwrap();
    let broken = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.write("broken", &[write("held", 1)]).await }
    });
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'souk carts' AND wait_event_type = 'Lock'";
    let mut observer = database.connect("carts").await;
    loop {
        let row = raw_sql(terminate).fetch_one(&mut observer).await.unwrap();
        if row.get::<i64, _>(0) > 0 || broken.is_finished() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let broken = broken.await.unwrap();
    assert!(
        matches!(broken, Err(StoreError::OutcomeUnknown { .. })),
        "{broken:?}"
    );
    let ids = ["held".to_owned()];
    assert_eq!(store.applied("broken", &ids).await.unwrap(), [false]);

    // All idle sessions at once, as when the server starts again.
    let terminate = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
         WHERE datname = current_database() AND application_name = 'souk carts'";
    raw_sql(terminate).execute(&mut observer).await.unwrap();
    assert_eq!(store.versions(&ids).await.unwrap(), [1]);
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
    let store = PostgresDocuments::open(&url, "carts", &[]).await.unwrap();
    contract::lost::is_found(&store, &proxy, "").await;
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
    let store = PostgresDocuments::open(&url, "carts", &[]).await.unwrap();
    contract::lost::is_not_applied_late(&store, &proxy, "").await;
}

/// The queries that run all the time must not walk a table that grows for ever, also where their plans were made for empty
/// tables.
#[tokio::test(flavor = "multi_thread")]
async fn every_query_goes_by_an_index() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let store = open(&database, "orders").await;
    assert_eq!(store.consumers(), CONSUMERS);
    let plans = [
        (LOAD_MANY, "text[]"),
        (VERSIONS, "text[]"),
        (APPLIED, "text[], text"),
        (DUE, "int8, int8, int8[], int8"),
        (BY_OWNER, "text, int8"),
        (BY_OWNER_BEFORE, "text, int8, text"),
        (SCAN, "text, int8"),
        (AT_REST, "text, int8"),
        (RESEAL, "text[], text[], text[]"),
        (
            WRITE_WITH_EVENTS,
            "text, text[], int8[], int8[], int8[], int8[], int8[], text[], text[], int8[], text[], int8[], int8[], int8[], text[], text[], text[]",
        ),
        (DELIVERABLE, "text, int8[], int8, int8"),
        (DELIVERED, "text, int8[]"),
        (FAILED, "text, int8[], int8[], text[]"),
        (PENDING, "text, int8"),
        (LEDGER, "text, int8, int8"),
        (FORGET, "text, text[]"),
        (DEPTH, "text[]"),
        (REPLAY, "text, int8, int8, text"),
    ];
    for analysed in [false, true] {
        for (number, (sql, types)) in plans.iter().enumerate() {
            let nulls = vec!["NULL"; types.split(", ").count()].join(", ");
            // On the store's own settings.
            let prepare = format!("PREPARE plan_{analysed}_{number} ({types}) AS {sql}");
            let explain = format!("EXPLAIN EXECUTE plan_{analysed}_{number} ({nulls})");
            let plan = store.pool.plan(&prepare, &explain).await;
            for table in ["documents", "ledger", "outbox"] {
                assert!(!plan.contains(&format!("Seq Scan on {table}")), "{sql}:\n{plan}");
            }
            // An entry of a queue finds its event by the number.
            let is_queue = [DELIVERABLE, PENDING].contains(sql);
            assert!(
                !is_queue || plan.contains("Index Cond: (sequence = o.sequence)"),
                "{sql}:\n{plan}"
            );
        }
        if !analysed {
            let mut session = database.connect("orders").await;
            let fill = "INSERT INTO documents (id, shard, version, fence, owner, mark, created, body) \
                 SELECT 'ord_' || n, n % 256, 1, 0, 'usr_' || n % 100, 'm', n, '{}' FROM generate_series(1, 2000) AS n; \
                 ANALYZE";
            raw_sql(AssertSqlSafe(fill)).execute(&mut session).await.unwrap();
        }
    }
}

/// The adapter against its own statement by hand, in turns. For a build with optimisation, on an idle machine:
/// `cargo test --release --features postgres --lib postgres::tests::rows_a_second -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn rows_a_second() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let store = open(&database, "carts").await;
    let mut session = database.connect("carts").await;
    contract::throughput::compare(&store, false, async |batch| {
        let count = batch.len();
        let documents = || batch.iter().map(|write| &write.document);
        let applied = query(WRITE)
            .bind("by hand")
            .bind(documents().map(|row| row.id.clone()).collect::<Vec<_>>())
            .bind(
                batch
                    .iter()
                    .map(|write| number(write.expected))
                    .collect::<Vec<_>>(),
            )
            .bind(vec![7_i64; count])
            .bind(documents().map(|row| number(row.version)).collect::<Vec<_>>())
            .bind(vec![0_i64; count])
            .bind(vec![None::<i64>; count])
            .bind(vec![None::<&str>; count])
            .bind(documents().map(|row| row.body.clone()).collect::<Vec<_>>())
            .bind((0..).take(count).collect::<Vec<i64>>())
            .fetch_all(&mut session)
            .await
            .unwrap();
        assert_eq!(applied.len(), count);
    })
    .await;
}
