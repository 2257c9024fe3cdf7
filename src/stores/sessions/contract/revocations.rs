//! Revocations: of the right sessions, once, and heard of by everybody who listens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;

use super::{NOW, live, opened, rotate, times_revoked, user};
use crate::stores::sessions::{Rotation, SessionStore};
use souk_domain::SessionId;

pub(super) async fn suite(store: &Arc<dyn SessionStore>) {
    one_session_is_revoked_by_its_user(&**store).await;
    all_sessions_but_one_are_revoked(&**store).await;
    pages_follow_each_other(&**store).await;
    a_listener_misses_nothing_under_concurrent_writes(store).await;
}

async fn one_session_is_revoked_by_its_user(store: &dyn SessionStore) {
    let session = opened(store, "leaver", "leaver-0").await;
    opened(store, "leaver", "leaver-1").await;
    let stranger = user("stranger");
    assert!(!store.revoke(&stranger, &session.id, NOW).await.unwrap());
    assert_eq!(live(store, "leaver", NOW).await.len(), 2);
    assert!(store.revoke(&session.user, &session.id, NOW).await.unwrap());
    assert!(!store.revoke(&session.user, &session.id, NOW).await.unwrap());
    assert_eq!(live(store, "leaver", NOW).await, ["ses_leaver-1"]);
    assert_eq!(times_revoked(store, &session).await, 1);
    assert_eq!(
        rotate(store, "leaver-0", "leaver-0-next", NOW).await,
        Rotation::Unknown
    );
    let never = SessionId::from_suffix("never");
    assert!(!store.revoke(&session.user, &never, NOW).await.unwrap());
}

async fn all_sessions_but_one_are_revoked(store: &dyn SessionStore) {
    for number in 0..4 {
        opened(store, "many", &format!("many-{number}")).await;
    }
    let other = opened(store, "few", "few-0").await;
    let kept = SessionId::from_suffix("many-2");
    let many = user("many");
    assert_eq!(store.revoke_all(&many, Some(&kept), NOW).await.unwrap(), 3);
    assert_eq!(store.revoke_all(&many, Some(&kept), NOW).await.unwrap(), 0);
    assert_eq!(live(store, "many", NOW).await, ["ses_many-2"]);
    // An exception that is not this user's spares nothing.
    assert_eq!(store.revoke_all(&many, Some(&other.id), NOW).await.unwrap(), 1);
    assert_eq!(live(store, "many", NOW).await.len(), 0);
    assert_eq!(live(store, "few", NOW).await, ["ses_few-0"]);
    assert_eq!(store.revoke_all(&other.user, None, NOW).await.unwrap(), 1);
    assert_eq!(store.revoke_all(&user("nobody"), None, NOW).await.unwrap(), 0);
}

async fn pages_follow_each_other(store: &dyn SessionStore) {
    let start = super::revoked(store).await.sequence;
    let nothing = store.revoked_since(start, 10).await.unwrap();
    assert_eq!((nothing.sessions, nothing.sequence), (Vec::new(), start));
    let mut expected = Vec::new();
    for number in 0..7 {
        let session = opened(store, "paged", &format!("paged-{number}")).await;
        store.revoke(&session.user, &session.id, NOW).await.unwrap();
        expected.push(session.id);
    }
    for limit in [1, 3, 7, 10] {
        let (mut read, mut sequence) = (Vec::new(), start);
        loop {
            let page = store.revoked_since(sequence, limit).await.unwrap();
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

/// Sessions are revoked in all three ways, from many tasks, while a listener reads on and on from where it was.
async fn a_listener_misses_nothing_under_concurrent_writes(store: &Arc<dyn SessionStore>) {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 12;
    let start = super::revoked(&**store).await.sequence;
    let done = Arc::new(AtomicBool::new(false));
    let listener = tokio::spawn({
        let (store, done) = (Arc::clone(store), Arc::clone(&done));
        async move {
            let (mut heard, mut sequence) = (Vec::new(), start);
            loop {
                // Asked before the page is read: what was revoked before has to be on it, or on the next ones.
                let last = done.load(Ordering::Acquire);
                let page = store.revoked_since(sequence, 3).await.unwrap();
                let empty = page.sessions.is_empty();
                heard.extend(page.sessions);
                sequence = page.sequence;
                if last && empty {
                    return heard;
                }
            }
        }
    });
    let writers = join_all((0..WRITERS).map(|writer| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut ended = Vec::new();
            for round in 0..ROUNDS {
                let name = format!("heard-{writer}-{round}");
                let session = opened(&*store, &name, &name).await;
                match round % 3 {
                    0 => assert!(store.revoke(&session.user, &session.id, NOW).await.unwrap()),
                    1 => assert_eq!(store.revoke_all(&session.user, None, NOW).await.unwrap(), 1),
                    _ => {
                        rotate(&*store, &name, &format!("{name}-next"), NOW).await;
                        let again = rotate(&*store, &name, &format!("{name}-thief"), NOW).await;
                        assert!(matches!(again, Rotation::Reused(_)));
                    }
                }
                ended.push(session.id);
            }
            ended
        })
    }))
    .await;
    done.store(true, Ordering::Release);
    let ended: BTreeSet<SessionId> = writers.into_iter().flat_map(Result::unwrap).collect();
    let heard = listener.await.unwrap();
    assert_eq!(heard.len(), WRITERS * ROUNDS, "each once");
    assert_eq!(heard.into_iter().collect::<BTreeSet<_>>(), ended);
}
