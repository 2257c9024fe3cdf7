//! Failures of stores and entities as problems.

use std::error::Error as StdError;

use crate::actors::region::AskError;
use crate::http::edge::problem::{INTERNAL, Problem, RETRY_AFTER, UNAVAILABLE};
use crate::stores::StoreError;

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Busy { retry_after } => Self::busy(retry_after),
            AskError::Expired => Self::busy(RETRY_AFTER).detail(
                "no reply in time; the change may have been made: repeat the request with the same Idempotency-Key, or check \
                 before repeating it",
            ),
            AskError::Unavailable => Self::busy(RETRY_AFTER),
            AskError::VersionConflict { current } => Self::version_conflict(current),
            AskError::Crashed => Self::new(INTERNAL),
            AskError::Store => Self::new(UNAVAILABLE).retry_after(RETRY_AFTER),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn StdError, "a store failed a request");
        if error.is_transient() {
            Self::new(UNAVAILABLE).retry_after(RETRY_AFTER)
        } else {
            Self::new(INTERNAL)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn overload_is_distinguished_from_defects() {
        for (error, status) in [
            (
                AskError::Busy {
                    retry_after: Duration::ZERO,
                },
                503,
            ),
            (AskError::Expired, 503),
            (AskError::Unavailable, 503),
            (AskError::Store, 503),
            (AskError::VersionConflict { current: 3 }, 412),
            (AskError::Crashed, 500),
        ] {
            assert_eq!(Problem::from(error).kind().status().as_u16(), status);
        }
    }
}
