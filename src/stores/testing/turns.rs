//! How many rows a second an adapter writes, beside the same by hand, in turns.

use std::time::{Duration, Instant};

/// Rows of a batch.
const SIZES: [usize; 3] = [1, 10, 100];
/// Turns of each.
const ROUNDS: usize = 6;
/// Shortest time of a turn.
const TURN: Duration = Duration::from_secs(2);

/// Prints the rates of `adapter` and of `by_hand`, which take turns. Each writes all of its `rows` once, in batches of the size that it
/// is given.
pub(in crate::stores) async fn compare(
    rows: usize,
    mut adapter: impl AsyncFnMut(usize),
    mut by_hand: impl AsyncFnMut(usize),
) {
    for size in SIZES {
        let mut rates = [0.0, 0.0];
        for round in 0..ROUNDS * 2 {
            let side = round % 2;
            let (started, mut written) = (Instant::now(), 0);
            while started.elapsed() < TURN {
                if side == 0 {
                    adapter(size).await;
                } else {
                    by_hand(size).await;
                }
                written += rows;
            }
            rates[side] += written as f64 / started.elapsed().as_secs_f64() / ROUNDS as f64;
        }
        let [adapter, by_hand] = rates;
        println!(
            "{size} rows a batch: adapter {adapter:.0}, by hand {by_hand:.0} rows/s, ratio {:.2}",
            adapter / by_hand
        );
    }
}
