//! What an error of the driver means for the call that met it.

use std::error::Error as StdError;

use sqlx::Error;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::pool::Access;
use crate::stores::StoreError;

/// The server ended the transaction in favour of another: it may be repeated. A missing parent row is among them: every
/// statement looks for it first, so that it went in between, and the repetition finds it gone.
const LOST_RACES: &[&str] = &[
    "40001", // serialization_failure
    "40P01", // deadlock_detected
    "23503", // foreign_key_violation
];

/// Classes of errors of the server's state, which pass: connections, a server that only reads, lost races, resources, locks,
/// intervention of an operator (and the time limit of a statement), the operating system.
const PASSING: &[&str] = &["08", "25", "40", "53", "55", "57", "58"];

/// A failed attempt.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(super) struct Failure {
    #[source]
    error: StoreError,
    may_repeat: bool,
}

impl Failure {
    /// Whether another attempt may succeed, and can do no harm.
    pub(super) fn may_repeat(&self) -> bool {
        self.may_repeat
    }

    /// What the caller gets.
    pub(super) fn into_error(self) -> StoreError {
        self.error
    }

    /// Nothing was sent.
    pub(super) fn unavailable(
        store: &'static str,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            error: unavailable(store, cause),
            may_repeat: false,
        }
    }

    /// The statement was sent, and no answer came: the connection broke, or the time limit passed.
    pub(super) fn unanswered(
        store: &'static str,
        access: Access,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let cause = cause.into();
        match access {
            Access::Read => Self {
                error: StoreError::Unavailable { store, cause },
                may_repeat: true,
            },
            Access::Write | Access::TracedWrite => Self {
                error: StoreError::OutcomeUnknown { store, cause },
                may_repeat: false,
            },
        }
    }

    /// The server answered with an error that leaves the connection as it was: the statement has had no effect.
    pub(super) fn answered(store: &'static str, error: Error) -> Self {
        let code = match &error {
            Error::Database(error) => error.code().unwrap_or_default().into_owned(),
            _ => String::new(),
        };
        let may_repeat = LOST_RACES.contains(&code.as_str());
        let error = match error {
            Error::Database(_) if PASSING.iter().any(|class| code.starts_with(class)) => {
                unavailable(store, error)
            }
            Error::Database(_) | Error::Encode(_) | Error::InvalidArgument(_) => refused(store, error),
            error => StoreError::Corrupt {
                store,
                what: error.to_string(),
            },
        };
        Self { error, may_repeat }
    }
}

/// Whether nothing more can be said to the server after this error.
pub(super) fn is_broken(error: &Error) -> bool {
    match error {
        Error::Database(error) => error
            .try_downcast_ref::<PgDatabaseError>()
            .is_none_or(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        Error::ColumnDecode { .. }
        | Error::Decode(_)
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::TypeNotFound { .. }
        | Error::Encode(_)
        | Error::InvalidArgument(_) => false,
        _ => true,
    }
}

/// [`StoreError::Unavailable`]
pub(super) fn unavailable(
    store: &'static str,
    cause: impl Into<Box<dyn StdError + Send + Sync>>,
) -> StoreError {
    StoreError::Unavailable {
        store,
        cause: cause.into(),
    }
}

/// [`StoreError::Refused`]
pub(super) fn refused(store: &'static str, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> StoreError {
    StoreError::Refused {
        store,
        cause: cause.into(),
    }
}
