//! Throttles failed logins: the more of them, the longer the wait. Successes don't count, so that any number of people behind
//! one address can sign in.
//!
//! Counted are failures for one account from one address, and failures from one address for any account. Failures for one
//! account from anywhere block strangers alone: an address from which somebody has signed in to the account before is not
//! affected, and who has read the account's e-mail sets a new password, which forgets the failures. So nobody can lock its
//! owner out. A failure is answered by the count that it made, so that concurrent guesses are not more than the limits say.
//!
//! Hashing a password costs a stranger nothing and the shop much: what may be asked for without any proof is counted too.
//!
//! The counters are shared by all nodes. While their store is unavailable, nothing is throttled.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use metrics::counter;

use crate::config::counted;
use crate::stores::counters::{Counter, CounterStore};
use crate::stores::{StoreError, TokenHash};
use souk_domain::account::EmailKey;
use souk_domain::{Timestamp, UserId};

const MINUTE: Duration = Duration::from_secs(60);
const QUARTER: Duration = Duration::from_secs(15 * 60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Failures allowed per window, for one account from one address.
const PAIR: [(Duration, u64); 3] = [(MINUTE, 5), (QUARTER, 15), (DAY, 50)];
/// The same from one address, for any account.
const ADDRESS: [(Duration, u64); 2] = [(MINUTE, 30), (QUARTER, 150)];
/// The same for one account, from addresses where it is not signed in.
const ACCOUNT: [(Duration, u64); 2] = [(QUARTER, 50), (DAY, 200)];

/// Password reset e-mails per account, whoever requests them: no inbox is flooded.
const EMAILS: (Duration, u64) = (Duration::from_secs(3600), 5);

/// Registrations per address: each hashes a password for somebody who has proven nothing.
const REGISTRATIONS: [(Duration, u64); 2] = [(MINUTE, 60), (QUARTER, 300)];

/// A login attempt: its counters, each with the number of failures that it allows. Accounts are named by a hash: the counters
/// hold no e-mail addresses.
pub struct Attempt {
    pair: Vec<(Counter, u64)>,
    address: Vec<(Counter, u64)>,
    account: Vec<(Counter, u64)>,
}

impl Attempt {
    /// An attempt for the account of `email` from `address`.
    pub fn new(email: &EmailKey, address: IpAddr) -> Self {
        let hash = TokenHash::of(email.as_str());
        let account = hex::encode(&hash.0[..16]);
        let network = counted(address);
        Self {
            pair: ladder(&format!("login:pair:{account}:{network}"), &PAIR),
            address: ladder(&format!("login:address:{network}"), &ADDRESS),
            account: ladder(&format!("login:account:{account}"), &ACCOUNT),
        }
    }

    fn counters(&self) -> impl Iterator<Item = &(Counter, u64)> {
        self.that_block(false)
    }

    /// Those that block it. Those of the account do not where somebody has signed in from the network before.
    fn that_block(&self, is_known: bool) -> impl Iterator<Item = &(Counter, u64)> {
        let strangers = if is_known { &[][..] } else { &self.account };
        self.pair.iter().chain(&self.address).chain(strangers)
    }
}

/// A counter for each window, with the number that it allows.
fn ladder(key: &str, steps: &[(Duration, u64)]) -> Vec<(Counter, u64)> {
    let step = |&(window, limit): &(Duration, u64)| {
        let key = format!("{key}:{}", window.as_secs());
        (Counter { key, window }, limit)
    };
    steps.iter().map(step).collect()
}

/// What stands for an account and the network of an address from which somebody has signed in to it.
pub fn known_network(user: &UserId, address: IpAddr) -> TokenHash {
    TokenHash::of(&format!("{user} {}", counted(address)))
}

/// Counts failed logins.
#[derive(Clone)]
pub struct Throttle {
    /// Where they are counted.
    pub counters: Arc<dyn CounterStore>,
}

impl Throttle {
    /// How long the attempt has to wait; `None` where it is allowed now. `is_known`: somebody has signed in to the account
    /// from this network before.
    pub async fn blocks(&self, attempt: &Attempt, is_known: bool, now: Timestamp) -> Option<Duration> {
        self.exhausted(attempt.that_block(is_known), now).await
    }

    /// How long a registration from `address` has to wait; where it is allowed now, counts it.
    pub async fn blocks_registration(&self, address: IpAddr, now: Timestamp) -> Option<Duration> {
        let counters = ladder(&format!("register:{}", counted(address)), &REGISTRATIONS);
        let blocked = self.exhausted(counters.iter(), now).await;
        if blocked.is_none() {
            self.hit(&counters, now).await;
        }
        blocked
    }

    /// The longest time until a window ends whose counter has reached its limit.
    async fn exhausted(
        &self,
        counters: impl Iterator<Item = &(Counter, u64)>,
        now: Timestamp,
    ) -> Option<Duration> {
        let (keys, limits): (Vec<Counter>, Vec<u64>) = counters.cloned().unzip();
        let found = match self.counters.counts(&keys, now).await {
            Ok(found) => found,
            Err(error) => {
                unavailable(&error);
                return None;
            }
        };
        keys.iter()
            .zip(limits)
            .zip(found)
            .filter(|((_, limit), found)| found >= limit)
            .map(|((counter, _), _)| remaining(counter.window, now))
            .max()
    }

    /// Counts, and returns the new counts; 0 where the store is unavailable.
    async fn hit(&self, counters: impl IntoIterator<Item = &(Counter, u64)>, now: Timestamp) -> Vec<u64> {
        let hits = counters
            .into_iter()
            .map(|(counter, _)| self.counters.hit(&counter.key, now, counter.window, 1));
        let counted = |hit: Result<u64, StoreError>| {
            hit.unwrap_or_else(|error| {
                unavailable(&error);
                0
            })
        };
        join_all(hits).await.into_iter().map(counted).collect()
    }

    /// Whether another password reset e-mail may be sent to the account; counts it.
    pub async fn allows_email(&self, user: &UserId, now: Timestamp) -> bool {
        let (window, limit) = EMAILS;
        match self.counters.hit(&emails(user), now, window, 1).await {
            Ok(count) => count <= limit,
            Err(error) => {
                unavailable(&error);
                true
            }
        }
    }

    /// Counts a failed attempt. How long it has to wait where it was one more than is allowed: its answer must not say that
    /// the password was wrong.
    pub async fn failed(&self, attempt: &Attempt, is_known: bool, now: Timestamp) -> Option<Duration> {
        let counts = self.hit(attempt.counters(), now).await;
        // Those that block come first.
        attempt
            .that_block(is_known)
            .zip(counts)
            .filter(|((_, limit), count)| count > limit)
            .map(|((counter, _), _)| remaining(counter.window, now))
            .max()
    }

    /// Resets the counters of a successful attempt's account and address, but for the day's: a guesser in the owner's own
    /// network gets no further guesses whenever its owner signs in.
    pub async fn succeeded(&self, attempt: &Attempt) {
        let shorter = attempt.pair.iter().filter(|(counter, _)| counter.window < DAY);
        self.forget(shorter.map(|(counter, _)| counter.key.as_str()))
            .await;
    }

    /// Resets the counters of an account whose owner has proven that they read its e-mail, those of its e-mails included:
    /// whoever asked for most of them, the owner may need the next one.
    pub async fn proven(&self, user: &UserId, attempt: &Attempt) {
        let counters = attempt.pair.iter().chain(&attempt.account);
        let emails = emails(user);
        let keys = counters.map(|(counter, _)| counter.key.as_str());
        self.forget(keys.chain([emails.as_str()])).await;
    }

    async fn forget(&self, keys: impl Iterator<Item = &str>) {
        for key in keys {
            if let Err(error) = self.counters.forget(key).await {
                unavailable(&error);
            }
        }
    }
}

/// The counter of the e-mails to an account.
fn emails(user: &UserId) -> String {
    format!("emails:{user}")
}

/// The time until the fixed window that contains `now` ends.
fn remaining(window: Duration, now: Timestamp) -> Duration {
    let length = u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1);
    let into = u64::try_from(now.as_millis()).unwrap_or(0) % length;
    Duration::from_millis(length - into)
}

