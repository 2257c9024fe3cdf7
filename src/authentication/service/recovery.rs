//! Letters with codes: a forgotten password is replaced, an e-mail address is proven.

use std::time::Duration;

use super::error::retry_store;
use super::opaque::{opaque_token, token_hash};
use super::{AccountError, Accounts};
use crate::gateways::mail::Letter;
use crate::stores::sessions::Purpose;
use crate::stores::users::Credential;
use souk_domain::OrderId;
use souk_domain::account::{Account, EmailKey, email_key, password};

/// How long a letter may take to be handed over.
const LETTER_LIMIT: Duration = Duration::from_secs(10);
/// Orders of a guest that are handed over at once.
const GUEST_ORDERS: usize = 1_000;

impl Accounts {
    /// Sends the letter with which a forgotten password can be replaced; nothing where there is no such account, and
    /// nobody is told which.
    ///
    /// # Errors
    /// [`AccountError::Store`]
    pub async fn forgot_password(&self, email: &EmailKey) -> Result<(), AccountError> {
        let now = (self.clock)();
        let Some(record) = self.users.by_email(email).await? else {
            return Ok(());
        };
        if !self.throttle.allows_letter(&record.account.id, now).await {
            metrics::counter!("souk_letters_withheld_total").increment(1);
            return Ok(());
        }
        let (token, hash) = opaque_token();
        let expires_at = now.plus(self.settings.reset);
        self.sessions
            .issue(Purpose::PasswordReset, &hash, &record.account.id, expires_at)
            .await?;
        self.post(Letter::password_reset(&record.account.email, &token))
            .await;
        Ok(())
    }

    /// Replaces a forgotten password, and ends every session of the account. Once begun it must be let finish: half of it
    /// is a code that is spent for nothing, or a thief who stays signed in.
    ///
    /// # Errors
    /// [`AccountError::BadToken`], [`AccountError::WeakPassword`]
    pub async fn reset_password(&self, token: &str, password: &str) -> Result<Account, AccountError> {
        password::check_strength(password)?;
        let hash = token_hash(token).ok_or(AccountError::BadToken)?;
        // Before the token is spent: a full queue must not cost the shopper their letter.
        let credential = Credential::new(self.passwords.hash(password).await?);
        let now = (self.clock)();
        let user = self
            .sessions
            .redeem(Purpose::PasswordReset, &hash, now)
            .await?
            .ok_or(AccountError::BadToken)?;
        // Whoever reads the letters at that address has proven it.
        let account = retry_store("replace a forgotten password", || {
            self.change(&user, Some(&credential), |account| account.email_verified = true)
        })
        .await?;
        self.end_all_sessions(&user).await?;
        tracing::info!(target: "souk::audit", %user, "a password was replaced");
        Ok(account)
    }

    /// Proves an e-mail address. To be let finish as [`Accounts::reset_password`].
    ///
    /// # Errors
    /// [`AccountError::BadToken`]
    pub async fn verify_email(&self, token: &str) -> Result<Account, AccountError> {
        let hash = token_hash(token).ok_or(AccountError::BadToken)?;
        let user = self
            .sessions
            .redeem(Purpose::EmailVerification, &hash, (self.clock)())
            .await?
            .ok_or(AccountError::BadToken)?;
        retry_store("mark an e-mail address as verified", || {
            self.change(&user, None, |account| account.email_verified = true)
        })
        .await
    }

    /// The orders that were placed by a guest with the account's address, which it has proven.
    ///
    /// # Errors
    /// [`AccountError::Store`]
    pub async fn guest_orders(&self, account: &Account) -> Result<Vec<OrderId>, AccountError> {
        match email_key(&account.email) {
            Ok(key) if account.email_verified => Ok(self
                .users
                .guest_orders(&self.guests.name(&key), GUEST_ORDERS)
                .await?),
            _ => Ok(Vec::new()),
        }
    }

    /// Sends the letter that proves the account's address. Where that fails, the account stands all the same.
    pub async fn send_verification(&self, account: &Account) {
        let (token, hash) = opaque_token();
        let expires_at = (self.clock)().plus(self.settings.verification);
        let issued = self
            .sessions
            .issue(Purpose::EmailVerification, &hash, &account.id, expires_at)
            .await;
        match issued {
            Ok(()) => self.post(Letter::verification(&account.email, &token)).await,
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "no letter could be sent to prove an e-mail address"
            ),
        }
    }

    async fn post(&self, letter: Letter) {
        let sent = tokio::time::timeout(LETTER_LIMIT, self.mailer.send(&letter)).await;
        let failure = match sent {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it was not taken within {LETTER_LIMIT:?}"),
        };
        metrics::counter!("souk_letters_failed_total").increment(1);
        tracing::warn!(failure, "a letter could not be sent");
    }
}
