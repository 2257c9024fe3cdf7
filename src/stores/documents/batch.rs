//! What a batch of documents looks like on its way into SQLite.

use serde::Serialize;

use super::DocumentWrite;
use souk_domain::Timestamp;

/// Bytes of bodies and events that go into one transaction. A batch with more is split: its rows stand alone anyway,
/// and a message to the store process has a limit of its own.
const TRANSACTION_BYTES: usize = 4 * 1024 * 1024;

/// A document as a batch carries it: identifier, shard, version, expected version, due time, owner, where its body
/// begins and how long it is, in bytes from 1, and fence.
#[derive(Serialize)]
struct Line<'a>(
    &'a str,
    u16,
    u64,
    u64,
    Option<Timestamp>,
    Option<&'a str>,
    usize,
    usize,
    u64,
);

/// Documents on their way into SQLite. The bodies stand beside the lines and not in them: within a JSON text they would be
/// escaped here and read through for each column there, which took a third of the writer's time.
#[derive(Default)]
pub(super) struct Lines<'a> {
    lines: Vec<Line<'a>>,
    bodies: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(writes: impl Iterator<Item = &'a DocumentWrite>) -> Self {
        let mut all = Self::default();
        for write in writes {
            let document = &write.document;
            all.lines.push(Line(
                &document.id,
                document.shard,
                document.version,
                write.expected,
                document.due_at,
                document.owner.as_deref(),
                all.bodies.len() + 1,
                document.body.len(),
                document.fence,
            ));
            all.bodies.extend_from_slice(document.body.as_bytes());
        }
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines as JSON, and all bodies one after the other.
    pub(super) fn encode(self) -> Result<(String, Vec<u8>), serde_json::Error> {
        Ok((serde_json::to_string(&self.lines)?, self.bodies))
    }
}

/// A body that takes the place of another one.
#[derive(Serialize)]
pub(super) struct Exchange<'a> {
    #[serde(rename = "i")]
    pub(super) id: &'a str,
    #[serde(rename = "b")]
    pub(super) before: &'a str,
    #[serde(rename = "n")]
    pub(super) now: &'a str,
}

/// An event as a batch carries it.
#[derive(Serialize)]
pub(super) struct Emitted<'a> {
    #[serde(rename = "i")]
    id: &'a str,
    /// The version that the document has after the write, where the event may belong to an earlier command of it.
    #[serde(rename = "w")]
    written: u64,
    #[serde(rename = "v")]
    version: u64,
    #[serde(rename = "n")]
    ordinal: u32,
    #[serde(rename = "e")]
    name: &'a str,
    #[serde(rename = "d")]
    detail: &'a serde_json::Value,
}

impl<'a> Emitted<'a> {
    pub(super) fn of(write: &'a DocumentWrite) -> impl Iterator<Item = Self> {
        write.events.iter().map(|event| Self {
            id: &write.document.id,
            written: write.document.version,
            version: event.id.version,
            ordinal: event.id.ordinal,
            name: &event.event.name,
            detail: &event.event.detail,
        })
    }
}

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
