//! What every adapter of the idempotency port must show (invariant 9).

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::sealed::SealedReplies;
use super::{Attempt, BODY_LIMIT, Claim, IdempotencyStore, KeptReply, Quota, ROW_BYTES};
use crate::config::KEY_BYTES;
use crate::sealing::{Key, Keyring};
use crate::stores::at_rest::{Resealed, RowsAtRest};
use crate::stores::testing::AWKWARD_TEXTS;
use souk_domain::Timestamp;

const LEASE: Duration = Duration::from_secs(30);
const KEEP: Duration = Duration::from_secs(24 * 3_600);
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Runs everything against `store`, which must be empty.
pub async fn suite(store: Arc<dyn IdempotencyStore>) {
    store.ping().await.unwrap();
    a_key_is_claimed_answered_and_replayed(&*store).await;
    any_text_is_kept_as_it_is(&*store).await;
    the_longest_body_is_kept(&*store).await;
    a_key_is_released_only_by_its_holder(&*store).await;
    a_dead_holders_key_passes_on_after_its_lease(&*store).await;
    a_holder_renews_its_lease(&*store).await;
    old_keys_do_not_count_and_are_swept(&*store).await;
    a_quota_refuses_new_keys_only(&*store).await;
    an_owner_is_forgotten(&*store).await;
    one_of_concurrent_claims_wins(store).await;
}

/// Runs what concerns bodies as they lie in the store, after [`suite`].
pub async fn reseals<S: IdempotencyStore + RowsAtRest>(store: &S) {
    for key in ["~rest-c", "~rest-a", "~rest-b"] {
        assert_eq!(claim(store, key, "body", "one", NOW).await, Claim::Ours);
    }
    // What has no reply yet has no body.
    assert!(store.rows_at_rest(Some("~rest-"), 9).await.unwrap().is_empty());
    store.answer("~rest-a", "one", None, &reply(200)).await.unwrap();
    store.answer("~rest-c", "one", None, &reply(200)).await.unwrap();
    let rows = store.rows_at_rest(Some("~rest-"), 9).await.unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["~rest-a", "~rest-c"]);
    assert_eq!(rows[0].content, reply(200).body);
    assert_eq!(store.rows_at_rest(Some("~rest-"), 1).await.unwrap(), rows[..1]);
    let mut resealed: Vec<_> = rows
        .into_iter()
        .map(|row| Resealed {
            row,
            content: b"\0sealed".to_vec(),
        })
        .collect();
    resealed[1].row.content.push(b'!');
    assert_eq!(store.reseal(&resealed).await.unwrap(), [true, false]);
    assert_eq!(store.reseal(&resealed).await.unwrap(), [false, false]);
    let body = |claim| match claim {
        Claim::Answered(reply) => reply.body,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        body(claim(store, "~rest-a", "body", "two", NOW).await),
        b"\0sealed"
    );
    assert_eq!(
        body(claim(store, "~rest-c", "body", "two", NOW).await),
        reply(200).body
    );
}

async fn claim(store: &dyn IdempotencyStore, key: &str, body: &str, holder: &str, now: Timestamp) -> Claim {
    let attempt = attempt(key, body, holder);
    store.claim(&attempt, now, LEASE, KEEP).await.unwrap()
}

/// An attempt of nobody in particular.
pub fn attempt<'a>(key: &'a str, fingerprint: &'a str, holder: &'a str) -> Attempt<'a> {
    Attempt {
        key,
        fingerprint,
        holder,
        owner: None,
        network: None,
        quota: Quota {
            per_owner: u64::MAX,
            per_network: u64::MAX,
        },
    }
}

fn reply(status: u16) -> KeptReply {
    KeptReply {
        status,
        headers: vec![
            ("content-type".into(), "application/json".into()),
            ("etag".into(), "\"3\"".into()),
        ],
        body: b"{\"quoted\": \"\\u00fc\"}\0\xff".to_vec(),
    }
}

/// Everything against sealed replies, of which `store`, which must be empty, sees none in the clear.
pub async fn sealed<S: IdempotencyStore + RowsAtRest>(store: Arc<S>) {
    let keyring = Keyring::new(Key::new("k1", &[1; KEY_BYTES]).unwrap(), Vec::new());
    let inner = Arc::clone(&store) as Arc<dyn IdempotencyStore>;
    suite(SealedReplies::before(inner, &Arc::new(keyring))).await;
    let rows = store.rows_at_rest(None, 100).await.unwrap();
    assert!(!rows.is_empty());
    assert!(rows.iter().all(|row| row.content.starts_with(b"sealed:v1:k1:")));
}

