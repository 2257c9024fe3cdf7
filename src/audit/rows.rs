//! Checks rows and their events (invariant 8, as far as stored data can show it).
//!
//! A row holds one version, and of earlier versions only events remain. That no version was skipped or written twice is the
//! task of compare-and-set, and can't be seen afterwards. What can be seen: versions start at 1 and the row decodes; its
//! events are in order, and none is ahead of its row.

use super::Violation;
use crate::actors::entity::Record;
use crate::stores::StoreError;
use crate::stores::documents::{Document, DocumentStore, LedgerEvent, Outbox, Unreadable};
use souk_domain::order::PlacedOrder;
use souk_domain::{Aggregate, Order};
use souk_error_chain::Chain;

pub(super) fn violation(subject: impl Into<String>, detail: impl Into<String>) -> Violation {
    Violation {
        invariant: 8,
        subject: subject.into(),
        detail: detail.into(),
    }
}

/// Decodes a row. `what` is its kind, as in `payment`.
pub(super) fn decoded<T>(
    what: &str,
    document: &Document,
    decode: impl FnOnce(&Document) -> Result<T, serde_json::Error>,
) -> Result<T, Violation> {
    let subject = || format!("{what} {}", document.id);
    if document.version == 0 {
        return Err(violation(subject(), "its row has version 0"));
    }
    decode(document).map_err(|error| {
        // The position of the error alone: the content may be personal.
        let (line, column) = (error.line(), error.column());
        let detail = format!(
            "its row at version {} does not decode, from line {line} column {column} on",
            document.version
        );
        violation(subject(), detail)
    })
}

/// A row that its store can't read, for example because its seal does not open.
pub(super) fn unreadable(store: &str, row: &Unreadable) -> Violation {
    broken(store, &row.id, &row.error)
}

/// An error of a single row.
pub(super) fn broken(store: &str, id: &str, error: &StoreError) -> Violation {
    let detail = format!("its row can't be read: {}", Chain(error));
    violation(subject(store, id), detail)
}

/// The record of an entity.
pub(super) fn record<A: Aggregate>(document: &Document) -> Result<Record<A>, Violation> {
    decoded(A::KIND.as_str(), document, Record::decode)
}

/// An order; `None` where it was never placed.
pub(super) fn order(document: &Document) -> Result<Option<PlacedOrder>, Violation> {
    Ok(record::<Order>(document)?.state.placed().cloned())
}

/// Checks the order of events.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sequence {
    version: u64,
    sequence: i64,
}

impl Sequence {
    /// What is wrong with the position of the next event, if anything.
    pub(super) fn admit(&mut self, event: &LedgerEvent) -> Option<String> {
        // Several events may share a version, but not a sequence number.
        let in_order =
            event.id.version > 0 && event.id.version >= self.version && event.sequence > self.sequence;
        let detail = (!in_order).then(|| {
            format!(
                "event {} (number {} of version {}) follows number {} of version {}",
                event.id, event.sequence, event.id.version, self.sequence, self.version
            )
        });
        self.version = self.version.max(event.id.version);
        self.sequence = self.sequence.max(event.sequence);
        detail
    }

    /// The version of the latest event.
    pub(super) fn version(&self) -> u64 {
        self.version
    }
}

/// The events of one entity above a version, page by page.
pub(super) struct Ledger<'a> {
    outbox: &'a dyn Outbox,
    id: &'a str,
    after: Option<u64>,
    limit: usize,
}

impl<'a> Ledger<'a> {
    pub(super) fn above(outbox: &'a dyn Outbox, id: &'a str, version: u64, limit: usize) -> Self {
        Self {
            outbox,
            id,
            after: Some(version),
            limit,
        }
    }

