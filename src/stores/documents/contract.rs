//! What every adapter of the row port and the outbox must show.

#[cfg(any(feature = "mongodb", feature = "mysql", feature = "postgres"))]
pub mod lost;
mod races;
mod texts;
#[cfg(any(feature = "mongodb", feature = "mysql", feature = "postgres"))]
pub mod throughput;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use serde_json::json;

use super::outbox::{DeadLetter, FailedDelivery};
use super::{
    BATCH_LIMIT, Delivery, Document, DocumentStore, DocumentWrite, LedgerEvent, Outbox, Row, WriteOutcome,
    row_id,
};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use WriteOutcome::{Applied, Conflict};
use souk_domain::fixtures::raw_event;
use souk_domain::{NewEvent, Timestamp};

/// The consumers that a store under test has.
pub const CONSUMERS: &[&str] = &["one", "two"];

/// Runs everything about rows against `store`, which must be empty.
pub async fn rows(store: Arc<dyn DocumentStore>) {
    store.ping().await.unwrap();
    rows_are_created_replaced_and_refused_each_on_its_own(&*store).await;
    rules_of_a_batch_are_kept(&*store).await;
    a_refused_row_fails_no_other(&*store).await;
    ids_are_compared_and_sorted_bytewise(&*store).await;
    bodies_of_any_kind_come_back_as_they_went(&*store).await;
    fences_are_kept(&*store).await;
    what_is_due_comes_in_order_and_by_shard(&*store).await;
    owners_are_paged(&*store).await;
    scans_are_ascending_and_whole(&*store).await;
    an_unknown_outcome_can_be_asked_for(&*store).await;
    texts::any_text_is_kept_or_refused(&*store).await;
    texts::sizes_up_to_the_limits_are_kept(&*store).await;
    races::one_of_many_writers_wins_each_version(&store).await;
    races::overlapping_batches_end(&store).await;
}

/// What every engine with tables does, whatever its collations, locks and snapshots: to see that the statements are sound.
#[cfg(feature = "mssql")]
pub async fn statements_of_rows(store: &dyn DocumentStore) {
    store.ping().await.unwrap();
    rows_are_created_replaced_and_refused_each_on_its_own(store).await;
    fences_are_kept(store).await;
    what_is_due_comes_in_order_and_by_shard(store).await;
    owners_are_paged(store).await;
    an_unknown_outcome_can_be_asked_for(store).await;
}

/// As [`statements_of_rows`], of events.
#[cfg(feature = "mssql")]
pub async fn statements_of_events(store: &dyn DocumentStore, outbox: &dyn Outbox) {
    events_are_as_atomic_as_their_row(store, outbox).await;
    a_failure_holds_up_nothing_else(store, outbox).await;
    dead_letters_are_replayed_for_each_consumer(store, outbox).await;
    events_are_forgotten_once_nobody_waits_for_them(store, outbox).await;
}

/// Runs everything about events against a store and its outbox for [`CONSUMERS`], which must be empty.
pub async fn events(store: &dyn DocumentStore, outbox: &dyn Outbox) {
    assert_eq!(outbox.consumers(), CONSUMERS);
    events_are_as_atomic_as_their_row(store, outbox).await;
    a_failure_holds_up_nothing_else(store, outbox).await;
    dead_letters_are_replayed_for_each_consumer(store, outbox).await;
    events_are_forgotten_once_nobody_waits_for_them(store, outbox).await;
    of_racing_writers_one_wins_each_version(store, outbox).await;
    texts::events_with_any_text_are_kept(store, outbox).await;
}

