//! The contract suite of the sessions port.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::{REPEATABLE_FOR, Rotation, Session, SessionStore};
use crate::stores::testing::{AWKWARD_TEXTS, Expiry};
use crate::stores::{StoreError, TokenHash};
use souk_domain::{SessionId, Timestamp, UserId};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// How long a session lives unused.
const LIFE: Duration = Duration::from_secs(30 * 24 * 3_600);
const SECOND: Duration = Duration::from_secs(1);
/// Presentations of one token at once.
const RACERS: usize = 64;
/// How long ended sessions are kept.
const KEEP: Duration = Duration::from_secs(3_600);

/// Runs everything against `store`, which must be empty; `tokens` says how it gets rid of tokens and networks.
pub async fn suite(store: Arc<dyn SessionStore>, tokens: Expiry) {
    store.ping().await.unwrap();
    a_session_is_listed_while_it_lives(&*store).await;
    a_session_keeps_any_text(&*store).await;
    a_token_is_exchanged_once(&*store).await;
    session_of_does_not_spend_the_token(&*store).await;
    a_spent_token_ends_its_family_alone(&*store).await;
    a_rotation_can_be_repeated(&*store).await;
    tokens_and_sessions_expire(&*store).await;
    one_of_concurrent_rotations_wins(&store).await;
    a_user_ends_own_sessions_alone(&*store).await;
    a_password_is_asked_for_in_one_session(&*store).await;
    networks_are_remembered_for_a_time(&*store).await;
    // Last, because it removes what the others left.
    a_sweep_removes_expired_rows(&*store, tokens).await;
}

fn user(name: &str) -> UserId {
    UserId::from_suffix(name)
}

fn session(user_name: &str, id: &str) -> Session {
    Session {
        id: SessionId::from_suffix(id),
        user: user(user_name),
        created_at: NOW,
        last_used_at: NOW,
        expires_at: NOW.plus(LIFE),
        user_agent: "Mozilla/5.0 (\"quoted\"; ü)".into(),
        address: "2001:db8::1".into(),
    }
}

/// Opens a session whose first token is called as the session.
async fn opened(store: &dyn SessionStore, user_name: &str, id: &str) -> Session {
    let session = session(user_name, id);
    store.open(&session, &TokenHash::of(id)).await.unwrap();
    session
}

async fn rotate(store: &dyn SessionStore, old: &str, new: &str, now: Timestamp) -> Rotation {
    store
        .rotate(&TokenHash::of(old), &TokenHash::of(new), now, now.plus(LIFE))
        .await
        .unwrap()
}

async fn live(store: &dyn SessionStore, user_name: &str, now: Timestamp) -> Vec<String> {
    let sessions = store.list(&user(user_name), now).await.unwrap();
    sessions.iter().map(|session| session.id.to_string()).collect()
}

async fn ended(store: &dyn SessionStore, session: &Session, now: Timestamp) -> u64 {
    let ids = std::slice::from_ref(&session.id);
    store.end(&session.user, ids, now).await.unwrap()
}

async fn a_session_is_listed_while_it_lives(store: &dyn SessionStore) {
    let first = opened(store, "list", "list-a").await;
    let mut second = session("list", "list-b");
    second.last_used_at = NOW.plus(SECOND);
    store.open(&second, &TokenHash::of("list-b")).await.unwrap();
    opened(store, "list-other", "list-c").await;
    let user = user("list");
    // The most recently used first.
    assert_eq!(
        store.list(&user, NOW).await.unwrap(),
        [second.clone(), first.clone()]
    );
    let end = NOW.plus(LIFE);
    assert_eq!(
        live(store, "list", end.minus(Duration::from_millis(1)))
            .await
            .len(),
        2
    );
    assert_eq!(live(store, "list", end).await.len(), 0);
    assert_eq!(live(store, "nobody", NOW).await.len(), 0);

    // Opening again changes nothing; a session has one family of tokens.
    store.open(&first, &TokenHash::of("list-a")).await.unwrap();
    assert_eq!(store.list(&user, NOW).await.unwrap(), [second, first.clone()]);
    let another = store.open(&first, &TokenHash::of("another")).await;
    assert!(matches!(another, Err(StoreError::Refused { .. })));
    assert_eq!(
        rotate(store, "another", "another-2", NOW).await,
        Rotation::Unknown
    );
}

