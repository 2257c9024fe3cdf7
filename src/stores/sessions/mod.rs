//! The port for sessions: who is signed in on which device, with the families of their refresh tokens.
//!
//! Refresh tokens arrive as hashes: whoever reads this store can't sign in with what they find there.

#[cfg(test)]
pub mod contract;
#[cfg(feature = "redis")]
pub mod redis;
pub mod sqlite;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::{StoreError, TokenHash};
use souk_domain::{SessionId, Timestamp, UserId};

/// Most sessions of one user that [`SessionStore::list`] returns; an account has no more.
pub const LIST_LIMIT: usize = 100;

/// How long after its exchange a refresh token may be exchanged again for the same successor: two tabs of a browser do that at
/// once, and a client whose answer was lost.
pub const REPEATABLE_FOR: Duration = Duration::from_secs(10);

/// A device on which somebody is signed in. Debug output, which ends in logs, does not show the device.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Its identifier.
    pub id: SessionId,
    /// Who is signed in.
    pub user: UserId,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When a refresh token of it was last exchanged.
    pub last_used_at: Timestamp,
    /// When it ends unless it is used before.
    pub expires_at: Timestamp,
    /// The device's user agent at sign-in.
    pub user_agent: String,
    /// The device's network address at sign-in.
    pub address: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("user", &self.user)
            .field("created_at", &self.created_at)
            .field("last_used_at", &self.last_used_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The outcome of the exchange of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The new token is the session's live one. The session as it is now.
    Rotated(Session),
    /// The token was spent before, so that somebody has a copy: its session has ended, by this call at the latest.
    Reused(Session),
    /// There is no such token, or its session has ended.
    Unknown,
}

/// The port. A session is live until it expires or is ended.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// The technology behind it, such as `sqlite`.
    fn technology(&self) -> &'static str;
    /// Whether the store is available.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Opens a session with its first refresh token, which expires with the session. The call may be repeated; for a
    /// session that already has another token it is [`StoreError::Refused`].
    async fn open(&self, session: &Session, token: &TokenHash) -> Result<(), StoreError>;
    /// Exchanges a refresh token, all in one transaction: the live token `old` is spent, `new` takes its place, and
    /// session and token live until `expires_at`; or `old` is a spent one, and its session is ended with all of its
    /// tokens, the live one included. [`Rotation::Unknown`] where the token has expired, is the live one of an ended
    /// session, or never existed.
    ///
    /// A spent token is [`Rotation::Reused`] until it expires, also after its session has been ended (until that is swept).
    /// The same call repeated within [`REPEATABLE_FOR`], with the same `new`, is [`Rotation::Rotated`], whether or not that
    /// has been used since.
    async fn rotate(
        &self,
        old: &TokenHash,
        new: &TokenHash,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Rotation, StoreError>;
    /// The session of a refresh token, spent or live, ended or not, until the token or the session has expired. Changes
    /// nothing; [`SessionStore::rotate`] says whether the token is valid.
    async fn session_of(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, StoreError>;
    /// The live session of this user with this id.
    async fn find(
        &self,
        user: &UserId,
        session: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError>;
    /// The live sessions of a user, the most recently used first, at most [`LIST_LIMIT`].
    async fn list(&self, user: &UserId, now: Timestamp) -> Result<Vec<Session>, StoreError>;
    /// Ends those of `sessions` that are live and belong to this user; returns how many. May be repeated.
    async fn end(&self, user: &UserId, sessions: &[SessionId], now: Timestamp) -> Result<u64, StoreError>;
    /// Notes that the password was asked for in the live session of this user with this id. False where there is none.
    async fn step_up(&self, user: &UserId, session: &SessionId, now: Timestamp) -> Result<bool, StoreError>;
    /// When the password was last asked for in the live session of this user with this id.
    async fn stepped_up_at(
        &self,
        user: &UserId,
        session: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError>;
    /// Remembers a network from which somebody has signed in to an account; the hash names both. May be repeated.
    async fn remember_network(&self, network: &TokenHash, expires_at: Timestamp) -> Result<(), StoreError>;
    /// Whether it is remembered.
    async fn remembers_network(&self, network: &TokenHash, now: Timestamp) -> Result<bool, StoreError>;
    /// Removes expired refresh tokens, networks and sessions, and sessions that were ended at least `keep_ended` ago: at most
    /// `limit` of each; returns how many in all.
    async fn sweep(&self, now: Timestamp, keep_ended: Duration, limit: usize) -> Result<u64, StoreError>;
}
