//! The persistence actor of a store: what arrives while a batch is in flight becomes the next batch, so that an idle shop
//! writes at once and a busy one in bulk (group commit). Loads are batched the same way.
//!
//! As many batches are in flight as the store gains from. Of the writes of one row only one is; a load of that row comes
//! after those that were asked for before it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dashmap::DashSet;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::handle::Handle;
use super::metrics::WriteMetrics;
use crate::stores::documents::{BATCH_LIMIT, Document, DocumentStore, DocumentWrite, WriteOutcome, row_id};
use crate::stores::error::StoreError;
use souk_error_chain::Chain;
use souk_retry::{RetryPolicy, retry};

/// Most bytes of bodies in one batch: well below what one frame to the store process may carry.
pub const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How an unknown outcome is asked for before the writers learn that it stays unknown. The store is unavailable or was
/// restarted: there is no event to wait for, only time.
const ASK_FOR_OUTCOME: RetryPolicy = RetryPolicy {
    attempts: 6,
    first_pause: Duration::from_millis(50),
    longest_pause: Duration::from_secs(1),
};

/// What became of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is durable.
    Applied,
    /// Another version stands in the store.
    Conflict,
    /// The store can't hold this row; nothing was written.
    Refused,
    /// The store was unavailable; nothing was written.
    Unavailable,
    /// Whether it was written can't be found out now: load before deciding anything.
    Unknown,
}

impl Written {
    /// Whether no write of the row can land later. An earlier one can't where the row has a later version by now.
    fn settles(&self, was_unsettled: bool) -> bool {
        match self {
            Self::Applied | Self::Conflict => true,
            Self::Refused | Self::Unavailable => !was_unsettled,
            Self::Unknown => false,
        }
    }
}

/// What became of one load.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The row. `Err` where the store did not answer or can't read it.
    pub row: Result<Option<Document>, LoadFailed>,
    /// An earlier write of this row may still land, because its outcome is unknown.
    pub is_unsettled: bool,
}

impl Loaded {
    fn failed() -> Self {
        Self {
            row: Err(LoadFailed),
            is_unsettled: false,
        }
    }
}

/// The store did not answer a load, or can't read the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadFailed;

type Callback<T> = Box<dyn FnOnce(T) + Send>;

/// Calls back exactly once: with the result, or with `otherwise` when it is dropped.
pub struct Receipt<T: Send + 'static> {
    callback: Option<Callback<T>>,
    otherwise: fn() -> T,
}

impl<T: Send + 'static> Receipt<T> {
    fn new(otherwise: fn() -> T, callback: impl FnOnce(T) + Send + 'static) -> Self {
        Self {
            callback: Some(Box::new(callback)),
            otherwise,
        }
    }

    fn give(mut self, value: T) {
        if let Some(callback) = self.callback.take() {
            callback(value);
        }
    }
}

impl<T: Send + 'static> Drop for Receipt<T> {
    fn drop(&mut self) {
        if let Some(callback) = self.callback.take() {
            callback((self.otherwise)());
        }
    }
}

/// Messages of the persistence actor.
pub enum PersistenceMessage {
    /// Write one row with the next batch.
    Write {
        /// The row.
        write: Box<DocumentWrite>,
        /// Gets the outcome.
        receipt: Receipt<Written>,
    },
    /// Load one row with the next batch.
    Load {
        /// Which.
        id: String,
        /// Gets the result.
        receipt: Receipt<Loaded>,
    },
    /// A batch of writes has ended: of these rows.
    WritesDone(Vec<String>),
    /// A batch of loads has ended.
    LoadsDone,
}

impl ractor::Message for PersistenceMessage {}

