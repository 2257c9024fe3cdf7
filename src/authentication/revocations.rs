//! Revoked sessions, in memory: each node checks them before it accepts an access token.
//!
//! A node learns of them by polling the store, every second by default, so that a logout takes effect everywhere within that
//! and the time of one read. An id is removed when no access token of its session can be valid any more.
//!
//! **While the store is unavailable** a node continues with what it knows: no shopper is logged out because a store restarts,
//! and no session can be ended either. Ids still expire by the clock. Each failed poll counts in
//! `souk_revocation_polls_failed_total`, [`Revocations::behind`] tells since when polls have failed, and the next poll
//! continues from where the last successful one ended, so that none is missed. A node that has never reached the store must
//! not serve ([`Revocations::open`] fails).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::polling::{Reporting, poll};
use crate::clock::Clock;
use crate::stores::StoreError;
use crate::stores::revocations::RevocationStore;
use souk_domain::{SessionId, Timestamp};

/// Ids per read.
const PAGE_LIMIT: usize = 1_000;
/// How much longer than its tokens an id is kept: a token may be signed by a request that began before the revocation.
const MARGIN: Duration = Duration::from_secs(60);

/// How revocations are polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationSettings {
    /// The polling interval.
    pub interval: Duration,
    /// The longest time for which an access token is accepted after it was signed.
    pub longest_life: Duration,
}

/// The ids of revoked sessions, each with its expiry. Clones share the set.
#[derive(Clone, Debug, Default)]
pub struct RevokedSessions(Arc<DashMap<Box<str>, Timestamp>>);

impl RevokedSessions {
    /// Whether the session is known to be revoked.
    pub fn contains(&self, session: &str) -> bool {
        self.0.contains_key(session)
    }

    /// Adds an id until `until`, or until its present expiry where that is later.
    pub fn insert(&self, session: &str, until: Timestamp) {
        let mut expiry = self.0.entry(session.into()).or_insert(until);
        *expiry = (*expiry).max(until);
    }

    /// Removes expired ids.
    pub fn expire(&self, now: Timestamp) {
        self.0.retain(|_, until| *until > now);
    }
}

/// Adds revocations to the store and follows those of all nodes. Clones share the state.
#[derive(Clone)]
pub struct Revocations(Arc<Inner>);

struct Inner {
    store: Arc<dyn RevocationStore>,
    settings: RevocationSettings,
    sessions: RevokedSessions,
    /// The number up to which everything was read; locked while reading, so that one poll continues where another ended.
    sequence: Mutex<i64>,
    /// When the last successful poll began, in milliseconds since the Unix epoch.
    verified_at: AtomicI64,
}

impl Revocations {
    /// Reads all revocations.
    ///
    /// # Errors
    /// Where the store is unavailable: a node that knows of no revocation must not check tokens.
    pub async fn open(
        store: Arc<dyn RevocationStore>,
        settings: RevocationSettings,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let revocations = Self(Arc::new(Inner {
            store,
            settings,
            sessions: RevokedSessions::default(),
            sequence: Mutex::new(0),
            verified_at: AtomicI64::new(now.as_millis()),
        }));
        revocations.poll(now).await?;
        Ok(revocations)
    }

    /// The set, for the verifier of tokens.
    pub fn sessions(&self) -> RevokedSessions {
        self.0.sessions.clone()
    }

    /// The polling interval: how long a revocation takes to reach a node whose polls succeed.
    pub fn interval(&self) -> Duration {
        self.0.settings.interval
    }

    /// Revokes sessions: on this node at once, on the others with their next poll.
    ///
    /// # Errors
    /// Where the store fails. The call may be repeated.
    pub async fn revoke(&self, sessions: &[SessionId], now: Timestamp) -> Result<(), StoreError> {
        self.0.store.add(sessions, now).await?;
        self.insert(sessions, now);
        Ok(())
    }

    /// The time since the last successful poll. Above a few intervals, logouts on other nodes have no effect here.
    pub fn behind(&self, now: Timestamp) -> Duration {
        now.since(Timestamp::from_millis(self.0.verified_at.load(Ordering::Acquire)))
    }

    /// Reads all new revocations and removes expired ones.
    ///
    /// # Errors
    /// Where the store fails; what was read before counts.
    pub async fn poll(&self, now: Timestamp) -> Result<(), StoreError> {
        self.0.sessions.expire(now);
        let mut sequence = self.0.sequence.lock().await;
        loop {
            let page = self.0.store.since(*sequence, PAGE_LIMIT).await?;
            self.insert(&page.sessions, now);
            // A store whose numbers don't increase would be read for ever.
            let advanced = page.sequence > *sequence;
            *sequence = page.sequence.max(*sequence);
            if page.sessions.len() < PAGE_LIMIT || !advanced {
                break;
            }
        }
        self.0.verified_at.store(now.as_millis(), Ordering::Release);
        metrics::gauge!("souk_revoked_sessions").set(self.0.sessions.0.len() as f64);
        Ok(())
    }

    /// Polls every interval, until `stop`.
    pub async fn follow(self, clock: Clock, stop: CancellationToken) {
        let reporting = Reporting {
            failing: "revoked sessions can't be read; known ones still count",
            recovered: "revoked sessions are read again",
            failures: metrics::counter!("souk_revocation_polls_failed_total"),
        };
        poll(self.0.settings.interval, stop, reporting, || {
            let (this, now) = (self.clone(), clock());
            async move { this.poll(now).await }
        })
        .await;
    }

    fn insert(&self, sessions: &[SessionId], now: Timestamp) {
        let until = now.plus(self.0.settings.longest_life).plus(MARGIN);
        for session in sessions {
            self.0.sessions.insert(session.as_str(), until);
        }
    }
}

#[cfg(test)]
mod tests;
