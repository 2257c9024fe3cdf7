//! What every adapter of the document port must show.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use serde_json::json;

use super::{BATCH_LIMIT, Document, DocumentStore, DocumentWrite, OutboxEvent, WriteOutcome};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use WriteOutcome::{Applied, Conflict};
use souk_domain::{Event, Timestamp};

/// Runs everything against `store`, which must be empty.
pub async fn suite(store: Arc<dyn DocumentStore>) {
    store.ping().await.unwrap();
    rows_are_created_replaced_and_refused_each_on_its_own(&*store).await;
    rules_of_a_batch_are_kept(&*store).await;
    bodies_of_any_kind_come_back_as_they_went(&*store).await;
    what_is_due_comes_in_order_and_by_shard(&*store).await;
    owners_and_scans_are_paged(&*store).await;
    events_are_as_atomic_as_their_row_and_in_order(&*store).await;
    an_outbox_delivers_buries_and_replays(&*store).await;
    an_unknown_outcome_can_be_asked_for(&*store).await;
    of_racing_writers_one_wins_each_version(store).await;
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
        events: vec![(2, Event::new("changed", json!({})))],
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

fn document(id: &str, version: u64) -> Document {
    Document {
        id: id.to_owned(),
        shard: 7,
        version,
        due_at: None,
        owner: None,
        body: format!("{{\"version\":{version}}}"),
    }
}

fn write(id: &str, expected: u64) -> DocumentWrite {
    DocumentWrite {
        document: document(id, expected + 1),
        expected,
        events: Vec::new(),
    }
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
    let mut many = store.load_many(&ids).await.unwrap();
    many.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(many, [document("rows-a", 9), document("rows-c", 2)]);
    assert_eq!(store.load_many(&[]).await.unwrap(), []);
}

async fn rules_of_a_batch_are_kept(store: &dyn DocumentStore) {
    let full: Vec<_> = (0..BATCH_LIMIT)
        .map(|number| write(&format!("full-{number}"), 0))
        .collect();
    let outcomes = store.write("full", &full).await.unwrap();
    assert!(outcomes.len() == BATCH_LIMIT && outcomes.iter().all(|outcome| *outcome == Applied));
    let over: Vec<_> = (0..=BATCH_LIMIT)
        .map(|number| write(&format!("over-{number}"), 0))
        .collect();
    let twice = [write("twice", 0), write("twice", 0)];
    let mut back = write("back", 4);
    back.document.version = 4;
    for bad in [&over[..], &twice, &[back]] {
        let refused = store.write("bad", bad).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    }
    assert_eq!(store.version("twice").await.unwrap(), 0);
    assert_eq!(store.version("over-0").await.unwrap(), 0);
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
    assert_eq!(store.write("bodies", &batch).await.unwrap(), [Applied; 4]);
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
    assert_eq!(store.write("heavy", &heavy).await.unwrap(), [Applied; 16]);
    assert!(store.load("heavy-15").await.unwrap().unwrap().body == bodies[3]);
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
        store
            .due(shards, Timestamp::from_millis(until), limit)
            .await
            .unwrap()
    };
    assert_eq!(
        due(&[1, 2, 255], 200, 10).await,
        ["due-first", "due-second", "due-exactly"]
    );
    assert_eq!(due(&[1, 2, 255], 200, 2).await, ["due-first", "due-second"]);
    assert_eq!(due(&[3], i64::MAX, 10).await, ["due-elsewhere"]);
    assert!(due(&[], i64::MAX, 10).await.is_empty());
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

async fn owners_and_scans_are_paged(store: &dyn DocumentStore) {
    for number in 0..7 {
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
    let mut seen = Vec::new();
    loop {
        let before = seen.last().cloned();
        let page = store.by_owner("usr_o'ne", before.as_deref(), 4).await.unwrap();
        assert!(
            page.iter()
                .all(|document| document.owner.as_deref() == Some("usr_o'ne"))
        );
        seen.extend(page.iter().map(|document| document.id.clone()));
        if page.len() < 4 {
            break;
        }
    }
    let expected = [6, 5, 4, 2, 1, 0].map(|number| format!("owned-{number}"));
    assert_eq!(seen, expected);
    assert!(store.by_owner("usr_nobody", None, 4).await.unwrap().is_empty());

    let mut scanned: Vec<String> = Vec::new();
    loop {
        let page = store.scan(scanned.last().map(String::as_str), 100).await.unwrap();
        scanned.extend(page.iter().map(|document| document.id.clone()));
        if page.len() < 100 {
            break;
        }
    }
    assert!(
        scanned.len() > BATCH_LIMIT && scanned.is_sorted(),
        "a scan is ascending and whole"
    );
    assert_eq!(scanned.iter().collect::<BTreeSet<_>>().len(), scanned.len());
    for id in expected {
        assert!(scanned.contains(&id));
    }
}

fn emitting(id: &str, expected: u64, shard: u16, names: &[(u64, &str)]) -> DocumentWrite {
    let version = names.iter().map(|(version, _)| *version).max().unwrap();
    DocumentWrite {
        document: Document {
            shard,
            ..document(id, version)
        },
        expected,
        events: names
            .iter()
            .map(|(version, name)| (*version, Event::new(name, json!({"of": id, "quote": "'\"ü"}))))
            .collect(),
    }
}

fn names(events: &[OutboxEvent]) -> Vec<(&str, u64, &str)> {
    events
        .iter()
        .map(|event| (event.entity.as_str(), event.version, event.event.name.as_str()))
        .collect()
}

async fn events_are_as_atomic_as_their_row_and_in_order(store: &dyn DocumentStore) {
    let batch = [
        emitting("event-a", 0, 100, &[(1, "a.one"), (1, "a.two"), (2, "a.three")]),
        emitting("event-b", 0, 101, &[(1, "b.one")]),
    ];
    assert_eq!(store.write("events-1", &batch).await.unwrap(), [Applied; 2]);
    // One row conflicts, and writes none of its events; a row that had the same version before tells nothing.
    let batch = [
        emitting("event-b", 0, 101, &[(1, "b.never")]),
        emitting("event-a", 2, 100, &[(3, "a.four")]),
    ];
    assert_eq!(
        store.write("events-2", &batch).await.unwrap(),
        [Conflict, Applied]
    );

    let all = store.undelivered(&[100, 101], 100).await.unwrap();
    let of = |entity: &str| {
        let events: Vec<_> = all
            .iter()
            .filter(|event| event.entity == entity)
            .cloned()
            .collect();
        assert!(events.is_sorted_by(|a, b| a.sequence < b.sequence));
        events
    };
    assert_eq!(
        names(&of("event-a")),
        [
            ("event-a", 1, "a.one"),
            ("event-a", 1, "a.two"),
            ("event-a", 2, "a.three"),
            ("event-a", 3, "a.four")
        ]
    );
    assert_eq!(names(&of("event-b")), [("event-b", 1, "b.one")]);
    assert_eq!(all.len(), 5);
    let ids: BTreeSet<&str> = all.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), 5, "event ids are unique");
    for event in &all {
        assert_eq!(event.event.detail, json!({"of": event.entity, "quote": "'\"ü"}));
        assert_eq!(event.shard, if event.entity == "event-a" { 100 } else { 101 });
        assert_eq!(event.attempts, 0);
        assert!(event.at.as_millis() > 1_700_000_000_000);
    }
    // By shard, in order, limited.
    assert_eq!(
        names(&store.undelivered(&[100], 2).await.unwrap()),
        [("event-a", 1, "a.one"), ("event-a", 1, "a.two")]
    );
    assert!(store.undelivered(&[], 10).await.unwrap().is_empty());
    // The ledger, delivered or not.
    store
        .delivered(&[all[0].sequence], Timestamp::from_millis(1))
        .await
        .unwrap();
    assert_eq!(store.ledger("event-a", 0, 10).await.unwrap(), of("event-a"));
    assert_eq!(
        names(&store.ledger("event-a", 1, 1).await.unwrap()),
        [("event-a", 2, "a.three")]
    );
    assert!(store.ledger("event-z", 0, 10).await.unwrap().is_empty());
    let rest: Vec<i64> = all.iter().map(|event| event.sequence).collect();
    store.delivered(&rest, Timestamp::from_millis(2)).await.unwrap();
    assert!(store.undelivered(&[100, 101], 10).await.unwrap().is_empty());
}

