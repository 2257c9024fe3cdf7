//! The port for one-time codes: what a person proves that they read the e-mail of an account with.

#[cfg(test)]
pub mod contract;
#[cfg(feature = "redis")]
pub mod redis;
pub mod sqlite;

use async_trait::async_trait;

use super::{StoreError, TokenHash};
use souk_domain::{Timestamp, UserId};

/// What a code authorises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Setting a new password.
    PasswordReset,
    /// Verifying the account's e-mail address.
    EmailVerification,
}

impl Purpose {
    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PasswordReset => "password_reset",
            Self::EmailVerification => "email_verification",
        }
    }
}

/// The port. Part of `stores.sessions`, whose ping covers it.
#[async_trait]
pub trait CodeStore: Send + Sync + 'static {
    /// Stores a code. It replaces the user's previous code for the same purpose.
    async fn issue(
        &self,
        purpose: Purpose,
        code: &TokenHash,
        user: &UserId,
        expires_at: Timestamp,
    ) -> Result<(), StoreError>;
    /// Redeems a code: at most one caller gets the user, and none after it has expired. After a lost reply the code may
    /// be spent, and a new one has to be issued.
    async fn redeem(
        &self,
        purpose: Purpose,
        code: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<UserId>, StoreError>;
    /// Whose code it is, while it can be redeemed. Changes nothing.
    async fn holder(
        &self,
        purpose: Purpose,
        code: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<UserId>, StoreError>;
    /// Removes at most `limit` expired codes; returns how many.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<u64, StoreError>;
}
