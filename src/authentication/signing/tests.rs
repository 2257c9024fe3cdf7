use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::authentication::revocations::RevokedSessions;
use crate::authentication::tokens::{Grant, Issuer, TokenSettings, Verifier};
use souk_domain::fixtures::at;

fn token_settings() -> TokenSettings {
    TokenSettings {
        issuer: "https://shop.example".to_owned(),
        audience: "souk".to_owned(),
        lifetime: Duration::from_secs(900),
    }
}

fn settings() -> SigningKeySettings {
    SigningKeySettings::for_tokens(token_settings().longest_life())
}

fn cluster(secret: u8) -> ClusterKey {
    ClusterKey::new([secret; 32]).unwrap()
}

/// Keys in memory; can be unavailable, or hang.
#[derive(Default)]
struct Memory {
    rows: std::sync::Mutex<Vec<SigningKeyRow>>,
    unavailable: AtomicBool,
    hangs: AtomicBool,
    asked: Notify,
}

impl Memory {
    async fn answer(&self) -> Result<std::sync::MutexGuard<'_, Vec<SigningKeyRow>>, StoreError> {
        // Lets concurrent callers in between.
        tokio::task::yield_now().await;
        self.asked.notify_waiters();
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.unavailable.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable {
                store: "users",
                cause: "on purpose".into(),
            });
        }
        Ok(self.rows.lock().unwrap())
    }
}

#[async_trait]
impl SigningKeyStore for Memory {
    async fn list(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        let mut rows = self.answer().await?.clone();
        rows.sort_by_key(|row| std::cmp::Reverse(row.created_at));
        Ok(rows)
    }

    async fn add(&self, key: &SigningKeyRow, unless_newer_than: Timestamp) -> Result<bool, StoreError> {
        let mut rows = self.answer().await?;
        let free = rows.iter().all(|row| row.created_at <= unless_newer_than);
        if free {
            rows.push(key.clone());
        }
        Ok(free)
    }

    async fn remove(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut rows = self.answer().await?;
        let there = rows.len();
        rows.retain(|row| row.created_at >= before);
        Ok((there - rows.len()) as u64)
    }
}

async fn open(store: &Arc<Memory>, now: Timestamp) -> Result<SigningKeys, SigningError> {
    SigningKeys::open(
        Arc::clone(store) as Arc<dyn SigningKeyStore>,
        &cluster(1),
        settings(),
        now,
    )
    .await
}

fn ids(keys: &SigningKeys) -> Vec<String> {
    keys.ring()
        .load()
        .keys()
        .iter()
        .map(|key| key.id.clone())
        .collect()
}

fn signer(keys: &SigningKeys, now: Timestamp) -> String {
    let ring = keys.ring();
    let ring = ring.load();
    ring.signer(now, keys.rules()).unwrap().id.clone()
}

#[tokio::test]
async fn concurrent_starts_create_one_key() {
    let store = Arc::new(Memory::default());
    let (one, other, third) = tokio::join!(open(&store, at(0)), open(&store, at(1)), open(&store, at(0)));
    let (one, other, third) = (one.unwrap(), other.unwrap(), third.unwrap());
    assert_eq!(ids(&one).len(), 1);
    assert_eq!(ids(&one), ids(&other));
    assert_eq!(ids(&one), ids(&third));
    assert_eq!(ids(&open(&store, at(100)).await.unwrap()), ids(&one));
}

