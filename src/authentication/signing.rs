//! Signing keys: loads the ring from the store, creates the first key, rotates keys, and removes old ones.
//!
//! Every node does all of it, without coordination: a key is added only where none was added recently, which the store decides
//! in one statement, so that nodes which rotate at the same time create one key. While the store is unavailable a node
//! continues with the ring that it has, and retries at the next interval.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::polling::{Reporting, poll};
use super::ring::{KeyError, Ring, RingRules, SharedRing, SigningKey};
use super::sealing::{SEED_LENGTH, SealError, Sealer};
use crate::clock::Clock;
use crate::stores::StoreError;
use crate::stores::signing_keys::{SigningKeyRow, SigningKeyStore};
use souk_cluster::key::ClusterKey;
use souk_domain::Timestamp;

/// How often a node reads the keys, by default.
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(2);
/// The age from which a key signs, by default: two reads and a second of clock skew.
pub const DEFAULT_SETTLE: Duration = Duration::from_secs(5);
/// How long a key signs, by default: 30 days.
pub const DEFAULT_ROTATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Before every key.
const BEGINNING: Timestamp = Timestamp::from_millis(i64::MIN);

/// Intervals of signing keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningKeySettings {
    /// How often the keys are read.
    pub refresh: Duration,
    /// How long a key signs before the next one is created.
    pub rotation: Duration,
    /// From when a key signs, and when it may be removed.
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

