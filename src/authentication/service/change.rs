//! Reading, changing and erasing an account.

use super::error::retry_store;
use super::{AccountError, Accounts};
use crate::stores::users::{Change, Credential};
use souk_domain::UserId;
use souk_domain::account::Account;

/// How often a change is attempted that concurrent changes overtake.
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

    /// Changes the account; attempted again where another change came first.
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

    /// [`Accounts::change`], provided that `allows` accepts the current version.
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
    /// [`AccountError::Store`]
    pub(super) async fn end_all_sessions(&self, user: &UserId) -> Result<(), AccountError> {
        retry_store("end all sessions of an account", async || {
            loop {
                let sessions = self.sessions.list(user, (self.clock)()).await?;
                if sessions.is_empty() {
                    return Ok(());
                }
                let ids: Vec<_> = sessions.into_iter().map(|session| session.id).collect();
                self.end_sessions(user, &ids).await?;
            }
        })
        .await
    }

    /// Erases the account and ends its sessions. The caller removes personal data from its orders.
    ///
    /// # Errors
    /// [`AccountError::Gone`]
    pub async fn erase(&self, user: &UserId) -> Result<(), AccountError> {
        self.end_all_sessions(user).await?;
        if !self.users.erase(user).await? {
            return Err(AccountError::Gone);
        }
        tracing::info!(target: "souk::audit", %user, "an account was erased");
        // Sessions that began meanwhile. A failure has been logged: without the account none outlives its access token.
        let _ = self.end_all_sessions(user).await;
        Ok(())
    }
}
