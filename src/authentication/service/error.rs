//! Why an account's command did not succeed.

use std::time::Duration;

use crate::authentication::passwords::PasswordError;
use crate::authentication::tokens::IssueError;
use crate::stores::StoreError;
use souk_domain::account::password::PasswordRefusal;
use souk_retry::{RetryPolicy, retry};

/// When to try again where too many passwords wait to be checked.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Why an account's command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Another account has the address.
    #[error("the e-mail address has an account already")]
    EmailTaken,
    /// The password is too weak.
    #[error(transparent)]
    WeakPassword(#[from] PasswordRefusal),
    /// No account has this address and password.
    #[error("no account has this e-mail address and password")]
    BadCredentials,
    /// The token is unknown, spent, or too old.
    #[error("the token is not valid")]
    BadToken,
    /// Too many attempts have failed.
    #[error("too many attempts have failed")]
    Throttled {
        /// When the next one is looked at.
        retry_after: Duration,
    },
    /// Too many wait for their passwords to be checked.
    #[error("too many passwords wait to be checked")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The account stands at another version than the caller expected.
    #[error("the account stands at version {current}")]
    VersionConflict {
        /// Where it stands.
        current: u64,
    },
    /// Somebody else changed the account in the same moment, again and again.
    #[error("the account keeps changing")]
    Contended,
    /// The account is gone.
    #[error("the account is gone")]
    Gone,
    /// A password could not be hashed or compared: a defect.
    #[error("a password could not be processed")]
    Password(#[source] PasswordError),
    /// No token could be made: a defect, or no signing key has been loaded yet.
    #[error("no access token could be made")]
    Token(#[source] IssueError),
    /// A store did not answer.
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
