//! The error of the embedded store, with its cause; its kind and its text can cross the socket.

use std::error::Error as StdError;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use souk_error_chain::Chain;

/// What an error means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// Nothing was written; a later attempt may succeed.
    Unavailable,
    /// It may or may not have been written.
    OutcomeUnknown,
    /// Nothing was written, and the same request will fail again.
    Refused,
}

/// An error with its cause. Cheap to clone, because one failed commit fails many transactions. Its text has all causes, since
/// only this text crosses the socket.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", Chain(&**.cause))]
pub struct Error {
    /// What it means.
    pub kind: ErrorKind,
    /// Why.
    pub cause: Arc<dyn StdError + Send + Sync>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind,
            cause: cause.into().into(),
        }
    }

    pub(crate) fn unavailable(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Unavailable, cause)
    }

    pub(crate) fn outcome_unknown(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::OutcomeUnknown, cause)
    }

    pub(crate) fn refused(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Refused, cause)
    }

    /// The same error of a request that may be repeated: its outcome does not matter.
    pub(crate) fn of_idempotent_request(mut self) -> Self {
        if self.kind == ErrorKind::OutcomeUnknown {
            self.kind = ErrorKind::Unavailable;
        }
        self
    }
}

impl From<rusqlite::Error> for Error {
    /// Tells an invalid statement from a failing database.
    fn from(error: rusqlite::Error) -> Self {
        let code = match &error {
            rusqlite::Error::SqliteFailure(failure, _)
            | rusqlite::Error::SqlInputError { error: failure, .. } => failure.extended_code & 0xff,
            // The others are found before SQLite is asked: they are faults of the statement.
            _ => return Self::refused(error),
        };
        // The low byte is the primary code (https://www.sqlite.org/rescode.html): ERROR, TOOBIG, CONSTRAINT, MISMATCH,
        // AUTH, RANGE. BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CORRUPT and others are no fault of the statement.
        if matches!(code, 1 | 18 | 19 | 20 | 23 | 25) {
            Self::refused(error)
        } else {
            Self::unavailable(error)
        }
    }
}