#[tokio::test]
async fn stored_keys_are_sealed() {
    let store = Arc::new(Memory::default());
    let keys = open(&store, at(0)).await.unwrap();
    let row = store.rows.lock().unwrap()[0].clone();
    let seed = Sealer::new(&cluster(1))
        .unwrap()
        .open(&row.id, &row.material)
        .unwrap();
    assert!(
        !row.material
            .windows(8)
            .any(|window| seed.windows(8).any(|part| part == window))
    );
    let shown = format!("{row:?} {keys:?}");
    assert!(
        !shown.contains("material") && !shown.contains("content"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_new_key_signs_when_every_node_knows_it() {
    let store = Arc::new(Memory::default());
    let (one, other) = (
        open(&store, at(0)).await.unwrap(),
        open(&store, at(0)).await.unwrap(),
    );
    let issuer = Issuer::new(one.ring(), one.rules(), token_settings());
    let verifier = Verifier::new(other.ring(), RevokedSessions::default(), &token_settings());
    let grant = Grant {
        user: "usr_1",
        session: "ses_1",
        roles: &[],
    };
    let first = signer(&one, at(0));
    let early = issuer.issue(grant, at(99)).unwrap().token;

    assert!(one.rotate(at(100)).await.unwrap());
    assert_eq!(ids(&one).len(), 2);
    assert_eq!(signer(&one, at(104)), first);
    let between = issuer.issue(grant, at(104)).unwrap().token;
    assert!(
        verifier.verify(&between, at(104)).is_ok(),
        "the other node has not loaded the new key, and need not have"
    );
    other.reload(at(105)).await.unwrap();
    assert_ne!(signer(&one, at(105)), first);
    let late = issuer.issue(grant, at(105)).unwrap().token;
    for token in [&early, &between, &late] {
        assert!(verifier.verify(token, at(106)).is_ok());
    }
}

#[tokio::test]
async fn concurrent_rotations_create_one_key() {
    let store = Arc::new(Memory::default());
    let (one, other) = (
        open(&store, at(0)).await.unwrap(),
        open(&store, at(0)).await.unwrap(),
    );
    let (here, there) = tokio::join!(one.rotate(at(100)), other.rotate(at(101)));
    assert!(here.unwrap() != there.unwrap(), "one of them created it");
    one.reload(at(101)).await.unwrap();
    other.reload(at(101)).await.unwrap();
    assert_eq!(ids(&one).len(), 2);
    assert_eq!(ids(&one), ids(&other));

    // By the clock both find it due.
    let due = at(101).plus(DEFAULT_ROTATION);
    let (here, there) = tokio::join!(one.maintain(due), other.maintain(due));
    here.unwrap();
    there.unwrap();
    one.reload(due).await.unwrap();
    let newest = one.ring().load().keys()[0].created_at;
    assert_eq!(newest, due);
    assert_eq!(
        store
            .rows
            .lock()
            .unwrap()
            .iter()
            .filter(|row| row.created_at == due)
            .count(),
        1
    );
}

#[tokio::test]
async fn a_key_is_removed_after_its_tokens_expire() {
    let store = Arc::new(Memory::default());
    let keys = open(&store, at(0)).await.unwrap();
    keys.rotate(at(100)).await.unwrap();
    let both = ids(&keys);
    let outlived = at(100)
        .plus(settings().rules.longest_life)
        .plus(DEFAULT_SETTLE * 3);
    keys.maintain(outlived.minus(Duration::from_millis(1)))
        .await
        .unwrap();
    assert_eq!(ids(&keys), both);
    keys.maintain(outlived).await.unwrap();
    assert_eq!(ids(&keys), both[..1]);
    assert_eq!(store.rows.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn unopenable_keys_are_kept_and_replaced() {
    let store = Arc::new(Memory::default());
    let former = open(&store, at(0)).await.unwrap();
    let other = SigningKeys::open(
        Arc::clone(&store) as Arc<dyn SigningKeyStore>,
        &cluster(2),
        settings(),
        // Its clock is behind: the new key is the newest all the same.
        at(-60),
    )
    .await
    .unwrap();
    assert_eq!(ids(&other).len(), 1);
    assert_ne!(ids(&other), ids(&former));
    assert_eq!(store.list().await.unwrap()[0].id, ids(&other)[0]);

    // A key stored under another one's id does not open.
    {
        let mut rows = store.rows.lock().unwrap();
        let material = rows[0].material.clone();
        rows[1].material = material;
    }
    former.reload(at(1)).await.unwrap();
    assert_eq!(ids(&former).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_ring_survives_an_outage() {
    let store = Arc::new(Memory::default());
    let keys = open(&store, at(0)).await.unwrap();
    let elsewhere = open(&store, at(0)).await.unwrap();
    let begun = Instant::now();
    let clock: Clock = Arc::new(move || at(0).plus(begun.elapsed()));
    let stop = CancellationToken::new();
    let following = tokio::spawn(keys.clone().follow(Arc::clone(&clock), stop.clone()));

    store.unavailable.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        store.asked.notified().await;
    }
    assert_eq!(ids(&keys).len(), 1);
    assert!(matches!(open(&store, at(0)).await, Err(SigningError::Store(_))));

    store.unavailable.store(false, Ordering::Relaxed);
    elsewhere.rotate(at(100)).await.unwrap();
    // The first may have begun before the rotation; the second has ended when the third begins.
    for _ in 0..3 {
        store.asked.notified().await;
    }
    assert_eq!(ids(&keys), ids(&elsewhere));
    assert_eq!(ids(&keys).len(), 2);

    store.hangs.store(true, Ordering::Relaxed);
    store.asked.notified().await;
    stop.cancel();
    following.await.unwrap();
}