/// How others reach the persistence actor of a store; it stays valid when the actor is restarted.
#[derive(Clone)]
pub struct Persistence {
    /// The actor.
    pub actor: Handle<PersistenceMessage>,
    /// The store itself, for what needs no batching.
    pub store: Arc<dyn DocumentStore>,
    /// Metrics of its writes.
    pub metrics: Arc<WriteMetrics>,
    /// Changes when a batch with events was written.
    pub events: tokio::sync::watch::Sender<()>,
    /// Most rows in one batch.
    pub batch_rows: usize,
    /// Rows with a write that is in flight, or whose outcome stayed unknown.
    unsettled: Arc<DashSet<String>>,
}

impl Persistence {
    /// A handle for `store`, to be connected to its actor by the supervisor, with at most `batch_rows` rows a batch.
    pub fn new(store: Arc<dyn DocumentStore>, batch_rows: usize) -> Self {
        Self {
            actor: Handle::default(),
            store,
            metrics: Arc::default(),
            events: tokio::sync::watch::Sender::default(),
            batch_rows: batch_rows.clamp(1, BATCH_LIMIT),
            unsettled: Arc::default(),
        }
    }

    /// Writes a row with the next batch. `then` is called exactly once.
    pub fn write(&self, write: DocumentWrite, then: impl FnOnce(Written) + Send + 'static) {
        let message = PersistenceMessage::Write {
            write: Box::new(write),
            receipt: Receipt::new(|| Written::Unknown, then),
        };
        // A message that can't be sent is dropped, and its receipt tells.
        self.actor.cast(message);
    }

    /// Loads a row with the next batch. `then` is called exactly once.
    pub fn load(&self, id: String, then: impl FnOnce(Loaded) + Send + 'static) {
        self.actor.cast(PersistenceMessage::Load {
            id,
            receipt: Receipt::new(Loaded::failed, then),
        });
    }

    /// Writes a row with the next batch and waits for the outcome.
    pub async fn write_and_wait(&self, write: DocumentWrite) -> Written {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.write(write, move |outcome| {
            // Whoever waited may have gone away.
            let _ = sender.send(outcome);
        });
        receiver.await.unwrap_or(Written::Unknown)
    }
}

/// The actor. Its arguments are its own handle.
pub struct PersistenceActor;

/// State of the actor.
pub struct PersistenceState {
    handle: Persistence,
    writes: VecDeque<(DocumentWrite, Receipt<Written>)>,
    loads: VecDeque<(String, Receipt<Loaded>)>,
    /// Rows with writes that wait or are in flight, and how many.
    unwritten: HashMap<String, usize>,
    /// Rows whose write is in flight.
    in_flight: HashSet<String>,
    write_batches: usize,
    load_batches: usize,
}

impl Actor for PersistenceActor {
    type Msg = PersistenceMessage;
    type State = PersistenceState;
    type Arguments = Persistence;

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        handle: Persistence,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(PersistenceState {
            handle,
            writes: VecDeque::new(),
            loads: VecDeque::new(),
            unwritten: HashMap::new(),
            in_flight: HashSet::new(),
            write_batches: 0,
            load_batches: 0,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PersistenceMessage::Write { write, receipt } => {
                *state.unwritten.entry(write.document.id.clone()).or_default() += 1;
                state.writes.push_back((*write, receipt));
            }
            PersistenceMessage::Load { id, receipt } => state.loads.push_back((id, receipt)),
            PersistenceMessage::WritesDone(ids) => state.written(&ids),
            PersistenceMessage::LoadsDone => state.load_batches -= 1,
        }
        let most = state.handle.store.batches_in_flight().max(1);
        while state.write_batches < most && state.start_writing(&myself) {}
        while state.load_batches < most && state.start_loading(&myself) {}
        Ok(())
    }
}

/// Tells the actor that a batch has ended, also when its task panics: it must not wait for it for ever.
fn when_done(actor: &ActorRef<PersistenceMessage>, message: PersistenceMessage) -> Receipt<()> {
    let actor = actor.clone();
    // Only a stopped actor can't be reached, and it waits for nothing.
    Receipt::new(|| (), move |()| drop(actor.cast(message)))
}

