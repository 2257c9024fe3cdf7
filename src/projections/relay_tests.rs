//! Deliveries over an embedded store, with consumers that do what a test tells them.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;
use crate::stores::documents::contract::write;
use crate::stores::documents::faulty::FaultyDocuments;
use souk_cluster::ownership::fixtures::alone;
use souk_domain::NewEvent;
use souk_domain::fixtures::{at, raw_event};

const CONSUMERS: &[&str] = &["failing", "unavailable", "healthy"];

/// A consumer that records what it has taken.
#[derive(Default)]
struct Recorder {
    name: &'static str,
    /// Entities whose events fail.
    bad: Mutex<BTreeSet<&'static str>>,
    unavailable: AtomicBool,
    taken: watch::Sender<Vec<String>>,
    /// Everything that was offered, taken or not.
    offered: watch::Sender<Vec<String>>,
}

impl Recorder {
    fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            ..Self::default()
        })
    }

    async fn takes(&self, count: usize) -> Vec<String> {
        let mut taken = self.taken.subscribe();
        taken
            .wait_for(|taken| taken.len() >= count)
            .await
            .unwrap()
            .clone()
    }
}

#[async_trait]
impl Consumer for Recorder {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn consume(&self, events: &[LedgerEvent]) -> Result<Vec<Receipt>, Unavailable> {
        let ids = || events.iter().map(|event| event.id.to_string());
        self.offered.send_modify(|offered| offered.extend(ids()));
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(Unavailable("a fault of the test".to_owned()));
        }
        let bad = self.bad.lock().unwrap().clone();
        let mut taken = Vec::new();
        let receipts = events
            .iter()
            .map(|event| {
                if bad.contains(event.id.entity.as_str()) {
                    return Receipt::Failed(format!("no {}", event.id.entity));
                }
                taken.push(event.id.to_string());
                Receipt::Delivered
            })
            .collect();
        self.taken.send_modify(|all| all.extend(taken));
        Ok(receipts)
    }
}

async fn store() -> Arc<FaultyDocuments> {
    FaultyDocuments::with_consumers("orders", CONSUMERS).await
}

fn task(store: &Arc<FaultyDocuments>, consumer: &Arc<Recorder>, attempts: u32) -> DeliveryTask {
    DeliveryTask {
        outbox: Arc::clone(store) as Arc<dyn Outbox>,
        consumer: Arc::clone(consumer) as Arc<dyn Consumer>,
        routing: alone("here", 1),
        written: watch::Sender::default(),
        // Stands still: nothing that failed is due again.
        clock: Arc::new(|| at(0)),
        attempts,
    }
}

/// Writes the next version of an entity with one event.
async fn emit(store: &FaultyDocuments, entity: &str, version: u64) {
    let mut write = write(entity, version - 1);
    let event = raw_event("thing.changed", serde_json::json!({}));
    write.events = NewEvent::number(entity, [(version, event)]).unwrap();
    store
        .write(&format!("{entity}-{version}"), &[write])
        .await
        .unwrap();
}

/// One consumer fails, another is unavailable: the third gets everything in order, and soon.
#[tokio::test(flavor = "multi_thread")]
async fn consumers_do_not_hold_up_each_other() {
    const ROUNDS: u64 = 20;
    let store = store().await;
    let consumers = ["failing", "unavailable", "healthy"].map(Recorder::new);
    let [failing, unavailable, healthy] = &consumers;
    failing.bad.lock().unwrap().extend(["a", "b"]);
    unavailable.unavailable.store(true, Ordering::SeqCst);
    let written = watch::Sender::default();
    for consumer in &consumers {
        let task = DeliveryTask {
            written: written.clone(),
            ..task(&store, consumer, 1_000)
        };
        tokio::spawn(Arc::new(task).run());
    }
    for version in 1..=ROUNDS {
        for entity in ["a", "b"] {
            emit(&store, entity, version).await;
        }
    }
    let started = Instant::now();
    written.send_replace(());
    let taken = healthy.takes(2 * ROUNDS as usize).await;
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    for entity in ["a", "b"] {
        let of_entity: Vec<_> = taken
            .iter()
            .filter(|id| id.starts_with(entity))
            .cloned()
            .collect();
        let expected: Vec<_> = (1..=ROUNDS)
            .map(|version| format!("{entity}.{version}.0"))
            .collect();
        assert_eq!(of_entity, expected);
    }
    assert!(failing.taken.borrow().is_empty() && unavailable.taken.borrow().is_empty());
    // Those of the others still wait, and are delivered in order when they can be.
    unavailable.unavailable.store(false, Ordering::SeqCst);
    assert_eq!(
        unavailable.takes(2 * ROUNDS as usize).await.len(),
        2 * ROUNDS as usize
    );
}

