//! One-time codes by e-mail: resetting a password, and verifying an e-mail address.

use std::error::Error;
use std::time::Duration;

use super::error::retry_store;
use super::opaque::{opaque_token, token_hash};
use super::{AccountError, Accounts, Device, SignedIn};
use crate::authentication::throttle::Attempt;
use crate::gateways::mail::Email;
use crate::stores::TokenHash;
use crate::stores::codes::Purpose;
use crate::stores::users::Credential;
use souk_domain::account::{Account, EmailKey, email_key, password};
use souk_domain::{OrderId, Preferences, UserId};

/// How long the mailer has for one e-mail.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// The maximum number of guest orders that one account is shown to claim.
const GUEST_ORDERS: usize = 1_000;

impl Accounts {
    /// Sends the code that authorises a new password; nothing where there is no such account, which the caller is not
    /// told.
    ///
    /// # Errors
    /// [`AccountError::Store`]
    pub async fn forgot_password(&self, email: &EmailKey) -> Result<(), AccountError> {
        let Some(record) = self.users.by_email(email).await? else {
            return Ok(());
        };
        let account = record.account;
        if !self.throttle.allows_email(&account.id, (self.clock)()).await {
            metrics::counter!("souk_emails_withheld_total").increment(1);
            return Ok(());
        }
        let lifetime = self.settings.reset_seconds.duration();
        let issued = self.issue_code(Purpose::PasswordReset, &account.id, lifetime);
        let code = issued.await?;
        self.send(Email::password_reset(&account.email, &code)).await;
        Ok(())
    }

    /// Sets a new password, ends every session of the account and begins one. Once started it must run to its end:
    /// otherwise the code may be spent for nothing, or a thief stay signed in.
    ///
    /// # Errors
    /// [`AccountError::BadToken`], [`AccountError::WeakPassword`]
    pub async fn reset_password(
        &self,
        code: &str,
        password: &str,
        device: &Device,
    ) -> Result<SignedIn, AccountError> {
        password::check_strength(password)?;
        let (purpose, hash) = (
            Purpose::PasswordReset,
            token_hash(code).ok_or(AccountError::BadToken)?,
        );
        // Nothing is hashed for somebody who makes codes up; and a full queue must not cost the shopper their code.
        let holder = self.codes.holder(purpose, &hash, (self.clock)()).await?;
        holder.ok_or(AccountError::BadToken)?;
        let credential = Credential::new(self.passwords.hash(password).await?);
        let user = self.redeem(purpose, &hash).await?;
        let account = retry_store("set a new password", || self.prove(&user, &credential)).await?;
        self.end_all_sessions(&user).await?;
        let attempt = Attempt::new(&email_key(&account.email), device.address);
        self.throttle.proven(&user, &attempt).await;
        tracing::info!(target: "souk::audit", %user, "a password was reset");
        let now = (self.clock)();
        let (session, token) = self.open_session(&user, device, now).await?;
        self.pair(account, &session, token, now)
    }

    /// Sets the password of an account whose e-mail was read. The first such proof drops what was saved before it: anybody
    /// could have opened an account under this address.
    async fn prove(&self, user: &UserId, credential: &Credential) -> Result<Account, AccountError> {
        if !self.account(user).await?.email_verified {
            for address in self.users.addresses(user).await? {
                self.users.delete_address(user, &address.id).await?;
            }
            if let Some((_, version)) = self.users.preferences(user).await? {
                let defaults = Preferences::default();
                self.users.put_preferences(user, &defaults, Some(version)).await?;
            }
        }
        let prove = |account: &mut Account| {
            if !account.email_verified {
                account.phone = None;
            }
            account.email_verified = true;
        };
        self.change(user, Some(credential), prove).await
    }

    /// Verifies the e-mail address of the account `user`, with a code that was sent to it. Must run to its end, as
    /// [`Accounts::reset_password`].
    ///
    /// # Errors
    /// [`AccountError::BadToken`], also for the code of another account, which is not spent by it.
    pub async fn verify_email(&self, user: &UserId, code: &str) -> Result<(), AccountError> {
        let hash = token_hash(code).ok_or(AccountError::BadToken)?;
        let purpose = Purpose::EmailVerification;
        let holder = self.codes.holder(purpose, &hash, (self.clock)()).await?;
        if holder.as_ref() != Some(user) {
            return Err(AccountError::BadToken);
        }
        let user = self.redeem(purpose, &hash).await?;
        let verify = |account: &mut Account| account.email_verified = true;
        retry_store("mark an e-mail address as verified", || {
            self.change(&user, None, verify)
        })
        .await
        .map(drop)
    }

    /// Sends another code that verifies the account's address, unless it is verified or was sent several already.
    ///
    /// # Errors
    /// [`AccountError::Gone`]
    pub async fn resend_verification(&self, user: &UserId) -> Result<(), AccountError> {
        let account = self.account(user).await?;
        if account.email_verified {
            return Ok(());
        }
        if self.throttle.allows_email(user, (self.clock)()).await {
            self.send_verification(&account).await;
        } else {
            metrics::counter!("souk_emails_withheld_total").increment(1);
        }
        Ok(())
    }

    /// The orders that a guest placed with the account's address; none unless that is verified.
    ///
    /// # Errors
    /// [`AccountError::Store`]
    pub async fn guest_orders(&self, account: &Account) -> Result<Vec<OrderId>, AccountError> {
        if !account.email_verified {
            return Ok(Vec::new());
        }
        let guest = self.guests.name(&email_key(&account.email));
        Ok(self.users.guest_orders(&guest, GUEST_ORDERS).await?)
    }

    /// Sends the code that verifies the account's address. A failure is logged; the account exists all the same.
    pub async fn send_verification(&self, account: &Account) {
        let lifetime = self.settings.verification_seconds.duration();
        let issued = self.issue_code(Purpose::EmailVerification, &account.id, lifetime);
        match issued.await {
            Ok(code) => self.send(Email::verification(&account.email, &code)).await,
            Err(error) => tracing::warn!(
                error = &error as &dyn Error,
                "a verification e-mail could not be sent"
            ),
        }
    }

    async fn issue_code(
        &self,
        purpose: Purpose,
        user: &UserId,
        lifetime: Duration,
    ) -> Result<String, AccountError> {
        let (code, hash) = opaque_token();
        let expires_at = (self.clock)().plus(lifetime);
        self.codes.issue(purpose, &hash, user, expires_at).await?;
        Ok(code)
    }

    async fn redeem(&self, purpose: Purpose, code: &TokenHash) -> Result<UserId, AccountError> {
        let user = self.codes.redeem(purpose, code, (self.clock)()).await?;
        user.ok_or(AccountError::BadToken)
    }

    async fn send(&self, email: Email) {
        let sent = tokio::time::timeout(SEND_LIMIT, self.mailer.send(&email)).await;
        let failure = match sent {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the mailer did not respond within {SEND_LIMIT:?}"),
        };
        metrics::counter!("souk_emails_failed_total").increment(1);
        tracing::warn!(failure, "an e-mail could not be sent");
    }
}