/// Why the keys could not be loaded or changed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The store failed.
    #[error("the signing keys could not be read or written")]
    Store(#[from] StoreError),
    /// A key could not be sealed.
    #[error("a signing key could not be sealed")]
    Seal(#[from] SealError),
    /// A key could not be created.
    #[error("a signing key could not be created")]
    Key(#[from] KeyError),
    /// None of the stored keys opens, and the one that was added is not among them.
    #[error("the store has no signing key that opens under this cluster's key")]
    NoKey,
}

/// This node's copy of the shop's signing keys. Clones share it.
#[derive(Clone)]
pub struct SigningKeys(Arc<Inner>);

struct Inner {
    store: Arc<dyn SigningKeyStore>,
    sealer: Sealer,
    settings: SigningKeySettings,
    ring: SharedRing,
    /// Ids that did not open at the last load. Locked while loading, so that an older state never replaces a newer one.
    unopened: Mutex<Vec<String>>,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys")
            .field("ring", &self.0.ring)
            .finish_non_exhaustive()
    }
}

impl SigningKeys {
    /// Loads the keys; creates the first one where there is none.
    ///
    /// # Errors
    /// Where the store is unavailable: a node without keys can't verify tokens.
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
            unopened: Mutex::default(),
        }));
        keys.reload(now).await?;
        Ok(keys)
    }

    /// The ring, for issuer and verifier.
    pub fn ring(&self) -> SharedRing {
        self.0.ring.clone()
    }

    /// The rules of the ring.
    pub fn rules(&self) -> RingRules {
        self.0.settings.rules
    }

    /// Creates a new key, which signs as soon as every node knows it. False where another was created a moment ago, here or
    /// on another node: that one is the new key.
    ///
    /// # Errors
    /// Where the store is unavailable. After a lost reply the key may be stored; a repeated call creates no second one.
    pub async fn rotate(&self, now: Timestamp) -> Result<bool, SigningError> {
        let lately = now.minus(self.0.settings.rules.settle);
        let added = self.add(now, lately).await?;
        self.reload(now).await?;
        Ok(added)
    }

    /// Reads the keys. Where none opens, creates one.
    ///
    /// # Errors
    /// Where the store is unavailable: the ring does not change.
    pub async fn reload(&self, now: Timestamp) -> Result<(), SigningError> {
        let mut known = self.0.unopened.lock().await;
        let mut rows = self.0.store.list().await?;
        let (mut ring, mut unopened) = open_rows(&self.0.sealer, &rows);
        if ring.keys().is_empty() {
            // Keys sealed under a former cluster key are useless and harmless: the new one is newer than they are.
            let newest = rows.iter().map(|row| row.created_at).max().unwrap_or(BEGINNING);
            let created_at = now.max(newest.plus(Duration::from_millis(1)));
            self.add(created_at, newest).await?;
            rows = self.0.store.list().await?;
            (ring, unopened) = open_rows(&self.0.sealer, &rows);
        }
        report(&unopened, &known);
        *known = unopened.into_iter().map(|(id, _)| id).collect();
        if ring.keys().is_empty() {
            return Err(SigningError::NoKey);
        }
        metrics::gauge!("souk_signing_keys").set(ring.keys().len() as f64);
        self.0.ring.store(Arc::new(ring));
        Ok(())
    }

    /// Reads the keys, rotates where it is due, and removes those whose tokens have all expired.
    ///
    /// # Errors
    /// Where the store is unavailable.
    pub async fn maintain(&self, now: Timestamp) -> Result<(), SigningError> {
        self.reload(now).await?;
        let newest = self.0.ring.load().keys().first().map(|key| key.created_at);
        let due = now.minus(self.0.settings.rotation);
        if newest.is_some_and(|newest| newest <= due) && self.add(now, due).await? {
            tracing::info!("the signing key was rotated; the new one signs as soon as every node has it");
            self.reload(now).await?;
        }
        let removable = self.0.ring.load().removable_before(now, self.0.settings.rules);
        if let Some(before) = removable {
            let removed = self.0.store.remove(before).await?;
            tracing::info!(
                removed,
                "signing keys were removed; all of their tokens have expired"
            );
            self.reload(now).await?;
        }
        Ok(())
    }

    /// Maintains the keys every interval, until `stop`.
    pub async fn follow(self, clock: Clock, stop: CancellationToken) {
        let reporting = Reporting {
            failing: "signing keys can't be read; the loaded ones stay in use",
            recovered: "signing keys are read again",
            failures: metrics::counter!("souk_signing_key_reads_failed_total"),
        };
        poll(self.0.settings.refresh, stop, reporting, || {
            let (this, now) = (self.clone(), clock());
            async move { this.maintain(now).await }
        })
        .await;
    }

    async fn add(&self, created_at: Timestamp, unless_newer_than: Timestamp) -> Result<bool, SigningError> {
        // Any 32 random bytes are the seed of an Ed25519 key.
        let seed = Zeroizing::new(rand::random::<[u8; SEED_LENGTH]>());
        let key = SigningKey::from_seed(&seed, created_at)?;
        let row = SigningKeyRow {
            material: self.0.sealer.seal(&key.id, &seed)?,
            id: key.id,
            created_at,
        };
        Ok(self.0.store.add(&row, unless_newer_than).await?)
    }
}

/// The ring of the rows that open, and the ids of the others with the reason.
fn open_rows(sealer: &Sealer, rows: &[SigningKeyRow]) -> (Ring, Vec<(String, SealError)>) {
    let mut keys = Vec::with_capacity(rows.len());
    let mut unopened = Vec::new();
    for row in rows {
        let opened = sealer.open(&row.id, &row.material).and_then(|seed| {
            let key = SigningKey::from_seed(&seed, row.created_at).ok();
            // An id must be the key's own.
            key.filter(|key| key.id == row.id).ok_or(SealError::Format)
        });
        match opened {
            Ok(key) => keys.push(key),
            Err(error) => unopened.push((row.id.clone(), error)),
        }
    }
    (Ring::new(keys), unopened)
}

/// Logs each row that does not open once, and not at every read.
fn report(unopened: &[(String, SealError)], known: &[String]) {
    metrics::gauge!("souk_signing_keys_unopened").set(unopened.len() as f64);
    for (id, error) in unopened {
        if !known.contains(id) {
            tracing::warn!(key = id, %error, "a signing key can't be opened; its tokens are refused on this node");
        }
    }
}

#[cfg(test)]
mod tests;