/// Runs what concerns bodies as they lie in the store, after [`suite`].
pub async fn reseals<S: DocumentStore + RowsAtRest>(store: &S) {
    let before = document("rest-b", 1);
    for id in ["rest-c", "rest-a", "rest-b"] {
        put(store, document(id, 1)).await;
    }
    let rows = store.rows_at_rest(Some("rest-"), 2).await.unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["rest-a", "rest-b"]);
    assert_eq!(rows[1].content, before.body.as_bytes());
    let last = store.rows_at_rest(Some("rest-b"), 1).await.unwrap();
    assert_eq!(last[0].id, "rest-c");

    // A write in between wins; the row is not touched.
    let write = DocumentWrite {
        document: document("rest-a", 2),
        expected: 1,
        events: Vec::new(),
    };
    assert_eq!(store.write("between", &[write]).await.unwrap(), [Applied]);
    let mut rows = rows;
    rows.push(RowAtRest {
        id: "rest-missing".to_owned(),
        content: b"{}".to_vec(),
    });
    let resealed: Vec<_> = rows
        .into_iter()
        .map(|row| Resealed {
            row,
            content: br#"{"resealed":"\u00fc \\ \""}"#.to_vec(),
        })
        .collect();
    assert_eq!(store.reseal(&resealed).await.unwrap(), [false, true, false]);
    assert_eq!(store.load("rest-a").await.unwrap(), Some(document("rest-a", 2)));
    assert_eq!(store.load("rest-missing").await.unwrap(), None);
    // Version, mark and all else stay: whoever holds the entity writes on without noticing.
    let body = r#"{"resealed":"\u00fc \\ \""}"#.to_owned();
    assert_eq!(
        store.load("rest-b").await.unwrap(),
        Some(Document { body, ..before })
    );
    let ids = ["rest-a".to_owned(), "rest-b".to_owned()];
    assert_eq!(store.applied("put", &ids).await.unwrap(), [false, true]);
    assert_eq!(
        store.write("next", &[self::write("rest-b", 1)]).await.unwrap(),
        [Applied]
    );
    // What was read before that is old by now.
    assert_eq!(store.reseal(&resealed[1..2]).await.unwrap(), [false]);
    assert!(store.reseal(&[]).await.unwrap().is_empty());
}

pub fn document(id: &str, version: u64) -> Document {
    Document {
        id: id.to_owned(),
        shard: 7,
        version,
        fence: 0,
        due_at: None,
        owner: None,
        body: format!("{{\"version\":{version}}}"),
    }
}

pub fn write(id: &str, expected: u64) -> DocumentWrite {
    DocumentWrite {
        document: document(id, expected + 1),
        expected,
        events: Vec::new(),
    }
}

fn documents(rows: Vec<Row>) -> Vec<Document> {
    rows.into_iter().map(Result::unwrap).collect()
}

async fn put(store: &dyn DocumentStore, document: Document) {
    let write = DocumentWrite {
        expected: document.version - 1,
        document,
        events: Vec::new(),
    };
    assert_eq!(store.write("put", &[write]).await.unwrap(), [Applied]);
}

async fn rows_are_created_replaced_and_refused_each_on_its_own(store: &dyn DocumentStore) {
    assert_eq!(store.load("rows-a").await.unwrap(), None);
    assert_eq!(store.version("rows-a").await.unwrap(), 0);
    assert_eq!(store.write("1", &[]).await.unwrap(), []);
    assert_eq!(
        store
            .write("1", &[write("rows-a", 0), write("rows-c", 0)])
            .await
            .unwrap(),
        [Applied, Applied]
    );
    // Unsorted on purpose: the outcomes keep the order of the batch.
    let mixed = [
        write("rows-c", 1),
        write("rows-b", 0),
        write("rows-a", 0),
        write("rows-d", 3),
        write("rows-e", 0),
    ];
    assert_eq!(
        store.write("2", &mixed).await.unwrap(),
        [Applied, Applied, Conflict, Conflict, Applied]
    );
    assert_eq!(
        store
            .write("3", &[write("rows-c", 1), write("rows-a", 2)])
            .await
            .unwrap(),
        [Conflict, Conflict]
    );
    // A write may carry several commands, and so raise the version by more than one.
    let leap = DocumentWrite {
        document: document("rows-a", 9),
        expected: 1,
        events: Vec::new(),
    };
    assert_eq!(store.write("4", &[leap]).await.unwrap(), [Applied]);
    for (id, version) in [
        ("rows-a", 9),
        ("rows-b", 1),
        ("rows-c", 2),
        ("rows-d", 0),
        ("rows-e", 1),
    ] {
        assert_eq!(store.version(id).await.unwrap(), version, "{id}");
        let expected = (version > 0).then(|| document(id, version));
        assert_eq!(store.load(id).await.unwrap(), expected, "{id}");
    }
    let ids = ["rows-c", "rows-d", "rows-a", "it's"].map(str::to_owned);
    let mut many = documents(store.load_many(&ids).await.unwrap());
    many.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(many, [document("rows-a", 9), document("rows-c", 2)]);
    assert!(store.load_many(&[]).await.unwrap().is_empty());
    assert_eq!(store.versions(&ids).await.unwrap(), [2, 0, 9, 0]);
    assert!(store.versions(&[]).await.unwrap().is_empty());
}

