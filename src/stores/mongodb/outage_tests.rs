//! A server that is killed in the middle of writes, or not to be reached any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::testing::{own_server, url};
use crate::stores::StoreError;
use crate::stores::documents::contract::{document, write};
use crate::stores::documents::mongodb::MongoDocuments;
use crate::stores::documents::{DocumentStore, WriteOutcome};
use crate::stores::testing::until;

/// Rows of one writer, whom nobody disturbs.
const ROWS: usize = 5;

/// What one writer knows.
#[derive(Default)]
struct Known {
    /// The acknowledged version of each row.
    acknowledged: BTreeMap<String, u64>,
    /// The batch without an answer: its mark and its version.
    lost: Option<(String, u64)>,
}

/// Writes one version after the other until the server is gone.
async fn write_on(store: Arc<MongoDocuments>, writer: usize, done: Arc<AtomicUsize>) -> Known {
    let ids: Vec<String> = (0..ROWS).map(|row| format!("{writer}-{row}")).collect();
    let mut known = Known::default();
    for version in 0.. {
        let batch: Vec<_> = ids.iter().map(|id| write(id, version)).collect();
        let mark = format!("mark-{writer}-{version}");
        match store.write(&mark, &batch).await {
            Ok(outcomes) => {
                assert_eq!(outcomes, [const { WriteOutcome::Applied }; ROWS]);
                for id in &ids {
                    known.acknowledged.insert(id.clone(), version + 1);
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(StoreError::OutcomeUnknown { .. }) => {
                known.lost = Some((mark, version + 1));
                return known;
            }
            Err(error) => {
                assert!(error.is_transient(), "{error:?}");
                return known;
            }
        }
    }
    unreachable!()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_and_the_adapter_recovers() {
    let Some(mut process) = own_server().await else {
        return;
    };
    let store = Arc::new(MongoDocuments::open(&url(&process), "carts").await.unwrap());
    let done = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..8)
        .map(|writer| tokio::spawn(write_on(Arc::clone(&store), writer, Arc::clone(&done))))
        .collect();
    until("writing", async || {
        (done.load(Ordering::Relaxed) >= 60).then_some(())
    })
    .await;
    process.kill().await;
    let mut all = Vec::new();
    for writer in writers {
        all.push(writer.await.unwrap());
    }
    // Nothing is said of a lost write while nobody can tell.
    let ids = ["0-0".to_owned()];
    let error = store.applied("mark-0-0", &ids).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    process.restart().await;
    until("recovery", async || store.ping().await.ok()).await;
    let (mut rows, mut lost) = (0, 0);
    for known in all {
        let ids: Vec<String> = known.acknowledged.keys().cloned().collect();
        let applied = match &known.lost {
            Some((mark, _)) => {
                lost += 1;
                until("an answer", async || store.applied(mark, &ids).await.ok()).await
            }
            None => vec![false; ids.len()],
        };
        for (id, applied) in ids.iter().zip(applied) {
            let expected = match &known.lost {
                Some((_, version)) if applied => *version,
                _ => known.acknowledged[id],
            };
            assert_eq!(store.load(id).await.unwrap(), Some(document(id, expected)));
            let next = store.write("next", &[write(id, expected)]).await.unwrap();
            assert_eq!(next, [WriteOutcome::Applied]);
            rows += 1;
        }
    }
    println!("{rows} rows had what was acknowledged; {lost} batches were lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_unavailable() {
    let Some(mut process) = own_server().await else {
        return;
    };
    let store = MongoDocuments::open(&url(&process), "carts").await.unwrap();
    store.write("first", &[write("row", 0)]).await.unwrap();
    for version in 1..3 {
        process.kill().await;
        // The first may meet a connection that was open, and can't know what became of it.
        until("noticing", async || {
            let outcome = store.write("lost", &[write("row", 7)]).await;
            matches!(outcome, Err(StoreError::Unavailable { .. })).then_some(())
        })
        .await;
        let read = store.load("row").await;
        assert!(matches!(read, Err(StoreError::Unavailable { .. })), "{read:?}");
        process.restart().await;
        let ids = ["row".to_owned()];
        let applied = until("recovery", async || store.applied("lost", &ids).await.ok()).await;
        assert_eq!(applied, [false]);
        let outcomes = store
            .write(&format!("after-{version}"), &[write("row", version)])
            .await;
        assert_eq!(outcomes.unwrap(), [WriteOutcome::Applied]);
    }
    process.kill().await;
    let url = url(&process);
    let opened = tokio::time::timeout(Duration::from_secs(60), MongoDocuments::open(&url, "carts"));
    let error = opened.await.unwrap().err().unwrap();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}
