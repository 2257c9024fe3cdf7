//! How many rows a second an adapter writes, beside the same by hand.

use std::cell::Cell;

use super::write;
use crate::stores::documents::{DocumentStore, DocumentWrite, WriteOutcome};
use crate::stores::testing::turns;

/// Rows that are written again and again.
const ROWS: usize = 1_000;
/// Bytes of a body.
const BODY: usize = 1_000;

/// Prints the rates of the adapter and of `by_hand`, which take turns, for batches of several sizes. Both look at the versions
/// first where `looks_first` says so.
pub async fn compare(
    store: &dyn DocumentStore,
    looks_first: bool,
    mut by_hand: impl AsyncFnMut(&[DocumentWrite]),
) {
    let ids: Vec<String> = (0..ROWS).map(|row| format!("crt_{row:020}")).collect();
    let batch = |ids: &[String], expected| -> Vec<DocumentWrite> {
        let body = |mut write: DocumentWrite| {
            write.document.body = "x".repeat(BODY);
            write
        };
        ids.iter().map(|id| body(write(id, expected))).collect()
    };
    let versions = store.versions(&ids).await.unwrap();
    for part in ids.chunks(100).filter(|_| versions[0] == 0) {
        store.write("fill", &batch(part, 0)).await.unwrap();
    }
    // All rows have one version after each pass.
    let version = Cell::new(versions[0].max(1));
    let batches = |size| {
        let expected = version.replace(version.get() + 1);
        let parts = ids.chunks(size);
        parts.map(move |part| (part, batch(part, expected)))
    };
    let look = async |part: &[String]| {
        if looks_first {
            store.versions(part).await.unwrap();
        }
    };
    let adapter = async |size| {
        for (part, batch) in batches(size) {
            look(part).await;
            let outcomes = store.write("adapter", &batch).await.unwrap();
            assert!(outcomes.iter().all(|outcome| *outcome == WriteOutcome::Applied));
        }
    };
    let by_hand = async |size| {
        for (part, batch) in batches(size) {
            look(part).await;
            by_hand(&batch).await;
        }
    };
    turns::compare(ROWS, adapter, by_hand).await;
}
