//! Failed logins are counted, and more of them mean longer waits. Counted are failures only, so that a shop full of people
//! behind one address signs in without end.
//!
//! Two things are counted: failures for one account from one address, and failures from one address for whatever account.
//! A third, failures for one account from anywhere, holds back strangers alone: an address from which the account is
//! signed in already is not affected, so that nobody can lock its owner out.
//!
//! The counts are in the sessions store and hold on every node. Where that store is away, nothing is held back.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use metrics::counter;
use sha2::{Digest, Sha256};

use crate::config::counted;
use crate::hexadecimal::Hexadecimal;
use crate::stores::sessions::{Count, SessionStore};
use souk_domain::account::EmailKey;
use souk_domain::{Timestamp, UserId};

const MINUTE: Duration = Duration::from_secs(60);
const QUARTER: Duration = Duration::from_secs(15 * 60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Failures allowed in a window, for one account from one address: each step up the ladder waits longer.
const PAIR: [(Duration, u64); 3] = [(MINUTE, 5), (QUARTER, 15), (DAY, 50)];
/// The same from one address, for whatever account.
const ADDRESS: [(Duration, u64); 2] = [(MINUTE, 30), (QUARTER, 150)];
/// The same for one account, from addresses where it is not signed in.
const ACCOUNT: [(Duration, u64); 2] = [(QUARTER, 50), (DAY, 200)];

/// Letters that one account is sent in an hour, whoever asks for them: an inbox is not flooded.
const LETTERS: (Duration, u64) = (Duration::from_secs(3600), 5);

/// One attempt to sign in. Accounts are named by a hash: the counters hold no addresses of people.
pub struct Attempt {
    pair: String,
    address: String,
    account: String,
}

impl Attempt {
    /// An attempt at the account of `email` from `address`.
    pub fn new(email: &EmailKey, address: IpAddr) -> Self {
        let digest = Sha256::digest(email.as_str().as_bytes());
        let account = Hexadecimal(&digest[..16]);
        let network = counted(address);
        Self {
            pair: format!("login:pair:{account}:{network}"),
            address: format!("login:address:{network}"),
            account: format!("login:account:{account}"),
        }
    }

    /// What is counted, with its window and how many failures are allowed in it.
    fn counts(&self) -> Vec<(Count, u64)> {
        let ladder = |key: &str, steps: &[(Duration, u64)]| {
            let step = |(window, limit): &(Duration, u64)| {
                let key = format!("{key}:{}", window.as_secs());
                (Count { key, window: *window }, *limit)
            };
            steps.iter().map(step).collect::<Vec<_>>()
        };
        [
            ladder(&self.pair, &PAIR),
            ladder(&self.address, &ADDRESS),
            ladder(&self.account, &ACCOUNT),
        ]
        .concat()
    }
}

/// Whether an address as it is kept with a session is counted as the same one as `address`.
pub fn is_same_network(kept: &str, address: IpAddr) -> bool {
    kept.parse().is_ok_and(|kept| counted(kept) == counted(address))
}

/// Counts failed attempts.
#[derive(Clone)]
pub struct Throttle {
    store: Arc<dyn SessionStore>,
}

impl Throttle {
    /// Counts in `store`.
    pub fn new(store: Arc<dyn SessionStore>) -> Self {
        Self { store }
    }

    /// How long the attempt has to wait; `None` where it is looked at now. `is_known`: the account is signed in at this
    /// address already.
    pub async fn blocks(&self, attempt: &Attempt, is_known: bool, now: Timestamp) -> Option<Duration> {
        let counts = attempt.counts();
        let keys: Vec<Count> = counts.iter().map(|(count, _)| count.clone()).collect();
        let found = match self.store.counts(&keys, now).await {
            Ok(found) => found,
            Err(error) => {
                away(&error);
                return None;
            }
        };
        counts
            .iter()
            .zip(found)
            .filter(|((count, limit), found)| {
                found >= limit && !(is_known && count.key.starts_with(&attempt.account))
            })
            .map(|((count, _), _)| remaining(count.window, now))
            .max()
    }

    /// Whether the account may be sent another letter, which this call counts.
    pub async fn allows_letter(&self, user: &UserId, now: Timestamp) -> bool {
        let (window, limit) = LETTERS;
        match self.store.hit(&format!("letters:{user}"), now, window, 1).await {
            Ok(count) => count <= limit,
            Err(error) => {
                away(&error);
                true
            }
        }
    }

    /// The attempt has failed.
    pub async fn failed(&self, attempt: &Attempt, now: Timestamp) {
        let counts = attempt.counts();
        let hits = counts
            .iter()
            .map(|(count, _)| self.store.hit(&count.key, now, count.window, 1));
        for hit in join_all(hits).await {
            if let Err(error) = hit {
                away(&error);
            }
        }
    }

    /// The attempt has succeeded: what was mistyped before does not matter any more.
    pub async fn succeeded(&self, attempt: &Attempt) {
        for (window, _) in PAIR {
            let key = format!("{}:{}", attempt.pair, window.as_secs());
            if let Err(error) = self.store.forget(&key).await {
                away(&error);
            }
        }
    }
}

/// Until the fixed window that contains `now` is over.
fn remaining(window: Duration, now: Timestamp) -> Duration {
    let length = u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1);
    let into = u64::try_from(now.as_millis()).unwrap_or(0) % length;
    Duration::from_millis(length - into)
}

