//! The actor over an embedded store with faults.

use tokio::sync::oneshot;

use super::*;
use crate::stores::documents::contract::write;
use crate::stores::documents::faulty::{Fault, FaultyDocuments};

async fn persistence(store: &Arc<FaultyDocuments>) -> Persistence {
    let persistence = Persistence::new(Arc::clone(store) as Arc<dyn DocumentStore>, BATCH_LIMIT);
    let (actor, _) = Actor::spawn(None, PersistenceActor, persistence.clone())
        .await
        .unwrap();
    persistence.actor.point_at(actor);
    persistence
}

/// Asks for a write, and gives the way to its outcome.
fn ask(persistence: &Persistence, id: &str, expected: u64) -> oneshot::Receiver<Written> {
    let (sender, receiver) = oneshot::channel();
    persistence.write(write(id, expected), move |outcome| drop(sender.send(outcome)));
    receiver
}

fn ask_load(persistence: &Persistence, id: &str) -> oneshot::Receiver<Result<Option<Document>, LoadFailed>> {
    let (sender, receiver) = oneshot::channel();
    persistence.load(id.to_owned(), move |loaded| drop(sender.send(loaded.row)));
    receiver
}

/// The version guard: a write over another version changes nothing and is a conflict.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_write_is_a_conflict() {
    let store = FaultyDocuments::new("carts").await;
    let persistence = persistence(&store).await;
    for (expected, outcome) in [
        (0, Written::Applied),
        (1, Written::Applied),
        (1, Written::Conflict),
        (0, Written::Conflict),
        (7, Written::Conflict),
    ] {
        assert_eq!(persistence.write_and_wait(write("a", expected)).await, outcome);
    }
    assert_eq!(store.version("a").await.unwrap(), 2);
}

/// Whatever became of the lost write, what the caller learns is true.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_found_out() {
    let store = FaultyDocuments::new("carts").await;
    let persistence = persistence(&store).await;
    store.inject(Fault::ReplyLost);
    assert_eq!(persistence.write_and_wait(write("a", 0)).await, Written::Applied);
    store.inject(Fault::RequestLost);
    assert_eq!(persistence.write_and_wait(write("b", 0)).await, Written::Unknown);
    assert_eq!(
        store.versions(&["a".to_owned(), "b".to_owned()]).await.unwrap(),
        [1, 0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_store_fails_and_recovers() {
    let store = FaultyDocuments::new("carts").await;
    let persistence = persistence(&store).await;
    store.set_available(false);
    assert_eq!(
        persistence.write_and_wait(write("a", 0)).await,
        Written::Unavailable
    );
    assert_eq!(ask_load(&persistence, "a").await.unwrap(), Err(LoadFailed));
    store.set_available(true);
    assert_eq!(ask_load(&persistence, "a").await.unwrap(), Ok(None));
    assert_eq!(persistence.write_and_wait(write("a", 0)).await, Written::Applied);
}

/// Of all rows in a batch only the one that the store can't hold fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_row_fails_alone() {
    let store = FaultyDocuments::new("carts").await;
    let persistence = persistence(&store).await;
    store.refuse("bad");
    let held = store.hold().await;
    let first = ask(&persistence, "first", 0);
    store.arrived(1).await;
    // These gather while the first batch is held, and so share the next.
    let outcomes = ["a", "bad", "b"].map(|id| ask(&persistence, id, 0));
    drop(held);
    assert_eq!(first.await.unwrap(), Written::Applied);
    let mut results = Vec::new();
    for outcome in outcomes {
        results.push(outcome.await.unwrap());
    }
    assert_eq!(results, [Written::Applied, Written::Refused, Written::Applied]);
    assert_eq!(store.writes(), 2);
}

/// No load overtakes a write of its row that was asked for before it, in flight or waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_waits_for_the_writes_before_it() {
    for in_flight in [1, 4] {
        let store = FaultyDocuments::open("carts", &[], in_flight).await;
        let persistence = persistence(&store).await;
        let held = store.hold().await;
        let writes = [ask(&persistence, "a", 0), ask(&persistence, "a", 1)];
        let mut behind = ask_load(&persistence, "a");
        // Another row's load does not wait.
        assert_eq!(ask_load(&persistence, "b").await.unwrap(), Ok(None));
        assert!(behind.try_recv().is_err());
        drop(held);
        let loaded = behind.await.unwrap().unwrap().unwrap();
        assert_eq!(loaded.version, 2);
        for write in writes {
            assert_eq!(write.await.unwrap(), Written::Applied);
        }
    }
}

/// As many batches as the store takes are in flight, and never two with the same row.
#[tokio::test(flavor = "multi_thread")]
async fn several_batches_are_in_flight() {
    let store = FaultyDocuments::open("carts", &[], 2).await;
    let persistence = persistence(&store).await;
    let held = store.hold().await;
    let first = ask(&persistence, "a", 0);
    store.arrived(1).await;
    let second = ask(&persistence, "b", 0);
    store.arrived(2).await;
    let waiting = [ask(&persistence, "a", 1), ask(&persistence, "c", 0)];
    // A load comes back only when the actor has handled what was sent before it.
    ask_load(&persistence, "d").await.unwrap().unwrap();
    assert_eq!(store.writes(), 2);
    drop(held);
    for outcome in [first, second].into_iter().chain(waiting) {
        assert_eq!(outcome.await.unwrap(), Written::Applied);
    }
}

/// One row that can't be read keeps no other from its load.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_row_fails_its_own_load() {
    let store = FaultyDocuments::new("payments").await;
    let key = |id: &str| {
        let key = crate::sealing::Key::new(id, &[7; crate::config::KEY_BYTES]).unwrap();
        Arc::new(crate::sealing::Keyring::new(key, Vec::new()))
    };
    let sealed = |id| {
        let store = Arc::clone(&store) as Arc<dyn DocumentStore>;
        crate::stores::documents::sealed::SealedDocuments::before(store, &key(id))
    };
    let mut secret = write("pay_secret", 0);
    secret.document.body = r#"{"instruction":{"token":"tok_1"}}"#.to_owned();
    sealed("k1")
        .write("m", &[secret, write("pay_plain", 0)])
        .await
        .unwrap();
    let persistence = Persistence::new(sealed("k2"), BATCH_LIMIT);
    let (actor, _) = Actor::spawn(None, PersistenceActor, persistence.clone())
        .await
        .unwrap();
    persistence.actor.point_at(actor);
    let loads = ["pay_secret", "pay_plain"].map(|id| ask_load(&persistence, id));
    let [secret, plain] = loads;
    assert_eq!(secret.await.unwrap(), Err(LoadFailed));
    assert_eq!(plain.await.unwrap().unwrap().unwrap().version, 1);
}
