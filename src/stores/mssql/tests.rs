//! Errors by their numbers, broken connections and lost replies, against a peer with scripted replies.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::testing::peer::{Answer, Cell, Kind, Peer, Request, Type};
use super::testing::url;
use super::values::PARAMETERS;
use crate::stores::StoreError;
use crate::stores::documents::contract::write;
use crate::stores::documents::mssql::{MIGRATIONS, MssqlDocuments};
use crate::stores::documents::{BATCH_LIMIT, DocumentStore, DocumentWrite, WriteOutcome};

/// One row of numbers and texts.
fn row(cells: &[Cell]) -> Answer {
    let columns = cells.iter().map(|cell| match cell {
        Cell::Text(_) => ("text", Type::Text),
        _ => ("number", Type::BigInt),
    });
    Answer::Rows(columns.collect(), vec![cells.to_vec()])
}

fn number(number: i64) -> Answer {
    row(&[Cell::Number(number)])
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn ids(ids: &[&str]) -> Answer {
    let rows = ids.iter().map(|id| vec![text(id)]).collect();
    Answer::Rows(vec![("id", Type::Text)], rows)
}

fn failure(number: u32, class: u8) -> Answer {
    Answer::Error {
        number,
        state: 1,
        class,
        message: "as the test wants it",
    }
}

/// What a new connection, and a store whose tables are there, asks first.
fn greeting(request: &Request) -> Option<Answer> {
    let asks = |what: &str| request.text.contains(what);
    if asks("ProductMajorVersion") {
        let fits = [
            Cell::Number(16),
            Cell::Number(3),
            text("READ_WRITE"),
            Cell::Number(0),
        ];
        Some(row(&fits))
    } else if asks("delayed_durability_desc") || asks("'DISABLED'") {
        Some(row(&[Cell::Number(1), text("DISABLED")]))
    } else if asks("OBJECT_ID") {
        Some(number(1))
    } else if asks("MAX(version)") {
        Some(number(i64::try_from(MIGRATIONS.len()).unwrap()))
    } else if request.kind == Kind::Batch && asks("SET ") {
        Some(Answer::Done)
    } else {
        None
    }
}

/// A store on a peer that answers what comes after the greeting.
async fn store(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> (Peer, MssqlDocuments) {
    let peer = Peer::start(move |request| greeting(request).unwrap_or_else(|| answer(request))).await;
    let store = MssqlDocuments::open(&url(peer.port()), "orders", &[])
        .await
        .unwrap();
    (peer, store)
}

fn is_write(request: &Request) -> bool {
    request.text.contains("INTO @applied")
}

/// The session's named lock of a connection.
fn lock_of(peer: &Peer, connection: usize) -> Cell {
    let requests = peer.requests();
    let greeting = requests
        .iter()
        .find(|request| request.connection == connection && request.text.contains("ProductMajorVersion"));
    greeting.unwrap().parameters[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lost_a_race_is_repeated_over_its_connection() {
    for lost in [1_205, 1_222, 2_601, 2_627, 3_960] {
        let tries = AtomicUsize::new(0);
        let (peer, store) = store(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
            0 => failure(lost, 14),
            _ => ids(&["a"]),
        })
        .await;
        let outcomes = store.write("mark", &[write("a", 0)]).await.unwrap();
        assert_eq!(outcomes, [WriteOutcome::Applied], "{lost}");
        assert_eq!(
            peer.requests().iter().filter(|request| is_write(request)).count(),
            2
        );
        assert_eq!(peer.connections(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_says_whether_it_passes() {
    for (code, class, passes) in [
        (1_105, 17, true),
        (9_002, 17, true),
        (3_906, 16, true),
        (40_613, 17, true),
        (208, 16, false),
        (229, 14, false),
        (8_152, 16, false),
    ] {
        let (peer, store) = store(move |_| failure(code, class)).await;
        let error = store.load("a").await.unwrap_err();
        match error {
            StoreError::Unavailable { .. } => assert!(passes, "{code}"),
            StoreError::Refused { .. } => assert!(!passes, "{code}"),
            other => panic!("{code}: {other:?}"),
        }
        assert_eq!(peer.connections(), 1, "{code}");
    }
}

/// A batch of more rows than one statement has parameters for.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_split_by_its_parameters() {
    const COLUMNS: usize = 8;
    let (peer, store) = store(|request| {
        let written = request.parameters[1..]
            .chunks(COLUMNS)
            .map(|row| vec![row[0].clone()]);
        Answer::Rows(vec![("id", Type::Text)], written.collect())
    })
    .await;
    let batch: Vec<DocumentWrite> = (0..BATCH_LIMIT)
        .map(|number| write(&format!("w-{number}"), 0))
        .collect();
    let outcomes = store.write("mark", &batch).await.unwrap();
    assert_eq!(outcomes, vec![WriteOutcome::Applied; BATCH_LIMIT]);
    let parameters: Vec<usize> = peer
        .requests()
        .iter()
        .filter(|request| is_write(request))
        .map(|request| request.parameters.len())
        .collect();
    assert_eq!(
        parameters
            .iter()
            .map(|count| (count - 1) / COLUMNS)
            .sum::<usize>(),
        BATCH_LIMIT
    );
    assert!(
        parameters.iter().all(|count| *count <= PARAMETERS),
        "{parameters:?}"
    );
    assert_eq!(parameters.len(), (BATCH_LIMIT * COLUMNS).div_ceil(PARAMETERS));
}

/// A write is lost with its session, and nobody looks at the rows before that session has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_write_is_settled_first() {
    for how in [Answer::Break, failure(596, 21)] {
        let looks = AtomicUsize::new(0);
        let (peer, store) = store(move |request| {
            if is_write(request) {
                how.clone()
            } else if request.text.contains("sp_releaseapplock") {
                // At the first look the session is still there.
                let look = looks.fetch_add(1, Ordering::Relaxed);
                number(if look == 0 { -1 } else { 0 })
            } else {
                ids(&["a"])
            }
        })
        .await;
        let lost = store.write("mark", &[write("a", 0)]).await.unwrap_err();
        assert!(matches!(lost, StoreError::OutcomeUnknown { .. }), "{lost:?}");
        let asked = ["a".to_owned()];
        let early = store.applied("mark", &asked).await.unwrap_err();
        assert!(matches!(early, StoreError::Unavailable { .. }), "{early:?}");
        assert_eq!(store.applied("mark", &asked).await.unwrap(), [true]);

        let after: Vec<Request> = peer
            .requests()
            .into_iter()
            .skip_while(|request| !is_write(request))
            .filter(|request| request.kind == Kind::Rpc && !request.text.contains("ProductMajorVersion"))
            .collect();
        let kinds: Vec<bool> = after
            .iter()
            .map(|request| request.text.contains("sp_releaseapplock"))
            .collect();
        assert_eq!(kinds, [false, true, true, false]);
        // It is about the session that carried the write, and asked over another.
        let session = lock_of(&peer, after[0].connection);
        assert_eq!(after[1].parameters[0], session);
        assert_ne!(after[1].connection, after[0].connection);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_breaks_off_is_repeated_whole() {
    let tries = AtomicUsize::new(0);
    let (peer, store) = store(move |_| {
        let versions = |rows: &[(&str, i64)]| {
            let rows = rows
                .iter()
                .map(|(id, version)| vec![text(id), Cell::Number(*version)]);
            (
                vec![("id", Type::Text), ("version", Type::BigInt)],
                rows.collect(),
            )
        };
        let (columns, rows) = versions(&[("a", 3), ("b", 4)]);
        match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::BreakWithin(columns, rows),
            _ => Answer::Rows(columns, rows),
        }
    })
    .await;
    let read = store.versions(&["a", "b", "c"].map(str::to_owned)).await.unwrap();
    assert_eq!(read, [3, 4, 0]);
    assert_eq!(peer.connections(), 2);
}

/// A silent server takes a call as long as its time limit, and its connection with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_given_up() {
    let (peer, store) = store(|_| Answer::Silence).await;
    let lost = store.write("mark", &[write("a", 0)]).await.unwrap_err();
    assert!(matches!(lost, StoreError::OutcomeUnknown { .. }), "{lost:?}");
    peer.wait_for(|seen| seen.closed == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_named() {
    let peer = Peer::start_with_login(|_| failure(18_456, 14), |_| Answer::Done).await;
    let refused = MssqlDocuments::open(&url(peer.port()), "orders", &[]).await;
    let error = refused.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(format!("{error:?}").contains("18456"), "{error:?}");
}

/// Tables that are missing are made in one transaction, under a lock; after an error in between it is not committed.
#[tokio::test(flavor = "multi_thread")]
async fn migrations_are_one_transaction() {
    for fails in [false, true] {
        let peer = Peer::start(move |request| {
            let text = &request.text;
            if text.contains("OBJECT_ID") {
                number(0)
            } else if fails && text.contains("orders_ledger") {
                failure(1_913, 16)
            } else if text.starts_with("CREATE") || text.starts_with("--") || text.contains("TRANSACTION") {
                Answer::Done
            } else {
                greeting(request).unwrap_or(Answer::Done)
            }
        })
        .await;
        let opened = MssqlDocuments::open(&url(peer.port()), "orders", &[]).await;
        assert_eq!(opened.is_err(), fails);
        drop(opened);
        let texts: Vec<String> = peer.requests().into_iter().map(|request| request.text).collect();
        let at = |what: &str| texts.iter().position(|text| text.contains(what));
        let (begin, lock, table) = (
            at("BEGIN TRANSACTION"),
            at("'Transaction'"),
            at("orders_migrations ("),
        );
        assert!(begin < lock && lock < table && begin.is_some(), "{texts:#?}");
        assert_eq!(at("COMMIT").is_some(), !fails, "{texts:#?}");
        // What was not committed ends with its connection.
        peer.wait_for(|seen| seen.closed == seen.opened).await;
    }
}