async fn rules_of_a_batch_are_kept(store: &dyn DocumentStore) {
    let full: Vec<_> = (0..BATCH_LIMIT)
        .map(|number| write(&format!("full-{number}"), 0))
        .collect();
    let outcomes = store.write("full", &full).await.unwrap();
    assert_eq!(outcomes, vec![Applied; BATCH_LIMIT]);
    let over: Vec<_> = (0..=BATCH_LIMIT)
        .map(|number| write(&format!("over-{number}"), 0))
        .collect();
    let refused = store.write("over", &over).await;
    assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    assert_eq!(store.version("over-0").await.unwrap(), 0);
}

/// One bad row never fails the others, wherever it is in the batch.
async fn a_refused_row_fails_no_other(store: &dyn DocumentStore) {
    let mut back = write("refused-back", 4);
    back.document.version = 4;
    // No store here counts that far.
    let mut huge = write("refused-huge", 0);
    huge.document.version = u64::MAX;
    let batch = [
        write("refused-1", 0),
        huge,
        write("refused-2", 0),
        back,
        write("refused-2", 0),
        write("refused-3", 7),
    ];
    let outcomes = store.write("refused", &batch).await.unwrap();
    assert!(
        matches!(
            outcomes[..],
            [
                Applied,
                WriteOutcome::Refused(_),
                Applied,
                WriteOutcome::Refused(_),
                WriteOutcome::Refused(_),
                Conflict
            ]
        ),
        "{outcomes:?}"
    );
    let ids = ["refused-1", "refused-huge", "refused-2", "refused-back"].map(str::to_owned);
    assert_eq!(store.versions(&ids).await.unwrap(), [1, 0, 1, 0]);
}

async fn ids_are_compared_and_sorted_bytewise(store: &dyn DocumentStore) {
    // In the order of their bytes, which is that of no dictionary.
    let ids = ["byte-A-1", "byte-B", "byte-a-1", "byte-a-1 ", "byte-\u{e4}"];
    let batch: Vec<_> = ids
        .iter()
        .map(|id| {
            let mut write = write(id, 0);
            write.document.owner = Some("usr_bytes".to_owned());
            write
        })
        .collect();
    assert_eq!(
        store.write("bytes", &batch).await.unwrap(),
        [const { Applied }; 5]
    );
    let scanned = store.scan(Some("byte-"), 5).await.unwrap();
    assert_eq!(scanned.iter().map(row_id).collect::<Vec<_>>(), ids);
    let owned = store.by_owner("usr_bytes", Some("byte-a-1 "), 9).await.unwrap();
    assert_eq!(
        owned.iter().map(row_id).collect::<Vec<_>>(),
        ["byte-a-1", "byte-B", "byte-A-1"]
    );
    assert!(store.by_owner("USR_bytes", None, 9).await.unwrap().is_empty());
    let update = store.write("case", &[write("byte-a-1", 1)]).await.unwrap();
    assert_eq!(update, [Applied]);
    assert_eq!(store.version("byte-A-1").await.unwrap(), 1);
}

