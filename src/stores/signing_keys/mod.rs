//! The port for the keys that sign access tokens.

pub(super) mod adapter;
#[cfg(test)]
pub mod contract;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod sqlite;

use std::fmt;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::Timestamp;

/// A key as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeyRow {
    /// Its identifier, which tokens carry.
    pub id: String,
    /// The private key, sealed by the caller.
    pub material: Vec<u8>,
    /// When it was created.
    pub created_at: Timestamp,
}

impl fmt::Debug for SigningKeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeyRow")
            .field("id", &self.id)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// The port. Part of `stores.users`, whose ping covers it.
#[async_trait]
pub trait SigningKeyStore: Send + Sync + 'static {
    /// All keys, newest first.
    async fn list(&self) -> Result<Vec<SigningKeyRow>, StoreError>;
    /// Adds a key unless one exists that was created after `unless_newer_than`: of nodes that rotate at the same time,
    /// one adds its key. True where this key is stored, also by an earlier call whose reply was lost.
    async fn add(&self, key: &SigningKeyRow, unless_newer_than: Timestamp) -> Result<bool, StoreError>;
    /// Removes the keys created before `before`; returns how many.
    async fn remove(&self, before: Timestamp) -> Result<u64, StoreError>;
}
