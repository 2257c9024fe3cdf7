//! Failed logins are counted, and more of them mean longer waits. Counted are failures only, so that a shop full of people
//! behind one address signs in without end.
//!
//! Two things are counted: failures for one account from one address, and failures from one address for whatever account.
//! A third, failures for one account from anywhere, holds back strangers alone: an address from which the account is
//! signed in already is not affected, so that nobody can lock its owner out.
//!
//! The counts are in the sessions store and hold on every node. Where that store is away, nothing is held back.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use metrics::counter;
use sha2::{Digest, Sha256};

use crate::domain::Timestamp;
use crate::domain::account::EmailKey;
use crate::stores::sessions::{Count, SessionStore};

const MINUTE: Duration = Duration::from_secs(60);
const QUARTER: Duration = Duration::from_secs(15 * 60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Failures allowed in a window, for one account from one address: each step up the ladder waits longer.
const PAIR: [(Duration, u64); 3] = [(MINUTE, 5), (QUARTER, 15), (DAY, 50)];
/// The same from one address, for whatever account.
const ADDRESS: [(Duration, u64); 2] = [(MINUTE, 30), (QUARTER, 150)];
/// The same for one account, from addresses where it is not signed in.
const ACCOUNT: [(Duration, u64); 2] = [(QUARTER, 50), (DAY, 200)];

/// One attempt to sign in. Accounts are named by a hash: the counters hold no addresses of people.
pub struct Attempt {
    pair: String,
    address: String,
    account: String,
}

impl Attempt {
    /// An attempt at the account of `email` from `address`.
    pub fn new(email: &EmailKey, address: IpAddr) -> Self {
        let account = hexadecimal(&Sha256::digest(email.as_str().as_bytes())[..16]);
        let network = network(address);
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

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What one customer of a provider has to choose from: an IPv4 address, or an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
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
