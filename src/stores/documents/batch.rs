//! How a batch of documents is split.

use super::DocumentWrite;

/// Bytes of bodies and events that go into one transaction. A batch with more is split: its rows stand alone anyway,
/// and a message to the store process has a limit of its own.
const TRANSACTION_BYTES: usize = 4 * 1024 * 1024;

/// About how many bytes a row of a batch takes. An event is small: its detail holds particulars, not documents.
fn size(write: &DocumentWrite) -> usize {
    const EVENT: usize = 512;
    write.document.body.len() + write.events.len() * EVENT
}

/// Splits a batch into parts of at most [`TRANSACTION_BYTES`]; a single row may be larger.
pub(super) fn parts<'a, 'b>(batch: &'a [&'b DocumentWrite]) -> Vec<&'a [&'b DocumentWrite]> {
    crate::stores::parts::parts(batch, TRANSACTION_BYTES, |write| size(write))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::documents::Document;
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
            let parts = parts(&batch);
            let ids: Vec<&String> = parts.iter().flat_map(|part| part.iter()).map(|write| &write.document.id).collect();
            prop_assert_eq!(ids, batch.iter().map(|write| &write.document.id).collect::<Vec<_>>());
            for part in parts {
                prop_assert!(part.len() == 1 || part.iter().map(|write| size(write)).sum::<usize>() <= TRANSACTION_BYTES);
                prop_assert!(!part.is_empty());
            }
        }
    }
}