async fn a_session_keeps_any_text(store: &dyn SessionStore) {
    let long = "\u{1f6d2}".repeat(16 * 1024);
    for (number, text) in AWKWARD_TEXTS.into_iter().chain([long.as_str()]).enumerate() {
        let token = format!("text-{number}");
        let with_text = Session {
            user_agent: text.to_owned(),
            address: format!("{text}{text}"),
            ..session("text", &token)
        };
        store.open(&with_text, &TokenHash::of(&token)).await.unwrap();
        let (user, now) = (&with_text.user, NOW.plus(SECOND));
        let found = store.find(user, &with_text.id, NOW).await.unwrap();
        assert_eq!(found.as_ref(), Some(&with_text), "{text:?}");
        let Rotation::Rotated(used) = rotate(store, &token, &format!("{token}-next"), now).await else {
            panic!("{text:?}");
        };
        assert_eq!(
            (used.user_agent, used.address),
            (with_text.user_agent, with_text.address)
        );
        // Of the longest identifiers too.
        let (user, id) = (user_of_length(64, number), format!("{number:0>60}"));
        let longest = Session {
            user: user.clone(),
            ..session("text", &id)
        };
        store.open(&longest, &TokenHash::of(&id)).await.unwrap();
        assert_eq!(store.list(&user, NOW).await.unwrap(), [longest]);
    }
}

fn user_of_length(length: usize, number: usize) -> UserId {
    user(&format!(
        "{number:.>width$}",
        width = length - UserId::PREFIX.len()
    ))
}

async fn a_token_is_exchanged_once(store: &dyn SessionStore) {
    let first = opened(store, "chain", "chain-0").await;
    for step in 1..6 {
        let now = NOW.plus(SECOND * step);
        let used = Session {
            last_used_at: now,
            expires_at: now.plus(LIFE),
            ..first.clone()
        };
        let old = format!("chain-{}", step - 1);
        let rotation = rotate(store, &old, &format!("chain-{step}"), now).await;
        assert_eq!(rotation, Rotation::Rotated(used.clone()));
        assert_eq!(store.list(&user("chain"), now).await.unwrap(), [used]);
    }
    assert_eq!(rotate(store, "never", "seen", NOW).await, Rotation::Unknown);
    assert_eq!(rotate(store, "seen", "either", NOW).await, Rotation::Unknown);
    let same = store
        .rotate(
            &TokenHash::of("chain-5"),
            &TokenHash::of("chain-5"),
            NOW,
            NOW.plus(LIFE),
        )
        .await;
    assert!(matches!(same, Err(StoreError::Refused { .. })));
}

async fn session_of_does_not_spend_the_token(store: &dyn SessionStore) {
    let first = opened(store, "tells", "tells-0").await;
    opened(store, "tells", "tells-other").await;
    let of = async |name: &str, now: Timestamp| store.session_of(&TokenHash::of(name), now).await.unwrap();
    for _ in 0..2 {
        assert_eq!(of("tells-0", NOW).await, Some(first.clone()));
    }
    assert_eq!(of("tells-never", NOW).await, None);
    assert_eq!(of("tells-0", NOW.plus(LIFE)).await, None);
    let Rotation::Rotated(used) = rotate(store, "tells-0", "tells-1", NOW.plus(SECOND)).await else {
        panic!("a token that was looked at was spent");
    };
    // Both the spent and the live one name the current session, also after it has been ended.
    for over in [false, true] {
        if over {
            assert_eq!(ended(store, &first, NOW).await, 1);
        }
        for name in ["tells-0", "tells-1"] {
            assert_eq!(of(name, NOW).await, Some(used.clone()));
        }
    }
}

