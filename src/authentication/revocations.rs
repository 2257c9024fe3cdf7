//! The sessions that were ended before their access tokens were: what each node asks before it believes a token.
//!
//! A node learns of them by polling the store, every second by default, so that a logout counts everywhere within that and
//! the time of one read. An id is forgotten when no access token of its session can live.
//!
//! **While the store is away** a node goes on with what it knows: no shopper is logged out because a store restarts, and
//! nobody can end a session in it either. What is known is still forgotten by the clock. Each failed read counts in
//! `souk_revocation_polls_failed_total`, [`Revocations::behind`] says for how long it has been so, and the next poll tries again,
//! from where the last one that worked ended: what was revoked meanwhile is not missed. A node that has never reached the
//! store must not serve ([`Revocations::open`] fails).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dashmap::DashMap;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::following::{Words, follow};
use crate::clock::Clock;
use crate::stores::StoreError;
use souk_domain::Timestamp;

/// Ids read at once.
const PAGE_LIMIT: usize = 1_000;
/// How long one read has. Short, so that one that hangs does not keep the next from working.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// How much longer than its tokens an id is kept: a token may be signed by a request that began before the revocation.
const MARGIN: Duration = Duration::from_secs(60);

/// Sessions that were revoked, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationPage {
    /// Their ids.
    pub sessions: Vec<String>,
    /// The number of the last one; the number that was asked from where there is none.
    pub sequence: i64,
}

/// Where revocations are read: the sessions store.
#[async_trait]
pub trait RevocationSource: Send + Sync + 'static {
    /// Those after the number `sequence` (0 at first), oldest first, at most `limit`.
    async fn revoked_since(&self, sequence: i64, limit: usize) -> Result<RevocationPage, StoreError>;
}

/// How revocations are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationSettings {
    /// How often the source is read.
    pub interval: Duration,
    /// Longest that an access token is accepted after it was signed.
    pub longest_life: Duration,
}

/// Why revocations could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// The store said so.
    #[error("revoked sessions could not be read")]
    Store(#[from] StoreError),
    /// It said nothing.
    #[error("revoked sessions were not read within {READ_LIMIT:?}")]
    TimedOut,
}

/// The ids of revoked sessions, each with the time when it may be forgotten. A clone is the same set.
#[derive(Clone, Debug, Default)]
pub struct RevokedSessions(Arc<DashMap<Box<str>, Timestamp>>);

impl RevokedSessions {
    /// Whether the session was revoked, as far as is known here.
    pub fn contains(&self, session: &str) -> bool {
        self.0.contains_key(session)
    }

    /// Adds one, until `until`; the later time counts where it is there already.
    pub fn insert(&self, session: &str, until: Timestamp) {
        let mut kept = self.0.entry(session.into()).or_insert(until);
        *kept = (*kept).max(until);
    }

    /// Forgets those whose time has come.
    pub fn forget(&self, now: Timestamp) {
        self.0.retain(|_, until| *until > now);
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Follows the revocations of the whole shop. A clone is another handle to the same.
#[derive(Clone)]
pub struct Revocations(Arc<Inner>);

struct Inner {
    source: Arc<dyn RevocationSource>,
    settings: RevocationSettings,
    sessions: RevokedSessions,
    /// The number up to which everything was read; held while reading, so that one poll goes on where another ended.
    sequence: Mutex<i64>,
    /// When the last poll that worked began, in milliseconds since the Unix epoch.
    verified_at: AtomicI64,
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations")
            .field("known", &self.0.sessions.len())
            .finish_non_exhaustive()
    }
}

impl Revocations {
    /// Reads all that stands there.
    ///
    /// # Errors
    /// Where the source is away: a node that knows of no revocation must not check tokens.
    pub async fn open(
        source: Arc<dyn RevocationSource>,
        settings: RevocationSettings,
        now: Timestamp,
    ) -> Result<Self, RevocationError> {
        let revocations = Self(Arc::new(Inner {
            source,
            settings,
            sessions: RevokedSessions::default(),
            sequence: Mutex::new(0),
            verified_at: AtomicI64::new(now.as_millis()),
        }));
        revocations.poll(now).await?;
        Ok(revocations)
    }

    /// The set itself, for who checks tokens.
    pub fn sessions(&self) -> RevokedSessions {
        self.0.sessions.clone()
    }

    /// How long the news of a revocation takes to reach a node, as long as it can read them.
    pub fn interval(&self) -> Duration {
        self.0.settings.interval
    }

    /// Counts a session as revoked here at once: the node that was asked to end it need not wait for its own poll.
    pub fn note(&self, session: &str, now: Timestamp) {
        self.0.sessions.insert(session, self.until(now));
    }

    /// For how long the source has not been read. Above a few intervals, logouts on other nodes don't count here.
    pub fn behind(&self, now: Timestamp) -> Duration {
        now.since(Timestamp::from_millis(self.0.verified_at.load(Ordering::Acquire)))
    }

    /// Reads what is new, to the end, and forgets what is over.
    ///
    /// # Errors
    /// Where the source does not answer; what was read until then counts.
    pub async fn poll(&self, now: Timestamp) -> Result<(), RevocationError> {
        self.0.sessions.forget(now);
        let mut sequence = self.0.sequence.lock().await;
        loop {
            let read = self.0.source.revoked_since(*sequence, PAGE_LIMIT);
            let page = tokio::time::timeout(READ_LIMIT, read)
                .await
                .map_err(|_| RevocationError::TimedOut)??;
            for session in &page.sessions {
                self.note(session, now);
            }
            // A source that does not move on would be read for ever.
            let moved = page.sequence > *sequence;
            *sequence = page.sequence.max(*sequence);
            if page.sessions.len() < PAGE_LIMIT || !moved {
                break;
            }
        }
        self.0.verified_at.store(now.as_millis(), Ordering::Release);
        metrics::gauge!("souk_revoked_sessions").set(self.0.sessions.len() as f64);
        Ok(())
    }

    /// Polls every interval, until `stop`.
    pub async fn follow(self, clock: Clock, stop: CancellationToken) {
        let words = Words {
            failing: "revoked sessions can't be read; those that are known still count",
            again: "revoked sessions are read again",
            failures: metrics::counter!("souk_revocation_polls_failed_total"),
        };
        follow(self.0.settings.interval, stop, words, || {
            let (this, now) = (self.clone(), clock());
            async move { this.poll(now).await }
        })
        .await;
    }

    fn until(&self, now: Timestamp) -> Timestamp {
        now.plus(self.0.settings.longest_life).plus(MARGIN)
    }
}

#[cfg(test)]
mod tests;
