//! What an error of the server or of the network means for the call that met it.

use std::error::Error as StdError;

use reqwest::StatusCode;
use serde::Deserialize;

use crate::stores::StoreError;

/// Kinds of errors of a call of which nothing was executed, and that may succeed later: shards or the cluster are not there yet, or
/// the disk is full.
const PASSING: [&str; 5] = [
    "cluster_block_exception",
    "master_not_discovered_exception",
    "no_shard_available_action_exception",
    "search_phase_execution_exception",
    "unavailable_shards_exception",
];

/// What a lost answer leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Read,
    /// Something that was applied or was not.
    Write,
}

/// An error as the server tells it.
#[derive(Debug, Deserialize, thiserror::Error)]
#[error("{kind}: {reason}")]
pub(super) struct ServerError {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    reason: String,
}

/// An answer with an error.
#[derive(Deserialize)]
pub(super) struct Failure {
    pub(super) error: ServerError,
}

/// An answer that says no more than its status, as a proxy in between would give.
#[derive(Debug, thiserror::Error)]
#[error("the server answers with the status {0}")]
struct PlainStatus(StatusCode);

/// The answer did not come, or does not say what became of the call.
pub(super) fn unanswered(
    store: &'static str,
    effect: Effect,
    cause: impl Into<Box<dyn StdError + Send + Sync>>,
) -> StoreError {
    let cause = cause.into();
    match effect {
        Effect::Read => StoreError::Unavailable { store, cause },
        Effect::Write => StoreError::OutcomeUnknown { store, cause },
    }
}

/// The server answered with an error, to a call or for one of its items.
pub(super) fn failed(
    store: &'static str,
    effect: Effect,
    status: StatusCode,
    error: Option<ServerError>,
) -> StoreError {
    let is_passing = status == StatusCode::TOO_MANY_REQUESTS
        || error.as_ref().is_some_and(|error| {
            // A search that fails for another reason than its shards is wrong.
            PASSING.contains(&error.kind.as_str())
                && (status.is_server_error() || error.kind == "cluster_block_exception")
        });
    let cause: Box<dyn StdError + Send + Sync> = match error {
        Some(error) => error.into(),
        None => PlainStatus(status).into(),
    };
    if is_passing {
        StoreError::Unavailable { store, cause }
    } else if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT {
        StoreError::Refused { store, cause }
    } else {
        unanswered(store, effect, cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_with(effect: Effect, status: u16, kind: Option<&str>) -> StoreError {
        let error = kind.map(|kind| ServerError {
            kind: kind.to_owned(),
            reason: "because".to_owned(),
        });
        failed("catalogue", effect, StatusCode::from_u16(status).unwrap(), error)
    }

    #[test]
    fn errors_of_the_server_say_whether_something_was_written() {
        for (status, kind) in [
            (503, "unavailable_shards_exception"),
            (503, "no_shard_available_action_exception"),
            (503, "cluster_block_exception"),
            (403, "cluster_block_exception"),
            (429, "es_rejected_execution_exception"),
            (429, "circuit_breaking_exception"),
        ] {
            for effect in [Effect::Read, Effect::Write] {
                let error = failed_with(effect, status, Some(kind));
                assert!(
                    matches!(error, StoreError::Unavailable { .. }),
                    "{kind}: {error:?}"
                );
            }
        }
        for (status, kind) in [
            (400, "document_parsing_exception"),
            (400, "search_phase_execution_exception"),
            (401, "security_exception"),
            (403, "security_exception"),
            (404, "index_not_found_exception"),
        ] {
            for effect in [Effect::Read, Effect::Write] {
                let error = failed_with(effect, status, Some(kind));
                assert!(matches!(error, StoreError::Refused { .. }), "{kind}: {error:?}");
            }
        }
        // A node that ends in the middle of it, and a proxy that knows nothing.
        for (status, kind) in [
            (500, Some("node_closed_exception")),
            (503, Some("node_not_connected_exception")),
            (502, None),
            (503, None),
            (504, None),
        ] {
            let read = failed_with(Effect::Read, status, kind);
            assert!(
                matches!(read, StoreError::Unavailable { .. }),
                "{status}: {read:?}"
            );
            let write = failed_with(Effect::Write, status, kind);
            assert!(
                matches!(write, StoreError::OutcomeUnknown { .. }),
                "{status}: {write:?}"
            );
        }
    }
}
