use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use proptest::prelude::*;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::stores::revocations::RevocationPage;
use souk_domain::fixtures::at;

const LIFE: Duration = Duration::from_secs(930);
const INTERVAL: Duration = Duration::from_secs(1);

fn settings() -> RevocationSettings {
    RevocationSettings {
        interval: INTERVAL,
        longest_life: LIFE,
    }
}

/// Revocations in memory; can be unavailable, or hang.
#[derive(Default)]
struct Memory {
    sessions: std::sync::Mutex<Vec<SessionId>>,
    unavailable: AtomicBool,
    hangs: AtomicBool,
    asked: Notify,
}

impl Memory {
    fn with(count: usize) -> Arc<Self> {
        let memory = Self::default();
        memory.revoke((0..count).map(|index| index.to_string()));
        Arc::new(memory)
    }

    fn revoke(&self, sessions: impl IntoIterator<Item = String>) {
        let sessions = sessions.into_iter().map(SessionId::from_suffix);
        self.sessions.lock().unwrap().extend(sessions);
    }
}

#[async_trait]
impl RevocationStore for Memory {
    async fn add(&self, sessions: &[SessionId], _: Timestamp) -> Result<(), StoreError> {
        self.sessions.lock().unwrap().extend_from_slice(sessions);
        Ok(())
    }

    async fn since(&self, sequence: i64, limit: usize) -> Result<RevocationPage, StoreError> {
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
        let sessions = self.sessions.lock().unwrap();
        let from = usize::try_from(sequence).unwrap();
        let page: Vec<SessionId> = sessions.iter().skip(from).take(limit).cloned().collect();
        Ok(RevocationPage {
            sequence: i64::try_from(from + page.len()).unwrap(),
            sessions: page,
        })
    }

    async fn sweep(&self, _: Timestamp, _: usize) -> Result<u64, StoreError> {
        unreachable!("revocations are only read and added")
    }
}

async fn open(source: &Arc<Memory>) -> Revocations {
    Revocations::open(Arc::clone(source) as Arc<dyn RevocationStore>, settings(), at(0))
        .await
        .unwrap()
}

/// A clock that goes with the runtime's.
fn clock() -> Clock {
    let begun = Instant::now();
    Arc::new(move || at(0).plus(begun.elapsed()))
}

#[tokio::test]
async fn open_reads_all_revocations() {
    for count in [0, 1, PAGE_LIMIT - 1, PAGE_LIMIT, 2 * PAGE_LIMIT + 1] {
        let revocations = open(&Memory::with(count)).await;
        assert_eq!(revocations.sessions().0.len(), count);
        assert_eq!(revocations.sessions().contains("ses_0"), count > 0);
    }
}

#[tokio::test]
async fn reads_new_ids_and_removes_expired_ones() {
    let source = Memory::with(1);
    let revocations = open(&source).await;
    let sessions = revocations.sessions();
    source.revoke(["new".to_owned()]);
    assert!(!sessions.contains("ses_new"));
    revocations.poll(at(100)).await.unwrap();
    assert!(sessions.contains("ses_new"));
    let forgotten = at(0).plus(LIFE).plus(MARGIN);
    revocations
        .poll(forgotten.minus(Duration::from_millis(1)))
        .await
        .unwrap();
    assert!(sessions.contains("ses_0"));
    revocations.poll(forgotten).await.unwrap();
    assert!(!sessions.contains("ses_0"), "and it was not read again");
    assert!(sessions.contains("ses_new"));
}

#[tokio::test]
async fn a_revocation_counts_here_at_once() {
    let source = Memory::with(0);
    let revocations = open(&source).await;
    let other_handle = revocations.clone().sessions();
    let mine = SessionId::from_suffix("mine");
    revocations
        .revoke(std::slice::from_ref(&mine), at(0))
        .await
        .unwrap();
    assert!(other_handle.contains("ses_mine"));
    assert_eq!(*source.sessions.lock().unwrap(), [mine]);
}

#[tokio::test(start_paused = true)]
async fn misses_nothing_after_an_outage() {
    let source = Memory::with(1);
    let revocations = open(&source).await;
    let sessions = revocations.sessions();
    let stop = CancellationToken::new();
    let clock = clock();
    let following = tokio::spawn(revocations.clone().follow(Arc::clone(&clock), stop.clone()));

    source.unavailable.store(true, Ordering::Relaxed);
    for _ in 0..5 {
        // It asks again after each failure.
        source.asked.notified().await;
    }
    source.revoke(["meanwhile".to_owned()]);
    assert!(sessions.contains("ses_0"));
    assert!(revocations.behind(clock()) >= INTERVAL * 3);

    source.unavailable.store(false, Ordering::Relaxed);
    source.asked.notified().await;
    // That one may have begun before; the one after it did not.
    source.asked.notified().await;
    tokio::task::yield_now().await;
    assert!(sessions.contains("ses_meanwhile"));
    assert!(revocations.behind(clock()) <= INTERVAL);

    stop.cancel();
    following.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn ids_expire_during_an_outage() {
    let source = Memory::with(1);
    let revocations = open(&source).await;
    source.unavailable.store(true, Ordering::Relaxed);
    let late = at(0).plus(LIFE).plus(MARGIN);
    assert!(revocations.poll(late).await.is_err());
    assert!(revocations.sessions().0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn polling_can_be_stopped_during_a_read() {
    let source = Memory::with(1);
    let revocations = open(&source).await;
    source.hangs.store(true, Ordering::Relaxed);
    let stop = CancellationToken::new();
    let following = tokio::spawn(revocations.follow(clock(), stop.clone()));
    source.asked.notified().await;
    stop.cancel();
    let begun = Instant::now();
    following.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn open_fails_without_the_store() {
    let source = Memory::with(1);
    source.unavailable.store(true, Ordering::Relaxed);
    let refused = Revocations::open(source, settings(), at(0)).await.err();
    assert!(
        matches!(refused, Some(StoreError::Unavailable { .. })),
        "{refused:?}"
    );
}

proptest! {
    #[test]
    fn an_id_expires_at_the_latest_of_its_times(
        times in prop::collection::vec((0..5_usize, 0..1_000_i64), 0..40), now in 0..1_000_i64,
    ) {
        let sessions = RevokedSessions::default();
        for (id, until) in &times {
            sessions.insert(&id.to_string(), at(*until));
        }
        sessions.expire(at(now));
        for id in 0..5 {
            let latest = times.iter().filter(|(each, _)| *each == id).map(|(_, until)| *until).max();
            prop_assert_eq!(sessions.contains(&id.to_string()), latest.is_some_and(|latest| latest > now));
        }
    }
}