    /// The next page; `None` after the last. No version is split over two pages.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<LedgerEvent>>, StoreError> {
        let Some(after) = self.after else {
            return Ok(None);
        };
        let mut limit = self.limit;
        loop {
            let mut page = self.outbox.ledger(self.id, after, limit).await?;
            if page.len() < limit {
                self.after = None;
                return Ok((!page.is_empty()).then_some(page));
            }
            // The last version may continue beyond the page: it is left for the next page, unless it is the only one.
            let last = page.last().map_or(after, |event| event.id.version);
            page.retain(|event| event.id.version < last);
            if let Some(latest) = page.iter().map(|event| event.id.version).max() {
                self.after = Some(latest);
                return Ok(Some(page));
            }
            limit = limit.saturating_mul(2);
        }
    }
}

/// What is wrong with the ledger of an entity, if anything.
pub(super) async fn ledger(
    store: &dyn DocumentStore,
    outbox: &dyn Outbox,
    document: &Document,
    limit: usize,
) -> Result<Option<Violation>, StoreError> {
    let mut sequence = Sequence::default();
    let mut disorder = None;
    let mut ledger = Ledger::above(outbox, &document.id, 0, limit);
    while let Some(page) = ledger.next().await? {
        for event in &page {
            let found = sequence.admit(event);
            disorder = disorder.or(found);
        }
    }
    let subject = || subject(store.name(), &document.id);
    if let Some(detail) = disorder {
        return Ok(Some(violation(subject(), detail)));
    }
    Ok(ahead(store, document, sequence.version())
        .await?
        .map(|detail| violation(subject(), detail)))
}

/// Whether an event of version `latest` is ahead of its row. The row was read before the event and may have changed since.
pub(super) async fn ahead(
    store: &dyn DocumentStore,
    document: &Document,
    latest: u64,
) -> Result<Option<String>, StoreError> {
    if latest <= document.version {
        return Ok(None);
    }
    let version = store.version(&document.id).await?;
    Ok((latest > version)
        .then(|| format!("an event has version {latest}, but the row has version {version}")))
}

/// A row of this store, as in `order ord_1`.
pub(super) fn subject(store: &str, id: &str) -> String {
    format!("{} {id}", singular(store))
}

/// The kind of a row of this store.
fn singular(store: &str) -> &str {
    match store {
        "inventory" => "sku",
        "sandbox" => "charge",
        other => other.trim_end_matches('s'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use souk_domain::{Cart, EncodedEvent, EventId, Timestamp};

    fn event(version: u64, sequence: i64) -> LedgerEvent {
        LedgerEvent {
            sequence,
            id: EventId {
                entity: "a".to_owned(),
                version,
                ordinal: 0,
            },
            shard: 0,
            at: Timestamp::default(),
            event: EncodedEvent {
                name: "thing.changed".to_owned(),
                detail: serde_json::Value::Null,
            },
        }
    }

    #[test]
    fn a_row_counts_from_one_and_decodes() {
        let mut document = Document {
            id: "crt_1".to_owned(),
            shard: 0,
            version: 1,
            fence: 0,
            due_at: None,
            owner: None,
            body: serde_json::to_string(&Record::<Cart>::initial("crt_1")).unwrap(),
        };
        assert!(record::<Cart>(&document).is_ok());
        document.version = 0;
        let found = record::<Cart>(&document).unwrap_err();
        assert_eq!((found.invariant, found.subject.as_str()), (8, "cart crt_1"));
        document.version = 3;
        document.body = r#"{"state":"ada@private.example"}"#.to_owned();
        let found = record::<Cart>(&document).unwrap_err();
        assert_eq!(found.invariant, 8);
        assert!(!found.detail.contains("ada"), "{}", found.detail);
    }

    #[test]
    fn events_that_fall_back_are_found() {
        let mut sequence = Sequence::default();
        for (version, number, good) in [
            (1, 1, true),
            (1, 2, true),
            (4, 9, true),
            (3, 10, false),
            (5, 10, false),
            (5, 11, true),
            (0, 12, false),
        ] {
            assert_eq!(
                sequence.admit(&event(version, number)).is_none(),
                good,
                "{version} at {number}"
            );
        }
        assert_eq!(sequence.version(), 5);
    }
}
