//! Why the embedded store did not do what it was asked: plain enough to cross the socket.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error_chain::Chain;
use crate::stores::StoreError;

/// What a failure means for the caller; the same distinction as in [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// Nothing was written; later it may work.
    Unavailable,
    /// It may or may not have been written.
    OutcomeUnknown,
    /// Nothing was written, and the same request will fail again.
    Refused,
}

/// A failure with its cause. Cheap to clone, because one failed commit is the answer to many transactions.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// Why.
    pub cause: Arc<dyn StdError + Send + Sync>,
}

/// A cause that is only a sentence: one of the limits here, or what came over the socket.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Sentence(String);

impl Failure {
    pub(super) fn new(kind: FailureKind, cause: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            kind,
            cause: Arc::new(cause),
        }
    }

    pub(super) fn unavailable(cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::new(FailureKind::Unavailable, cause)
    }

    /// What an error of SQLite or sqlx means: the statement's fault, or the database's.
    pub(super) fn from_sql(error: sqlx::Error) -> Self {
        let refused = match &error {
            sqlx::Error::Database(database) => {
                // The low byte is the primary code (https://www.sqlite.org/rescode.html): ERROR, TOOBIG, CONSTRAINT,
                // MISMATCH, AUTH, RANGE. BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CORRUPT and others are no fault of
                // the statement.
                database
                    .code()
                    .and_then(|code| code.parse::<i32>().ok())
                    .is_some_and(|code| matches!(code & 0xff, 1 | 18 | 19 | 20 | 23 | 25))
            }
            sqlx::Error::Encode(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Protocol(_) => true,
            _ => false,
        };
        let kind = if refused {
            FailureKind::Refused
        } else {
            FailureKind::Unavailable
        };
        Self::new(kind, error)
    }

    /// A failure whose cause is told in a sentence.
    pub(super) fn because(kind: FailureKind, sentence: impl Into<String>) -> Self {
        Self::new(kind, Sentence(sentence.into()))
    }

    /// The error of the port, naming the store.
    pub fn into_store_error(self, store: &'static str) -> StoreError {
        let cause = Box::new(self.cause);
        match self.kind {
            FailureKind::Unavailable => StoreError::Unavailable { store, cause },
            FailureKind::OutcomeUnknown => StoreError::OutcomeUnknown { store, cause },
            FailureKind::Refused => StoreError::Refused { store, cause },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In one line: what crosses the socket, where the types of the causes can't.
        Chain(&*self.cause).fmt(f)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.cause)
    }
}