/// Keeps `count` replies for an owner and a network.
pub async fn kept_for(store: &dyn IdempotencyStore, count: usize) {
    for number in 0..count {
        let key = format!("kept-{number}");
        let attempt = Attempt {
            owner: Some("owner"),
            network: Some("network"),
            ..attempt(&key, "body", "one")
        };
        assert_eq!(
            store.claim(&attempt, NOW, LEASE, KEEP).await.unwrap(),
            Claim::Ours
        );
        store.answer(&key, "one", None, &reply(200)).await.unwrap();
    }
}

async fn a_key_is_claimed_answered_and_replayed(store: &dyn IdempotencyStore) {
    let key = "usr_1:it's \"a\" key~";
    assert_eq!(claim(store, key, "body", "one", NOW).await, Claim::Ours);
    assert_eq!(claim(store, key, "body", "two", NOW).await, Claim::Running);
    assert_eq!(claim(store, key, "else", "two", NOW).await, Claim::OtherBody);
    assert_eq!(claim(store, "usr_2", "else", "two", NOW).await, Claim::Ours);
    // A claim whose answer was lost is repeated by its holder.
    assert_eq!(claim(store, key, "body", "one", NOW).await, Claim::Ours);
    // Only the holder answers, and only once.
    store.answer(key, "two", None, &reply(500)).await.unwrap();
    assert_eq!(claim(store, key, "body", "two", NOW).await, Claim::Running);
    store.answer(key, "one", None, &reply(201)).await.unwrap();
    store.answer(key, "one", None, &reply(500)).await.unwrap();
    store.release(key, "one").await.unwrap();
    let later = NOW.plus(KEEP - Duration::from_millis(1));
    for holder in ["one", "two"] {
        assert_eq!(
            claim(store, key, "body", holder, later).await,
            Claim::Answered(reply(201))
        );
        assert_eq!(claim(store, key, "else", holder, later).await, Claim::OtherBody);
    }
    let empty = KeptReply {
        status: 204,
        headers: Vec::new(),
        body: Vec::new(),
    };
    store.answer("usr_2", "two", None, &empty).await.unwrap();
    assert_eq!(
        claim(store, "usr_2", "else", "x", NOW).await,
        Claim::Answered(empty)
    );
}

async fn any_text_is_kept_as_it_is(store: &dyn IdempotencyStore) {
    let key_of = |text: &str| format!("text {text}");
    for text in AWKWARD_TEXTS {
        let (key, network) = (key_of(text), format!("network {text}"));
        let attempt = |fingerprint, holder| Attempt {
            owner: Some(text),
            network: Some(&network),
            ..attempt(&key, fingerprint, holder)
        };
        let reply = KeptReply {
            status: 200,
            headers: vec![(text.to_owned(), format!("{text}{text}"))],
            body: [text.as_bytes(), &[0, 0xc3, 0x28, 0xff]].concat(),
        };
        let claimed = async |attempt: Attempt<'_>| store.claim(&attempt, NOW, LEASE, KEEP).await.unwrap();
        assert_eq!(claimed(attempt(text, text)).await, Claim::Ours, "{text:?}");
        assert_eq!(
            claimed(attempt(text, "another")).await,
            Claim::Running,
            "{text:?}"
        );
        store.answer(&key, "another", None, &reply).await.unwrap();
        store.answer(&key, text, Some(text), &reply).await.unwrap();
        assert_eq!(
            claimed(attempt("another", text)).await,
            Claim::OtherBody,
            "{text:?}"
        );
        assert_eq!(
            claimed(attempt(text, text)).await,
            Claim::Answered(reply),
            "{text:?}"
        );
    }
    // One owner after the other, and nothing of the next ones'.
    for (number, text) in AWKWARD_TEXTS.into_iter().enumerate() {
        assert_eq!(store.forget(text, 9).await.unwrap(), 1, "{text:?}");
        for (later, other) in AWKWARD_TEXTS.into_iter().enumerate() {
            let found = claim(store, &key_of(other), other, "late", NOW).await;
            if later > number {
                assert!(matches!(found, Claim::Answered(_)), "{other:?}: {found:?}");
            } else {
                assert_eq!(found, Claim::Ours, "{other:?}");
            }
        }
    }
}

async fn the_longest_body_is_kept(store: &dyn IdempotencyStore) {
    // Noise, which can't be compressed.
    let mut body = vec![0; BODY_LIMIT];
    rand::Rng::fill(&mut rand::rng(), &mut body[..]);
    let longest = KeptReply { body, ..reply(200) };
    let key = "k".repeat(1_024);
    assert_eq!(claim(store, &key, "body", "one", NOW).await, Claim::Ours);
    store.answer(&key, "one", None, &longest).await.unwrap();
    assert_eq!(
        claim(store, &key, "body", "two", NOW).await,
        Claim::Answered(longest)
    );
}

