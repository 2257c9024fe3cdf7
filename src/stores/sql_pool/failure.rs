//! What an error of the driver means for the call that met it.

use std::error::Error as StdError;

use sqlx::Error;

use super::Technology;
use super::connections::Access;
use crate::stores::StoreError;

/// A failed attempt.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    #[source]
    error: StoreError,
    may_repeat: bool,
}

/// Of a caller's own making, which no repetition changes.
impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self {
            error,
            may_repeat: false,
        }
    }
}

impl Failure {
    /// Whether another attempt may succeed, and can do no harm.
    pub(in crate::stores) fn may_repeat(&self) -> bool {
        self.may_repeat
    }

    /// What the caller gets.
    pub(in crate::stores) fn into_error(self) -> StoreError {
        self.error
    }

    /// Nothing was sent.
    pub(in crate::stores) fn unavailable(
        store: &'static str,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            error: unavailable(store, cause),
            may_repeat: false,
        }
    }

    /// The statement was sent, and no answer came: the connection broke, or the time limit passed.
    pub(in crate::stores) fn unanswered(
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
    pub(in crate::stores) fn answered<T: Technology>(store: &'static str, error: Error) -> Self {
        let server_error = error.as_database_error();
        let may_repeat = server_error.is_some_and(T::is_lost_race);
        let is_passing = server_error.is_some_and(T::is_passing);
        let error = match error {
            error if is_passing => unavailable(store, error),
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
pub(in crate::stores) fn is_broken<T: Technology>(error: &Error) -> bool {
    match error {
        Error::Database(error) => T::is_fatal(&**error),
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
pub(in crate::stores) fn unavailable(
    store: &'static str,
    cause: impl Into<Box<dyn StdError + Send + Sync>>,
) -> StoreError {
    StoreError::Unavailable {
        store,
        cause: cause.into(),
    }
}

/// [`StoreError::Refused`]
pub(in crate::stores) fn refused(
    store: &'static str,
    cause: impl Into<Box<dyn StdError + Send + Sync>>,
) -> StoreError {
    StoreError::Refused {
        store,
        cause: cause.into(),
    }
}
