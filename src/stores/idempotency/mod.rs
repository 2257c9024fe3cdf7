//! The port for idempotent replies: the first reply to a request, kept for its repetitions (invariant 9).

#[cfg(test)]
pub mod contract;
#[cfg(feature = "redis")]
pub mod redis;
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

/// What a kept reply counts beside its body against a [`Quota`], in bytes: its key, headers and entries in indexes.
pub const ROW_BYTES: u64 = 512;

/// How much may be kept, in bytes of rows as they lie in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// For one caller.
    pub per_owner: u64,
    /// For one network address.
    pub per_network: u64,
}

/// A request that claims its key.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The key.
    pub key: &'a str,
    /// The hash of the body.
    pub fingerprint: &'a str,
    /// Identifies this attempt.
    pub holder: &'a str,
    /// The caller that the reply is kept for, as a keyed digest, so that the store does not reveal who it is.
    pub owner: Option<&'a str>,
    /// The network that the request came from, as a keyed digest.
    pub network: Option<&'a str>,
    /// How much may be kept for the two.
    pub quota: Quota,
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
    /// The key is new, and as much is kept for its owner or network as may be.
    OverQuota,
}

/// The port. Part of `stores.sessions`.
#[async_trait]
pub trait IdempotencyStore: Send + Sync + 'static {
    /// The technology behind it, such as `sqlite`.
    fn technology(&self) -> &'static str;
    /// Whether the store is available.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Claims the key of a request. A claim whose lease ended without a reply (its node died) passes to the next request
    /// with the same body. Entries older than `keep` don't count. May be repeated, which renews the lease.
    ///
    /// A new key is refused where its owner or network has reached its quota; a key that is known never is. What is kept exceeds a
    /// quota at most by the replies of the requests that were running when it was reached.
    async fn claim(
        &self,
        attempt: &Attempt<'_>,
        now: Timestamp,
        lease: Duration,
        keep: Duration,
    ) -> Result<Claim, StoreError>;

    /// Stores the reply. With an `owner`, it is kept for that one from now on: a registration opens the account that its reply
    /// is about. Nothing changes where `holder` no longer holds the key. May be repeated.
    async fn answer(
        &self,
        key: &str,
        holder: &str,
        owner: Option<&str>,
        reply: &KeptReply,
    ) -> Result<(), StoreError>;

    /// Releases the key after a failure that may be retried. May be repeated.
    async fn release(&self, key: &str, holder: &str) -> Result<(), StoreError>;

    /// Removes at most `limit` entries of this owner, claims of running requests included; returns how many.
    async fn forget(&self, owner: &str, limit: usize) -> Result<u64, StoreError>;

    /// Removes at most `limit` entries first claimed before `before`; returns how many.
    async fn sweep(&self, before: Timestamp, limit: usize) -> Result<u64, StoreError>;
}
