//! The contract suite of the revocations port.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;

use super::RevocationStore;
use souk_domain::{SessionId, Timestamp};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Runs everything against `store`, which must be empty.
pub async fn suite(store: Arc<dyn RevocationStore>) {
    pages_follow_each_other(&*store).await;
    a_reader_misses_nothing_under_concurrent_writes(&store).await;
    a_sweep_reuses_no_number(&*store).await;
}

fn sessions(names: impl IntoIterator<Item = String>) -> Vec<SessionId> {
    names.into_iter().map(SessionId::from_suffix).collect()
}

async fn pages_follow_each_other(store: &dyn RevocationStore) {
    let nothing = store.since(0, 10).await.unwrap();
    assert_eq!((nothing.sessions, nothing.sequence), (Vec::new(), 0));
    store.add(&[], NOW).await.unwrap();
    // Identifiers compare bytewise.
    let mut expected = sessions(["paged".into(), "Paged".into()]);
    store.add(&expected, NOW).await.unwrap();
    for number in 0..5 {
        let more = sessions([format!("paged-{number}")]);
        store.add(&more, NOW).await.unwrap();
        expected.extend(more);
    }
    // Adding again changes nothing.
    store.add(&expected, NOW).await.unwrap();
    for limit in [1, 3, 7, 10] {
        let (mut read, mut sequence) = (Vec::new(), 0);
        loop {
            let page = store.since(sequence, limit).await.unwrap();
            assert!(page.sessions.len() <= limit && page.sequence >= sequence);
            if page.sessions.is_empty() {
                break;
            }
            read.extend(page.sessions);
            sequence = page.sequence;
        }
        assert_eq!(read, expected, "{limit} a page");
    }
}

/// Many tasks add sessions, alone and in pairs, while a reader continues from each page.
async fn a_reader_misses_nothing_under_concurrent_writes(store: &Arc<dyn RevocationStore>) {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 12;
    let start = store.since(0, 1_000).await.unwrap().sequence;
    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (store, done) = (Arc::clone(store), Arc::clone(&done));
        async move {
            let (mut seen, mut sequence) = (Vec::new(), start);
            loop {
                // Checked before the page is read: what was added before is on this page or the next ones.
                let last = done.load(Ordering::Acquire);
                let page = store.since(sequence, 3).await.unwrap();
                let empty = page.sessions.is_empty();
                seen.extend(page.sessions);
                sequence = page.sequence;
                if last && empty {
                    return seen;
                }
            }
        }
    });
    let writers = join_all((0..WRITERS).map(|writer| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut added = Vec::new();
            for round in 0..ROUNDS {
                let batch =
                    sessions((0..=round % 2).map(|number| format!("raced-{writer}-{round}-{number}")));
                store.add(&batch, NOW).await.unwrap();
                added.extend(batch);
            }
            added
        })
    }))
    .await;
    done.store(true, Ordering::Release);
    let added: BTreeSet<SessionId> = writers.into_iter().flat_map(Result::unwrap).collect();
    let seen = reader.await.unwrap();
    assert_eq!(seen.len(), added.len(), "each once");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), added);
}

async fn a_sweep_reuses_no_number(store: &dyn RevocationStore) {
    let last = store.since(0, 1_000).await.unwrap().sequence;
    let before = NOW.minus(Duration::from_millis(1));
    assert_eq!(store.sweep(before, 10).await.unwrap(), 0);
    assert_eq!(store.sweep(NOW, 10).await.unwrap(), 10);
    while store.sweep(NOW, 100).await.unwrap() > 0 {}
    assert_eq!(store.since(0, 10).await.unwrap().sessions, []);
    let next = sessions(["next".into()]);
    store.add(&next, NOW).await.unwrap();
    let page = store.since(last, 10).await.unwrap();
    assert_eq!(page.sessions, next);
    assert!(page.sequence > last);
}