async fn a_key_is_released_only_by_its_holder(store: &dyn IdempotencyStore) {
    assert_eq!(claim(store, "given", "body", "one", NOW).await, Claim::Ours);
    store.release("given", "two").await.unwrap();
    assert_eq!(claim(store, "given", "body", "two", NOW).await, Claim::Running);
    store.release("given", "one").await.unwrap();
    // Given back, it takes any body.
    assert_eq!(claim(store, "given", "else", "two", NOW).await, Claim::Ours);
    store.release("never claimed", "one").await.unwrap();
}

async fn a_dead_holders_key_passes_on_after_its_lease(store: &dyn IdempotencyStore) {
    assert_eq!(claim(store, "lease", "body", "dead", NOW).await, Claim::Ours);
    let before = NOW.plus(LEASE - Duration::from_millis(1));
    assert_eq!(
        claim(store, "lease", "body", "heir", before).await,
        Claim::Running
    );
    let after = NOW.plus(LEASE);
    assert_eq!(
        claim(store, "lease", "else", "heir", after).await,
        Claim::OtherBody
    );
    assert_eq!(claim(store, "lease", "body", "heir", after).await, Claim::Ours);
    assert_eq!(
        claim(store, "lease", "body", "third", after).await,
        Claim::Running
    );
    // The one who was thought dead wakes up: too late.
    store.answer("lease", "dead", None, &reply(500)).await.unwrap();
    store.release("lease", "dead").await.unwrap();
    assert_eq!(claim(store, "lease", "body", "dead", after).await, Claim::Running);
    store.answer("lease", "heir", None, &reply(200)).await.unwrap();
    let much_later = after.plus(LEASE * 2);
    assert_eq!(
        claim(store, "lease", "body", "dead", much_later).await,
        Claim::Answered(reply(200))
    );
}

async fn a_holder_renews_its_lease(store: &dyn IdempotencyStore) {
    assert_eq!(claim(store, "renewed", "body", "one", NOW).await, Claim::Ours);
    let later = NOW.plus(LEASE / 2);
    assert_eq!(claim(store, "renewed", "body", "one", later).await, Claim::Ours);
    let after = NOW.plus(LEASE);
    assert_eq!(
        claim(store, "renewed", "body", "two", after).await,
        Claim::Running
    );
    let ended = later.plus(LEASE);
    assert_eq!(claim(store, "renewed", "body", "two", ended).await, Claim::Ours);
}

async fn old_keys_do_not_count_and_are_swept(store: &dyn IdempotencyStore) {
    assert_eq!(claim(store, "old", "body", "one", NOW).await, Claim::Ours);
    store.answer("old", "one", None, &reply(200)).await.unwrap();
    let after = NOW.plus(KEEP);
    assert_eq!(claim(store, "old", "else", "two", after).await, Claim::Ours);
    assert_eq!(claim(store, "old", "body", "one", after).await, Claim::OtherBody);
    store.answer("old", "two", None, &reply(201)).await.unwrap();
    assert_eq!(
        claim(store, "old", "else", "one", after).await,
        Claim::Answered(reply(201))
    );
    // It counts from the new claim on.
    let almost = after.plus(KEEP - Duration::from_millis(1));
    assert_eq!(
        claim(store, "old", "else", "one", almost).await,
        Claim::Answered(reply(201))
    );

    for number in 0..5 {
        claim(
            store,
            &format!("sweep-{number}"),
            "body",
            "one",
            Timestamp::from_millis(number),
        )
        .await;
    }
    assert_eq!(store.sweep(Timestamp::from_millis(0), 10).await.unwrap(), 0);
    assert_eq!(store.sweep(Timestamp::from_millis(4), 3).await.unwrap(), 3);
    assert_eq!(store.sweep(Timestamp::from_millis(4), 3).await.unwrap(), 1);
    assert_eq!(store.sweep(Timestamp::from_millis(4), 3).await.unwrap(), 0);
    let early = Timestamp::from_millis(5);
    assert_eq!(
        claim(store, "sweep-4", "body", "two", early).await,
        Claim::Running
    );
    assert_eq!(claim(store, "sweep-3", "else", "two", early).await, Claim::Ours);
}

