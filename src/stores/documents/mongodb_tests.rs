//! The contract, plans, and writes whose answer is lost.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;

use super::*;
use crate::stores::documents::contract::lost::LostWrite;
use crate::stores::documents::contract::{self, document, write};
use crate::stores::mongodb::testing::TestDatabase;
use crate::stores::testing::proxy::Proxy;
use crate::stores::testing::until;
use WriteOutcome::{Applied, Conflict};

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let store = Arc::new(MongoDocuments::open(&database.url(), "carts").await.unwrap());
    contract::rows(Arc::clone(&store) as Arc<dyn DocumentStore>).await;
    contract::reseals(&*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_may_open_it_at_once() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let url = database.url();
    let stores = try_join_all((0..4).map(|_| MongoDocuments::open(&url, "carts")))
        .await
        .unwrap();
    assert_eq!(
        stores[0].write("one", &[write("row", 0)]).await.unwrap(),
        [Applied]
    );
    assert_eq!(stores[3].load("row").await.unwrap(), Some(document("row", 1)));
    assert_eq!(
        stores[1].write("two", &[write("row", 0)]).await.unwrap(),
        [Conflict]
    );
    // Again, with rows.
    MongoDocuments::open(&url, "carts").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_too_large_is_refused_alone() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let store = MongoDocuments::open(&database.url(), "carts").await.unwrap();
    let mut batch = ["one", "large", "two", "full"].map(|id| write(id, 0));
    batch[1].document.body = "x".repeat(BODY_LIMIT + 1);
    batch[3].document.body = "x".repeat(BODY_LIMIT);
    let outcomes = store.write("mark", &batch).await.unwrap();
    assert!(
        matches!(
            outcomes[..],
            [Applied, WriteOutcome::Refused(_), Applied, Applied]
        ),
        "{outcomes:?}"
    );
    // The largest one can be resealed.
    let mut rows = store.rows_at_rest(None, 1).await.unwrap();
    let resealed = Resealed {
        row: rows.remove(0),
        content: "y".repeat(BODY_LIMIT).into_bytes(),
    };
    assert_eq!(store.reseal(&[resealed]).await.unwrap(), [true]);
}

async fn proxied(database: &TestDatabase) -> (Proxy, MongoDocuments) {
    let (proxy, url) = database.proxied().await;
    let store = MongoDocuments::open(&url, "carts").await.unwrap();
    (proxy, store)
}

/// The server writes, and its answer gets lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_with_a_lost_answer_is_found() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let (proxy, store) = proxied(&database).await;
    contract::lost::is_found(&store, &proxy, "").await;
}

/// A write lies on its way to the server while its outcome is asked for, and arrives after the answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_arrives_after_the_answer_is_not_applied() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let (proxy, store) = proxied(&database).await;
    let LostWrite { ids, version, .. } = contract::lost::is_not_applied_late(&store, &proxy, "").await;

    // What keeps the lost write out is no row, and keeps nobody else out.
    assert_eq!(store.load(&ids[1]).await.unwrap(), None);
    let after = Some("new-");
    for row in store.scan(after, 100).await.unwrap() {
        assert_ne!(super::super::row_id(&row), ids[1]);
    }
    let at_rest = store.rows_at_rest(after, 100).await.unwrap();
    assert!(at_rest.iter().all(|row| row.id != ids[1]));
    let next = [write("row", version), write(&ids[1], 0)];
    assert_eq!(store.write("next", &next).await.unwrap(), [Applied, Applied]);
    assert_eq!(store.load(&ids[1]).await.unwrap(), Some(document(&ids[1], 1)));
    let rows = database.database().await.collection::<RawDocumentBuf>("carts");
    let left = rows.count_documents(doc! { "barred": { "$exists": true } }).await;
    assert_eq!(left.unwrap(), 0, "the next write removes what was barred");
}

/// Whoever waits for a write may be dropped, and others may have to know.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_write_is_settled() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let (proxy, store) = proxied(&database).await;
    store.write("first", &[write("row", 0)]).await.unwrap();
    proxy.hold("");
    let batch = [write("row", 1)];
    let dropped = tokio::time::timeout(Duration::from_millis(100), store.write("dropped", &batch));
    // It may have found a new connection.
    let ids = ["row".to_owned()];
    let is_applied = dropped.await.is_ok();
    // Connections that are stuck too are given up one after the other.
    let answer = || until("an answer", async || store.applied("dropped", &ids).await.ok());
    assert_eq!(answer().await, [is_applied]);
    proxy.release().await;
    assert_eq!(answer().await, [is_applied]);
    let versions = until("an answer", async || store.versions(&ids).await.ok()).await;
    assert_eq!(versions, [1 + u64::from(is_applied)]);
}

/// Only that the indexes are there: what the server under test says of its plans is not what MongoDB would do.
#[tokio::test(flavor = "multi_thread")]
async fn its_indexes_are_made() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    MongoDocuments::open(&database.url(), "carts").await.unwrap();
    let rows = database.database().await.collection::<RawDocumentBuf>("carts");
    let mut names = rows.list_index_names().await.unwrap();
    names.sort();
    assert_eq!(names, ["_id_", "due", "owner"]);
}

/// The adapter against the `update` command by hand, which does not tell the outcome of each row, in turns. For a build with
/// optimisation, on an idle machine:
/// `cargo test --release --features mongodb --lib mongodb::tests::rows_a_second -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn rows_a_second() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let store = MongoDocuments::open(&database.url(), "carts").await.unwrap();
    let plain = database.database().await;
    // Both look at the versions first, so that neither has to walk through all rows.
    contract::throughput::compare(&store, true, async |batch| {
        let update = |write: &DocumentWrite| {
            doc! {
                "q": { "_id": &write.document.id, "version": number(write.expected) },
                "u": { "$set": {
                    "version": number(write.document.version), "body": &write.document.body, "mark": "by hand",
                } },
            }
        };
        let updates: Vec<BsonDocument> = batch.iter().map(update).collect();
        let command = doc! {
            "update": "carts", "updates": updates, "ordered": false,
            "writeConcern": { "w": "majority", "j": true },
        };
        let reply = plain.run_command(command).await.unwrap();
        assert_eq!(reply.get_i32("n").unwrap(), i32::try_from(batch.len()).unwrap());
    })
    .await;
}
