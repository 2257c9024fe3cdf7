//! Reading, changing and erasing an account.

use std::net::IpAddr;
use std::time::Duration;

use super::error::retry_store;
use super::{AccountError, Accounts};
use crate::authentication::throttle::Attempt;
use crate::stores::users::{Change, Credential};
use souk_domain::account::{Account, email_key, password};
use souk_domain::{EmailAddress, SessionId, UserId};

/// How long after the password was asked for a session may do what needs that.
pub const STEP_UP: Duration = Duration::from_secs(15 * 60);

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

    /// Sets another password, and ends every other session of the account. Must run to its end: otherwise a thief may stay
    /// signed in.
    ///
    /// # Errors
    /// [`AccountError::BadCredentials`] where `current` is not the password; [`AccountError::WeakPassword`],
    /// [`AccountError::Throttled`], [`AccountError::Busy`].
    pub async fn change_password(
        &self,
        caller: (&UserId, &SessionId),
        current: &str,
        password: &str,
        address: IpAddr,
    ) -> Result<(), AccountError> {
        let (user, session) = caller;
        let account = self.account(user).await?;
        password::check(password, &account.email, &account.name)?;
        self.check_password(user, current, address).await?;
        let credential = Credential::new(self.passwords.hash(password).await?);
        retry_store("set another password", || {
            self.change(user, Some(&credential), |_| ())
        })
        .await?;
        tracing::info!(target: "souk::audit", %user, "a password was changed");
        let others = retry_store("end all other sessions of an account", async || {
            let sessions = self.sessions.list(user, (self.clock)()).await?;
            let others = sessions.into_iter().map(|session| session.id);
            let others: Vec<_> = others.filter(|other| other != session).collect();
            self.end_sessions(user, &others).await
        });
        others.await
    }

    /// Asks for the password once more, before what a borrowed device must not do.
    ///
    /// # Errors
    /// [`AccountError::BadCredentials`], [`AccountError::Throttled`], [`AccountError::Busy`]; [`AccountError::BadToken`]
    /// where the session has ended.
    pub async fn step_up(
        &self,
        (user, session): (&UserId, &SessionId),
        password: &str,
        address: IpAddr,
    ) -> Result<(), AccountError> {
        self.check_password(user, password, address).await?;
        let has_session = self.sessions.step_up(user, session, (self.clock)()).await?;
        has_session.then_some(()).ok_or(AccountError::BadToken)
    }

    /// Whether the password was asked for in this session within [`STEP_UP`].
    ///
    /// # Errors
    /// [`AccountError::Store`]
    pub async fn has_stepped_up(&self, user: &UserId, session: &SessionId) -> Result<bool, AccountError> {
        let now = (self.clock)();
        let at = self.sessions.stepped_up_at(user, session, now).await?;
        Ok(at.is_some_and(|at| now.since(at) < STEP_UP))
    }

    /// Whether it is the account's password, for somebody who is signed in to it.
    async fn check_password(
        &self,
        user: &UserId,
        password: &str,
        address: IpAddr,
    ) -> Result<(), AccountError> {
        let record = self.users.by_id(user).await?.ok_or(AccountError::Gone)?;
        let attempt = Attempt::new(&email_key(&record.account.email), address);
        self.attempt(&attempt, true, Some(&record), password).await
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

    /// Erases the account with the e-mails to its address, and ends its sessions; returns the address. The caller removes
    /// personal data from its orders, and e-mails that are being sent in this moment.
    ///
    /// # Errors
    /// [`AccountError::Gone`], [`AccountError::Mail`]
    pub async fn erase(&self, user: &UserId) -> Result<EmailAddress, AccountError> {
        let address = self.account(user).await?.email;
        // First: until the sessions end the caller can try again.
        self.mailer.forget(&address).await?;
        self.end_all_sessions(user).await?;
        if !self.users.erase(user).await? {
            return Err(AccountError::Gone);
        }
        tracing::info!(target: "souk::audit", %user, "an account was erased");
        // Sessions that began meanwhile. A failure has been logged: without the account none outlives its access token.
        let _ = self.end_all_sessions(user).await;
        Ok(address)
    }
}
