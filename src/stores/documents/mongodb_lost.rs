//! Batches whose answers were lost, and how they are settled.
//!
//! A lost command may still wait on its way to the server, be under way there, or be executed already. Time limits don't
//! decide it: `maxTimeMS` counts from the arrival of a command, whenever that is, and neither `killOp` nor the end of a session
//! reaches what has not arrived. So the rows decide: before a caller learns whether a batch was applied, each of its rows that does not
//! have its mark is made to refuse it.
//!
//! - A write looks for its own mark in the field `barred` of the document that it replaces, in the same atomic step that compares the
//!   version. Settling adds the mark there, unless the row has it as its `mark`: then the write was applied.
//! - A row that a lost batch would create may not exist yet. It gets a document of the version 0 that bars the mark; the next
//!   creation under another mark turns it into the row, and nothing reads it before.
//!
//! Both are one document each, so that a lost write comes either before (and is found by its mark) or after (and finds itself barred).
//! They are acknowledged by a majority as all writes are, so that a change of the primary loses neither; a former primary that does not
//! know yet that it was replaced may execute the lost command, but to no effect that outlives it. Nobody bars a mark whose answer came,
//! and the next write of a row removes what is barred: a lost write of an older version does not match any more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mongodb::bson::{RawDocumentBuf, rawdoc};

use super::DocumentWrite;
use super::mongodb::update;
use crate::stores::StoreError;
use crate::stores::mongodb::MongoCollection;

/// Most lost batches that are remembered. Above it no more are sent until these are settled.
const LOST_LIMIT: usize = 64;

/// A row of a lost batch.
#[derive(Clone)]
struct LostRow {
    id: String,
    is_creation: bool,
}

/// The batches without an answer, by their marks.
#[derive(Default)]
pub(super) struct Lost(Mutex<HashMap<String, Vec<LostRow>>>);

/// A batch that is under way. Unless its outcome gets known, it is lost when this is dropped.
#[must_use]
pub(super) struct UnderWay<'a> {
    lost: &'a Lost,
    mark: &'a str,
    batch: &'a [DocumentWrite],
    is_known: bool,
}

impl Lost {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<LostRow>>> {
        // Nobody panics halfway through a change of it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn track<'a>(&'a self, mark: &'a str, batch: &'a [DocumentWrite]) -> UnderWay<'a> {
        UnderWay {
            lost: self,
            mark,
            batch,
            is_known: false,
        }
    }

    /// Makes room for another lost batch.
    pub(super) async fn make_room(&self, collection: &MongoCollection) -> Result<(), StoreError> {
        let marks: Vec<String> = {
            let lost = self.lock();
            if lost.len() < LOST_LIMIT {
                return Ok(());
            }
            lost.keys().cloned().collect()
        };
        for mark in marks {
            self.settle(collection, &mark).await?;
        }
        Ok(())
    }

    /// When this returns, the batch `mark` has been applied to each of its rows or never will be.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where that is not known yet; it may be repeated.
    pub(super) async fn settle(&self, collection: &MongoCollection, mark: &str) -> Result<(), StoreError> {
        let Some(rows) = self.lock().get(mark).cloned() else {
            return Ok(());
        };
        let store = collection.store();
        let unavailable = |cause| StoreError::Unavailable { store, cause };
        // In this order: a row that does not exist after the first is inserted, one that exists is barred by the second.
        let (creations, bars): (Vec<_>, Vec<_>) = rows
            .iter()
            .map(|row| {
                (
                    row.is_creation.then(|| placeholder(mark, &row.id)),
                    bar(mark, &row.id),
                )
            })
            .unzip();
        for operations in [creations.into_iter().flatten().collect(), bars] {
            let results = collection.bulk_write(false, operations).await;
            let results = results.map_err(|error| unavailable(error.into()))?;
            if let Some(error) = results.into_iter().find_map(Result::err) {
                return Err(unavailable(error.into()));
            }
        }
        self.lock().remove(mark);
        Ok(())
    }
}

/// Where there is no such row: a document that can't become one under this mark.
fn placeholder(mark: &str, id: &str) -> RawDocumentBuf {
    let insert = rawdoc! { "$setOnInsert": { "version": 0_i64, "barred": [mark] } };
    update(rawdoc! { "_id": id }, insert, true)
}

/// A row that was not written under this mark never will be.
fn bar(mark: &str, id: &str) -> RawDocumentBuf {
    let add = rawdoc! { "$addToSet": { "barred": mark } };
    update(rawdoc! { "_id": id, "mark": { "$ne": mark } }, add, false)
}

impl UnderWay<'_> {
    /// The answer came.
    pub(super) fn answered(mut self) {
        self.is_known = true;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.is_known {
            let rows = self.batch.iter().map(|write| LostRow {
                id: write.document.id.clone(),
                is_creation: write.expected == 0,
            });
            self.lost
                .lock()
                .entry(self.mark.to_owned())
                .or_default()
                .extend(rows);
        }
    }
}