/// The event at fault becomes a dead letter, with its consumer and reason; those around it are delivered.
#[tokio::test(flavor = "multi_thread")]
async fn the_event_at_fault_is_blamed() {
    let store = store().await;
    let consumer = Recorder::new("healthy");
    consumer.bad.lock().unwrap().insert("bad");
    for entity in ["first", "bad", "last"] {
        emit(&store, entity, 1).await;
    }
    emit(&store, "bad", 2).await;
    let task = task(&store, &consumer, 1);
    assert_eq!(task.round().await, Round::Done);
    assert_eq!(*consumer.taken.borrow(), ["first.1.0", "last.1.0"]);
    let dead = store.dead_letters(10).await.unwrap();
    let dead: Vec<_> = dead
        .iter()
        .map(|letter| {
            let id = letter.delivery.event.id.to_string();
            (letter.consumer.as_str(), id, letter.reason.as_str())
        })
        .collect();
    assert_eq!(dead, [("healthy", "bad.1.0".to_owned(), "no bad")]);
    // What follows of the same entity waited for it, and is offered now.
    consumer.bad.lock().unwrap().clear();
    assert_eq!(task.round().await, Round::Done);
    assert_eq!(consumer.taken.borrow().last().unwrap(), "bad.2.0");
    assert!(store.pending("healthy", 10).await.unwrap().is_empty());
}

/// More failing events than a round holds hide nothing behind them.
#[tokio::test(flavor = "multi_thread")]
async fn blocked_events_at_the_head_hide_nothing() {
    let store = store().await;
    let consumer = Recorder::new("healthy");
    consumer.bad.lock().unwrap().insert("bad");
    for version in 1..=ROUND_LIMIT as u64 + 1 {
        emit(&store, "bad", version).await;
    }
    emit(&store, "good", 1).await;
    let task = task(&store, &consumer, 1_000);
    assert_eq!(task.round().await, Round::Full);
    assert!(consumer.taken.borrow().is_empty());
    assert_eq!(task.round().await, Round::Done);
    assert_eq!(*consumer.taken.borrow(), ["good.1.0"]);
}

/// An unavailable consumer and an unavailable store cost no event an attempt.
#[tokio::test(flavor = "multi_thread")]
async fn unavailability_is_no_events_fault() {
    let store = store().await;
    let consumer = Recorder::new("healthy");
    emit(&store, "a", 1).await;
    let task = task(&store, &consumer, 1);
    consumer.unavailable.store(true, Ordering::SeqCst);
    assert_eq!(task.round().await, Round::Unavailable);
    store.set_available(false);
    assert_eq!(task.round().await, Round::Unavailable);
    store.set_available(true);
    consumer.unavailable.store(false, Ordering::SeqCst);
    assert_eq!(store.pending("healthy", 10).await.unwrap()[0].attempts, 0);
    assert_eq!(task.round().await, Round::Done);
    assert_eq!(*consumer.offered.borrow(), ["a.1.0", "a.1.0"]);
}

/// A consumer that panics, or answers for other events than it was offered.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_consumer_is_unavailable() {
    struct Broken(bool);

    #[async_trait]
    impl Consumer for Broken {
        fn name(&self) -> &'static str {
            "failing"
        }

        async fn consume(&self, _events: &[LedgerEvent]) -> Result<Vec<Receipt>, Unavailable> {
            assert!(!self.0, "a panic of the test");
            Ok(Vec::new())
        }
    }

    let store = store().await;
    emit(&store, "a", 1).await;
    for panics in [true, false] {
        let task = DeliveryTask {
            consumer: Arc::new(Broken(panics)),
            ..task(&store, &Recorder::new("failing"), 1)
        };
        assert_eq!(task.round().await, Round::Unavailable);
    }
    assert_eq!(store.pending("failing", 10).await.unwrap().len(), 1);
}
