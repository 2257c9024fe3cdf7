//! A document store in memory, for tests: the whole port, and faults on demand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{
    BATCH_LIMIT, DeadLetter, Document, DocumentStore, DocumentWrite, OutboxDepth, OutboxEvent, WriteOutcome,
};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use souk_domain::Timestamp;

/// What shall befall a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written, and the caller hears so.
    Unavailable,
    /// It is written, but the caller does not hear of it.
    ReplyLost,
}

/// The store. Nothing in it survives the process.
pub struct MemoryDocuments {
    name: &'static str,
    clock: fn() -> Timestamp,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    /// Each document with the mark of its latest write.
    documents: BTreeMap<String, (Document, String)>,
    outbox: Vec<Entry>,
    faults: VecDeque<Fault>,
    writes: u64,
}

struct Entry {
    event: OutboxEvent,
    delivered: Option<Timestamp>,
    dead: Option<String>,
}

impl Entry {
    fn is_pending(&self) -> bool {
        self.delivered.is_none() && self.dead.is_none()
    }
}

impl MemoryDocuments {
    /// An empty store of this name, by the machine's clock.
    pub fn new(name: &'static str) -> Self {
        Self::with_clock(name, || {
            Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
        })
    }

    /// An empty store of this name, by a clock of the test's own.
    pub fn with_clock(name: &'static str, clock: fn() -> Timestamp) -> Self {
        Self {
            name,
            clock,
            contents: Mutex::default(),
        }
    }

    /// Lets a later write fail. Faults befall the writes to come one by one, in the order of the calls.
    pub fn inject(&self, fault: Fault) {
        self.contents().faults.push_back(fault);
    }

    /// How many batches were asked to be written, faults included.
    pub fn writes(&self) -> u64 {
        self.contents().writes
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // A test that panicked under the lock has failed already; the others need not fail with it.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn events(&self, limit: usize, wanted: impl Fn(&Entry) -> bool) -> Vec<OutboxEvent> {
        self.contents()
            .outbox
            .iter()
            .filter(|entry| wanted(entry))
            .take(limit)
            .map(|entry| entry.event.clone())
            .collect()
    }
}

impl Contents {
    fn apply(&mut self, mark: &str, write: &DocumentWrite, at: Timestamp) -> WriteOutcome {
        let document = &write.document;
        let standing = self
            .documents
            .get(&document.id)
            .map_or(0, |(standing, _)| standing.version);
        if standing != write.expected {
            return WriteOutcome::Conflict;
        }
        for (ordinal, (version, event)) in write.events.iter().enumerate() {
            // Entries are never removed, so that the sequence has no gap.
            let sequence = i64::try_from(self.outbox.len()).expect("a test's outbox fits") + 1;
            self.outbox.push(Entry {
                event: OutboxEvent {
                    sequence,
                    id: format!("{}-{version}-{ordinal}", document.id),
                    entity: document.id.clone(),
                    shard: document.shard,
                    version: *version,
                    at,
                    attempts: 0,
                    event: event.clone(),
                },
                delivered: None,
                dead: None,
            });
        }
        self.documents
            .insert(document.id.clone(), (document.clone(), mark.to_owned()));
        WriteOutcome::Applied
    }
}

