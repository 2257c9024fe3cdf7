//! The one error type of the stores.

use std::error::Error as StdError;

use crate::sealing::layout::RowError;

/// An error of a store. Its cause is for the log; clients don't see it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is unavailable; nothing was written.
    #[error("the {store} store is unavailable")]
    Unavailable {
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        cause: Box<dyn StdError + Send + Sync>,
    },
    /// The reply was lost: the write may or may not have been applied.
    #[error("the outcome of a write to the {store} store is unknown")]
    OutcomeUnknown {
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        cause: Box<dyn StdError + Send + Sync>,
    },
    /// The store refused the call: a defect, or a wrong schema.
    #[error("the {store} store refused a statement")]
    Refused {
        /// Which store.
        store: &'static str,
        /// Why.
        #[source]
        cause: Box<dyn StdError + Send + Sync>,
    },
    /// A stored value can't be decoded.
    #[error("the {store} store holds a value that can't be decoded: {what}")]
    Corrupt {
        /// Which store.
        store: &'static str,
        /// The row, and what is wrong with it.
        what: String,
    },
    /// A value can't be sealed or opened: a key is missing, or the row was tampered with.
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
    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::OutcomeUnknown { .. })
    }
}
