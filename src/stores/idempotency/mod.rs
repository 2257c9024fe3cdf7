//! The port for idempotent replies: the first reply to a request, kept for its repetitions (invariant 9).

#[cfg(test)]
pub mod contract;
pub mod sealed;
pub mod sqlite;

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::Timestamp;

/// Longest body of a reply that is kept, in bytes: well above any reply to a POST.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// The first reply to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptReply {
    /// The HTTP status.
    pub status: u16,
    /// Headers that belong to the reply (content type, ETag, Location).
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The outcome of a claim of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The caller holds the key until the lease ends.
    Ours,
    /// A request with this key and the same body is still running.
    Running,
    /// It has been answered.
    Answered(KeptReply),
    /// The key was used with another body.
    OtherBody,
}

/// The port. Part of `stores.sessions`.
#[async_trait]
pub trait IdempotencyStore: Send + Sync + 'static {
    /// The technology behind it, such as `sqlite`.
    fn technology(&self) -> &'static str;
    /// Whether the store is available.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Claims `key` for the request `holder` whose body hashes to `fingerprint`. A claim whose lease ended without a
    /// reply (its node died) passes to the next request with the same body. Entries older than `keep` don't count. May be
    /// repeated, which renews the lease.
    async fn claim(
        &self,
        key: &str,
        fingerprint: &str,
        holder: &str,
        now: Timestamp,
        lease: Duration,
        keep: Duration,
    ) -> Result<Claim, StoreError>;

    /// Stores the reply. Nothing changes where `holder` no longer holds the key. May be repeated.
    async fn answer(&self, key: &str, holder: &str, reply: &KeptReply) -> Result<(), StoreError>;

    /// Releases the key after a failure that may be retried. May be repeated.
    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError>;

    /// Removes at most `limit` entries first claimed before `before`; returns how many.
    async fn sweep(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError>;
}
