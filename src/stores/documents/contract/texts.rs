//! Texts that some database could take for something else, and the largest ones.

use serde_json::json;

use super::{CONSUMERS, NOW, document, offered, put, write};
use crate::stores::documents::outbox::FailedDelivery;
use crate::stores::documents::{Document, DocumentStore, DocumentWrite, Outbox, WriteOutcome};
use WriteOutcome::Applied;
use souk_domain::fixtures::raw_event;
use souk_domain::{NewEvent, Timestamp};

/// Statements, wildcards, escapes and parameters of several languages, and characters of any length.
const TEXTS: &[&str] = &[
    "'; DROP TABLE documents; --",
    "' OR '1'='1",
    "\"; DELETE FROM documents; --",
    "\\",
    "\\'",
    "\\x00",
    "\\u0000",
    "%",
    "_",
    "$1",
    "?1",
    "{store}",
    "{a,\"b\",NULL}",
    "NULL",
    "$$",
    "/*",
    "\n\r\t\u{7f}",
    "\u{1F980}\u{1F9D1}\u{200D}\u{1F680}",
    "é\u{301}ß\u{FEFF}\u{202E}",
    "\u{10FFFF}",
];

pub async fn any_text_is_kept_or_refused(store: &dyn DocumentStore) {
    for (number, text) in TEXTS.iter().enumerate() {
        let mut expected = Document {
            owner: Some((*text).to_owned()),
            body: json!(text).to_string(),
            ..document(&format!("text-{text}"), 1)
        };
        put(store, expected.clone()).await;
        expected.version = 2;
        expected.body = json!({ *text: [text] }).to_string();
        let next = DocumentWrite {
            document: expected.clone(),
            expected: 1,
            events: Vec::new(),
        };
        assert_eq!(store.write(text, &[next]).await.unwrap(), [Applied], "{text:?}");
        let ids = [expected.id.clone()];
        assert_eq!(store.load(&ids[0]).await.unwrap().as_ref(), Some(&expected));
        assert_eq!(store.versions(&ids).await.unwrap(), [2]);
        assert_eq!(store.applied(text, &ids).await.unwrap(), [true]);
        let owned = store.by_owner(text, None, 10).await.unwrap();
        assert_eq!(
            owned.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
            [expected]
        );
        assert!(store.by_owner(text, Some(text), 10).await.unwrap().is_empty());
        assert!(store.scan(Some(&ids[0]), 1).await.unwrap().len() <= 1, "{number}");
    }

    // No database is asked to hold this character, and none may fail the rows beside it.
    let mut batch = ["nul-1", "nul\0", "nul-2", "nul-3", "nul-4"].map(|id| write(id, 0));
    batch[2].document.body = "\"\0\"".to_owned();
    batch[3].document.owner = Some("usr_\0".to_owned());
    let outcomes = store.write("nul", &batch).await.unwrap();
    assert_eq!((&outcomes[0], &outcomes[4]), (&Applied, &Applied), "{outcomes:?}");
    for (write, outcome) in batch.into_iter().zip(outcomes) {
        let stands = store.load(&write.document.id).await.unwrap();
        match outcome {
            Applied => assert_eq!(stands, Some(write.document)),
            WriteOutcome::Refused(_) => assert_eq!(stands, None),
            WriteOutcome::Conflict => panic!("{} conflicts with nothing", write.document.id),
        }
    }
    let ids = ["nul\0".to_owned(), "nul-1".to_owned()];
    assert_eq!(store.versions(&ids).await.unwrap()[1], 1);
    assert!(store.applied("nul", &ids).await.unwrap()[1]);
}

