//! The persistence actor of a store: what gathers while a batch is in flight becomes the next batch, so that an idle
//! shop writes at once and a busy one in bulk (group commit). Loads are gathered the same way.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::handle::Handle;
use super::metrics::WriteMetrics;
use crate::stores::documents::{BATCH_LIMIT, Document, DocumentStore, DocumentWrite, WriteOutcome};
use crate::stores::error::StoreError;
use souk_error_chain::Chain;

/// Most bytes of bodies in one batch: well below what one frame to the store process may carry.
pub const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How often an unknown outcome is asked for before the writers are told that it stays unknown.
const OUTCOME_ATTEMPTS: u32 = 5;

/// First pause between such questions; it doubles.
const OUTCOME_PAUSE: Duration = Duration::from_millis(50);

/// What became of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is durable.
    Applied,
    /// Another version stands in the store.
    Conflict,
    /// The store was away; nothing was written.
    Unavailable,
    /// Whether it was written can't be found out now: load before deciding anything.
    Unknown,
}

/// What became of one load. `Err` where the store did not answer.
pub type Loaded = Result<Option<Document>, LoadFailed>;

/// The store did not answer a load.
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

/// What the persistence actor is told.
pub enum PersistenceMessage {
    /// Write one row with the next batch.
    Write {
        /// The row.
        write: Box<DocumentWrite>,
        /// Told of the outcome.
        receipt: Receipt<Written>,
    },
    /// Load one row with the next batch.
    Load {
        /// Which.
        id: String,
        /// Told of the result.
        receipt: Receipt<Loaded>,
    },
    /// The batch of writes in flight has ended.
    WritesDone,
    /// The batch of loads in flight has ended.
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
    /// Rings when a batch with events was written.
    pub events: Arc<tokio::sync::Notify>,
    /// Most rows in one batch.
    pub batch_rows: usize,
}

impl Persistence {
    /// A handle for `store`, to be connected to its actor by the supervisor, with at most `batch_rows` rows a batch.
    pub fn new(store: Arc<dyn DocumentStore>, batch_rows: usize) -> Self {
        Self {
            actor: Handle::default(),
            store,
            metrics: Arc::default(),
            events: Arc::default(),
            batch_rows: batch_rows.clamp(1, BATCH_LIMIT),
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
            receipt: Receipt::new(|| Err(LoadFailed), then),
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

/// What the actor keeps.
pub struct PersistenceState {
    handle: Persistence,
    gathered: VecDeque<(DocumentWrite, Receipt<Written>)>,
    wanted: VecDeque<(String, Receipt<Loaded>)>,
    writing: bool,
    loading: bool,
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
            gathered: VecDeque::new(),
            wanted: VecDeque::new(),
            writing: false,
            loading: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PersistenceMessage::Write { write, receipt } => state.gathered.push_back((*write, receipt)),
            PersistenceMessage::Load { id, receipt } => state.wanted.push_back((id, receipt)),
            PersistenceMessage::WritesDone => state.writing = false,
            PersistenceMessage::LoadsDone => state.loading = false,
        }
        state.start_writing(&myself);
        state.start_loading(&myself);
        Ok(())
    }
}

/// Ends a batch even when its task panics: the actor must not wait for it for ever.
struct Done(ActorRef<PersistenceMessage>, fn() -> PersistenceMessage);

impl Drop for Done {
    fn drop(&mut self) {
        // Only a stopped actor can't be told, and it waits for nothing.
        drop(self.0.cast((self.1)()));
    }
}

impl PersistenceState {
    /// Takes the next batch: unique ids (a second write of the same row waits for the next batch), bounded in rows
    /// and bytes.
    fn take_batch(&mut self) -> (Vec<DocumentWrite>, Vec<Receipt<Written>>) {
        let mut ids = HashSet::new();
        let mut bytes = 0;
        let (mut writes, mut receipts, mut later) = (Vec::new(), Vec::new(), VecDeque::new());
        while let Some((write, receipt)) = self.gathered.pop_front() {
            let size = write.document.body.len();
            let full =
                writes.len() >= self.handle.batch_rows || (bytes + size > BATCH_BYTES && !writes.is_empty());
            if full {
                later.push_back((write, receipt));
                break;
            }
            if ids.insert(write.document.id.clone()) {
                bytes += size;
                writes.push(write);
                receipts.push(receipt);
            } else {
                later.push_back((write, receipt));
            }
        }
        later.append(&mut self.gathered);
        self.gathered = later;
        (writes, receipts)
    }

    fn start_writing(&mut self, myself: &ActorRef<PersistenceMessage>) {
        if self.writing || self.gathered.is_empty() {
            return;
        }
        self.writing = true;
        let (writes, receipts) = self.take_batch();
        let done = Done(myself.clone(), || PersistenceMessage::WritesDone);
        let handle = self.handle.clone();
        tokio::spawn(async move {
            let outcomes = write_batch(&handle, &writes).await;
            drop(done);
            for (receipt, outcome) in receipts.into_iter().zip(outcomes) {
                receipt.give(outcome);
            }
        });
    }

    fn start_loading(&mut self, myself: &ActorRef<PersistenceMessage>) {
        if self.loading || self.wanted.is_empty() {
            return;
        }
        self.loading = true;
        let count = self.wanted.len().min(self.handle.batch_rows);
        let mut wanted: Vec<_> = self.wanted.drain(..count).collect();
        let done = Done(myself.clone(), || PersistenceMessage::LoadsDone);
        let store = Arc::clone(&self.handle.store);
        tokio::spawn(async move {
            let ids: Vec<String> = wanted.iter().map(|(id, _)| id.clone()).collect();
            let mut found = store.load_many(&ids).await;
            if ids.len() > 1 && matches!(&found, Err(error) if !error.is_transient()) {
                // One row that can't be read must not keep the others from those who wait for them.
                for (id, receipt) in wanted.drain(..) {
                    receipt.give(load_one(&*store, &id).await);
                }
                found = Ok(Vec::new());
            }
            drop(done);
            match found {
                Ok(documents) => {
                    let documents: std::collections::HashMap<String, Document> = documents
                        .into_iter()
                        .map(|document| (document.id.clone(), document))
                        .collect();
                    for (id, receipt) in wanted {
                        receipt.give(Ok(documents.get(&id).cloned()));
                    }
                }
                Err(error) => {
                    log_failure(&*store, "load", &error);
                    for (_, receipt) in wanted {
                        receipt.give(Err(LoadFailed));
                    }
                }
            }
        });
    }
}

async fn load_one(store: &dyn DocumentStore, id: &str) -> Loaded {
    store.load(id).await.map_err(|error| {
        log_failure(store, "load", &error);
        LoadFailed
    })
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
            .map(|outcome| match outcome {
                WriteOutcome::Applied => Written::Applied,
                WriteOutcome::Conflict => Written::Conflict,
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
        handle.events.notify_one();
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
    let mut pause = OUTCOME_PAUSE;
    for _ in 0..OUTCOME_ATTEMPTS {
        // The store is away or was restarted in this moment: there is no event to wait for, only time.
        tokio::time::sleep(pause).await;
        pause *= 2;
        match handle.store.applied(mark, &ids).await {
            // Rows without the mark may have conflicted or never been written: loading tells which.
            Ok(applied) => {
                return applied
                    .into_iter()
                    .map(|applied| {
                        if applied {
                            Written::Applied
                        } else {
                            Written::Unknown
                        }
                    })
                    .collect();
            }
            Err(error) => log_failure(&*handle.store, "ask for the outcome of a write", &error),
        }
    }
    vec![Written::Unknown; writes.len()]
}
