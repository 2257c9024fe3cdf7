//! Awaits conditions with a deadline, and reports what was seen last.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Interval between two checks of a condition.
const INTERVAL: Duration = Duration::from_millis(20);

/// Polls `condition` until it returns `Ok`, and returns its value.
///
/// ```ignore
/// eventually("n2 is ready", Duration::from_secs(10), || async {
///     let reply = client.get("/readyz").await;
///     if reply.status == 200 { Ok(()) } else { Err(reply) }
/// }).await;
/// ```
///
/// # Panics
/// After `limit`, with `what` and the last `Err`. A check that is still running then counts as failed.
pub async fn eventually<T, E: Display, F: Future<Output = Result<T, E>>>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    let mut last = "the first look did not end".to_owned();
    let outcome = tokio::time::timeout(limit, async {
        loop {
            match condition().await {
                Ok(found) => return found,
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    })
    .await;
    outcome.unwrap_or_else(|_| {
        panic!(
            "waited {:.1} s in vain until {what}; last: {last}",
            started.elapsed().as_secs_f64()
        )
    })
}

/// Awaits a future for at most `limit`.
///
/// # Panics
/// After `limit`, with `what`.
pub async fn within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future)
        .await
        .unwrap_or_else(|_| panic!("{what} took more than {:.1} s", limit.as_secs_f64()))
}