pub async fn sizes_up_to_the_limits_are_kept(store: &dyn DocumentStore) {
    // Longer than any identifier, and in characters that are no digits of anything.
    let key = |prefix: &str| format!("{prefix}{}", "\u{1F980}".repeat(60));
    let most = i64::MAX as u64;
    let largest = Document {
        shard: u16::MAX,
        version: most - 1,
        fence: most,
        due_at: Some(Timestamp::from_millis(i64::MAX)),
        owner: Some(key("owner-")),
        body: json!("\u{1F980}".repeat(1_500_000)).to_string(),
        ..document(&key("large-"), 1)
    };
    let first = DocumentWrite {
        document: largest.clone(),
        expected: 0,
        events: Vec::new(),
    };
    assert_eq!(store.write(&key("mark-"), &[first]).await.unwrap(), [Applied]);
    let last = Document {
        version: most,
        due_at: Some(Timestamp::from_millis(i64::MIN)),
        ..largest
    };
    put(store, last.clone()).await;
    assert!(
        store.load(&last.id).await.unwrap().as_ref() == Some(&last),
        "came back changed"
    );
    assert_eq!(store.version(&last.id).await.unwrap(), most);
    // It is the first of all that are due, and the oldest of its owner.
    let always = Timestamp::from_millis(i64::MIN)..=Timestamp::from_millis(i64::MAX);
    assert_eq!(
        store.due(&[u16::MAX], always, 1).await.unwrap(),
        [last.id.as_str()]
    );
    let owned = store.by_owner(&key("owner-"), None, 2).await.unwrap();
    assert_eq!(owned.len(), 1);
}

pub async fn events_with_any_text_are_kept(store: &dyn DocumentStore, outbox: &dyn Outbox) {
    const SHARD: u16 = 120;
    let [one, two] = CONSUMERS else {
        panic!("two consumers")
    };
    for text in TEXTS {
        let id = format!("told-{text}");
        let events = [(1, raw_event(text, json!({ "text": text, "nul": "\0" })))];
        let write = DocumentWrite {
            document: Document {
                shard: SHARD,
                ..document(&id, 1)
            },
            expected: 0,
            events: NewEvent::number(&id, events).unwrap(),
        };
        let expected = write.events.clone();
        assert_eq!(store.write(text, &[write]).await.unwrap(), [Applied], "{text:?}");
        let ledger = outbox.ledger(&id, 0, 10).await.unwrap();
        assert_eq!(ledger.len(), 1);
        assert_eq!(
            (&ledger[0].id, &ledger[0].event),
            (&expected[0].id, &expected[0].event)
        );
        let deliveries = offered(outbox, one, &[SHARD], NOW).await;
        assert_eq!(deliveries.len(), 1);
        assert_eq!(deliveries[0].event, ledger[0]);
        assert!(offered(outbox, text, &[SHARD], NOW).await.is_empty());
        let failure = FailedDelivery {
            sequence: ledger[0].sequence,
            reason: (*text).to_owned(),
            retry_at: None,
        };
        outbox.failed(one, &[failure]).await.unwrap();
        let dead = outbox.dead_letters(1).await.unwrap();
        assert_eq!(
            (dead[0].reason.as_str(), &dead[0].delivery.event),
            (*text, &ledger[0])
        );
        assert!(outbox.replay(&ledger[0].id, Some(text)).await.unwrap().is_empty());
        assert_eq!(outbox.replay(&ledger[0].id, None).await.unwrap(), [*one]);
        for consumer in [one, two] {
            outbox.delivered(consumer, &[ledger[0].sequence]).await.unwrap();
        }
        assert!(outbox.forget(&id).await.unwrap());
    }
    // A reason that no database holds is kept as far as it goes.
    store
        .write("nul", &[super::emitting("told-nul", 0, SHARD, &[(1, "one")])])
        .await
        .unwrap();
    let event = offered(outbox, one, &[SHARD], NOW).await.remove(0).event;
    let failure = FailedDelivery {
        sequence: event.sequence,
        reason: "before\0after".to_owned(),
        retry_at: None,
    };
    outbox.failed(one, &[failure]).await.unwrap();
    let dead = outbox.dead_letters(1).await.unwrap();
    assert!(dead[0].reason.starts_with("before") && dead[0].delivery.event == event);
    assert_eq!(outbox.replay(&event.id, None).await.unwrap(), [*one]);
    for consumer in [one, two] {
        outbox.delivered(consumer, &[event.sequence]).await.unwrap();
    }
}
