//! Keeps the ring of signing keys as the store has it: loads it, makes the first key, rotates, removes what is over.
//!
//! Every node does all of it, without agreeing on anything: a key is added only where none was added lately, which the store
//! decides in one statement, so that nodes which rotate at once make one key. While the store is away a node goes on with the
//! ring that it has: it signs and verifies, and tries again at the next interval.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::following::{Words, follow};
use super::ring::{KeyError, Ring, RingRules, SharedRing, SigningKey};
use super::sealing::{SEED_LENGTH, SealError, Sealer};
use crate::clock::Clock;
use crate::stores::StoreError;
use crate::stores::sessions::SigningKeyRow;
use souk_cluster::key::ClusterKey;
use souk_domain::Timestamp;

/// How long one call to the store has.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How often a node reads the keys, by default.
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(2);
/// How old a key has to be to sign, by default: two reads and a second that clocks may differ by.
pub const DEFAULT_SETTLE: Duration = Duration::from_secs(5);
/// How long a key signs, by default: 30 days.
pub const DEFAULT_ROTATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The beginning of time: a key that is added unless a newer one exists is the first of all.
const BEGINNING: Timestamp = Timestamp::from_millis(i64::MIN);

/// Where signing keys rest: the sessions store.
#[async_trait]
pub trait SigningKeyStore: Send + Sync + 'static {
    /// All of them, newest first.
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError>;
    /// Adds a key unless one exists that was created after `unless_newer_than`. True where it was added.
    async fn add_signing_key(
        &self,
        key: &SigningKeyRow,
        unless_newer_than: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Removes keys created before; returns how many.
    async fn remove_signing_keys(&self, before: Timestamp) -> Result<u64, StoreError>;
}

/// The times that signing keys go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningKeySettings {
    /// How often the keys are read.
    pub refresh: Duration,
    /// How long a key signs before the next one is made.
    pub rotation: Duration,
    /// When a key may sign, and when it may go.
    pub rules: RingRules,
}

impl SigningKeySettings {
    /// The defaults, for tokens that are accepted for `longest_life` at most.
    pub const fn for_tokens(longest_life: Duration) -> Self {
        Self {
            refresh: DEFAULT_REFRESH,
            rotation: DEFAULT_ROTATION,
            rules: RingRules {
                settle: DEFAULT_SETTLE,
                longest_life,
            },
        }
    }
}

