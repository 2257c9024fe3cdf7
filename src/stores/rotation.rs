//! Rotation of keys: re-seals everything under the first key while the shop runs, and counts the rows under each key.
//!
//! A row is rewritten by a compare-and-set of its content, which changes neither its version nor anything else: an entity
//! that writes at the same time wins, and its row is read again. Nodes write under *their* first key, so the rotation can
//! only end once all of them have the new key first.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::sealing::Keyring;
use crate::sealing::layout::{Layout, layout};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use souk_error_chain::Chain;

/// Rows of one read.
const PAGE: usize = 100;
/// Most bytes of one transaction, old and new content together; a single row may be larger. Well below the limit of one message
/// to a store.
const EXCHANGED: usize = 2 * 1024 * 1024;
/// Attempts at a page with concurrent writes.
const LOOKS: usize = 8;
/// Passes over a store, in case nodes still seal under an older key.
const ROUNDS: usize = 3;
/// Most reasons that are reported for each store.
const REASONS: usize = 10;

/// The rows of one store by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// Its name.
    pub store: String,
    /// Rows that may contain sealed values.
    pub rows: u64,
    /// Rows by key; a row may have values under several keys.
    pub under: BTreeMap<String, u64>,
    /// Rows with values that must be sealed and are not.
    pub unsealed: u64,
    /// Rows that can't be read.
    pub unreadable: u64,
    /// Rows that are not entirely under the first key.
    pub left: u64,
}

/// Result of the rotation of one store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreRotation {
    /// Rows that were re-sealed.
    pub resealed: u64,
    /// The first reasons why rows could not be re-sealed.
    pub reasons: Vec<String>,
    /// The status afterwards.
    #[serde(flatten)]
    pub status: StoreStatus,
}

/// Progress of a rotation.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The current store.
    pub store: &'a str,
    /// Rows read in this pass.
    pub seen: u64,
    /// Rows re-sealed so far.
    pub resealed: u64,
}

/// Why a rotation ended early.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A store without a layout.
    #[error("there is no layout for the store {0}")]
    NoLayout(&'static str),
}

/// The current status of each store.
///
/// # Errors
/// [`RotationError`]
pub async fn status(
    stores: &[Arc<dyn RowsAtRest>],
    keyring: &Keyring,
) -> Result<Vec<StoreStatus>, RotationError> {
    let mut all = Vec::with_capacity(stores.len());
    for store in stores {
        all.push(look(&**store, layout_of(&**store)?, keyring).await?);
    }
    Ok(all)
}

/// Re-seals everything under the first key, and returns the status afterwards.
///
/// # Errors
/// [`RotationError`]
pub async fn rotate(
    stores: &[Arc<dyn RowsAtRest>],
    keyring: &Keyring,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<Vec<StoreRotation>, RotationError> {
    let mut all = Vec::with_capacity(stores.len());
    for store in stores {
        let mut rotation = Rotation {
            store: &**store,
            layout: layout_of(&**store)?,
            keyring,
            resealed: 0,
            reasons: Vec::new(),
        };
        let mut status = StoreStatus::default();
        for _ in 0..ROUNDS {
            rotation.round(&mut progress).await?;
            status = look(rotation.store, rotation.layout, keyring).await?;
            if status.left == 0 {
                break;
            }
        }
        all.push(StoreRotation {
            resealed: rotation.resealed,
            reasons: rotation.reasons,
            status,
        });
    }
    Ok(all)
}

fn layout_of(store: &dyn RowsAtRest) -> Result<&'static Layout, RotationError> {
    layout(store.store()).ok_or_else(|| RotationError::NoLayout(store.store()))
}

async fn look(
    store: &dyn RowsAtRest,
    layout: &Layout,
    keyring: &Keyring,
) -> Result<StoreStatus, RotationError> {
    let mut status = StoreStatus {
        store: layout.store().to_owned(),
        ..StoreStatus::default()
    };
    let mut after = None;
    loop {
        let page = store.rows_at_rest(after.as_deref(), PAGE).await?;
        for row in &page {
            status.rows += 1;
            let Ok(survey) = layout.survey(&row.content) else {
                status.unreadable += 1;
                status.left += 1;
                continue;
            };
            status.left += u64::from(!survey.is_all_under(keyring.first()));
            status.unsealed += u64::from(survey.plain);
            for key in survey.keys {
                *status.under.entry(key).or_default() += 1;
            }
        }
        match page.last() {
            Some(last) => after = Some(last.id.clone()),
            None => return Ok(status),
        }
    }
}

struct Rotation<'a> {
    store: &'a dyn RowsAtRest,
    layout: &'a Layout,
    keyring: &'a Keyring,
    resealed: u64,
    reasons: Vec<String>,
}

impl Rotation<'_> {
    /// One pass over the store.
    async fn round(&mut self, progress: &mut impl FnMut(Progress<'_>)) -> Result<(), RotationError> {
        self.reasons.clear();
        let mut after: Option<String> = None;
        let mut seen = 0;
        let mut looks = 0;
        loop {
            let page = self.store.rows_at_rest(after.as_deref(), PAGE).await?;
            let Some(last) = page.last().map(|row| row.id.clone()) else {
                return Ok(());
            };
            let rows = page.len() as u64;
            let has_conflicts = self.page(page).await?;
            looks += 1;
            if has_conflicts && looks < LOOKS {
                continue;
            }
            looks = 0;
            seen += rows;
            progress(Progress {
                store: self.layout.store(),
                seen,
                resealed: self.resealed,
            });
            after = Some(last);
        }
    }

    /// Re-seals a page. Returns whether one of its rows was written concurrently.
    async fn page(&mut self, page: Vec<RowAtRest>) -> Result<bool, RotationError> {
        let mut changes = Vec::new();
        for row in page {
            match self.layout.reseal(self.keyring, &row.id, &row.content) {
                Ok(None) => {}
                Ok(Some(content)) => changes.push(Resealed { row, content }),
                Err(error) => self.note(&row.id, &error),
            }
        }
        let mut has_conflicts = false;
        for part in parts(&changes) {
            has_conflicts |= self.exchange(part).await?;
        }
        Ok(has_conflicts)
    }

    /// Writes rows in one transaction. Returns whether one of them was written concurrently.
    async fn exchange(&mut self, part: &[Resealed]) -> Result<bool, RotationError> {
        let outcomes = match self.store.reseal(part).await {
            Ok(outcomes) => outcomes,
            // The next read of the page shows the outcome.
            Err(StoreError::OutcomeUnknown { .. }) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let done = outcomes.iter().filter(|done| **done).count();
        self.resealed += done as u64;
        Ok(done < part.len())
    }

    fn note(&mut self, id: &str, error: &dyn std::error::Error) {
        let reason = format!("{id}: {}", Chain(error));
        if self.reasons.len() < REASONS && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

/// The changes in parts of at most [`EXCHANGED`] bytes.
fn parts(changes: &[Resealed]) -> Vec<&[Resealed]> {
    crate::stores::parts::parts(changes, EXCHANGED, |change| {
        change.row.content.len() + change.content.len()
    })
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
