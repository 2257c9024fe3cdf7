//! Accounts: their body, and failures of their commands as problems.

use serde::Serialize;
use utoipa::ToSchema;

use crate::authentication::service::AccountError;
use crate::http::edge::problem::{self, Problem};
use souk_domain::UserId;
use souk_domain::account::{Account, Role};

/// An account as its owner sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserBody<'a> {
    id: &'a UserId,
    email: &'a str,
    name: &'a str,
    #[schema(required)]
    phone: Option<&'a str>,
    roles: Vec<Role>,
    email_verified: bool,
    #[schema(format = DateTime)]
    created_at: String,
    /// The entity tag begins with it.
    version: u64,
}

impl<'a> UserBody<'a> {
    /// The account.
    pub fn new(account: &'a Account) -> Self {
        Self {
            id: &account.id,
            email: account.email.as_str(),
            name: &account.name,
            phone: account.phone.as_deref(),
            roles: account.roles.iter().copied().collect(),
            email_verified: account.email_verified,
            created_at: account.created_at.to_rfc3339(),
            version: account.version,
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::EmailTaken => Self::new(problem::EMAIL_TAKEN),
            AccountError::WeakPassword(refusal) => Self::field("password", refusal.to_string()),
            AccountError::BadCredentials => Self::new(problem::BAD_CREDENTIALS),
            AccountError::BadToken | AccountError::Gone => Self::new(problem::BAD_TOKEN),
            AccountError::Throttled { retry_after } => {
                Self::new(problem::TOO_MANY_REQUESTS).retry_after(retry_after)
            }
            AccountError::Busy { retry_after } => Self::busy(retry_after),
            AccountError::VersionConflict { current } => Self::version_conflict(current),
            AccountError::Contended => Self::busy(problem::RETRY_AFTER),
            AccountError::Store(error) => error.into(),
            error @ (AccountError::Password(_) | AccountError::Token(_) | AccountError::Mail(_)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an account's command failed"
                );
                Self::new(problem::INTERNAL)
            }
        }
    }
}