async fn bodies_of_any_kind_come_back_as_they_went(store: &dyn DocumentStore) {
    let large = json!({ "large": "ß\u{1F980}\"\\\n".repeat(128 * 1024) }).to_string();
    assert!(large.len() > 1024 * 1024);
    let bodies = [
        json!({"text": "O'Neil \"quoted\" \\ \u{0} \u{7} \u{FEFF} \u{1F980} ünïcödé \u{202E}"}).to_string(),
        "{\"big\":9007199254740993,\"small\":-0.1e-7,\"spaced\" : [ 1 ,2 ]}".to_owned(),
        "null".to_owned(),
        large,
    ];
    let batch: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(number, body)| {
            let mut write = write(&format!("body-{number}"), 0);
            write.document.body.clone_from(body);
            write
        })
        .collect();
    assert_eq!(
        store.write("bodies", &batch).await.unwrap(),
        [const { Applied }; 4]
    );
    for (number, body) in bodies.iter().enumerate() {
        let document = store.load(&format!("body-{number}")).await.unwrap().unwrap();
        assert!(document.body == *body, "body {number} came back changed");
    }
    // Larger in all than any one message may be.
    let heavy: Vec<_> = (0..16)
        .map(|number| {
            let mut write = write(&format!("heavy-{number:02}"), 0);
            write.document.body.clone_from(&bodies[3]);
            write
        })
        .collect();
    assert_eq!(
        store.write("heavy", &heavy).await.unwrap(),
        [const { Applied }; 16]
    );
    assert!(store.load("heavy-15").await.unwrap().unwrap().body == bodies[3]);
}

async fn fences_are_kept(store: &dyn DocumentStore) {
    for (version, fence) in [(1, 0), (2, 7), (3, u64::from(u32::MAX))] {
        let fenced = Document {
            fence,
            ..document("fenced", version)
        };
        put(store, fenced.clone()).await;
        assert_eq!(store.load("fenced").await.unwrap(), Some(fenced));
    }
}

async fn what_is_due_comes_in_order_and_by_shard(store: &dyn DocumentStore) {
    for (id, shard, due_at) in [
        ("due-late", 1, Some(300)),
        ("due-first", 2, Some(-5)),
        ("due-never", 1, None),
        ("due-elsewhere", 3, Some(1)),
        ("due-second", 1, Some(100)),
        ("due-exactly", 255, Some(200)),
    ] {
        put(
            store,
            Document {
                shard,
                due_at: due_at.map(Timestamp::from_millis),
                ..document(id, 1)
            },
        )
        .await;
    }
    let due = async |shards: &[u16], until, limit| {
        let [from, until] = [i64::MIN, until].map(Timestamp::from_millis);
        store.due(shards, from..=until, limit).await.unwrap()
    };
    assert_eq!(
        due(&[1, 2, 255], 200, 10).await,
        ["due-first", "due-second", "due-exactly"]
    );
    assert_eq!(due(&[1, 2, 255], 200, 2).await, ["due-first", "due-second"]);
    assert_eq!(due(&[3], i64::MAX, 10).await, ["due-elsewhere"]);
    assert!(due(&[], i64::MAX, 10).await.is_empty());
    let range = Timestamp::from_millis(100)..=Timestamp::from_millis(200);
    let between = store.due(&[1, 2, 255], range, 10).await.unwrap();
    assert_eq!(between, ["due-second", "due-exactly"]);
    // No longer due, now due, due at another time.
    for (id, due_at) in [
        ("due-first", None),
        ("due-never", Some(50)),
        ("due-second", Some(10)),
    ] {
        put(
            store,
            Document {
                shard: 1,
                due_at: due_at.map(Timestamp::from_millis),
                ..document(id, 2)
            },
        )
        .await;
    }
    assert_eq!(due(&[1, 2], 299, 10).await, ["due-second", "due-never"]);
}