impl PersistenceState {
    /// Takes the next batch, bounded in rows and bytes. A row whose earlier write is in flight or in this batch waits for a
    /// later one.
    fn take_writes(&mut self) -> (Vec<DocumentWrite>, Vec<Receipt<Written>>) {
        let mut taken = HashSet::new();
        let (mut bytes, mut is_full) = (0, false);
        let (mut writes, mut receipts) = (Vec::new(), Vec::new());
        for (write, receipt) in std::mem::take(&mut self.writes) {
            let (id, size) = (&write.document.id, write.document.body.len());
            is_full |=
                writes.len() >= self.handle.batch_rows || (bytes + size > BATCH_BYTES && !writes.is_empty());
            if !is_full && !self.in_flight.contains(id) && taken.insert(id.clone()) {
                bytes += size;
                writes.push(write);
                receipts.push(receipt);
            } else {
                self.writes.push_back((write, receipt));
            }
        }
        self.in_flight.extend(taken);
        (writes, receipts)
    }

    /// Takes the next loads: those of rows that no write waits for.
    fn take_loads(&mut self) -> Vec<(String, Receipt<Loaded>)> {
        let mut taken = Vec::new();
        for load in std::mem::take(&mut self.loads) {
            if taken.len() < self.handle.batch_rows && !self.unwritten.contains_key(&load.0) {
                taken.push(load);
            } else {
                self.loads.push_back(load);
            }
        }
        taken
    }

    fn written(&mut self, ids: &[String]) {
        self.write_batches -= 1;
        for id in ids {
            self.in_flight.remove(id);
            if let Some(count) = self.unwritten.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    self.unwritten.remove(id);
                }
            }
        }
    }

    /// Starts a batch of writes; false where none can start.
    fn start_writing(&mut self, myself: &ActorRef<PersistenceMessage>) -> bool {
        let (writes, receipts) = self.take_writes();
        if writes.is_empty() {
            return false;
        }
        self.write_batches += 1;
        let ids = writes.iter().map(|write| write.document.id.clone()).collect();
        let done = when_done(myself, PersistenceMessage::WritesDone(ids));
        let handle = self.handle.clone();
        tokio::spawn(async move {
            // A second unknown outcome of a row does not settle the first.
            let before: Vec<bool> = writes
                .iter()
                .map(|write| !handle.unsettled.insert(write.document.id.clone()))
                .collect();
            let outcomes = write_batch(&handle, &writes).await;
            for ((write, outcome), was_unsettled) in writes.iter().zip(&outcomes).zip(before) {
                if outcome.settles(was_unsettled) {
                    handle.unsettled.remove(&write.document.id);
                }
            }
            drop(done);
            for (receipt, outcome) in receipts.into_iter().zip(outcomes) {
                receipt.give(outcome);
            }
        });
        true
    }

    /// Starts a batch of loads; false where none can start.
    fn start_loading(&mut self, myself: &ActorRef<PersistenceMessage>) -> bool {
        let loads = self.take_loads();
        if loads.is_empty() {
            return false;
        }
        self.load_batches += 1;
        let done = when_done(myself, PersistenceMessage::LoadsDone);
        let store = Arc::clone(&self.handle.store);
        // No write of these rows is in flight, unless an earlier incarnation of this actor sent it.
        let unsettled: Vec<bool> = loads
            .iter()
            .map(|(id, _)| self.handle.unsettled.contains(id))
            .collect();
        tokio::spawn(async move {
            let ids: Vec<String> = loads.iter().map(|(id, _)| id.clone()).collect();
            let found = store.load_many(&ids).await;
            drop(done);
            let rows = match found {
                Ok(rows) => rows.into_iter(),
                // Without a result the receipts say that the load has failed.
                Err(error) => return log_failure(&*store, "load", &error),
            };
            let rows: HashMap<String, Result<Option<Document>, LoadFailed>> = rows
                .map(|row| {
                    let id = row_id(&row).to_owned();
                    let loaded = row.map(Some).map_err(|unreadable| {
                        log_failure(&*store, "load", &unreadable.error);
                        LoadFailed
                    });
                    (id, loaded)
                })
                .collect();
            for ((id, receipt), is_unsettled) in loads.into_iter().zip(unsettled) {
                let row = rows.get(&id).cloned().unwrap_or(Ok(None));
                receipt.give(Loaded { row, is_unsettled });
            }
        });
        true
    }
}

