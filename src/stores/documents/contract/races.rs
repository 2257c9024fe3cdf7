//! Many writers at once.

use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::write;
use crate::stores::StoreError;
use crate::stores::documents::{DocumentStore, DocumentWrite, WriteOutcome};
use WriteOutcome::{Applied, Conflict};
use souk_error_chain::Chain;

/// Repeats a call that had no effect since the store was too busy: a slow machine is no failure. A deadlock is one.
async fn insist<T, F: Future<Output = Result<T, StoreError>>>(call: impl Fn() -> F) -> T {
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error @ StoreError::Unavailable { .. }) => {
                let error = Chain(&error).to_string();
                assert!(!error.contains("deadlock"), "{error}");
            }
            Err(error) => panic!("{}", Chain(&error)),
        }
    }
}

async fn write_until_known(
    store: &Arc<dyn DocumentStore>,
    mark: &str,
    batch: &[DocumentWrite],
) -> Vec<WriteOutcome> {
    insist(|| store.write(mark, batch)).await
}

/// Invariant 8.
pub async fn one_of_many_writers_wins_each_version(store: &Arc<dyn DocumentStore>) {
    const WRITERS: usize = 64;
    const VERSIONS: u64 = 4;
    let start = Arc::new(Barrier::new(WRITERS));
    // One that fails ends those that wait for it.
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, start) = (Arc::clone(store), Arc::clone(&start));
        writers.spawn(async move {
            let mut won: u64 = 0;
            for version in 0..VERSIONS {
                // All know the version and want to write the next one.
                start.wait().await;
                let mark = format!("rush-{writer}-{version}");
                let outcomes = write_until_known(&store, &mark, &[write("rush", version)]).await;
                start.wait().await;
                let stands = insist(|| store.version("rush")).await;
                assert_eq!(stands, version + 1);
                let ids = ["rush".to_owned()];
                let applied = insist(|| store.applied(&mark, &ids)).await;
                match outcomes[..] {
                    [Applied] => {
                        assert!(applied[0], "the winner's mark is on the row");
                        won += 1;
                    }
                    [Conflict] => assert!(!applied[0]),
                    _ => panic!("{outcomes:?}"),
                }
            }
            won
        });
    }
    let mut won = 0;
    while let Some(writer) = writers.join_next().await {
        won += writer.unwrap();
    }
    assert_eq!(won, VERSIONS, "one winner each");
}

/// Batches over the same rows, some in one order and some in the other, of rows that exist and rows that don't: they must not
/// wait for each other in a circle, and no row is lost or counted twice.
pub async fn overlapping_batches_end(store: &Arc<dyn DocumentStore>) {
    const WRITERS: usize = 24;
    const ROUNDS: usize = 6;
    const ROWS: usize = 16;
    let applied = join_all((0..WRITERS).map(|writer| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut applied = 0;
            for round in 0..ROUNDS {
                // Each round has new rows too.
                let mut ids: Vec<String> = (0..ROWS)
                    .map(|row| format!("overlap-{:02}", (row + round * 3) % (ROWS + round * 3)))
                    .collect();
                if writer % 2 == 1 {
                    ids.reverse();
                }
                let versions = insist(|| store.versions(&ids)).await;
                let batch: Vec<_> = ids
                    .iter()
                    .zip(versions)
                    .map(|(id, version)| write(id, version))
                    .collect();
                let mark = format!("overlap-{writer}-{round}");
                let outcomes = write_until_known(&store, &mark, &batch).await;
                assert!(
                    outcomes
                        .iter()
                        .all(|outcome| matches!(outcome, Applied | Conflict))
                );
                applied += outcomes.iter().filter(|outcome| **outcome == Applied).count() as u64;
            }
            applied
        })
    }))
    .await;
    let applied: u64 = applied.into_iter().map(Result::unwrap).sum();
    let ids: Vec<String> = (0..ROWS * 2).map(|row| format!("overlap-{row:02}")).collect();
    let versions = insist(|| store.versions(&ids)).await;
    assert_eq!(
        versions.iter().sum::<u64>(),
        applied,
        "each applied write is one version"
    );
}
