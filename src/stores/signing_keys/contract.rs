//! The contract suite of the signing keys port.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::{SigningKeyRow, SigningKeyStore};
use souk_domain::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Runs everything against `store`, which must be empty.
pub async fn suite(store: Arc<dyn SigningKeyStore>) {
    lists_keys_newest_first(&*store).await;
    one_of_concurrent_rotations_adds_its_key(&store).await;
}

fn key(id: &str, created_at: Timestamp) -> SigningKeyRow {
    SigningKeyRow {
        id: id.into(),
        material: vec![0, 255, 7],
        created_at,
    }
}

async fn lists_keys_newest_first(store: &dyn SigningKeyStore) {
    assert_eq!(store.list().await.unwrap(), []);
    let start = NOW.minus(MINUTE);
    let keys = [0, 1, 2].map(|number| key(&format!("key-{number}"), start.plus(SECOND * number)));
    let [first, second, third] = &keys;
    assert!(store.add(first, start.minus(SECOND)).await.unwrap());
    // One of the same age is not newer.
    assert!(store.add(second, start).await.unwrap());
    assert!(!store.add(third, start).await.unwrap());
    // A repeated call succeeds and does not replace the stored key.
    let other = SigningKeyRow {
        material: vec![1],
        ..second.clone()
    };
    assert!(store.add(&other, start).await.unwrap());
    assert!(store.add(third, second.created_at).await.unwrap());
    let newest_first = [third.clone(), second.clone(), first.clone()];
    assert_eq!(store.list().await.unwrap(), newest_first);
    assert_eq!(store.remove(first.created_at).await.unwrap(), 0);
    assert_eq!(store.remove(third.created_at).await.unwrap(), 2);
    assert_eq!(store.list().await.unwrap(), newest_first[..1]);
    assert_eq!(store.remove(NOW).await.unwrap(), 1);
}

async fn one_of_concurrent_rotations_adds_its_key(store: &Arc<dyn SigningKeyStore>) {
    let added = join_all((0..20).map(|node| {
        let store = Arc::clone(store);
        // Their clocks differ.
        let key = key(&format!("raced-{node}"), NOW.plus(Duration::from_millis(node)));
        tokio::spawn(async move { store.add(&key, NOW.minus(SECOND)).await.unwrap() })
    }))
    .await;
    assert_eq!(
        added.into_iter().filter(|added| *added.as_ref().unwrap()).count(),
        1
    );
    assert_eq!(store.list().await.unwrap().len(), 1);
}