async fn owners_are_paged(store: &dyn DocumentStore) {
    for number in [4, 0, 6, 3, 1, 5, 2] {
        let owner = Some(if number == 3 { "usr_else" } else { "usr_o'ne" }.to_owned());
        put(
            store,
            Document {
                owner,
                ..document(&format!("owned-{number}"), 1)
            },
        )
        .await;
    }
    // A later change is no creation.
    let owner = Some("usr_o'ne".to_owned());
    let changed = Document {
        owner,
        ..document("owned-0", 2)
    };
    put(store, changed).await;
    let mut seen = Vec::new();
    loop {
        let before = seen.last().cloned();
        let page = documents(store.by_owner("usr_o'ne", before.as_deref(), 4).await.unwrap());
        assert!(
            page.iter()
                .all(|document| document.owner.as_deref() == Some("usr_o'ne"))
        );
        seen.extend(page.iter().map(|document| document.id.clone()));
        if page.len() < 4 {
            break;
        }
    }
    let expected = [2, 5, 1, 6, 0, 4].map(|number| format!("owned-{number}"));
    assert_eq!(seen, expected);
    assert!(store.by_owner("usr_nobody", None, 4).await.unwrap().is_empty());
}

async fn scans_are_ascending_and_whole(store: &dyn DocumentStore) {
    let mut scanned: Vec<String> = Vec::new();
    loop {
        let page = store.scan(scanned.last().map(String::as_str), 100).await.unwrap();
        scanned.extend(page.iter().map(|row| row_id(row).to_owned()));
        if page.len() < 100 {
            break;
        }
    }
    assert!(
        scanned.len() > BATCH_LIMIT && scanned.is_sorted(),
        "a scan is ascending and whole"
    );
    assert_eq!(scanned.iter().collect::<BTreeSet<_>>().len(), scanned.len());
    for number in 0..7 {
        assert!(scanned.contains(&format!("owned-{number}")));
    }
}

pub fn emitting(id: &str, expected: u64, shard: u16, names: &[(u64, &str)]) -> DocumentWrite {
    let version = names.iter().map(|(version, _)| *version).max().unwrap();
    let event = |name: &str| raw_event(name, json!({"of": id, "quote": "'\"ü"}));
    DocumentWrite {
        document: Document {
            shard,
            ..document(id, version)
        },
        expected,
        events: NewEvent::number(id, names.iter().map(|(version, name)| (*version, event(name)))).unwrap(),
    }
}

fn names<'a>(events: impl IntoIterator<Item = &'a LedgerEvent>) -> Vec<(String, &'a str)> {
    events
        .into_iter()
        .map(|event| (event.id.to_string(), event.event.name.as_str()))
        .collect()
}

fn named(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    expected
        .iter()
        .map(|(id, name)| ((*id).to_owned(), *name))
        .collect()
}

const NOW: Timestamp = Timestamp::from_millis(1_000);
const LATER: Timestamp = Timestamp::from_millis(2_000);

/// What a consumer is offered.
async fn offered(outbox: &dyn Outbox, consumer: &str, shards: &[u16], now: Timestamp) -> Vec<Delivery> {
    outbox.deliverable(consumer, shards, now, 100).await.unwrap()
}

fn events_of(deliveries: &[Delivery]) -> impl Iterator<Item = &LedgerEvent> {
    deliveries.iter().map(|delivery| &delivery.event)
}

async fn deliver(outbox: &dyn Outbox, consumer: &str, deliveries: &[Delivery]) {
    let sequences: Vec<i64> = events_of(deliveries).map(|event| event.sequence).collect();
    outbox.delivered(consumer, &sequences).await.unwrap();
}

async fn fail(outbox: &dyn Outbox, consumer: &str, event: &LedgerEvent, retry_at: Option<Timestamp>) {
    let failure = FailedDelivery {
        sequence: event.sequence,
        reason: format!("it's {consumer}"),
        retry_at,
    };
    outbox.failed(consumer, &[failure]).await.unwrap();
}

