//! The embedded store of a test in a temporary folder, with faults on demand.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, watch};

use super::outbox::{DeadLetter, Delivery, FailedDelivery, LedgerEvent, Outbox, OutboxDepth};
use super::sqlite::SqliteDocuments;
use super::{DocumentStore, DocumentWrite, Row, WriteOutcome};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::sql::SqlDatabase;
use crate::stores::sqlite;
use souk_domain::{EventId, Timestamp};

/// Longest wait for an event, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written, and the caller learns so.
    Unavailable,
    /// It is written, and the caller learns that the outcome is unknown.
    ReplyLost,
    /// Nothing is written, and the caller learns that the outcome is unknown.
    RequestLost,
    /// Nothing is written before [`FaultyDocuments::land`], and the caller learns that the outcome is unknown. Harsher than the port
    /// allows: [`DocumentStore::applied`] answers at once.
    Late,
    /// Nothing is written, as if every row had another version.
    Conflict,
}

/// An embedded store with faults. Its files are deleted with it.
pub struct FaultyDocuments {
    store: SqliteDocuments,
    faults: Mutex<VecDeque<Fault>>,
    refused: Mutex<Vec<String>>,
    late: Mutex<Vec<(String, Vec<DocumentWrite>)>>,
    available: watch::Sender<bool>,
    gate: Arc<RwLock<()>>,
    arrived: watch::Sender<u64>,
    writes: AtomicU64,
    loads: AtomicU64,
    batches_in_flight: usize,
    _folder: TempDir,
}

/// Writes wait for as long as it lives.
pub struct Held(#[allow(dead_code, reason = "held, not read")] OwnedRwLockWriteGuard<()>);

impl FaultyDocuments {
    /// An empty store of this name that keeps no events.
    pub async fn new(name: &'static str) -> Arc<Self> {
        Self::with_consumers(name, &[]).await
    }

    /// An empty store of this name whose events go to these consumers.
    pub async fn with_consumers(name: &'static str, consumers: &'static [&'static str]) -> Arc<Self> {
        Self::open(name, consumers, 1).await
    }

    /// An empty store that takes this many batches at once.
    pub async fn open(
        name: &'static str,
        consumers: &'static [&'static str],
        batches_in_flight: usize,
    ) -> Arc<Self> {
        let folder = TempDir::new().unwrap();
        let writer = sqlite::in_process_writer(folder.path()).unwrap();
        let store = SqliteDocuments::open(&writer, folder.path(), name, consumers)
            .await
            .unwrap();
        Arc::new(Self {
            store,
            faults: Mutex::default(),
            refused: Mutex::default(),
            late: Mutex::default(),
            available: watch::Sender::new(true),
            gate: Arc::default(),
            arrived: watch::Sender::new(0),
            writes: AtomicU64::new(0),
            loads: AtomicU64::new(0),
            batches_in_flight,
            _folder: folder,
        })
    }

    /// Lets a later write fail. Each fault is for one write, in the order of the calls.
    pub fn inject(&self, fault: Fault) {
        lock(&self.faults).push_back(fault);
    }

    /// Forgets the faults that no write has met yet.
    pub fn clear_faults(&self) {
        lock(&self.faults).clear();
    }

    /// Lets every write of this row be refused.
    pub fn refuse(&self, id: &str) {
        lock(&self.refused).push(id.to_owned());
    }

    /// Carries out the late writes; the outcomes of all their rows.
    pub async fn land(&self) -> Vec<WriteOutcome> {
        let late = std::mem::take(&mut *lock(&self.late));
        let mut outcomes = Vec::new();
        for (mark, batch) in late {
            outcomes.extend(self.store.write(&mark, &batch).await.unwrap());
        }
        outcomes
    }

    /// Lets everything fail, or work again.
    pub fn set_available(&self, available: bool) {
        self.available.send_replace(available);
    }

    /// Holds all later writes back until the guard is dropped.
    pub async fn hold(&self) -> Held {
        Held(Arc::clone(&self.gate).write_owned().await)
    }

    /// Waits until this many batches have arrived, held ones included.
    pub async fn arrived(&self, batches: u64) {
        let mut arrived = self.arrived.subscribe();
        let waited = tokio::time::timeout(PATIENCE, arrived.wait_for(|count| *count >= batches)).await;
        assert!(waited.is_ok(), "fewer than {batches} batches arrived");
    }

    /// How many batches were asked to be written, faults included.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// How many batches of rows were asked for.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    fn unavailable(&self) -> StoreError {
        StoreError::Unavailable {
            store: self.store.database.name(),
            cause: "a fault of the test".into(),
        }
    }

    fn unknown(&self) -> StoreError {
        StoreError::OutcomeUnknown {
            store: self.store.database.name(),
            cause: "a fault of the test".into(),
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        if *self.available.borrow() {
            Ok(())
        } else {
            Err(self.unavailable())
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked under the lock has failed already.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl DocumentStore for FaultyDocuments {
    fn name(&self) -> &'static str {
        DocumentStore::name(&self.store)
    }

    fn technology(&self) -> &'static str {
        self.store.technology()
    }

    fn batches_in_flight(&self) -> usize {
        self.batches_in_flight
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.check()?;
        self.store.ping().await
    }

    async fn load_many(&self, ids: &[String]) -> Result<Vec<Row>, StoreError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        self.store.load_many(ids).await
    }

    async fn versions(&self, ids: &[String]) -> Result<Vec<u64>, StoreError> {
        self.check()?;
        self.store.versions(ids).await
    }

    async fn write(&self, mark: &str, batch: &[DocumentWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.arrived.send_modify(|count| *count += 1);
        let _passing = self.gate.read().await;
        self.check()?;
        let fault = lock(&self.faults).pop_front();
        match fault {
            Some(Fault::Unavailable) => return Err(self.unavailable()),
            Some(Fault::RequestLost) => return Err(self.unknown()),
            Some(Fault::Late) => {
                lock(&self.late).push((mark.to_owned(), batch.to_vec()));
                return Err(self.unknown());
            }
            Some(Fault::Conflict) => return Ok(vec![WriteOutcome::Conflict; batch.len()]),
            Some(Fault::ReplyLost) | None => {}
        }
        let refused = lock(&self.refused).clone();
        let is_refused = |write: &DocumentWrite| refused.contains(&write.document.id);
        let accepted: Vec<DocumentWrite> = batch.iter().filter(|write| !is_refused(write)).cloned().collect();
        let mut outcomes = self.store.write(mark, &accepted).await?.into_iter();
        if fault == Some(Fault::ReplyLost) {
            return Err(self.unknown());
        }
        Ok(batch
            .iter()
            .filter_map(|write| {
                if is_refused(write) {
                    Some(WriteOutcome::Refused("a fault of the test".to_owned()))
                } else {
                    outcomes.next()
                }
            })
            .collect())
    }

    async fn applied(&self, mark: &str, ids: &[String]) -> Result<Vec<bool>, StoreError> {
        self.check()?;
        self.store.applied(mark, ids).await
    }

    async fn due(
        &self,
        shards: &[u16],
        due: RangeInclusive<Timestamp>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.check()?;
        self.store.due(shards, due, limit).await
    }

    async fn by_owner(
        &self,
        owner: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.check()?;
        self.store.by_owner(owner, before, limit).await
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.check()?;
        self.store.scan(after, limit).await
    }
}

#[async_trait]
impl Outbox for FaultyDocuments {
    fn name(&self) -> &'static str {
        DocumentStore::name(&self.store)
    }

    fn consumers(&self) -> &'static [&'static str] {
        self.store.consumers()
    }

    async fn deliverable(
        &self,
        consumer: &str,
        shards: &[u16],
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        self.check()?;
        self.store.deliverable(consumer, shards, now, limit).await
    }

    async fn delivered(&self, consumer: &str, sequences: &[i64]) -> Result<(), StoreError> {
        self.check()?;
        self.store.delivered(consumer, sequences).await
    }

    async fn failed(&self, consumer: &str, failures: &[FailedDelivery]) -> Result<(), StoreError> {
        self.check()?;
        self.store.failed(consumer, failures).await
    }

    async fn depth(&self) -> Result<Vec<OutboxDepth>, StoreError> {
        self.check()?;
        self.store.depth().await
    }

    async fn pending(&self, consumer: &str, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.check()?;
        self.store.pending(consumer, limit).await
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        self.check()?;
        self.store.dead_letters(limit).await
    }

    async fn replay(&self, event: &EventId, consumer: Option<&str>) -> Result<Vec<String>, StoreError> {
        self.check()?;
        self.store.replay(event, consumer).await
    }

    async fn ledger(
        &self,
        entity: &str,
        after_version: u64,
        limit: usize,
    ) -> Result<Vec<LedgerEvent>, StoreError> {
        self.check()?;
        self.store.ledger(entity, after_version, limit).await
    }

    async fn forget(&self, entity: &str) -> Result<bool, StoreError> {
        self.check()?;
        self.store.forget(entity).await
    }
}