#[async_trait]
impl DocumentStore for MemoryDocuments {
    fn name(&self) -> &'static str {
        self.name
    }

    fn technology(&self) -> &'static str {
        "memory"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn load(&self, id: &str) -> Result<Option<Document>, StoreError> {
        Ok(self
            .contents()
            .documents
            .get(id)
            .map(|(document, _)| document.clone()))
    }

    async fn load_many(&self, ids: &[String]) -> Result<Vec<Document>, StoreError> {
        let contents = self.contents();
        Ok(ids
            .iter()
            .filter_map(|id| contents.documents.get(id))
            .map(|(document, _)| document.clone())
            .collect())
    }

    async fn version(&self, id: &str) -> Result<u64, StoreError> {
        Ok(self
            .contents()
            .documents
            .get(id)
            .map_or(0, |(document, _)| document.version))
    }

    async fn write(&self, mark: &str, batch: &[DocumentWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        assert!(
            batch.len() <= BATCH_LIMIT,
            "a batch of {} rows was written",
            batch.len()
        );
        for write in batch {
            assert!(
                write.document.version > write.expected,
                "a write must raise the version: {write:?}"
            );
        }
        let at = (self.clock)();
        let mut contents = self.contents();
        contents.writes += 1;
        let fault = contents.faults.pop_front();
        if fault == Some(Fault::Unavailable) {
            return Err(StoreError::Unavailable {
                store: self.name,
                cause: "a fault that the test injected".into(),
            });
        }
        let outcomes = batch
            .iter()
            .map(|write| contents.apply(mark, write, at))
            .collect();
        if fault == Some(Fault::ReplyLost) {
            return Err(StoreError::OutcomeUnknown {
                store: self.name,
                cause: "a fault that the test injected".into(),
            });
        }
        Ok(outcomes)
    }

    async fn applied(&self, mark: &str, ids: &[String]) -> Result<Vec<bool>, StoreError> {
        let contents = self.contents();
        Ok(ids
            .iter()
            .map(|id| {
                contents
                    .documents
                    .get(id)
                    .is_some_and(|(_, latest)| latest == mark)
            })
            .collect())
    }

    async fn due(&self, shards: &[u16], until: Timestamp, limit: usize) -> Result<Vec<String>, StoreError> {
        let contents = self.contents();
        let mut due: Vec<_> = contents
            .documents
            .values()
            .filter(|(document, _)| shards.contains(&document.shard))
            .filter_map(|(document, _)| Some((document.due_at?, &document.id)))
            .filter(|(due_at, _)| *due_at <= until)
            .collect();
        due.sort();
        Ok(due.into_iter().take(limit).map(|(_, id)| id.clone()).collect())
    }

    async fn by_owner(
        &self,
        owner: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        Ok(self
            .contents()
            .documents
            .values()
            .rev()
            .map(|(document, _)| document)
            .filter(|document| document.owner.as_deref() == Some(owner))
            .filter(|document| before.is_none_or(|before| document.id.as_str() < before))
            .take(limit)
            .cloned()
            .collect())
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Document>, StoreError> {
        Ok(self
            .contents()
            .documents
            .values()
            .map(|(document, _)| document)
            .filter(|document| after.is_none_or(|after| document.id.as_str() > after))
            .take(limit)
            .cloned()
            .collect())
    }

    async fn undelivered(&self, shards: &[u16], limit: usize) -> Result<Vec<OutboxEvent>, StoreError> {
        Ok(self.events(limit, |entry| {
            entry.is_pending() && shards.contains(&entry.event.shard)
        }))
    }

    async fn delivered(&self, sequences: &[i64], at: Timestamp) -> Result<(), StoreError> {
        for entry in &mut self.contents().outbox {
            if entry.is_pending() && sequences.contains(&entry.event.sequence) {
                entry.delivered = Some(at);
            }
        }
        Ok(())
    }

    async fn undeliverable(&self, sequence: i64, reason: &str, dead: bool) -> Result<(), StoreError> {
        let mut contents = self.contents();
        let entry = contents
            .outbox
            .iter_mut()
            .find(|entry| entry.event.sequence == sequence && entry.is_pending());
        if let Some(entry) = entry {
            entry.event.attempts += 1;
            entry.dead = dead.then(|| reason.to_owned());
        }
        Ok(())
    }

    async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError> {
        let contents = self.contents();
        let pending = || contents.outbox.iter().filter(|entry| entry.is_pending());
        Ok(OutboxDepth {
            pending: pending().count() as u64,
            dead: contents
                .outbox
                .iter()
                .filter(|entry| entry.dead.is_some())
                .count() as u64,
            oldest: pending().map(|entry| entry.event.at).min(),
        })
    }

    async fn pending(&self, limit: usize) -> Result<Vec<OutboxEvent>, StoreError> {
        Ok(self.events(limit, Entry::is_pending))
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(self
            .contents()
            .outbox
            .iter()
            .rev()
            .filter_map(|entry| {
                Some(DeadLetter {
                    event: entry.event.clone(),
                    reason: entry.dead.clone()?,
                })
            })
            .take(limit)
            .collect())
    }

    async fn replay(&self, event_id: &str) -> Result<bool, StoreError> {
        let mut contents = self.contents();
        let entry = contents
            .outbox
            .iter_mut()
            .find(|entry| entry.event.id == event_id && entry.dead.is_some());
        Ok(entry.is_some_and(|entry| {
            entry.dead = None;
            entry.event.attempts = 0;
            true
        }))
    }

    async fn ledger(
        &self,
        id: &str,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<OutboxEvent>, StoreError> {
        Ok(self.events(limit, |entry| {
            entry.event.entity == id && entry.event.version > after_version
        }))
    }
}

#[async_trait]
impl RowsAtRest for MemoryDocuments {
    fn store(&self) -> &'static str {
        self.name
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        let rows = self.scan(after, limit).await?.into_iter();
        Ok(rows
            .map(|document| RowAtRest {
                id: document.id,
                content: document.body.into_bytes(),
            })
            .collect())
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        let mut contents = self.contents();
        Ok(rows
            .iter()
            .map(|resealed| match contents.documents.get_mut(&resealed.row.id) {
                Some((document, _)) if document.body.as_bytes() == resealed.row.content => {
                    document.body = String::from_utf8(resealed.content.clone()).expect("bodies are text");
                    true
                }
                _ => false,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use souk_domain::Event;

    fn write(id: &str, expected: u64) -> DocumentWrite {
        DocumentWrite {
            document: Document {
                id: id.to_owned(),
                shard: 7,
                version: expected + 1,
                due_at: Some(Timestamp::from_millis(10)),
                owner: Some("usr_1".to_owned()),
                body: "{}".to_owned(),
            },
            expected,
            events: vec![(expected + 1, Event::new("thing.changed", serde_json::json!({})))],
        }
    }

    #[tokio::test]
    async fn a_conflict_writes_neither_the_row_nor_its_events() {
        let store = MemoryDocuments::new("things");
        let first = store.write("m1", &[write("a", 0), write("b", 0)]).await.unwrap();
        assert_eq!(first, [WriteOutcome::Applied; 2]);
        let second = store.write("m2", &[write("a", 0), write("b", 1)]).await.unwrap();
        assert_eq!(second, [WriteOutcome::Conflict, WriteOutcome::Applied]);
        let ids = ["a".to_owned(), "b".to_owned()];
        assert_eq!(store.applied("m2", &ids).await.unwrap(), [false, true]);
        assert_eq!(store.version("a").await.unwrap(), 1);
        assert_eq!(store.ledger("a", 0, 10).await.unwrap().len(), 1);
        assert_eq!(store.ledger("b", 1, 10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn faults_befall_the_writes_to_come() {
        let store = MemoryDocuments::new("things");
        store.inject(Fault::Unavailable);
        store.inject(Fault::ReplyLost);
        let error = store.write("m1", &[write("a", 0)]).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }));
        assert_eq!(store.load("a").await.unwrap(), None);
        let error = store.write("m2", &[write("a", 0)]).await.unwrap_err();
        assert!(matches!(error, StoreError::OutcomeUnknown { .. }));
        assert_eq!(store.applied("m2", &["a".to_owned()]).await.unwrap(), [true]);
    }

    #[tokio::test]
    async fn lists_are_filtered_ordered_and_limited() {
        let store = MemoryDocuments::new("things");
        let mut urgent = write("c", 0);
        urgent.document.due_at = Some(Timestamp::from_millis(5));
        let mut foreign = write("d", 0);
        foreign.document.shard = 8;
        foreign.document.owner = None;
        store
            .write("m", &[write("a", 0), write("b", 0), urgent, foreign])
            .await
            .unwrap();
        let now = Timestamp::from_millis(10);
        assert_eq!(store.due(&[7], now, 2).await.unwrap(), ["c", "a"]);
        assert!(
            store
                .due(&[7, 8], Timestamp::from_millis(4), 9)
                .await
                .unwrap()
                .is_empty()
        );
        let ids = |documents: Vec<Document>| documents.into_iter().map(|found| found.id).collect::<Vec<_>>();
        assert_eq!(ids(store.by_owner("usr_1", None, 2).await.unwrap()), ["c", "b"]);
        assert_eq!(ids(store.by_owner("usr_1", Some("b"), 2).await.unwrap()), ["a"]);
        assert_eq!(ids(store.scan(Some("a"), 2).await.unwrap()), ["b", "c"]);
    }

    #[tokio::test]
    async fn the_outbox_keeps_what_failed_and_gives_it_back() {
        let store = MemoryDocuments::new("things");
        store.write("m", &[write("a", 0), write("b", 0)]).await.unwrap();
        let events = store.undelivered(&[7], 10).await.unwrap();
        let at = Timestamp::from_millis(1);
        store.delivered(&[events[0].sequence], at).await.unwrap();
        store
            .undeliverable(events[1].sequence, "nobody listens", true)
            .await
            .unwrap();
        let depth = store.outbox_depth().await.unwrap();
        assert_eq!((depth.pending, depth.dead, depth.oldest), (0, 1, None));
        let dead = store.dead_letters(10).await.unwrap();
        assert_eq!(
            (dead[0].reason.as_str(), dead[0].event.attempts),
            ("nobody listens", 1)
        );
        assert!(store.replay(&events[1].id).await.unwrap());
        assert!(!store.replay(&events[1].id).await.unwrap());
        assert_eq!(store.pending(10).await.unwrap()[0].id, events[1].id);
    }
}
