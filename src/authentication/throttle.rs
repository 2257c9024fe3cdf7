//! Throttles failed logins: the more of them, the longer the wait. Successes don't count, so that any number of people behind
//! one address can sign in.
//!
//! Counted are failures for one account from one address, and failures from one address for any account. Failures for one
//! account from anywhere block strangers alone: an address from which the account is signed in already is not affected, so
//! that nobody can lock its owner out.
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
        let ladder = |key: String, steps: &[(Duration, u64)]| {
            let step = |&(window, limit): &(Duration, u64)| {
                let key = format!("{key}:{}", window.as_secs());
                (Counter { key, window }, limit)
            };
            steps.iter().map(step).collect()
        };
        Self {
            pair: ladder(format!("login:pair:{account}:{network}"), &PAIR),
            address: ladder(format!("login:address:{network}"), &ADDRESS),
            account: ladder(format!("login:account:{account}"), &ACCOUNT),
        }
    }

    fn counters(&self) -> impl Iterator<Item = &(Counter, u64)> {
        self.pair.iter().chain(&self.address).chain(&self.account)
    }
}

/// Whether the address stored with a session belongs to the same network as `address`.
pub fn is_same_network(stored: &str, address: IpAddr) -> bool {
    stored
        .parse()
        .is_ok_and(|stored| counted(stored) == counted(address))
}

/// Counts failed logins.
#[derive(Clone)]
pub struct Throttle {
    /// Where they are counted.
    pub counters: Arc<dyn CounterStore>,
}

impl Throttle {
    /// How long the attempt has to wait; `None` where it is allowed now. `is_known`: the account is signed in from this
    /// network already.
    pub async fn blocks(&self, attempt: &Attempt, is_known: bool, now: Timestamp) -> Option<Duration> {
        let keys: Vec<Counter> = attempt.counters().map(|(counter, _)| counter.clone()).collect();
        let found = match self.counters.counts(&keys, now).await {
            Ok(found) => found,
            Err(error) => {
                unavailable(&error);
                return None;
            }
        };
        attempt
            .counters()
            .zip(found)
            .filter(|(entry, found)| *found >= entry.1 && !(is_known && attempt.account.contains(entry)))
            .map(|((counter, _), _)| remaining(counter.window, now))
            .max()
    }

    /// Whether another password reset e-mail may be sent to the account; counts it.
    pub async fn allows_email(&self, user: &UserId, now: Timestamp) -> bool {
        let (window, limit) = EMAILS;
        match self.counters.hit(&format!("emails:{user}"), now, window, 1).await {
            Ok(count) => count <= limit,
            Err(error) => {
                unavailable(&error);
                true
            }
        }
    }

    /// Counts a failed attempt.
    pub async fn failed(&self, attempt: &Attempt, now: Timestamp) {
        let counters = attempt.counters();
        let hits = counters.map(|(counter, _)| self.counters.hit(&counter.key, now, counter.window, 1));
        for hit in join_all(hits).await {
            if let Err(error) = hit {
                unavailable(&error);
            }
        }
    }

    /// Resets the counters of a successful attempt's account and address.
    pub async fn succeeded(&self, attempt: &Attempt) {
        for (counter, _) in &attempt.pair {
            if let Err(error) = self.counters.forget(&counter.key).await {
                unavailable(&error);
            }
        }
    }
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
            throttle.failed(&ada, NOW).await;
        }
        let wait = throttle.blocks(&ada, false, NOW).await.unwrap();
        assert!(wait <= MINUTE, "{wait:?}");
        // The next minute has its own counter; the quarter of an hour continues.
        let mut now = NOW;
        for _ in PAIR[0].1..PAIR[1].1 {
            now = now.plus(MINUTE / 5);
            throttle.failed(&ada, now).await;
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
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn strangers_can_not_lock_an_owner_out() {
        let (throttle, _folder) = throttle().await;
        for host in 0..ACCOUNT[0].1 {
            throttle
                .failed(&attempt("ada@example.org", &format!("198.51.100.{host}")), NOW)
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
            throttle.failed(&attempt, NOW).await;
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
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(is_same_network("192.0.2.1", address("192.0.2.1")));
        assert!(is_same_network("192.0.2.1", address("::ffff:192.0.2.1")));
        assert!(!is_same_network("192.0.2.1", address("192.0.2.2")));
        assert!(is_same_network("2001:db8::1", address("2001:db8::2:1")));
        assert!(!is_same_network("2001:db8::1", address("2001:db8:0:1::1")));
        assert!(!is_same_network("", address("192.0.2.1")));
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
    }
}