fn log_failure(store: &dyn DocumentStore, what: &'static str, error: &StoreError) {
    metrics::counter!("souk_store_errors_total", "store" => store.name()).increment(1);
    tracing::warn!(store = store.name(), what, error = %Chain(error), "the store failed");
}

/// Writes one batch, and finds out what became of it where the answer was lost.
async fn write_batch(handle: &Persistence, writes: &[DocumentWrite]) -> Vec<Written> {
    let started = Instant::now();
    let mark = uuid::Uuid::now_v7().simple().to_string();
    let metrics = &handle.metrics;
    let outcomes = match handle.store.write(&mark, writes).await {
        Ok(outcomes) => outcomes
            .into_iter()
            .zip(writes)
            .map(|(outcome, write)| match outcome {
                WriteOutcome::Applied => Written::Applied,
                WriteOutcome::Conflict => Written::Conflict,
                WriteOutcome::Refused(reason) => {
                    metrics.errors.fetch_add(1, Ordering::Relaxed);
                    let (store, id) = (handle.store.name(), &write.document.id);
                    metrics::counter!("souk_store_errors_total", "store" => store).increment(1);
                    tracing::error!(store, id, reason, "the store refused a row");
                    Written::Refused
                }
            })
            .collect(),
        Err(error) => {
            metrics.errors.fetch_add(1, Ordering::Relaxed);
            log_failure(&*handle.store, "write", &error);
            match error {
                StoreError::OutcomeUnknown { .. } => ask_for_outcome(handle, &mark, writes).await,
                _ => vec![Written::Unavailable; writes.len()],
            }
        }
    };
    let took = started.elapsed();
    if writes.iter().any(|write| !write.events.is_empty()) {
        handle.events.send_replace(());
    }
    let conflicts = outcomes
        .iter()
        .filter(|outcome| **outcome == Written::Conflict)
        .count();
    metrics.batches.fetch_add(1, Ordering::Relaxed);
    metrics.rows.fetch_add(writes.len() as u64, Ordering::Relaxed);
    metrics.conflicts.fetch_add(conflicts as u64, Ordering::Relaxed);
    metrics.batch_rows.record(writes.len() as u64);
    metrics.batch_microseconds.record_duration(took);
    let store = handle.store.name();
    metrics::histogram!("souk_store_batch_rows", "store" => store).record(writes.len() as f64);
    metrics::histogram!("souk_store_batch_seconds", "store" => store).record(took.as_secs_f64());
    outcomes
}

async fn ask_for_outcome(handle: &Persistence, mark: &str, writes: &[DocumentWrite]) -> Vec<Written> {
    let ids: Vec<String> = writes.iter().map(|write| write.document.id.clone()).collect();
    let ask = || handle.store.applied(mark, &ids);
    match retry("ask for the outcome of a write", ASK_FOR_OUTCOME, |_| true, ask).await {
        // Rows without the mark may have conflicted or never been written: loading tells which.
        Ok(applied) => applied
            .into_iter()
            .map(|applied| {
                if applied {
                    Written::Applied
                } else {
                    Written::Unknown
                }
            })
            .collect(),
        Err(error) => {
            log_failure(&*handle.store, "ask for the outcome of a write", &error);
            vec![Written::Unknown; writes.len()]
        }
    }
}

#[cfg(test)]
#[path = "persistence_tests.rs"]
mod tests;
