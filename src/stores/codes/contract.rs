//! The contract suite of the port for one-time codes.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::{CodeStore, Purpose};
use crate::stores::TokenHash;
use souk_domain::{Timestamp, UserId};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);

/// Runs everything against `store`, which must be empty.
pub async fn suite(store: Arc<dyn CodeStore>) {
    redeems_a_code_once(&*store).await;
    one_of_concurrent_redemptions_wins(&store).await;
    sweeps_expired_codes(&*store).await;
}

fn user(name: &str) -> UserId {
    UserId::from_suffix(name)
}

async fn redeems_a_code_once(store: &dyn CodeStore) {
    let ada = user("ada");
    let reset = Purpose::PasswordReset;
    let end = NOW.plus(MINUTE);
    let redeem =
        async |purpose, name: &str, now| store.redeem(purpose, &TokenHash::of(name), now).await.unwrap();
    store
        .issue(reset, &TokenHash::of("once"), &ada, end)
        .await
        .unwrap();
    assert_eq!(redeem(reset, "other", NOW).await, None);
    assert_eq!(redeem(Purpose::EmailVerification, "once", NOW).await, None);
    assert_eq!(redeem(reset, "once", end).await, None);
    let last = end.minus(Duration::from_millis(1));
    let holder =
        async |purpose, name: &str, now| store.holder(purpose, &TokenHash::of(name), now).await.unwrap();
    for (purpose, name, now, expected) in [
        (reset, "once", last, Some(ada.clone())),
        (reset, "once", end, None),
        (reset, "other", NOW, None),
        (Purpose::EmailVerification, "once", NOW, None),
    ] {
        assert_eq!(holder(purpose, name, now).await, expected);
    }
    assert_eq!(redeem(reset, "once", last).await, Some(ada.clone()));
    assert_eq!(holder(reset, "once", NOW).await, None);
    assert_eq!(redeem(reset, "once", last).await, None);

    // The newest one counts, for each user and purpose by itself.
    let eve = user("eve");
    for (purpose, name, user) in [
        (reset, "first", &ada),
        (reset, "second", &ada),
        (Purpose::EmailVerification, "verify", &ada),
        (reset, "eve's", &eve),
    ] {
        store
            .issue(purpose, &TokenHash::of(name), user, end)
            .await
            .unwrap();
    }
    assert_eq!(redeem(reset, "first", NOW).await, None);
    assert_eq!(redeem(reset, "second", NOW).await, Some(ada.clone()));
    assert_eq!(redeem(Purpose::EmailVerification, "verify", NOW).await, Some(ada));
    assert_eq!(redeem(reset, "eve's", NOW).await, Some(eve));
}

async fn one_of_concurrent_redemptions_wins(store: &Arc<dyn CodeStore>) {
    let purpose = Purpose::EmailVerification;
    store
        .issue(purpose, &TokenHash::of("raced"), &user("ada"), NOW.plus(MINUTE))
        .await
        .unwrap();
    let redemptions = join_all((0..20).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.redeem(purpose, &TokenHash::of("raced"), NOW).await.unwrap() })
    }))
    .await;
    let winners: Vec<_> = redemptions
        .into_iter()
        .filter_map(|redemption| redemption.unwrap())
        .collect();
    assert_eq!(winners, [user("ada")]);
}

async fn sweeps_expired_codes(store: &dyn CodeStore) {
    let end = NOW.plus(MINUTE);
    for number in 0..3 {
        let name = format!("swept-{number}");
        store
            .issue(Purpose::PasswordReset, &TokenHash::of(&name), &user(&name), end)
            .await
            .unwrap();
    }
    let before = end.minus(Duration::from_millis(1));
    for (now, removed) in [(before, 0), (end, 2), (end, 1), (end, 0)] {
        assert_eq!(store.sweep(now, 2).await.unwrap(), removed);
    }
}
