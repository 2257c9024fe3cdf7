//! The one error type of the stores.

use std::error::Error as StdError;

use crate::sealing::layout::RowError;

/// What a store may answer instead of a result. The cause is kept for the log; none of it is shown to clients.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store could not be reached, or is away for the moment; nothing was written.
    #[error("the {store} store is unavailable")]
    Unavailable {
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        cause: Box<dyn StdError + Send + Sync>,
    },
    /// The answer was lost: the write may or may not have been applied. Ask the store before repeating it.
    #[error("the outcome of a write to the {store} store is unknown")]
    OutcomeUnknown {
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        cause: Box<dyn StdError + Send + Sync>,
    },
    /// The store refused the statement: a defect, or a schema that does not fit.
    #[error("the {store} store refused a statement")]
    Refused {
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        cause: Box<dyn StdError + Send + Sync>,
    },
    /// What was read does not decode.
    #[error("the {store} store holds something that can't be decoded: {what}")]
    Corrupt {
        /// Which store.
        store: &'static str,
        /// The row, and what is wrong with it.
        what: String,
    },
    /// What a row keeps sealed can't be opened or sealed: a key is missing, or the row was tampered with.
    #[error("{row} of the {store} store can't be sealed or opened")]
    Sealing {
        /// Which store.
        store: &'static str,
        /// Which row.
        row: String,
        /// Which field, and why.
        #[source]
        cause: RowError,
    },
}

impl StoreError {
    /// Whether trying again later may help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::OutcomeUnknown { .. })
    }
}
