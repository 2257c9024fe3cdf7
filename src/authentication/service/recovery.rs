//! One-time codes by e-mail: resetting a password, and verifying an e-mail address.

use std::error::Error;
use std::time::Duration;

use super::error::retry_store;
use super::opaque::{opaque_token, token_hash};
use super::{AccountError, Accounts};
use crate::gateways::mail::Email;
use crate::stores::TokenHash;
use crate::stores::codes::Purpose;
use crate::stores::users::Credential;
use souk_domain::account::{Account, EmailKey, email_key, password};
use souk_domain::{OrderId, UserId};

/// How long the mailer has for one e-mail.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// The maximum number of guest orders that one account claims at a time.
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

    /// Sets a new password, and ends every session of the account. Once started it must run to its end: otherwise the code
    /// may be spent for nothing, or a thief stay signed in.
    ///
    /// # Errors
    /// [`AccountError::BadToken`], [`AccountError::WeakPassword`]
    pub async fn reset_password(&self, code: &str, password: &str) -> Result<Account, AccountError> {
        password::check_strength(password)?;
        let hash = token_hash(code).ok_or(AccountError::BadToken)?;
        // Before the code is spent: a full queue must not cost the shopper their code.
        let credential = Credential::new(self.passwords.hash(password).await?);
        let user = self.redeem(Purpose::PasswordReset, &hash).await?;
        // The code was sent to the account's address.
        let account = retry_store("set a new password", || {
            self.change(&user, Some(&credential), |account| account.email_verified = true)
        })
        .await?;
        self.end_all_sessions(&user).await?;
        tracing::info!(target: "souk::audit", %user, "a password was reset");
        Ok(account)
    }

    /// Verifies an e-mail address. Must run to its end, as [`Accounts::reset_password`].
    ///
    /// # Errors
    /// [`AccountError::BadToken`]
    pub async fn verify_email(&self, code: &str) -> Result<Account, AccountError> {
        let hash = token_hash(code).ok_or(AccountError::BadToken)?;
        let user = self.redeem(Purpose::EmailVerification, &hash).await?;
        retry_store("mark an e-mail address as verified", || {
            self.change(&user, None, |account| account.email_verified = true)
        })
        .await
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
