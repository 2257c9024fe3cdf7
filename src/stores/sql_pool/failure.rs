//! What an error of the driver means for the call that met it.

use std::error::Error as StdError;

use super::Technology;
use super::connections::Access;
use crate::stores::StoreError;

/// What an error of a driver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing more can be said to the server over this connection.
    Broken,
    /// Of the server's state, which passes.
    Passing,
    /// The statement or its values are not to be had.
    Refused,
    /// There is an answer, but not one that we know.
    Unintelligible,
}

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

    /// An answer with an error: the statement has had no effect, or the connection broke before its end.
    pub(in crate::stores) fn of<T: Technology>(store: &'static str, access: Access, error: T::Error) -> Self {
        let may_repeat = T::is_lost_race(&error);
        let error = match T::meaning(&error) {
            Meaning::Broken => return Self::unanswered(store, access, error),
            Meaning::Passing => unavailable(store, error),
            Meaning::Refused => refused(store, error),
            Meaning::Unintelligible => StoreError::Corrupt {
                store,
                what: error.to_string(),
            },
        };
        Self { error, may_repeat }
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