/// Why the keys could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The store said so.
    #[error("the signing keys could not be read or written")]
    Store(#[from] StoreError),
    /// The store said nothing.
    #[error("the store of the signing keys did not answer within {CALL_LIMIT:?}")]
    TimedOut,
    /// A key could not be sealed.
    #[error("a signing key could not be sealed")]
    Seal(#[from] SealError),
    /// A key could not be made.
    #[error("a signing key could not be made")]
    Key(#[from] KeyError),
    /// None of the keys that stand there opens, and the one that was added is not among them.
    #[error("the store has no signing key that opens under this cluster's key")]
    NoKey,
}

/// The signing keys of the shop, as this node keeps them. A clone is another handle to the same.
#[derive(Clone)]
pub struct SigningKeys(Arc<Inner>);

struct Inner {
    store: Arc<dyn SigningKeyStore>,
    sealer: Sealer,
    settings: SigningKeySettings,
    ring: SharedRing,
    /// Held while loading, so that an older state never replaces a newer one; keeps the ids that did not open last time.
    closed: Mutex<Vec<String>>,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys")
            .field("ring", &self.0.ring)
            .finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// Loads the keys; makes the first one where there is none.
    ///
    /// # Errors
    /// Where the store is away: a node without keys can't check tokens.
    pub async fn open(
        store: Arc<dyn SigningKeyStore>,
        cluster: &ClusterKey,
        settings: SigningKeySettings,
        now: Timestamp,
    ) -> Result<Self, SigningError> {
        let keys = Self(Arc::new(Inner {
            store,
            sealer: Sealer::new(cluster)?,
            settings,
            ring: SharedRing::default(),
            closed: Mutex::default(),
        }));
        keys.reload(now).await?;
        Ok(keys)
    }

    /// The ring itself, for who signs and who checks.
    pub fn ring(&self) -> SharedRing {
        self.0.ring.clone()
    }

    /// The rules that it goes by.
    pub fn rules(&self) -> RingRules {
        self.0.settings.rules
    }

    /// Makes a new key, which signs as soon as every node knows it. False where another was made a moment ago, here or on
    /// another node: that one is the new key.
    ///
    /// # Errors
    /// Where the store is away. Where its answer was lost the key may stand there; to ask again makes no second one.
    pub async fn rotate(&self, now: Timestamp) -> Result<bool, SigningError> {
        let lately = now.minus(self.0.settings.rules.settle);
        let added = self.add(now, lately).await?;
        self.reload(now).await?;
        Ok(added)
    }

    /// Reads the keys. Where none opens, makes one.
    ///
    /// # Errors
    /// Where the store is away: the ring stays as it was.
    pub async fn reload(&self, now: Timestamp) -> Result<(), SigningError> {
        let mut closed = self.0.closed.lock().await;
        let mut rows = self.rows().await?;
        let (mut ring, mut unopened) = open_rows(&self.0.sealer, &rows);
        if ring.keys().is_empty() {
            // Keys under a former key of the cluster are of no use, and of no harm: the next one is newer than they are.
            let newest = rows.iter().map(|row| row.created_at).max().unwrap_or(BEGINNING);
            let created_at = now.max(newest.plus(Duration::from_millis(1)));
            self.add(created_at, newest).await?;
            rows = self.rows().await?;
            (ring, unopened) = open_rows(&self.0.sealer, &rows);
        }
        report(&unopened, &closed);
        *closed = unopened.into_iter().map(|(id, _)| id).collect();
        if ring.keys().is_empty() {
            return Err(SigningError::NoKey);
        }
        metrics::gauge!("souk_signing_keys").set(ring.keys().len() as f64);
        self.0.ring.store(ring);
        Ok(())
    }

    /// Reads the keys, rotates where it is time, and removes those under which no token can live.
    ///
    /// # Errors
    /// Where the store is away.
    pub async fn maintain(&self, now: Timestamp) -> Result<(), SigningError> {
        self.reload(now).await?;
        let newest = self.0.ring.load().keys().first().map(SigningKey::created_at);
        let due = now.minus(self.0.settings.rotation);
        if newest.is_some_and(|newest| newest <= due) && self.add(now, due).await? {
            tracing::info!(
                "the signing key is rotated: a new one signs from now on, as soon as every node has it"
            );
            self.reload(now).await?;
        }
        let removable = self.0.ring.load().removable_before(now, self.0.settings.rules);
        if let Some(before) = removable {
            let removed = within_limit(self.0.store.remove_signing_keys(before)).await?;
            tracing::info!(removed, "signing keys are removed: no token under them can live");
            self.reload(now).await?;
        }
        Ok(())
    }

    /// Keeps the ring as the store has it, every interval, until `stop`.
    pub async fn follow(self, clock: Clock, stop: CancellationToken) {
        let words = Words {
            failing: "the signing keys can't be kept up; those that are loaded go on",
            again: "the signing keys are read again",
            failures: metrics::counter!("souk_signing_key_reads_failed_total"),
        };
        follow(self.0.settings.refresh, stop, words, || {
            let (this, now) = (self.clone(), clock());
            async move { this.maintain(now).await }
        })
        .await;
    }

    async fn rows(&self) -> Result<Vec<SigningKeyRow>, SigningError> {
        within_limit(self.0.store.signing_keys()).await
    }

    async fn add(&self, created_at: Timestamp, unless_newer_than: Timestamp) -> Result<bool, SigningError> {
        // Any 32 random bytes are the seed of an Ed25519 key.
        let seed = Zeroizing::new(rand::random::<[u8; SEED_LENGTH]>());
        let key = SigningKey::from_seed(&seed, created_at)?;
        let row = SigningKeyRow {
            id: key.id().to_owned(),
            material: self.0.sealer.seal(key.id(), &seed)?,
            created_at,
        };
        within_limit(self.0.store.add_signing_key(&row, unless_newer_than)).await
    }
}

/// The ring of the rows that open, and the ids of the others with the reason why they don't.
fn open_rows(sealer: &Sealer, rows: &[SigningKeyRow]) -> (Ring, Vec<(String, SealError)>) {
    let mut keys = Vec::with_capacity(rows.len());
    let mut unopened = Vec::new();
    for row in rows {
        let opened = sealer.open(&row.id, &row.material).and_then(|seed| {
            let key = SigningKey::from_seed(&seed, row.created_at).map_err(|_| SealError::Form)?;
            // An id that is not the key's own was sealed by something else than this.
            if key.id() == row.id {
                Ok(key)
            } else {
                Err(SealError::Form)
            }
        });
        match opened {
            Ok(key) => keys.push(key),
            Err(error) => unopened.push((row.id.clone(), error)),
        }
    }
    (Ring::new(keys), unopened)
}

/// Names each row that does not open once, and not with every read.
fn report(unopened: &[(String, SealError)], known: &[String]) {
    metrics::gauge!("souk_signing_keys_closed").set(unopened.len() as f64);
    for (id, error) in unopened {
        if !known.contains(id) {
            tracing::warn!(key = id, %error, "a signing key does not open: its tokens are refused here");
        }
    }
}

async fn within_limit<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, SigningError> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(SigningError::TimedOut),
    }
}

#[cfg(test)]
mod tests;
