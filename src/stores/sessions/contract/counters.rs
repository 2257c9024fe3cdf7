//! Hits, one-time tokens and signing keys: what many ask at once and one gets.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::{KEEP, NOW, SECOND, token, user};
use crate::stores::sessions::{Count, Purpose, SessionStore, SigningKeyRow};
use souk_domain::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

pub(super) async fn suite(store: &Arc<dyn SessionStore>) {
    hits_are_counted_in_fixed_windows(&**store).await;
    racing_hits_are_all_counted(store).await;
    a_one_time_token_is_taken_once(&**store).await;
    of_racing_redemptions_one_wins(store).await;
    signing_keys_are_listed_newest_first(&**store).await;
    of_racing_rotations_one_adds_its_key(store).await;
}

async fn hits_are_counted_in_fixed_windows(store: &dyn SessionStore) {
    let start = Timestamp::from_millis(60_000 * 1_000);
    let hit = async |key, now| store.hit(key, now, MINUTE, 1).await.unwrap();
    assert_eq!(hit("a", start).await, 1);
    assert_eq!(hit("a", start.plus(SECOND)).await, 2);
    assert_eq!(hit("b", start).await, 1);
    assert_eq!(hit("a", start.plus(MINUTE - Duration::from_millis(1))).await, 3);
    // The next window begins anew, wherever in the one before the first hit was.
    assert_eq!(hit("a", start.plus(MINUTE)).await, 1);
    // A clock that lags behind opens no new window.
    assert_eq!(hit("a", start).await, 2);
    assert_eq!(hit("a", start.plus(MINUTE)).await, 3);
    let count = |key: &str| Count {
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
    // Before the epoch and without a length: no sensible question, and no panic.
    assert_eq!(
        store
            .hit("odd", Timestamp::from_millis(-5), Duration::ZERO, 1)
            .await
            .unwrap(),
        1
    );
}

async fn racing_hits_are_all_counted(store: &Arc<dyn SessionStore>) {
    let hits = join_all((0..50).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.hit("raced", NOW, MINUTE, 1).await.unwrap() })
    }))
    .await;
    let mut counts: Vec<u64> = hits.into_iter().map(Result::unwrap).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=50).collect::<Vec<u64>>());
}

async fn a_one_time_token_is_taken_once(store: &dyn SessionStore) {
    let ada = user("ada");
    let reset = Purpose::PasswordReset;
    let end = NOW.plus(MINUTE);
    let redeem = async |purpose, name: &str, now| store.redeem(purpose, &token(name), now).await.unwrap();
    store.issue(reset, &token("once"), &ada, end).await.unwrap();
    assert_eq!(redeem(reset, "other", NOW).await, None);
    assert_eq!(redeem(Purpose::EmailVerification, "once", NOW).await, None);
    assert_eq!(redeem(reset, "once", end).await, None);
    let last = end.minus(Duration::from_millis(1));
    assert_eq!(redeem(reset, "once", last).await, Some(ada.clone()));
    assert_eq!(redeem(reset, "once", last).await, None);

    // The newest one counts, for each user and purpose by itself.
    let eve = user("eve");
    for (purpose, name, user) in [
        (reset, "first", &ada),
        (reset, "second", &ada),
        (Purpose::EmailVerification, "verify", &ada),
        (reset, "eve's", &eve),
    ] {
        store.issue(purpose, &token(name), user, end).await.unwrap();
    }
    assert_eq!(redeem(reset, "first", NOW).await, None);
    assert_eq!(redeem(reset, "second", NOW).await, Some(ada.clone()));
    assert_eq!(redeem(Purpose::EmailVerification, "verify", NOW).await, Some(ada));
    assert_eq!(redeem(reset, "eve's", NOW).await, Some(eve));
}

async fn of_racing_redemptions_one_wins(store: &Arc<dyn SessionStore>) {
    let purpose = Purpose::EmailVerification;
    store
        .issue(purpose, &token("raced"), &user("ada"), NOW.plus(MINUTE))
        .await
        .unwrap();
    let redemptions = join_all((0..20).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.redeem(purpose, &token("raced"), NOW).await.unwrap() })
    }))
    .await;
    let winners: Vec<_> = redemptions
        .into_iter()
        .filter_map(|redemption| redemption.unwrap())
        .collect();
    assert_eq!(winners, [user("ada")]);
}

fn key(id: &str, created_at: Timestamp) -> SigningKeyRow {
    SigningKeyRow {
        id: id.into(),
        material: vec![0, 255, 7],
        created_at,
    }
}

async fn signing_keys_are_listed_newest_first(store: &dyn SessionStore) {
    assert_eq!(store.signing_keys().await.unwrap(), []);
    let start = NOW.minus(MINUTE);
    let keys = [0, 1, 2].map(|number| key(&format!("key-{number}"), start.plus(SECOND * number)));
    let [first, second, third] = &keys;
    assert!(store.add_signing_key(first, start.minus(SECOND)).await.unwrap());
    // One of the same age is not newer.
    assert!(store.add_signing_key(second, start).await.unwrap());
    assert!(!store.add_signing_key(third, start).await.unwrap());
    // A lost answer is asked for again; the key that stands there is not replaced.
    let other = SigningKeyRow {
        material: vec![1],
        ..second.clone()
    };
    assert!(store.add_signing_key(&other, start).await.unwrap());
    assert!(store.add_signing_key(third, second.created_at).await.unwrap());
    let newest_first = [third.clone(), second.clone(), first.clone()];
    assert_eq!(store.signing_keys().await.unwrap(), newest_first);
    assert_eq!(store.remove_signing_keys(first.created_at).await.unwrap(), 0);
    assert_eq!(store.remove_signing_keys(third.created_at).await.unwrap(), 2);
    assert_eq!(store.signing_keys().await.unwrap(), newest_first[..1]);
    assert_eq!(store.remove_signing_keys(NOW).await.unwrap(), 1);
}

async fn of_racing_rotations_one_adds_its_key(store: &Arc<dyn SessionStore>) {
    let added = join_all((0..20).map(|node| {
        let store = Arc::clone(store);
        // Their clocks differ.
        let key = key(&format!("raced-{node}"), NOW.plus(Duration::from_millis(node)));
        tokio::spawn(async move { store.add_signing_key(&key, NOW.minus(SECOND)).await.unwrap() })
    }))
    .await;
    assert_eq!(
        added.into_iter().filter(|added| *added.as_ref().unwrap()).count(),
        1
    );
    assert_eq!(store.signing_keys().await.unwrap().len(), 1);
}

/// Part of the sweep's own test: nothing else is left that could be swept.
pub(super) async fn a_sweep_removes_what_is_over(store: &dyn SessionStore) {
    let start = Timestamp::from_millis(60_000 * 1_000);
    let end = start.plus(MINUTE);
    for number in 0..3 {
        let name = format!("swept-{number}");
        store.hit(&name, start, MINUTE, 1).await.unwrap();
        store
            .issue(Purpose::PasswordReset, &token(&name), &user(&name), end)
            .await
            .unwrap();
    }
    let before = end.minus(Duration::from_millis(1));
    assert_eq!(store.sweep(before, KEEP, 2).await.unwrap(), 0);
    assert_eq!(store.sweep(end, KEEP, 2).await.unwrap(), 2 + 2);
    assert_eq!(store.sweep(end, KEEP, 2).await.unwrap(), 1 + 1);
    assert_eq!(store.sweep(end, KEEP, 2).await.unwrap(), 0);
    assert_eq!(store.hit("swept-0", start, MINUTE, 1).await.unwrap(), 1);
}