async fn an_outbox_delivers_buries_and_replays(store: &dyn DocumentStore) {
    assert_eq!(store.outbox_depth().await.unwrap(), super::OutboxDepth::default());
    let batch = [emitting(
        "letter",
        0,
        102,
        &[(1, "one"), (2, "two"), (3, "three")],
    )];
    assert_eq!(store.write("letters", &batch).await.unwrap(), [Applied]);
    let events = store.undelivered(&[102], 10).await.unwrap();
    let depth = store.outbox_depth().await.unwrap();
    assert_eq!((depth.pending, depth.dead), (3, 0));
    assert_eq!(depth.oldest, Some(events[0].at));
    assert_eq!(store.pending(2).await.unwrap(), events[..2]);

    // Fails, keeps its place.
    store
        .undeliverable(events[0].sequence, "later", false)
        .await
        .unwrap();
    let again = store.undelivered(&[102], 10).await.unwrap();
    assert_eq!(
        again[0],
        OutboxEvent {
            attempts: 1,
            ..events[0].clone()
        }
    );
    assert_eq!(names(&again), names(&events));
    // Given up; nothing is lost, and the ones behind it go on.
    store
        .undeliverable(events[0].sequence, "it's over", true)
        .await
        .unwrap();
    store
        .undeliverable(events[1].sequence, "this too", true)
        .await
        .unwrap();
    assert_eq!(
        names(&store.undelivered(&[102], 10).await.unwrap()),
        [("letter", 3, "three")]
    );
    let dead = store.dead_letters(10).await.unwrap();
    let reasons: Vec<_> = dead
        .iter()
        .map(|letter| {
            (
                letter.event.event.name.as_str(),
                letter.event.attempts,
                letter.reason.as_str(),
            )
        })
        .collect();
    assert_eq!(reasons, [("two", 1, "this too"), ("one", 2, "it's over")]);
    assert_eq!(store.dead_letters(1).await.unwrap().len(), 1);
    // A dead one can't be delivered, a delivered one can't die.
    let three = events[2].sequence;
    store
        .delivered(&[events[0].sequence, three], Timestamp::from_millis(5))
        .await
        .unwrap();
    store.undeliverable(three, "too late", true).await.unwrap();
    let depth = store.outbox_depth().await.unwrap();
    assert_eq!((depth.pending, depth.dead, depth.oldest), (0, 2, None));

    assert!(store.replay(&events[0].id).await.unwrap());
    assert!(!store.replay(&events[0].id).await.unwrap());
    assert!(!store.replay(&events[2].id).await.unwrap());
    assert!(!store.replay("no'such").await.unwrap());
    assert_eq!(store.undelivered(&[102], 10).await.unwrap(), events[..1]);
    store
        .delivered(&[events[0].sequence], Timestamp::from_millis(6))
        .await
        .unwrap();
    assert_eq!(store.outbox_depth().await.unwrap().pending, 0);
    store.delivered(&[], Timestamp::from_millis(6)).await.unwrap();
}

