//! The port of the sessions store: who is logged in where, and everything else about logins that is short-lived: hit
//! counters, one-time tokens, the keys that access tokens are signed with.
//!
//! Tokens come in as hashes: whoever reads this store can't log in with what they find.

#[cfg(test)]
pub mod contract;
mod sql;
pub mod sqlite;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::{SessionId, Timestamp, UserId};

/// Most sessions of one user that [`SessionStore::list`] returns.
pub const LIST_LIMIT: usize = 100;

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(redacted)")
    }
}

/// One device on which somebody is logged in. Debug output, which ends in logs, does not show the device.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Its identifier.
    pub id: SessionId,
    /// Who is logged in.
    pub user: UserId,
    /// When they logged in.
    pub created_at: Timestamp,
    /// When a token of it was last exchanged.
    pub last_used_at: Timestamp,
    /// When it ends unless it is used before.
    pub expires_at: Timestamp,
    /// What the device called itself when they logged in.
    pub user_agent: String,
    /// Where it was on the network when they logged in.
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

/// A count of hits: whose, and in what window. A key is counted in one window only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// What is counted.
    pub key: String,
    /// How long a window is.
    pub window: Duration,
}

/// What became of the exchange of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The new token is the session's live one. The session as it is now.
    Rotated(Session),
    /// The token was spent before, so that somebody has a copy: its session is revoked, by this call at the latest.
    Reused(Session),
    /// No such token, or nothing that lives belongs to it.
    Unknown,
}

/// Sessions that were revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    /// In the order in which they were revoked.
    pub sessions: Vec<SessionId>,
    /// What to ask from next time.
    pub sequence: i64,
}

/// What a one-time token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Choosing a new password.
    PasswordReset,
    /// Showing that one reads the letters to an e-mail address.
    EmailVerification,
}

impl Purpose {
    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordReset => "password_reset",
            Self::EmailVerification => "email_verification",
        }
    }
}

/// A key that access tokens are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeyRow {
    /// Its identifier, which tokens carry.
    pub id: String,
    /// The key, sealed by the caller.
    pub material: Vec<u8>,
    /// When it was made.
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

/// The port.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// What it runs on, as in `sqlite`.
    fn technology(&self) -> &'static str;
    /// Whether it answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Opens a session with its first refresh token, which lives as long as the session. The same call may be repeated
    /// where its answer was lost; a session that has another token already is [`StoreError::Refused`].
    async fn open(&self, session: &Session, token: &TokenHash) -> Result<(), StoreError>;
    /// Exchanges a refresh token, all in one transaction: the live token `old` is spent, `new` takes its place, and
    /// session and token live until `expires_at`; or `old` is a spent one, and its session is revoked with all of its
    /// tokens, the live one included. [`Rotation::Unknown`] where the token has expired, is the live one of a revoked
    /// session, or never was.
    ///
    /// A spent token is [`Rotation::Reused`] until it expires, also where its session is revoked already (as long as that
    /// has not been swept). But the same call again, with the same `new` that nobody has used yet, is [`Rotation::Rotated`]: so a lost answer may be asked
    /// for again.
    async fn rotate(
        &self,
        old: &TokenHash,
        new: &TokenHash,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Rotation, StoreError>;
    /// The session that a refresh token is of, as it stands: spent or live, until the token or the session has expired, and
    /// also where the session is revoked. Changes nothing; [`SessionStore::rotate`] says what the token is good for.
    async fn session_of(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, StoreError>;
    /// The live sessions of a user, the one used last first, at most [`LIST_LIMIT`].
    async fn list(&self, user: &UserId, now: Timestamp) -> Result<Vec<Session>, StoreError>;
    /// Revokes a session of this user. False where there is none that lives.
    async fn revoke(&self, user: &UserId, session: &SessionId, now: Timestamp) -> Result<bool, StoreError>;
    /// Revokes the live sessions of a user, but for one; returns how many.
    async fn revoke_all(
        &self,
        user: &UserId,
        except: Option<&SessionId>,
        now: Timestamp,
    ) -> Result<u64, StoreError>;
    /// Sessions revoked after the one with this sequence number (0: from the beginning), at most `limit`, oldest first.
    /// Whoever goes on from the number that comes back misses none, whatever is revoked meanwhile.
    async fn revoked_since(&self, sequence: i64, limit: usize) -> Result<Revocations, StoreError>;

    /// Counts `amount` hits on `key` in the fixed window (in steps of `window` from the Unix epoch) that contains `now`, and
    /// returns how many it has with these. A clock that lags behind counts in the latest window: windows never go
    /// back.
    async fn hit(&self, key: &str, now: Timestamp, window: Duration, amount: u64) -> Result<u64, StoreError>;
    /// How many hits each has in its window that contains `now`, in their order.
    async fn counts(&self, counts: &[Count], now: Timestamp) -> Result<Vec<u64>, StoreError>;
    /// Forgets the hits on a key.
    async fn forget(&self, key: &str) -> Result<(), StoreError>;

    /// Keeps a one-time token. It replaces the one that the user had for the same purpose.
    async fn issue(
        &self,
        purpose: Purpose,
        token: &TokenHash,
        user: &UserId,
        expires_at: Timestamp,
    ) -> Result<(), StoreError>;
    /// Takes a one-time token: at most one caller gets the user, and none past its time.
    async fn redeem(
        &self,
        purpose: Purpose,
        token: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<UserId>, StoreError>;

    /// The signing keys, newest first.
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError>;
    /// Adds a key, unless there is one that was created after `unless_newer_than`: of nodes that rotate at once, one
    /// adds its key. True where this one stands there, also from an earlier call whose answer was lost.
    async fn add_signing_key(
        &self,
        key: &SigningKeyRow,
        unless_newer_than: Timestamp,
    ) -> Result<bool, StoreError>;
    /// Removes the keys created before `before`; returns how many.
    async fn remove_signing_keys(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Removes what has expired: refresh tokens, sessions, one-time tokens, hits in windows that are over; and
    /// sessions revoked at least `keep_revocations` ago, with the news of it. At most `limit` of each; returns how many
    /// in all.
    async fn sweep(
        &self,
        now: Timestamp,
        keep_revocations: Duration,
        limit: usize,
    ) -> Result<u64, StoreError>;
}
