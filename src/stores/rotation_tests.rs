//! Rotations over stores in memory: pages, rows that are written in between, rows that can't be read.

use std::sync::Mutex;

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::config::KEY_BYTES;
use crate::sealing::Key;
use crate::stores::documents::faulty::FaultyDocuments;
use crate::stores::documents::sealed::SealedDocuments;
use crate::stores::documents::{Document, DocumentStore, DocumentWrite, WriteOutcome};

fn ring(ids: &[&str]) -> Arc<Keyring> {
    let mut keys = ids
        .iter()
        .map(|id| Key::new(*id, &[id.as_bytes()[1]; KEY_BYTES]).unwrap());
    let first = keys.next().unwrap();
    Arc::new(Keyring::new(first, keys.collect()))
}

fn body(number: u64) -> String {
    json!({ "instruction": { "token": format!("tok_{number}") }, "reference": format!("ref_{number}") })
        .to_string()
}

async fn put(store: &dyn DocumentStore, number: u64, version: u64) {
    let write = DocumentWrite {
        document: Document {
            id: format!("pay_{number:04}"),
            shard: 1,
            version,
            fence: 0,
            due_at: None,
            owner: None,
            body: body(number),
        },
        expected: version - 1,
        events: Vec::new(),
    };
    assert_eq!(
        store.write("mark", &[write]).await.unwrap(),
        [WriteOutcome::Applied]
    );
}

/// A store of payments with rows that lie open, and rows under `k1`.
async fn filled(rows: u64) -> Arc<FaultyDocuments> {
    let store = FaultyDocuments::new("payments").await;
    let sealed = SealedDocuments::before(Arc::clone(&store) as Arc<dyn DocumentStore>, &ring(&["k1"]));
    for number in 0..rows {
        if number % 10 == 0 {
            put(&*store, number, 1).await;
        } else {
            put(&*sealed, number, 1).await;
        }
    }
    store
}

#[tokio::test]
async fn rotation_moves_everything_to_the_first_key() {
    let rows = PAGE as u64 * 2 + 30;
    let store = filled(rows).await;
    let stores: [Arc<dyn RowsAtRest>; 1] = [Arc::clone(&store) as Arc<dyn RowsAtRest>];
    let (old, new) = (ring(&["k1"]), ring(&["k2", "k1"]));

    let before = status(&stores, &old).await.unwrap().remove(0);
    assert_eq!(
        (before.rows, before.unsealed, before.left),
        (rows, rows / 10, rows / 10)
    );
    assert_eq!(
        before.under,
        BTreeMap::from([("k1".to_owned(), rows - rows / 10)])
    );

    let mut seen = 0;
    let rotated = rotate(&stores, &new, |progress| seen = progress.seen)
        .await
        .unwrap()
        .remove(0);
    assert_eq!((seen, rotated.resealed, rotated.status.left), (rows, rows, 0));
    assert_eq!(rotated.status.under, BTreeMap::from([("k2".to_owned(), rows)]));
    assert!(rotated.reasons.is_empty());

    // Under the new key alone all of it opens, at the version that it had.
    let sealed = SealedDocuments::before(Arc::clone(&store) as Arc<dyn DocumentStore>, &ring(&["k2"]));
    for (number, document) in sealed.scan(None, 1_000).await.unwrap().into_iter().enumerate() {
        let document = document.unwrap();
        let expected: serde_json::Value = serde_json::from_str(&body(number as u64)).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&document.body).unwrap(),
            expected
        );
        assert_eq!(document.version, 1);
    }
    // A second time there is nothing to do.
    assert_eq!(rotate(&stores, &new, |_| ()).await.unwrap()[0].resealed, 0);
}

/// A store in which rows are written under the old key while the rotation has read them and not yet replaced them.
struct Raced {
    store: Arc<FaultyDocuments>,
    writer: Arc<dyn DocumentStore>,
    races: Mutex<Vec<u64>>,
}

#[async_trait]
impl RowsAtRest for Raced {
    fn store(&self) -> &'static str {
        "payments"
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        self.store.rows_at_rest(after, limit).await
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        let racing = std::mem::take(&mut *self.races.lock().unwrap());
        for number in racing {
            put(&*self.writer, number, 2).await;
        }
        self.store.reseal(rows).await
    }
}

#[tokio::test]
async fn a_row_changed_meanwhile_is_read_again() {
    let store = filled(40).await;
    let writer = SealedDocuments::before(Arc::clone(&store) as Arc<dyn DocumentStore>, &ring(&["k1", "k2"]));
    let raced = Raced {
        store: Arc::clone(&store),
        writer,
        races: Mutex::new(vec![3, 20, 39]),
    };
    let stores: [Arc<dyn RowsAtRest>; 1] = [Arc::new(raced)];
    let rotated = rotate(&stores, &ring(&["k2", "k1"]), |_| ())
        .await
        .unwrap()
        .remove(0);
    assert_eq!((rotated.resealed, rotated.status.left), (40, 0));
    assert_eq!(store.version("pay_0020").await.unwrap(), 2);
}

#[tokio::test]
async fn rows_that_can_not_be_read_are_left_and_told() {
    let store = filled(20).await;
    let foreign = SealedDocuments::before(Arc::clone(&store) as Arc<dyn DocumentStore>, &ring(&["k9"]));
    put(&*foreign, 30, 1).await;
    let stores: [Arc<dyn RowsAtRest>; 1] = [Arc::clone(&store) as Arc<dyn RowsAtRest>];
    let rotated = rotate(&stores, &ring(&["k2", "k1"]), |_| ())
        .await
        .unwrap()
        .remove(0);
    assert_eq!((rotated.resealed, rotated.status.left), (20, 1));
    assert_eq!(rotated.status.under["k9"], 1);
    assert_eq!(rotated.reasons.len(), 1);
    assert!(rotated.reasons[0].starts_with("pay_0030: ") && rotated.reasons[0].contains("\"k9\""));
}

#[test]
fn large_rows_take_several_transactions() {
    let change = |number: usize, bytes: usize| Resealed {
        row: RowAtRest {
            id: number.to_string(),
            content: vec![0; bytes],
        },
        content: vec![1; bytes],
    };
    let sizes = [10, EXCHANGED / 2 - 10, 20, EXCHANGED, 30, 40];
    let changes: Vec<Resealed> = sizes
        .into_iter()
        .enumerate()
        .map(|(number, bytes)| change(number, bytes))
        .collect();
    let ids: Vec<Vec<&str>> = parts(&changes)
        .into_iter()
        .map(|part| part.iter().map(|change| change.row.id.as_str()).collect())
        .collect();
    assert_eq!(ids, [vec!["0", "1"], vec!["2"], vec!["3"], vec!["4", "5"]]);
    assert!(parts(&[]).is_empty());
}