async fn a_quota_refuses_new_keys_only(store: &dyn IdempotencyStore) {
    // Room for two keys of an owner, whose requests may still run, and for four of a network.
    let quota = Quota {
        per_owner: 2 * ROW_BYTES,
        per_network: 4 * ROW_BYTES,
    };
    let claim = async |key: &str, holder: &str, owner: &str, now: Timestamp| {
        let attempt = Attempt {
            owner: Some(owner),
            network: Some("net"),
            quota,
            ..attempt(key, "body", holder)
        };
        store.claim(&attempt, now, LEASE, KEEP).await.unwrap()
    };
    assert_eq!(claim("quota-1", "one", "ann", NOW).await, Claim::Ours);
    // A renewal counts once.
    assert_eq!(claim("quota-1", "one", "ann", NOW).await, Claim::Ours);
    assert_eq!(claim("quota-2", "one", "ann", NOW).await, Claim::Ours);
    assert_eq!(claim("quota-3", "one", "ann", NOW).await, Claim::OverQuota);
    // Known keys are as they were: renewed, waited for, taken over, answered.
    assert_eq!(claim("quota-2", "one", "ann", NOW).await, Claim::Ours);
    assert_eq!(claim("quota-2", "two", "ann", NOW).await, Claim::Running);
    assert_eq!(claim("quota-2", "two", "ann", NOW.plus(LEASE)).await, Claim::Ours);
    store.answer("quota-1", "one", None, &reply(200)).await.unwrap();
    assert_eq!(
        claim("quota-1", "two", "ann", NOW).await,
        Claim::Answered(reply(200))
    );
    // What is given back is free again, of a reply its body too.
    store.release("quota-2", "two").await.unwrap();
    assert_eq!(claim("quota-2", "two", "ann", NOW).await, Claim::Ours);
    assert_eq!(claim("quota-3", "one", "ann", NOW).await, Claim::OverQuota);
    assert_eq!(store.forget("ann", 9).await.unwrap(), 2);
    assert_eq!(claim("quota-3", "one", "ann", NOW).await, Claim::Ours);

    // Together they fill the network's.
    for (key, owner) in [("quota-4", "ann"), ("quota-5", "ben"), ("quota-6", "ben")] {
        assert_eq!(claim(key, "one", owner, NOW).await, Claim::Ours);
    }
    assert_eq!(claim("quota-7", "one", "cid", NOW).await, Claim::OverQuota);
    for owner in ["ann", "ben"] {
        assert_eq!(store.forget(owner, 9).await.unwrap(), 2);
    }
}

async fn an_owner_is_forgotten(store: &dyn IdempotencyStore) {
    let quota = Quota {
        per_owner: u64::MAX,
        per_network: u64::MAX,
    };
    let claim = async |key: &str, owner: Option<&str>| {
        let attempt = Attempt {
            owner,
            quota,
            ..attempt(key, "body", "one")
        };
        store.claim(&attempt, NOW, LEASE, KEEP).await.unwrap()
    };
    for (key, owner) in [
        ("forget-1", Some("gone")),
        ("forget-2", Some("gone")),
        ("forget-3", None),
        ("forget-4", Some("stays")),
    ] {
        assert_eq!(claim(key, owner).await, Claim::Ours);
    }
    store.answer("forget-1", "one", None, &reply(200)).await.unwrap();
    // The reply to a stranger may be about an account.
    store
        .answer("forget-3", "one", Some("gone"), &reply(201))
        .await
        .unwrap();
    store.answer("forget-4", "one", None, &reply(200)).await.unwrap();
    assert_eq!(store.forget("gone", 2).await.unwrap(), 2);
    assert_eq!(store.forget("gone", 2).await.unwrap(), 1);
    assert_eq!(store.forget("gone", 2).await.unwrap(), 0);
    // The answer of one that was running finds nothing to answer.
    store.answer("forget-2", "one", None, &reply(200)).await.unwrap();
    for key in ["forget-1", "forget-2", "forget-3"] {
        assert_eq!(claim(key, None).await, Claim::Ours);
    }
    assert_eq!(claim("forget-4", None).await, Claim::Answered(reply(200)));
}

async fn one_of_concurrent_claims_wins(store: Arc<dyn IdempotencyStore>) {
    for round in 0..4 {
        let key = format!("race-{round}");
        // A left-over claim makes it a race for the takeover in every second round.
        if round % 2 == 1 {
            claim(&*store, &key, "body", "dead", NOW).await;
        }
        let now = NOW.plus(LEASE);
        let claims = join_all((0..64).map(|holder| {
            let (store, key) = (Arc::clone(&store), key.clone());
            tokio::spawn(async move { claim(&*store, &key, "body", &format!("h{holder}"), now).await })
        }))
        .await;
        let claims: Vec<Claim> = claims.into_iter().map(Result::unwrap).collect();
        let ours = claims.iter().filter(|claim| **claim == Claim::Ours).count();
        let running = claims.iter().filter(|claim| **claim == Claim::Running).count();
        assert_eq!((ours, running), (1, 63));
    }
}