fn away(error: &crate::stores::StoreError) {
    counter!("souk_throttle_unavailable_total").increment(1);
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "failed logins can't be counted just now"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::sessions::sqlite::SqliteSessions;
    use crate::stores::sqlite;
    use souk_domain::EmailAddress;
    use souk_domain::account::email_key;

    const NOW: Timestamp = Timestamp::from_millis(1_795_341_600_000);

    async fn throttle() -> (Throttle, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let writer = sqlite::in_process_writer(folder.path()).unwrap();
        let store = SqliteSessions::open(&writer, folder.path()).await.unwrap();
        (Throttle::new(Arc::new(store)), folder)
    }

    fn attempt(email: &str, address: &str) -> Attempt {
        let key = email_key(&EmailAddress::parse(email).unwrap()).unwrap();
        Attempt::new(&key, address.parse().unwrap())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn failures_hold_back_longer_and_longer_and_a_success_clears_them() {
        let (throttle, _folder) = throttle().await;
        let ada = attempt("ada@example.org", "192.0.2.1");
        for _ in 0..PAIR[0].1 {
            assert_eq!(throttle.blocks(&ada, false, NOW).await, None);
            throttle.failed(&ada, NOW).await;
        }
        let wait = throttle.blocks(&ada, false, NOW).await.unwrap();
        assert!(wait <= MINUTE, "{wait:?}");
        // The next minute has its own count, the quarter of an hour goes on counting.
        let mut now = NOW;
        for _ in PAIR[0].1..PAIR[1].1 {
            now = now.plus(MINUTE / 5);
            throttle.failed(&ada, now).await;
        }
        assert!(throttle.blocks(&ada, false, now).await.is_some());
        // Another address, and another account from this one, are not held back by it.
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
    async fn strangers_do_not_lock_an_owner_out() {
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
    async fn one_network_of_a_provider_counts_as_one_address() {
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
    async fn an_inbox_is_not_flooded() {
        let (throttle, _folder) = throttle().await;
        let user = UserId::from_suffix("1");
        for _ in 0..LETTERS.1 {
            assert!(throttle.allows_letter(&user, NOW).await);
        }
        assert!(!throttle.allows_letter(&user, NOW).await);
        assert!(throttle.allows_letter(&UserId::from_suffix("2"), NOW).await);
        assert!(throttle.allows_letter(&user, NOW.plus(LETTERS.0)).await);
    }
}