async fn a_spent_token_ends_its_family_alone(store: &dyn SessionStore) {
    let stolen = opened(store, "victim", "victim-0").await;
    let other = opened(store, "victim", "victim-other").await;
    for step in 1..4 {
        let old = format!("victim-{}", step - 1);
        rotate(store, &old, &format!("victim-{step}"), NOW).await;
    }
    // Any of the spent ones, not only the last.
    for round in 0..2 {
        let Rotation::Reused(session) = rotate(store, "victim-1", &format!("thief-{round}"), NOW).await
        else {
            panic!("a spent token was not noticed");
        };
        assert_eq!((session.id, session.user), (stolen.id.clone(), user("victim")));
    }
    // Neither the owner nor the thief can continue with that family.
    for dead in ["victim-3", "thief-0", "thief-1"] {
        // A live token is not spent by the attempt.
        for further in ["further-0", "further-1"] {
            assert_eq!(rotate(store, dead, further, NOW).await, Rotation::Unknown);
        }
    }
    assert_eq!(live(store, "victim", NOW).await, [other.id.to_string()]);
    assert!(matches!(
        rotate(store, "victim-other", "victim-other-1", NOW).await,
        Rotation::Rotated(_)
    ));
}

async fn a_rotation_can_be_repeated(store: &dyn SessionStore) {
    opened(store, "lost", "lost-0").await;
    let first = rotate(store, "lost-0", "lost-1", NOW).await;
    assert!(matches!(first, Rotation::Rotated(_)));
    assert_eq!(rotate(store, "lost-0", "lost-1", NOW).await, first);
    assert_eq!(live(store, "lost", NOW).await.len(), 1);
    // For a while, and also when one of the two tabs has used the new one already.
    assert!(matches!(
        rotate(store, "lost-1", "lost-2", NOW).await,
        Rotation::Rotated(_)
    ));
    let last = NOW.plus(REPEATABLE_FOR).minus(Duration::from_millis(1));
    assert!(matches!(
        rotate(store, "lost-0", "lost-1", last).await,
        Rotation::Rotated(session) if session.last_used_at == last
    ));
    // After that it is a reuse as any other.
    let late = NOW.plus(REPEATABLE_FOR);
    assert!(matches!(
        rotate(store, "lost-0", "lost-1", late).await,
        Rotation::Reused(_)
    ));
    assert_eq!(live(store, "lost", late).await.len(), 0);
    assert_eq!(rotate(store, "lost-2", "lost-3", late).await, Rotation::Unknown);
    // An ended session gives out no token.
    let over = opened(store, "lost", "over-0").await;
    rotate(store, "over-0", "over-1", NOW).await;
    assert_eq!(ended(store, &over, NOW).await, 1);
    assert_eq!(rotate(store, "over-0", "over-1", NOW).await, Rotation::Unknown);
}

async fn tokens_and_sessions_expire(store: &dyn SessionStore) {
    let session = opened(store, "expiry", "expiry-0").await;
    let end = NOW.plus(LIFE);
    assert_eq!(
        rotate(store, "expiry-0", "expiry-1", end).await,
        Rotation::Unknown
    );
    let last = end.minus(Duration::from_millis(1));
    assert!(matches!(
        rotate(store, "expiry-0", "expiry-1", last).await,
        Rotation::Rotated(_)
    ));
    // The session lives on with its new token; the old one has expired, and so proves nothing.
    assert_eq!(live(store, "expiry", end).await, [session.id.to_string()]);
    assert_eq!(rotate(store, "expiry-0", "thief", end).await, Rotation::Unknown);
    assert_eq!(ended(store, &session, last.plus(LIFE)).await, 0);
    assert!(matches!(
        rotate(store, "expiry-1", "expiry-2", end).await,
        Rotation::Rotated(_)
    ));
    // A session may be made to end sooner.
    let soon = end.plus(SECOND);
    let shortened = store
        .rotate(&TokenHash::of("expiry-2"), &TokenHash::of("expiry-3"), end, soon)
        .await;
    assert!(matches!(shortened.unwrap(), Rotation::Rotated(session) if session.expires_at == soon));
    assert_eq!(live(store, "expiry", soon).await.len(), 0);
}

