//! The contract suite of the counters port.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::{Counter, CounterStore};
use crate::stores::testing::{AWKWARD_TEXTS, Expiry};
use souk_domain::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Runs everything against `store`, which must be empty.
pub async fn suite(store: Arc<dyn CounterStore>, expiry: Expiry) {
    counts_in_fixed_windows(&*store).await;
    counts_any_text(&*store).await;
    counts_every_concurrent_hit(&store).await;
    match expiry {
        Expiry::BySweep => sweeps_ended_windows(&*store).await,
        Expiry::ByItself => assert_eq!(store.sweep(NOW, 100).await.unwrap(), 0),
    }
}

async fn counts_in_fixed_windows(store: &dyn CounterStore) {
    let start = Timestamp::from_millis(60_000 * 1_000);
    let hit = async |key, now| store.hit(key, now, MINUTE, 1).await.unwrap();
    assert_eq!(hit("a", start).await, 1);
    assert_eq!(hit("a", start.plus(SECOND)).await, 2);
    assert_eq!(hit("b", start).await, 1);
    assert_eq!(hit("a", start.plus(MINUTE - Duration::from_millis(1))).await, 3);
    // The next window starts at zero, wherever in the one before the first hit was.
    assert_eq!(hit("a", start.plus(MINUTE)).await, 1);
    // A clock that lags opens no new window.
    assert_eq!(hit("a", start).await, 2);
    assert_eq!(hit("a", start.plus(MINUTE)).await, 3);
    let count = |key: &str| Counter {
        key: key.to_owned(),
        window: MINUTE,
    };
    let asked = [count("b"), count("never hit"), count("a")];
    assert_eq!(store.counts(&asked, start.plus(MINUTE)).await.unwrap(), [0, 0, 3]);
    assert_eq!(store.counts(&asked[..1], start).await.unwrap(), [1]);
    assert_eq!(store.hit("many", start, MINUTE, 7).await.unwrap(), 7);
    assert_eq!(store.hit("many", start, MINUTE, 5).await.unwrap(), 12);
    store.forget("a").await.unwrap();
    store.forget("never hit").await.unwrap();
    assert_eq!(hit("a", start.plus(MINUTE)).await, 1);
    assert_eq!(hit("b", start).await, 2);
    // Before the epoch and without a length: meaningless, but no panic.
    assert_eq!(
        store
            .hit("odd", Timestamp::from_millis(-5), Duration::ZERO, 1)
            .await
            .unwrap(),
        1
    );
    // Keys compare bytewise.
    assert_eq!(hit("B", start).await, 1);
}

async fn counts_any_text(store: &dyn CounterStore) {
    let long = "x".repeat(64 * 1024);
    let keys = || AWKWARD_TEXTS.into_iter().chain([long.as_str()]);
    for (number, key) in keys().enumerate() {
        let amount = number as u64 + 1;
        assert_eq!(
            store.hit(key, NOW, MINUTE, amount).await.unwrap(),
            amount,
            "{key:?}"
        );
    }
    let counters: Vec<Counter> = keys()
        .map(|key| Counter {
            key: key.to_owned(),
            window: MINUTE,
        })
        .collect();
    let amounts: Vec<u64> = (1..=counters.len() as u64).collect();
    assert_eq!(store.counts(&counters, NOW).await.unwrap(), amounts);
    assert!(store.counts(&[], NOW).await.unwrap().is_empty());
    store.forget(AWKWARD_TEXTS[3]).await.unwrap();
    assert_eq!(store.counts(&counters[3..5], NOW).await.unwrap(), [0, 5]);
}

async fn counts_every_concurrent_hit(store: &Arc<dyn CounterStore>) {
    let hits = join_all((0..50).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.hit("raced", NOW, MINUTE, 1).await.unwrap() })
    }))
    .await;
    let mut counts: Vec<u64> = hits.into_iter().map(Result::unwrap).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=50).collect::<Vec<u64>>());
}

async fn sweeps_ended_windows(store: &dyn CounterStore) {
    // The windows of the other tests have ended long before.
    let start = Timestamp::from_millis(60_000 * 100_000_000);
    while store.sweep(start, 100).await.unwrap() > 0 {}
    for number in 0..3 {
        store
            .hit(&format!("swept-{number}"), start, MINUTE, 1)
            .await
            .unwrap();
    }
    let end = start.plus(MINUTE);
    let before = end.minus(Duration::from_millis(1));
    for (now, removed) in [(before, 0), (end, 2), (end, 1), (end, 0)] {
        assert_eq!(store.sweep(now, 2).await.unwrap(), removed);
    }
    assert_eq!(store.hit("swept-0", start, MINUTE, 1).await.unwrap(), 1);
}