fn unavailable(error: &StoreError) {
    counter!("souk_throttle_unavailable_total").increment(1);
    tracing::warn!(error = error as &dyn Error, "failed logins can't be counted");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::counters::sqlite::SqliteCounters;
    use crate::stores::testing::open_database;
    use souk_domain::EmailAddress;
    use souk_domain::account::email_key;

    const NOW: Timestamp = Timestamp::from_millis(1_795_341_600_000);

    async fn throttle() -> (Throttle, tempfile::TempDir) {
        let (database, folder) = open_database("sessions").await;
        let counters = Arc::new(SqliteCounters(database));
        (Throttle { counters }, folder)
    }

    fn attempt(email: &str, address: &str) -> Attempt {
        let key = email_key(&EmailAddress::parse(email).unwrap());
        Attempt::new(&key, address.parse().unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn waits_grow_until_a_success() {
        let (throttle, _folder) = throttle().await;
        let ada = attempt("ada@example.org", "192.0.2.1");
        for _ in 0..PAIR[0].1 {
            assert_eq!(throttle.blocks(&ada, false, NOW).await, None);
            throttle.failed(&ada, false, NOW).await;
        }
        let wait = throttle.blocks(&ada, false, NOW).await.unwrap();
        assert!(wait <= MINUTE, "{wait:?}");
        // The next minute has its own counter; the quarter of an hour continues.
        let mut now = NOW;
        for _ in PAIR[0].1..PAIR[1].1 {
            now = now.plus(MINUTE / 5);
            throttle.failed(&ada, false, now).await;
        }
        assert!(throttle.blocks(&ada, false, now).await.is_some());
        // Another address, and another account from this one, are not blocked.
        assert_eq!(
            throttle
                .blocks(&attempt("ada@example.org", "192.0.2.2"), false, now)
                .await,
            None
        );
        assert_eq!(
            throttle
                .blocks(&attempt("bob@example.org", "192.0.2.1"), false, now)
                .await,
            None
        );
        throttle.succeeded(&ada).await;
        assert_eq!(throttle.blocks(&ada, false, now).await, None);
        // The day's count stays: whoever guesses from the owner's own network gets no further by the owner's logins.
        for _ in PAIR[1].1..PAIR[2].1 {
            now = now.plus(MINUTE);
            assert_eq!(throttle.failed(&ada, true, now).await, None);
            throttle.succeeded(&ada).await;
        }
        assert!(throttle.blocks(&ada, true, now).await.unwrap() > QUARTER);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_failure_above_the_limit_is_not_answered() {
        let (throttle, _folder) = throttle().await;
        let guesses = (0..ACCOUNT[0].1 + 5).map(|host| {
            let guess = attempt("ada@example.org", &format!("198.51.100.{host}"));
            let throttle = &throttle;
            async move { throttle.failed(&guess, false, NOW).await }
        });
        let refused = join_all(guesses).await.into_iter().flatten().count();
        assert_eq!(refused, 5);
        // Where somebody has signed in before, the account's count is none of its business.
        let owner = attempt("ada@example.org", "192.0.2.1");
        assert_eq!(throttle.failed(&owner, true, NOW).await, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn strangers_can_not_lock_an_owner_out() {
        let (throttle, _folder) = throttle().await;
        for host in 0..ACCOUNT[0].1 {
            throttle
                .failed(
                    &attempt("ada@example.org", &format!("198.51.100.{host}")),
                    false,
                    NOW,
                )
                .await;
        }
        let owner = attempt("ada@example.org", "192.0.2.1");
        assert!(throttle.blocks(&owner, false, NOW).await.is_some());
        assert_eq!(throttle.blocks(&owner, true, NOW).await, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_ipv6_network_counts_as_one_address() {
        let (throttle, _folder) = throttle().await;
        for host in 0..ADDRESS[0].1 {
            let attempt = attempt(&format!("u{host}@example.org"), &format!("2001:db8::{host:x}"));
            throttle.failed(&attempt, false, NOW).await;
        }
        assert!(
            throttle
                .blocks(&attempt("ada@example.org", "2001:db8::ffff"), false, NOW)
                .await
                .is_some()
        );
        assert_eq!(
            throttle
                .blocks(&attempt("ada@example.org", "2001:db8:0:1::1"), false, NOW)
                .await,
            None
        );
    }

    #[test]
    fn a_device_is_known_by_its_network() {
        let (ada, bob) = (UserId::from_suffix("ada"), UserId::from_suffix("bob"));
        let of_ada = |address: &str| known_network(&ada, address.parse().unwrap());
        assert_eq!(of_ada("192.0.2.1"), of_ada("::ffff:192.0.2.1"));
        assert_ne!(of_ada("192.0.2.1"), of_ada("192.0.2.2"));
        assert_eq!(of_ada("2001:db8::1"), of_ada("2001:db8::2:1"));
        assert_ne!(of_ada("2001:db8::1"), of_ada("2001:db8:0:1::1"));
        assert_ne!(
            of_ada("192.0.2.1"),
            known_network(&bob, "192.0.2.1".parse().unwrap())
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_reads_the_email_is_not_held_back() {
        let (throttle, _folder) = throttle().await;
        let guess = |number: u64| attempt("ada@example.org", &format!("198.51.100.{}", number % 10));
        for number in 0..ACCOUNT[0].1 {
            throttle.failed(&guess(number), false, NOW).await;
        }
        let owner = attempt("ada@example.org", "192.0.2.1");
        assert!(throttle.blocks(&owner, false, NOW).await.is_some());
        assert_eq!(throttle.blocks(&owner, true, NOW).await, None);
        throttle.proven(&UserId::from_suffix("ada"), &owner).await;
        assert_eq!(throttle.blocks(&owner, false, NOW).await, None);
        // The guesser is no further: where they have guessed too often, they wait.
        let address = attempt("ada@example.org", "198.51.100.1");
        assert!(throttle.blocks(&address, false, NOW).await.is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn registrations_of_one_address_are_limited() {
        let (throttle, _folder) = throttle().await;
        let [stranger, other] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        for _ in 0..REGISTRATIONS[0].1 {
            assert_eq!(throttle.blocks_registration(stranger, NOW).await, None);
        }
        assert!(throttle.blocks_registration(stranger, NOW).await.unwrap() <= MINUTE);
        assert_eq!(throttle.blocks_registration(other, NOW).await, None);
        assert_eq!(
            throttle.blocks_registration(stranger, NOW.plus(MINUTE)).await,
            None
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn emails_are_limited() {
        let (throttle, _folder) = throttle().await;
        let user = UserId::from_suffix("1");
        for _ in 0..EMAILS.1 {
            assert!(throttle.allows_email(&user, NOW).await);
        }
        assert!(!throttle.allows_email(&user, NOW).await);
        assert!(throttle.allows_email(&UserId::from_suffix("2"), NOW).await);
        assert!(throttle.allows_email(&user, NOW.plus(EMAILS.0)).await);
        // Who has read one gets the next, whoever asked for the others.
        let owner = attempt("ada@example.org", "192.0.2.1");
        let later = NOW.plus(EMAILS.0);
        while throttle.allows_email(&user, later).await {}
        throttle.proven(&user, &owner).await;
        assert!(throttle.allows_email(&user, later).await);
    }
}