async fn one_of_concurrent_rotations_wins(store: &Arc<dyn SessionStore>) {
    for round in 0..3 {
        let id = format!("race-{round}");
        let contested = opened(&**store, "racer", &id).await;
        let bystander = opened(
            &**store,
            &format!("bystander-{round}"),
            &format!("bystander-{round}"),
        )
        .await;
        let sibling = opened(&**store, "racer", &format!("sibling-{round}")).await;
        let rotations = join_all((0..RACERS).map(|racer| {
            let (store, id) = (Arc::clone(store), id.clone());
            tokio::spawn(async move { rotate(&*store, &id, &format!("{id}-{racer}"), NOW).await })
        }))
        .await;
        let (mut rotated, mut reused) = (0, 0);
        for rotation in rotations {
            match rotation.unwrap() {
                Rotation::Rotated(session) if session.id == contested.id => rotated += 1,
                Rotation::Reused(session) if session.id == contested.id => reused += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((rotated, reused), (1, RACERS - 1));
        // The family has ended, the winner's token included; the others continue.
        for racer in 0..RACERS {
            assert_eq!(
                rotate(&**store, &format!("{id}-{racer}"), "more", NOW).await,
                Rotation::Unknown
            );
        }
        for (session, name) in [(bystander, "bystander"), (sibling, "sibling")] {
            let found = store.find(&session.user, &session.id, NOW).await.unwrap();
            assert_eq!(found, Some(session));
            let old = format!("{name}-{round}");
            assert!(matches!(
                rotate(&**store, &old, &format!("{old}-next"), NOW).await,
                Rotation::Rotated(_)
            ));
        }
    }
}

async fn a_user_ends_own_sessions_alone(store: &dyn SessionStore) {
    let mut many = Vec::new();
    for number in 0..4 {
        many.push(opened(store, "many", &format!("many-{number}")).await);
    }
    let other = opened(store, "few", "few-0").await;
    let [first, second, third, kept] = &*many else {
        unreachable!()
    };
    let ids = |sessions: &[&Session]| {
        sessions
            .iter()
            .map(|session| session.id.clone())
            .collect::<Vec<_>>()
    };

    assert_eq!(store.end(&other.user, &ids(&[first]), NOW).await.unwrap(), 0);
    assert_eq!(
        store.end(&first.user, &ids(&[first, &other]), NOW).await.unwrap(),
        1
    );
    assert_eq!(store.end(&first.user, &ids(&[first]), NOW).await.unwrap(), 0);
    assert_eq!(
        rotate(store, "many-0", "many-0-next", NOW).await,
        Rotation::Unknown
    );
    assert_eq!(
        store
            .end(&first.user, &ids(&[first, second, third]), NOW)
            .await
            .unwrap(),
        2
    );
    assert_eq!(live(store, "many", NOW).await, ["ses_many-3"]);
    assert_eq!(live(store, "few", NOW).await, ["ses_few-0"]);
    assert_eq!(store.end(&first.user, &[], NOW).await.unwrap(), 0);

    let find =
        async |user: &UserId, session: &Session, now| store.find(user, &session.id, now).await.unwrap();
    assert_eq!(find(&kept.user, kept, NOW).await.as_ref(), Some(kept));
    assert_eq!(find(&other.user, kept, NOW).await, None);
    assert_eq!(find(&first.user, first, NOW).await, None);
    assert_eq!(find(&kept.user, kept, NOW.plus(LIFE)).await, None);
    // Identifiers compare bytewise.
    let upper = SessionId::from_suffix("MANY-3");
    assert_eq!(store.find(&kept.user, &upper, NOW).await.unwrap(), None);
    assert_eq!(store.find(&user("MANY"), &kept.id, NOW).await.unwrap(), None);
}

async fn a_password_is_asked_for_in_one_session(store: &dyn SessionStore) {
    let here = opened(store, "careful", "careful-0").await;
    let there = opened(store, "careful", "careful-1").await;
    let asked = async |session: &Session, now| {
        store
            .stepped_up_at(&session.user, &session.id, now)
            .await
            .unwrap()
    };
    assert_eq!(asked(&here, NOW).await, None);
    for at in [NOW.plus(SECOND), NOW] {
        assert!(store.step_up(&here.user, &here.id, at).await.unwrap());
    }
    // A clock that lags takes nothing back.
    assert_eq!(asked(&here, NOW).await, Some(NOW.plus(SECOND)));
    assert_eq!(asked(&there, NOW).await, None);
    assert!(!store.step_up(&user("other"), &here.id, NOW).await.unwrap());
    let others = store.stepped_up_at(&user("other"), &here.id, NOW).await.unwrap();
    assert_eq!(others, None);
    assert_eq!(ended(store, &here, NOW).await, 1);
    assert_eq!(asked(&here, NOW).await, None);
    assert!(!store.step_up(&here.user, &here.id, NOW).await.unwrap());
}

async fn networks_are_remembered_for_a_time(store: &dyn SessionStore) {
    let network = TokenHash::of("ada at home");
    let remembers = async |now| store.remembers_network(&network, now).await.unwrap();
    assert!(!remembers(NOW).await);
    // The later time counts, in whatever order they come.
    for life in [SECOND * 2, SECOND] {
        store.remember_network(&network, NOW.plus(life)).await.unwrap();
    }
    assert!(remembers(NOW.plus(SECOND)).await);
    assert!(!remembers(NOW.plus(SECOND * 2)).await);
    let other = TokenHash::of("ada at work");
    assert!(!store.remembers_network(&other, NOW).await.unwrap());
}

async fn a_sweep_removes_expired_rows(store: &dyn SessionStore, tokens: Expiry) {
    let everything = NOW.plus(LIFE * 10);
    while store.sweep(everything, KEEP, 1_000).await.unwrap() > 0 {}

    let over = opened(store, "sweep", "over").await;
    assert_eq!(ended(store, &over, NOW).await, 1);
    for number in 0..5 {
        opened(store, "sweep", &format!("sweep-{number}")).await;
    }
    rotate(store, "sweep-0", "sweep-0-next", NOW.plus(SECOND)).await;
    let before = NOW.plus(LIFE).minus(Duration::from_millis(1));
    let kept = NOW.plus(KEEP).minus(Duration::from_millis(1));
    assert_eq!(store.sweep(kept, KEEP, 100).await.unwrap(), 0);
    assert_eq!(store.sweep(NOW.plus(KEEP), KEEP, 100).await.unwrap(), 1);

    // Nothing else has expired yet; then, in rounds of at most three of a kind: five first tokens and that of the ended
    // session, four sessions, since one is in use.
    assert_eq!(store.sweep(before, KEEP, 3).await.unwrap(), 0);
    let expired = NOW.plus(LIFE);
    let swept = match tokens {
        Expiry::BySweep => 3,
        Expiry::ByItself => 0,
    };
    assert_eq!(store.sweep(expired, KEEP, 3).await.unwrap(), swept + 3);
    assert_eq!(store.sweep(expired, KEEP, 3).await.unwrap(), swept + 1);
    assert_eq!(store.sweep(expired, KEEP, 3).await.unwrap(), 0);
    assert_eq!(live(store, "sweep", expired).await, ["ses_sweep-0"]);
    assert!(matches!(
        rotate(store, "sweep-0-next", "sweep-0-last", expired).await,
        Rotation::Rotated(_)
    ));
}
