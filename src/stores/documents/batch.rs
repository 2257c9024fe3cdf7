//! How a batch of documents is written: what every adapter has in common that writes parts of it in transactions of their own.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;

use super::{BATCH_LIMIT, Document, DocumentWrite, WriteOutcome};
use crate::stores::StoreError;
use souk_error_chain::Chain;

/// Bytes of bodies and events that go into one transaction. A batch with more is split: its rows stand alone anyway,
/// and a message to the store process has a limit of its own.
pub(super) const TRANSACTION_BYTES: usize = 4 * 1024 * 1024;

/// About how many bytes a row of a batch takes. An event is small: its detail holds particulars, not documents.
pub(super) fn size(write: &DocumentWrite) -> usize {
    const EVENT: usize = 512;
    write.document.body.len() + write.events.len() * EVENT
}

/// Splits a batch into parts of at most [`TRANSACTION_BYTES`]; a single row may be larger.
fn parts<'a, 'b>(
    batch: &'a [&'b DocumentWrite],
    share: impl Fn(&DocumentWrite) -> usize,
) -> Vec<&'a [&'b DocumentWrite]> {
    crate::stores::parts::parts(batch, TRANSACTION_BYTES, |write| share(write))
}

/// An adapter that writes a part of a batch in one transaction.
#[async_trait]
pub(super) trait WriteParts: Sync {
    /// The store's name.
    fn store(&self) -> &'static str;

    /// Whether its rows may have events.
    fn keeps_events(&self) -> bool;

    /// Why this adapter can't hold a row that is sound otherwise.
    fn unfit(&self, _: &DocumentWrite) -> Option<String> {
        None
    }

    /// How much of the [`TRANSACTION_BYTES`] of a part a row takes.
    fn share(&self, write: &DocumentWrite) -> usize {
        size(write)
    }

    /// Writes rows in one transaction and returns the ids of those that were applied.
    async fn write_part(&self, mark: &str, part: &[&DocumentWrite]) -> Result<HashSet<String>, StoreError>;
}

/// Why this row can't be written whatever stands in the store.
fn defect(adapter: &impl WriteParts, write: &DocumentWrite, ids: &HashSet<&str>) -> Option<String> {
    let Document {
        id, version, fence, ..
    } = &write.document;
    if ids.contains(id.as_str()) {
        return Some(format!("{id} is in the batch twice"));
    }
    if *version <= write.expected {
        return Some(format!("version {version} can't follow {}", write.expected));
    }
    for number in [version, fence] {
        if i64::try_from(*number).is_err() {
            return Some(format!("{number} is more than the store can count"));
        }
    }
    if !adapter.keeps_events() && !write.events.is_empty() {
        return Some(format!("the {} store keeps no events", adapter.store()));
    }
    adapter.unfit(write)
}

/// Writes a batch, as [`DocumentStore::write`](super::DocumentStore::write) promises it.
pub(super) async fn write(
    adapter: &impl WriteParts,
    mark: &str,
    batch: &[DocumentWrite],
) -> Result<Vec<WriteOutcome>, StoreError> {
    let store = adapter.store();
    if batch.len() > BATCH_LIMIT {
        return Err(StoreError::Refused {
            store,
            cause: format!("a batch of {} rows is too large", batch.len()).into(),
        });
    }
    let mut ids = HashSet::with_capacity(batch.len());
    let mut outcomes = vec![WriteOutcome::Conflict; batch.len()];
    let mut sound = Vec::with_capacity(batch.len());
    for (write, outcome) in batch.iter().zip(&mut outcomes) {
        match defect(adapter, write, &ids) {
            Some(reason) => *outcome = WriteOutcome::Refused(reason),
            None => sound.push(write),
        }
        ids.insert(write.document.id.as_str());
    }
    let mut settled: HashMap<String, WriteOutcome> = HashMap::with_capacity(sound.len());
    let mut queue = parts(&sound, |write| adapter.share(write));
    queue.reverse();
    while let Some(part) = queue.pop() {
        match adapter.write_part(mark, part).await {
            Ok(applied) => settled.extend(applied.into_iter().map(|id| (id, WriteOutcome::Applied))),
            Err(StoreError::Refused { cause, .. }) => match part {
                [write] => {
                    let reason = Chain(&*cause).to_string();
                    settled.insert(write.document.id.clone(), WriteOutcome::Refused(reason));
                }
                // Nothing of it was written: halves of it, down to the row that is at fault.
                _ => {
                    let (first, second) = part.split_at(part.len() / 2);
                    queue.extend([second, first]);
                }
            },
            Err(error) if settled.is_empty() => return Err(error),
            // Some rows may be durable: of the batch as a whole nothing less can be said.
            Err(error) => {
                return Err(StoreError::OutcomeUnknown {
                    store,
                    cause: Box::new(error),
                });
            }
        }
    }
    for (write, outcome) in batch.iter().zip(&mut outcomes) {
        if *outcome == WriteOutcome::Conflict
            && let Some(settled) = settled.remove(&write.document.id)
        {
            *outcome = settled;
        }
    }
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn write(id: usize, body: usize) -> DocumentWrite {
        DocumentWrite {
            document: Document {
                id: id.to_string(),
                shard: 0,
                version: 9,
                fence: 0,
                due_at: None,
                owner: None,
                body: "x".repeat(body),
            },
            expected: 0,
            events: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn parts_are_the_batch_in_order_and_within_the_limit(
            bodies in prop::collection::vec(0..TRANSACTION_BYTES * 5 / 4, 0..12),
        ) {
            let batch: Vec<_> = bodies.iter().enumerate().map(|(id, body)| write(id, *body)).collect();
            let batch: Vec<&DocumentWrite> = batch.iter().collect();
            let parts = parts(&batch, size);
            let ids: Vec<&String> = parts.iter().flat_map(|part| part.iter()).map(|write| &write.document.id).collect();
            prop_assert_eq!(ids, batch.iter().map(|write| &write.document.id).collect::<Vec<_>>());
            for part in parts {
                prop_assert!(part.len() == 1 || part.iter().map(|write| size(write)).sum::<usize>() <= TRANSACTION_BYTES);
                prop_assert!(!part.is_empty());
            }
        }
    }
}
