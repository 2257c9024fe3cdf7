use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use souk_domain::fixtures::at;

const LIFE: Duration = Duration::from_secs(930);
const INTERVAL: Duration = Duration::from_secs(1);

fn settings() -> RevocationSettings {
    RevocationSettings {
        interval: INTERVAL,
        longest_life: LIFE,
    }
}

/// Revocations in memory; can be away, or say nothing.
#[derive(Default)]
struct Memory {
    sessions: std::sync::Mutex<Vec<String>>,
    away: AtomicBool,
    silent: AtomicBool,
    asked: Notify,
}

impl Memory {
    fn with(count: usize) -> Arc<Self> {
        let memory = Self::default();
        memory.revoke((0..count).map(|index| format!("ses_{index}")));
        Arc::new(memory)
    }

    fn revoke(&self, sessions: impl IntoIterator<Item = String>) {
        self.sessions.lock().unwrap().extend(sessions);
    }
}

#[async_trait]
impl RevocationSource for Memory {
    async fn revoked_since(&self, sequence: i64, limit: usize) -> Result<RevocationPage, StoreError> {
        self.asked.notify_waiters();
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.away.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable {
                store: "sessions",
                cause: "away".into(),
            });
        }
        let sessions = self.sessions.lock().unwrap();
        let from = usize::try_from(sequence).unwrap();
        let page: Vec<String> = sessions.iter().skip(from).take(limit).cloned().collect();
        Ok(RevocationPage {
            sequence: i64::try_from(from + page.len()).unwrap(),
            sessions: page,
        })
    }
}

async fn open(source: &Arc<Memory>) -> Revocations {
    Revocations::open(Arc::clone(source) as Arc<dyn RevocationSource>, settings(), at(0))
        .await
        .unwrap()
}

/// A clock that goes with the runtime's.
fn clock() -> Clock {
    let begun = Instant::now();
    Arc::new(move || at(0).plus(begun.elapsed()))
}

#[tokio::test]
async fn everything_that_stands_there_is_known_from_the_beginning() {
    for count in [0, 1, PAGE_LIMIT - 1, PAGE_LIMIT, 2 * PAGE_LIMIT + 1] {
        let revocations = open(&Memory::with(count)).await;
        assert_eq!(revocations.sessions().len(), count);
        assert_eq!(revocations.sessions().contains("ses_0"), count > 0);
    }
}

#[tokio::test]
async fn only_what_is_new_is_read_and_it_is_forgotten_when_its_tokens_are_dead() {
    let source = Memory::with(1);
    let revocations = open(&source).await;
    let sessions = revocations.sessions();
    source.revoke(["ses_new".to_owned()]);
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
async fn the_node_that_ends_a_session_knows_at_once() {
    let revocations = open(&Memory::with(0)).await;
    let other_handle = revocations.clone().sessions();
    revocations.note("ses_mine", at(0));
    assert!(other_handle.contains("ses_mine"));
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_what_is_known_counts_and_nothing_is_missed_afterwards() {
    let source = Memory::with(1);
    let revocations = open(&source).await;
    let sessions = revocations.sessions();
    let stop = CancellationToken::new();
    let clock = clock();
    let following = tokio::spawn(revocations.clone().follow(Arc::clone(&clock), stop.clone()));

    source.away.store(true, Ordering::Relaxed);
    for _ in 0..5 {
        // It asks again, however often it is refused.
        source.asked.notified().await;
    }
    source.revoke(["ses_meanwhile".to_owned()]);
    assert!(sessions.contains("ses_0"));
    assert!(revocations.behind(clock()) >= INTERVAL * 3);

    source.away.store(false, Ordering::Relaxed);
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
async fn known_ids_are_forgotten_by_the_clock_though_the_store_is_away() {
    let source = Memory::with(1);
    let revocations = open(&source).await;
    source.away.store(true, Ordering::Relaxed);
    let late = at(0).plus(LIFE).plus(MARGIN);
    assert!(revocations.poll(late).await.is_err());
    assert!(revocations.sessions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_read_that_hangs_is_given_up_and_following_can_be_stopped_in_it() {
    let source = Memory::with(1);
    let revocations = open(&source).await;
    source.silent.store(true, Ordering::Relaxed);
    assert!(matches!(
        revocations.poll(at(1)).await,
        Err(RevocationError::TimedOut)
    ));
    let stop = CancellationToken::new();
    let following = tokio::spawn(revocations.follow(clock(), stop.clone()));
    source.asked.notified().await;
    stop.cancel();
    let begun = Instant::now();
    following.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_node_that_never_reached_the_store_does_not_begin() {
    let source = Memory::with(1);
    source.away.store(true, Ordering::Relaxed);
    let opened = Revocations::open(source, settings(), at(0)).await;
    assert!(matches!(opened, Err(RevocationError::Store(_))), "{opened:?}");
}

proptest! {
    #[test]
    fn an_id_is_kept_to_the_latest_of_its_times_and_no_longer(
        times in prop::collection::vec((0..5_usize, 0..1_000_i64), 0..40), now in 0..1_000_i64,
    ) {
        let sessions = RevokedSessions::default();
        for (id, until) in &times {
            sessions.insert(&id.to_string(), at(*until));
        }
        sessions.forget(at(now));
        for id in 0..5 {
            let latest = times.iter().filter(|(each, _)| *each == id).map(|(_, until)| *until).max();
            prop_assert_eq!(sessions.contains(&id.to_string()), latest.is_some_and(|latest| latest > now));
        }
    }
}
