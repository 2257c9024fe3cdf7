//! Everything under the first key, while the shop runs; and what is under which.
//!
//! A row is rewritten by a compare-and-set of its content, which changes neither its version nor anything else of it: an
//! entity that writes at the same time wins, and its row is looked at again. What the nodes write meanwhile is under
//! *their* first key; so all of them must have the new one first before the rotation can come to an end.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::Keyring;
use super::layout::{Layout, layout};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use souk_error_chain::Chain;

/// Rows that are read at once.
const PAGE: usize = 100;
/// Most bytes that are exchanged in one transaction, old and new content together; a single row may be larger. Well below what
/// a store takes in one message.
const EXCHANGED: usize = 2 * 1024 * 1024;
/// How often a page is looked at in which others were faster.
const LOOKS: usize = 8;
/// How often a store is gone through, should nodes still seal under an older key.
const ROUNDS: usize = 3;
/// Rows that can't be read, of each store, whose reasons are told.
const REASONS: usize = 10;

/// What lies in one store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// Its name.
    pub store: String,
    /// Rows that may hold something that is sealed.
    pub rows: u64,
    /// Rows by the key that something of them is under; a row may be under several.
    pub under: BTreeMap<String, u64>,
    /// Rows with something that must be sealed and is not.
    pub unsealed: u64,
    /// Rows that can't be read.
    pub unreadable: u64,
    /// Rows that are not wholly under the first key.
    pub left: u64,
}

/// What became of one store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoreRotation {
    /// Rows that were put under the first key.
    pub resealed: u64,
    /// Why rows could not be, the first of them.
    pub reasons: Vec<String>,
    /// How it stands afterwards.
    #[serde(flatten)]
    pub status: StoreStatus,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The store at work.
    pub store: &'a str,
    /// Rows looked at in this round.
    pub seen: u64,
    /// Rows put under the first key so far.
    pub resealed: u64,
}

/// Why it could not be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A store that nothing is known of.
    #[error("there is no layout for the store {0}")]
    NoLayout(&'static str),
}

/// What lies in each store, as it is now.
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

/// Puts everything under the first key, and looks afterwards whether it is.
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
    /// Goes through the store once.
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
            let others_were_faster = self.page(page).await?;
            looks += 1;
            if others_were_faster && looks < LOOKS {
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

    /// Puts a page under the first key; whether one of its rows was written in between.
    async fn page(&mut self, page: Vec<RowAtRest>) -> Result<bool, RotationError> {
        let mut changes = Vec::new();
        for row in page {
            match self.layout.reseal(self.keyring, &row.id, &row.content) {
                Ok(None) => {}
                Ok(Some(content)) => changes.push(Resealed { row, content }),
                Err(error) => self.note(&row.id, &error),
            }
        }
        let mut others_were_faster = false;
        for part in parts(&changes) {
            others_were_faster |= self.exchange(part).await?;
        }
        Ok(others_were_faster)
    }

    /// Writes rows in one transaction; whether one of them was written in between.
    async fn exchange(&mut self, part: &[Resealed]) -> Result<bool, RotationError> {
        let outcomes = match self.store.reseal(part).await {
            Ok(outcomes) => outcomes,
            // Whether it was done, the next look at the page tells.
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