async fn events_are_as_atomic_as_their_row(store: &dyn DocumentStore, outbox: &dyn Outbox) {
    let batch = [
        emitting("event-a", 0, 100, &[(1, "a.one"), (1, "a.two"), (2, "a.three")]),
        emitting("event-b", 0, 101, &[(1, "b.one")]),
    ];
    assert_eq!(store.write("events-1", &batch).await.unwrap(), [Applied, Applied]);
    // One row conflicts, and writes none of its events; a row that had the same version before tells nothing.
    let batch = [
        emitting("event-b", 0, 101, &[(1, "b.never")]),
        emitting("event-a", 2, 100, &[(3, "a.four")]),
    ];
    assert_eq!(
        store.write("events-2", &batch).await.unwrap(),
        [Conflict, Applied]
    );
    // Sent again by mistake it changes nothing.
    assert_eq!(
        store.write("events-2", &batch).await.unwrap(),
        [Conflict, Conflict]
    );
    let of_a = [
        ("event-a.1.0", "a.one"),
        ("event-a.1.1", "a.two"),
        ("event-a.2.0", "a.three"),
        ("event-a.3.0", "a.four"),
    ];
    for consumer in CONSUMERS {
        let all = offered(outbox, consumer, &[100, 101], NOW).await;
        assert!(events_of(&all).is_sorted_by(|a, b| a.sequence < b.sequence));
        let of = |entity: &'static str| events_of(&all).filter(move |event| event.id.entity == entity);
        assert_eq!(names(of("event-a")), named(&of_a));
        assert_eq!(names(of("event-b")), named(&[("event-b.1.0", "b.one")]));
        assert_eq!(all.len(), 5);
        for Delivery { event, attempts } in &all {
            assert_eq!(
                event.event.detail,
                json!({"of": event.id.entity, "quote": "'\"ü"})
            );
            assert_eq!(event.shard, if event.id.entity == "event-a" { 100 } else { 101 });
            assert_eq!(*attempts, 0);
            assert!(event.at.as_millis() > 1_700_000_000_000);
        }
        let first = outbox.deliverable(consumer, &[100], NOW, 2).await.unwrap();
        assert_eq!(names(events_of(&first)), named(&of_a[..2]));
        assert!(offered(outbox, consumer, &[], NOW).await.is_empty());
    }
    assert!(offered(outbox, "nobody", &[100, 101], NOW).await.is_empty());
    // What is delivered is gone from that consumer's outbox, and stays in the ledger.
    for consumer in CONSUMERS {
        let all = offered(outbox, consumer, &[100, 101], NOW).await;
        assert_eq!(all.len(), 5, "{consumer} has its own progress");
        deliver(outbox, consumer, &all).await;
        assert!(offered(outbox, consumer, &[100, 101], LATER).await.is_empty());
    }
    let ledger = outbox.ledger("event-a", 0, 10).await.unwrap();
    assert_eq!(names(&ledger), named(&of_a));
    let ledger = outbox.ledger("event-a", 1, 1).await.unwrap();
    assert_eq!(names(&ledger), named(&of_a[2..3]));
    assert!(outbox.ledger("event-z", 0, 10).await.unwrap().is_empty());
}

async fn events_are_forgotten_once_nobody_waits_for_them(store: &dyn DocumentStore, outbox: &dyn Outbox) {
    let [one, two] = CONSUMERS else {
        panic!("two consumers")
    };
    let batch = [
        emitting("forgotten", 0, 105, &[(1, "one"), (2, "two")]),
        emitting("remembered", 0, 105, &[(1, "one")]),
    ];
    store.write("forgetting", &batch).await.unwrap();
    let mut events = offered(outbox, one, &[105], NOW).await;
    events.retain(|delivery| delivery.event.id.entity == "forgotten");
    let left = async || outbox.ledger("forgotten", 0, 10).await.unwrap();
    let (first, second) = (("forgotten.1.0", "one"), ("forgotten.2.0", "two"));
    // One consumer has all, the other nothing, then the first, and the second as a dead letter.
    deliver(outbox, one, &events).await;
    assert!(!outbox.forget("forgotten").await.unwrap());
    assert_eq!(names(&left().await), named(&[first, second]));
    deliver(outbox, two, &events[..1]).await;
    fail(outbox, two, &events[1].event, None).await;
    assert!(!outbox.forget("forgotten").await.unwrap());
    assert_eq!(names(&left().await), named(&[second]));
    let replayed = outbox.replay(&events[1].event.id, None).await.unwrap();
    assert_eq!(replayed, [*two]);
    deliver(outbox, two, &events[1..]).await;
    assert!(outbox.forget("forgotten").await.unwrap());
    assert_eq!(names(&left().await), named(&[]));
    assert!(outbox.forget("forgotten").await.unwrap() && outbox.forget("unknown").await.unwrap());
    assert_eq!(outbox.ledger("remembered", 0, 10).await.unwrap().len(), 1);
}