async fn an_unknown_outcome_can_be_asked_for(store: &dyn DocumentStore) {
    let ids = ["mark-b", "mark-c", "mark-a"].map(str::to_owned);
    put(store, document("mark-c", 1)).await;
    let batch = [
        emitting("mark-a", 0, 103, &[(1, "marked")]),
        write("mark-b", 0),
        write("mark-c", 7),
    ];
    assert_eq!(
        store.applied("mark-1", &ids).await.unwrap(),
        [false, false, false]
    );
    assert_eq!(
        store.write("mark-1", &batch).await.unwrap(),
        [Applied, Applied, Conflict]
    );
    assert_eq!(store.applied("mark-1", &ids).await.unwrap(), [true, false, true]);
    // Sent again by mistake it changes nothing, its events included.
    assert_eq!(store.write("mark-1", &batch).await.unwrap(), [Conflict; 3]);
    assert_eq!(store.ledger("mark-a", 0, 10).await.unwrap().len(), 1);
    // Overwritten by a later batch.
    assert_eq!(
        store.write("mark-2", &[write("mark-b", 1)]).await.unwrap(),
        [Applied]
    );
    assert_eq!(store.applied("mark-1", &ids).await.unwrap(), [false, false, true]);
    assert_eq!(store.applied("mark-2", &ids).await.unwrap(), [true, false, false]);
}

/// Invariants 8 and 10: no version is written twice, none is skipped, and each leaves exactly its own events.
async fn of_racing_writers_one_wins_each_version(store: Arc<dyn DocumentStore>) {
    const WRITERS: usize = 16;
    const ROUNDS: u64 = 8;
    let entities: Vec<String> = (0..4).map(|number| format!("race-{number}")).collect();
    let wins = join_all((0..WRITERS).map(|writer| {
        let (store, entities) = (Arc::clone(&store), entities.clone());
        tokio::spawn(async move {
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
        })
    }))
    .await;
    let mut winners = BTreeMap::new();
    for (id, version, writer) in wins.into_iter().flat_map(Result::unwrap) {
        let former = winners.insert((id.clone(), version), writer);
        assert_eq!(former, None, "version {version} of {id} was won twice");
    }
    for id in &entities {
        let top = store.version(id).await.unwrap();
        let ledger = store.ledger(id, 0, 1_000).await.unwrap();
        assert_eq!(ledger.len() as u64, top, "an event each version");
        for (event, version) in ledger.iter().zip(1..) {
            assert_eq!(event.version, version);
            let winner = winners[&(id.clone(), version)];
            assert_eq!(event.event.name, format!("by.{winner}"));
        }
        assert_eq!(top, ROUNDS);
    }
}
