//! The errors of the account service, and retries while a store is unavailable.

use std::time::Duration;

use crate::authentication::passwords::PasswordError;
use crate::authentication::tokens::IssueError;
use crate::gateways::mail::MailError;
use crate::stores::StoreError;
use souk_domain::account::password::PasswordRefusal;
use souk_retry::{RetryPolicy, retry};

/// When to retry while too many passwords are waiting to be checked.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// An error of the account service.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Another account has the address.
    #[error("the e-mail address has an account already")]
    EmailTaken,
    /// The password is too weak.
    #[error(transparent)]
    WeakPassword(#[from] PasswordRefusal),
    /// No account has this e-mail address and password.
    #[error("no account has this e-mail address and password")]
    BadCredentials,
    /// A refresh token or one-time code is unknown, spent or expired.
    #[error("the token is not valid")]
    BadToken,
    /// Too many logins have failed.
    #[error("too many logins have failed")]
    Throttled {
        /// When the next one is allowed.
        retry_after: Duration,
    },
    /// Too many passwords are waiting to be checked.
    #[error("too many passwords are waiting to be checked")]
    Busy {
        /// When to retry.
        retry_after: Duration,
    },
    /// The account has another version than the caller expected.
    #[error("the account is at version {current}")]
    VersionConflict {
        /// Its version.
        current: u64,
    },
    /// Concurrent changes of the account came first in every attempt.
    #[error("the account keeps changing")]
    Contended,
    /// The account does not exist any more.
    #[error("the account does not exist")]
    Gone,
    /// A password could not be hashed or compared: a defect.
    #[error("a password could not be processed")]
    Password(#[source] PasswordError),
    /// No access token could be issued: a defect, or no signing key is loaded.
    #[error("no access token could be issued")]
    Token(#[source] IssueError),
    /// The mailer failed.
    #[error(transparent)]
    Mail(#[from] MailError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PasswordError> for AccountError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy | PasswordError::TooLate => Self::Busy {
                retry_after: RETRY_AFTER,
            },
            // No account has such a password.
            PasswordError::TooLong => Self::BadCredentials,
            other => Self::Password(other),
        }
    }
}

/// For an operation that must not stay half done because a store was unavailable for a moment.
const STORE_RETRIES: RetryPolicy = RetryPolicy {
    attempts: 5,
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_millis(800),
};

/// Retries while a store is unavailable. `what` names the operation in the log.
pub(super) async fn retry_store<T, F>(
    what: &'static str,
    operation: impl Fn() -> F,
) -> Result<T, AccountError>
where
    F: Future<Output = Result<T, AccountError>>,
{
    let is_transient = |error: &AccountError| matches!(error, AccountError::Store(_));
    retry(what, STORE_RETRIES, is_transient, operation).await
}