/// Of one consumer, and of one entity.
async fn a_failure_holds_up_nothing_else(store: &dyn DocumentStore, outbox: &dyn Outbox) {
    let [one, two] = CONSUMERS else {
        panic!("two consumers")
    };
    let batch = [
        emitting("fails", 0, 102, &[(1, "one"), (2, "two")]),
        emitting("goes-on", 0, 102, &[(1, "one")]),
    ];
    store.write("failing", &batch).await.unwrap();
    let events = offered(outbox, one, &[102], NOW).await;
    let first = &events[0].event;
    fail(outbox, one, first, Some(LATER)).await;
    let rest = offered(outbox, one, &[102], NOW).await;
    assert_eq!(names(events_of(&rest)), named(&[("goes-on.1.0", "one")]));
    assert_eq!(offered(outbox, two, &[102], NOW).await, events);
    // Whatever number is blocked at the head hides nothing behind it.
    assert_eq!(outbox.deliverable(one, &[102], NOW, 1).await.unwrap(), rest);
    let again = offered(outbox, one, &[102], LATER).await;
    assert_eq!(names(events_of(&again)), names(events_of(&events)));
    assert_eq!((again[0].attempts, again[1].attempts), (1, 0));
    assert_eq!(outbox.pending(one, 1).await.unwrap(), again[..1]);

    // As a dead letter it holds up nothing any more.
    fail(outbox, one, first, None).await;
    let rest = offered(outbox, one, &[102], NOW).await;
    assert_eq!(names(events_of(&rest)), names(events_of(&events[1..])));
    for consumer in CONSUMERS {
        deliver(outbox, consumer, &events).await;
    }
    let dead = outbox.dead_letters(10).await.unwrap();
    let expected = DeadLetter {
        consumer: (*one).to_owned(),
        delivery: Delivery {
            event: first.clone(),
            attempts: 2,
        },
        reason: format!("it's {one}"),
    };
    assert_eq!(dead, [expected]);
    assert_eq!(outbox.replay(&first.id, None).await.unwrap(), [*one]);
    deliver(outbox, one, &events).await;
}

async fn dead_letters_are_replayed_for_each_consumer(store: &dyn DocumentStore, outbox: &dyn Outbox) {
    let batch = [emitting("letter", 0, 103, &[(1, "one"), (2, "two")])];
    store.write("letters", &batch).await.unwrap();
    let events = offered(outbox, CONSUMERS[0], &[103], NOW).await;
    let depth = async |consumer: &str| {
        let depth = outbox.depth().await.unwrap();
        let depth = depth
            .into_iter()
            .find(|depth| depth.consumer == consumer)
            .unwrap();
        (depth.pending, depth.dead, depth.oldest)
    };
    for consumer in CONSUMERS {
        assert_eq!(depth(consumer).await, (2, 0, Some(events[0].event.at)));
        fail(outbox, consumer, &events[0].event, None).await;
        fail(outbox, consumer, &events[1].event, None).await;
        assert_eq!(depth(consumer).await, (0, 2, None));
        // A dead one can neither be delivered nor fail.
        deliver(outbox, consumer, &events).await;
        fail(outbox, consumer, &events[1].event, Some(LATER)).await;
        assert_eq!(depth(consumer).await, (0, 2, None));
    }
    assert_eq!(outbox.dead_letters(1).await.unwrap().len(), 1);
    let dead = outbox.dead_letters(10).await.unwrap();
    let dead: Vec<_> = dead
        .iter()
        .map(|letter| letter.delivery.event.id.version)
        .collect();
    assert_eq!(dead, [2, 2, 1, 1], "newest first");

    let [first, second] = [0, 1].map(|number: usize| &events[number].event.id);
    assert_eq!(
        outbox.replay(first, Some(CONSUMERS[1])).await.unwrap(),
        [CONSUMERS[1]]
    );
    assert!(outbox.replay(first, Some(CONSUMERS[1])).await.unwrap().is_empty());
    assert_eq!(depth(CONSUMERS[0]).await.1, 2);
    assert_eq!(outbox.replay(second, None).await.unwrap().len(), 2);
    assert_eq!(offered(outbox, CONSUMERS[1], &[103], NOW).await, events);
    assert_eq!(offered(outbox, CONSUMERS[0], &[103], NOW).await, events[1..]);
    let unknown = "no'such.1.0".parse().unwrap();
    assert!(outbox.replay(&unknown, None).await.unwrap().is_empty());
    for consumer in CONSUMERS {
        deliver(outbox, consumer, &events).await;
        assert_eq!(depth(consumer).await.0, 0);
        outbox.delivered(consumer, &[]).await.unwrap();
        outbox.failed(consumer, &[]).await.unwrap();
    }
    assert_eq!(outbox.replay(first, None).await.unwrap().len(), 1);
}

