//! The port of the replies kept for repeated requests (invariant 9), part of the sessions store.

#[cfg(test)]
pub mod contract;
pub mod sealed;
pub mod sqlite;

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::Timestamp;

/// A reply as it was first given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptReply {
    /// The HTTP status.
    pub status: u16,
    /// Headers that belong to the reply (content type, ETag, Location).
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a claim of a key met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The key is ours until the lease ends: go on.
    Ours,
    /// A request with this key and the same body is still running.
    Running,
    /// It has been answered.
    Answered(KeptReply),
    /// The key was used with another body.
    OtherBody,
}

/// The port.
#[async_trait]
pub trait IdempotencyStore: Send + Sync + 'static {
    /// What it runs on, as in `sqlite`.
    fn technology(&self) -> &'static str;
    /// Whether it answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Claims `key` for the request `holder` whose body hashes to `fingerprint`. A claim whose lease ended without a
    /// reply (its node died) passes to the next who asks with the same body. Entries older than `keep` do not count.
    async fn claim(
        &self,
        key: &str,
        fingerprint: &str,
        holder: &str,
        now: Timestamp,
        lease: Duration,
        keep: Duration,
    ) -> Result<Claim, StoreError>;

    /// Keeps the reply. Nothing happens where `holder` no longer holds the key.
    async fn answer(&self, key: &str, holder: &str, reply: &KeptReply) -> Result<(), StoreError>;

    /// Gives the key back: the request failed in a way that shall be tried again.
    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError>;

    /// Removes entries first claimed before `before`; returns how many, at most `limit`.
    async fn sweep(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError>;
}
