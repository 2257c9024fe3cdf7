//! What an error of the driver or the server means for the call that met it.

use std::error::Error as StdError;

use mongodb::error::{Error, ErrorKind, NO_WRITES_PERFORMED};

use crate::stores::StoreError;

/// Codes of a server that is not the primary, or not any more: it refuses a command as a whole.
const NOT_PRIMARY: &[i64] = &[
    10_058, // LegacyNotPrimary
    10_107, // NotWritablePrimary
    13_435, // NotPrimaryNoSecondaryOk
];

/// Codes of a state of the server or of the network, which passes.
const PASSING: &[i64] = &[
    6,      // HostUnreachable
    7,      // HostNotFound
    24,     // LockTimeout
    46,     // LockBusy
    50,     // MaxTimeMSExpired
    64,     // WriteConcernTimeout
    89,     // NetworkTimeout
    91,     // ShutdownInProgress
    100,    // UnsatisfiableWriteConcern
    112,    // WriteConflict
    133,    // FailedToSatisfyReadPreference
    134,    // ReadConcernMajorityNotAvailableYet
    146,    // ExceededMemoryLimit
    189,    // PrimarySteppedDown
    202,    // NetworkInterfaceExceededTimeLimit
    262,    // ExceededTimeLimit
    9_001,  // SocketException
    11_600, // InterruptedAtShutdown
    11_601, // Interrupted
    11_602, // InterruptedDueToReplStateChange
    13_388, // StaleConfig
    13_436, // NotPrimaryOrSecondary
    14_031, // OutOfDiskSpace
];

/// What a lost answer leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Read,
    /// One operation, which was applied or was not.
    Write,
    /// Several operations, some of which may have been applied.
    Writes,
}

/// The error of one operation of a bulk write, which was not applied.
#[derive(Debug, thiserror::Error)]
#[error("{message} (code {code})")]
pub struct OperationError {
    /// The server's code.
    pub(super) code: i64,
    /// What the server says of it.
    pub(super) message: String,
}

impl OperationError {
    /// The code.
    pub fn code(&self) -> i64 {
        self.code
    }

    /// What the caller gets where nothing else was applied.
    pub fn into_error(self, store: &'static str) -> StoreError {
        if is_passing(self.code) || self.code == 0 {
            StoreError::Unavailable {
                store,
                cause: self.into(),
            }
        } else {
            super::refused(store, self)
        }
    }
}

fn is_passing(code: i64) -> bool {
    PASSING.contains(&code) || NOT_PRIMARY.contains(&code)
}

/// The answer did not come.
pub(super) fn unanswered(
    store: &'static str,
    effect: Effect,
    cause: impl Into<Box<dyn StdError + Send + Sync>>,
) -> StoreError {
    let cause = cause.into();
    match effect {
        Effect::Read => StoreError::Unavailable { store, cause },
        Effect::Write | Effect::Writes => StoreError::OutcomeUnknown { store, cause },
    }
}

/// The call failed.
pub(super) fn failed(store: &'static str, effect: Effect, error: Error) -> StoreError {
    match &*error.kind {
        // Before anything was sent.
        ErrorKind::ServerSelection { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::Authentication { .. } => StoreError::Unavailable {
            store,
            cause: error.into(),
        },
        ErrorKind::Command(answer) => {
            let code = i64::from(answer.code);
            if !is_passing(code) {
                return super::refused(store, error);
            }
            // A server that stops to be the primary may say so in the middle of several operations.
            let is_certain = error.contains_label(NO_WRITES_PERFORMED)
                || (effect == Effect::Write && NOT_PRIMARY.contains(&code));
            let effect = if is_certain { Effect::Read } else { effect };
            unanswered(store, effect, error)
        }
        ErrorKind::InvalidArgument { .. }
        | ErrorKind::BsonSerialization(_)
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::IncompatibleServer { .. }
        | ErrorKind::SessionsNotSupported => super::refused(store, error),
        // A connection that broke or could not be opened, and an answer that can't be understood.
        _ => unanswered(store, effect, error),
    }
}