async fn an_unknown_outcome_can_be_asked_for(store: &dyn DocumentStore) {
    let ids = ["mark-b", "mark-c", "mark-a"].map(str::to_owned);
    put(store, document("mark-c", 1)).await;
    let batch = [write("mark-a", 0), write("mark-b", 0), write("mark-c", 7)];
    assert_eq!(
        store.applied("mark-1", &ids).await.unwrap(),
        [false, false, false]
    );
    assert_eq!(
        store.write("mark-1", &batch).await.unwrap(),
        [Applied, Applied, Conflict]
    );
    assert_eq!(store.applied("mark-1", &ids).await.unwrap(), [true, false, true]);
    // Sent again by mistake it changes nothing.
    assert_eq!(
        store.write("mark-1", &batch).await.unwrap(),
        [const { Conflict }; 3]
    );
    // Overwritten by a later batch.
    assert_eq!(
        store.write("mark-2", &[write("mark-b", 1)]).await.unwrap(),
        [Applied]
    );
    assert_eq!(store.applied("mark-1", &ids).await.unwrap(), [false, false, true]);
    assert_eq!(store.applied("mark-2", &ids).await.unwrap(), [true, false, false]);
}

/// Invariants 8 and 10: no version is written twice, none is skipped, and each leaves exactly its own events.
async fn of_racing_writers_one_wins_each_version(store: &dyn DocumentStore, outbox: &dyn Outbox) {
    const WRITERS: usize = 16;
    const ROUNDS: u64 = 8;
    let entities: Vec<String> = (0..4).map(|number| format!("race-{number}")).collect();
    let wins = join_all((0..WRITERS).map(|writer| {
        let entities = &entities;
        async move {
            let mut wins = Vec::new();
            for version in 0..ROUNDS {
                // Everybody tries to write every version of every entity, each in another order.
                let batch: Vec<_> = (0..entities.len())
                    .map(|offset| &entities[(offset + writer) % entities.len()])
                    .map(|id| emitting(id, version, 104, &[(version + 1, &format!("by.{writer}"))]))
                    .collect();
                let mark = format!("race-{writer}-{version}");
                let outcomes = store.write(&mark, &batch).await.unwrap();
                for (write, outcome) in batch.iter().zip(outcomes) {
                    if outcome == Applied {
                        wins.push((write.document.id.clone(), version + 1, writer));
                    }
                }
            }
            wins
        }
    }))
    .await;
    let mut winners = BTreeMap::new();
    for (id, version, writer) in wins.into_iter().flatten() {
        let former = winners.insert((id.clone(), version), writer);
        assert_eq!(former, None, "version {version} of {id} was won twice");
    }
    for id in &entities {
        let top = store.version(id).await.unwrap();
        let ledger = outbox.ledger(id, 0, 1_000).await.unwrap();
        assert_eq!(ledger.len() as u64, top, "an event each version");
        for (event, version) in ledger.iter().zip(1..) {
            assert_eq!(event.id.version, version);
            let winner = winners[&(id.clone(), version)];
            assert_eq!(event.event.name, format!("by.{winner}"));
        }
        assert_eq!(top, ROUNDS);
    }
}
