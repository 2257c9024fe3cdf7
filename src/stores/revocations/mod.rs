//! The port for revocations: the sessions whose access tokens must no longer be accepted.

pub(super) mod adapter;
#[cfg(test)]
pub mod contract;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod sqlite;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::{SessionId, Timestamp};

/// Revoked sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationPage {
    /// In the order in which they were revoked.
    pub sessions: Vec<SessionId>,
    /// The number of the last one; the number that was asked from where there is none.
    pub sequence: i64,
}

/// The port. Part of `stores.users`, whose ping covers it.
#[async_trait]
pub trait RevocationStore: Send + Sync + 'static {
    /// Adds sessions. One that has been added before changes nothing.
    async fn add(&self, sessions: &[SessionId], now: Timestamp) -> Result<(), StoreError>;
    /// Those after the number `sequence` (0: from the beginning), oldest first, at most `limit`. A reader that
    /// continues from each page's number misses none, whatever is added meanwhile; numbers are never reused.
    async fn since(&self, sequence: i64, limit: usize) -> Result<RevocationPage, StoreError>;
    /// Removes at most `limit` of those added at or before `until`; returns how many.
    async fn sweep(&self, until: Timestamp, limit: usize) -> Result<u64, StoreError>;
}
