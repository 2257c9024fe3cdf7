//! What the SQLite adapters share: JSON parameters, refusals, and whether a statement affected a row.

use std::error::Error;

use serde::Serialize;

use super::StoreError;
use super::embedded::{Database, Rows};

/// The refusal of a call.
pub fn refused(database: &Database, cause: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Refused {
        store: database.name(),
        cause: cause.into(),
    }
}

/// `value` as a JSON parameter.
pub fn json(database: &Database, value: &(impl Serialize + ?Sized)) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| refused(database, error))
}

/// Whether the statement at `index` of a transaction returned a row.
pub fn has_row(results: &[Rows], index: usize) -> bool {
    results.get(index).is_some_and(|rows| !rows.is_empty())
}
