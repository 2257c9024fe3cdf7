//! An account as it stands, changed and erased.

use super::error::retry_store;
use super::{AccountError, Accounts};
use crate::stores::users::{Change, Credential};
use souk_domain::UserId;
use souk_domain::account::Account;

/// How often a change of what belongs to an account is tried that meets concurrent ones.
pub const CHANGE_ATTEMPTS: u32 = 5;

impl Accounts {
    /// The account.
    ///
    /// # Errors
    /// [`AccountError::Gone`]
    pub async fn account(&self, user: &UserId) -> Result<Account, AccountError> {
        let record = self.users.by_id(user).await?.ok_or(AccountError::Gone)?;
        Ok(record.account)
    }

    /// Changes the account as it stands; decided again where another change came first.
    ///
    /// # Errors
    /// [`AccountError::Gone`], [`AccountError::Contended`]
    pub async fn change(
        &self,
        user: &UserId,
        credential: Option<&Credential>,
        change: impl Fn(&mut Account),
    ) -> Result<Account, AccountError> {
        self.change_if(user, |_| true, credential, change).await
    }

    /// [`Accounts::change`], where `allows` says that the version which stands there may be changed.
    ///
    /// # Errors
    /// [`AccountError::VersionConflict`], and as of [`Accounts::change`].
    pub async fn change_if(
        &self,
        user: &UserId,
        allows: impl Fn(u64) -> bool,
        credential: Option<&Credential>,
        change: impl Fn(&mut Account),
    ) -> Result<Account, AccountError> {
        for _ in 0..CHANGE_ATTEMPTS {
            let mut account = self.account(user).await?;
            let expected = account.version;
            if !allows(expected) {
                return Err(AccountError::VersionConflict { current: expected });
            }
            change(&mut account);
            account.version = expected + 1;
            match self.users.update(&account, credential, expected).await? {
                Change::Applied => return Ok(account),
                Change::Conflict => {}
                Change::Missing => return Err(AccountError::Gone),
            }
        }
        Err(AccountError::Contended)
    }

    /// Ends every session of the account.
    ///
    /// # Errors
    /// [`AccountError::Store`], where the sessions store stays away.
    pub(super) async fn end_all_sessions(&self, user: &UserId) -> Result<(), AccountError> {
        retry_store("end all sessions of an account", async || {
            self.sessions.revoke_all(user, None, (self.clock)()).await?;
            Ok(())
        })
        .await
    }

    /// Erases the account and ends its sessions. Its orders are stripped of what identifies by whoever calls this.
    ///
    /// # Errors
    /// [`AccountError::Gone`]
    pub async fn erase(&self, user: &UserId) -> Result<(), AccountError> {
        self.end_all_sessions(user).await?;
        if !self.users.erase(user).await? {
            return Err(AccountError::Gone);
        }
        tracing::info!(target: "souk::audit", %user, "an account was erased");
        // Those that began in between. Where that fails, the log has it: the account is gone all the same, and no session
        // outlives its access token without one.
        let _ = self.end_all_sessions(user).await;
        Ok(())
    }
}