#[async_trait]
impl RowsAtRest for FaultyDocuments {
    fn store(&self) -> &'static str {
        self.store.store()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        self.store.rows_at_rest(after, limit).await
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        self.store.reseal(rows).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::documents::contract;

    /// Both the embedded store and the wrapper around it.
    #[tokio::test(flavor = "multi_thread")]
    async fn embedded_stores_keep_the_contract() {
        for name in ["carts", "payments"] {
            let faulty = FaultyDocuments::new(name).await;
            assert_eq!(DocumentStore::name(&*faulty), name);
            contract::rows(Arc::clone(&faulty) as Arc<dyn DocumentStore>).await;
            contract::reseals(&*faulty).await;
        }
        let faulty = FaultyDocuments::with_consumers("orders", contract::CONSUMERS).await;
        contract::events(&*faulty, &*faulty).await;
        let plain = FaultyDocuments::with_consumers("inventory", contract::CONSUMERS).await;
        contract::events(&plain.store, &plain.store).await;
    }

    #[tokio::test]
    async fn faults_hit_the_next_writes() {
        let store = FaultyDocuments::new("carts").await;
        for (fault, applied) in [
            (Fault::Unavailable, false),
            (Fault::RequestLost, false),
            (Fault::ReplyLost, true),
        ] {
            store.inject(fault.clone());
            let error = store.write("m", &[contract::write("a", 0)]).await.unwrap_err();
            assert_eq!(
                matches!(error, StoreError::OutcomeUnknown { .. }),
                fault != Fault::Unavailable
            );
            assert_eq!(store.applied("m", &["a".to_owned()]).await.unwrap(), [applied]);
        }
        store.refuse("b");
        let outcomes = store
            .write("n", &[contract::write("b", 0), contract::write("c", 0)])
            .await;
        assert!(matches!(
            outcomes.unwrap()[..],
            [WriteOutcome::Refused(_), WriteOutcome::Applied]
        ));
        store.set_available(false);
        assert!(store.load("a").await.is_err());
    }
}
