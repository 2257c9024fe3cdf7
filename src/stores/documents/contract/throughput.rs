//! How many rows a second an adapter writes, beside the same by hand.

use std::time::{Duration, Instant};

use super::write;
use crate::stores::documents::{DocumentStore, DocumentWrite, WriteOutcome};

/// Rows that are written again and again.
const ROWS: usize = 1_000;
/// Bytes of a body.
const BODY: usize = 1_000;
/// Turns of each.
const ROUNDS: usize = 6;
/// Shortest time of a turn.
const TURN: Duration = Duration::from_secs(2);

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
    for part in ids.chunks(100) {
        store.write("fill", &batch(part, 0)).await.unwrap();
    }
    let mut version = 1;
    for size in [1, 10, 100] {
        let mut rates = [0.0, 0.0];
        for round in 0..ROUNDS * 2 {
            let is_by_hand = round % 2 == 1;
            let (started, mut written) = (Instant::now(), 0);
            // All rows have one version after each pass.
            while started.elapsed() < TURN {
                for part in ids.chunks(size) {
                    let batch = batch(part, version);
                    if looks_first {
                        store.versions(part).await.unwrap();
                    }
                    if is_by_hand {
                        by_hand(&batch).await;
                    } else {
                        let outcomes = store.write("adapter", &batch).await.unwrap();
                        assert!(outcomes.iter().all(|outcome| *outcome == WriteOutcome::Applied));
                    }
                    written += part.len();
                }
                version += 1;
            }
            rates[usize::from(is_by_hand)] +=
                written as f64 / started.elapsed().as_secs_f64() / ROUNDS as f64;
        }
        let [adapter, by_hand] = rates;
        println!(
            "{size} rows a batch: adapter {adapter:.0}, by hand {by_hand:.0} rows/s, ratio {:.2}",
            adapter / by_hand
        );
    }
}
