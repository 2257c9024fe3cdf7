//! The contract, and values at rest.

use std::sync::Arc;

use tempfile::TempDir;

use super::super::statements::{
    ADD_ADDRESS, ADDRESSES, ADDRESSES_AT_REST, BY_EMAIL, BY_ID, ERASE, MAKE_DEFAULT, MAKE_FIRST_DEFAULT,
    PASS_DEFAULT_ON, PHONES_AT_REST, PURCHASES, PURCHASES_BEFORE, RESEAL_ADDRESS, RESEAL_PHONE, UPDATE,
    WHOSE,
};
use super::*;
use crate::config::KEY_BYTES;
use crate::sealing::{Key, Keyring};
use crate::stores::StoreError;
use crate::stores::sql::SqlDatabase;
use crate::stores::sqlite::in_process_writer;
use crate::stores::users::at_rest::{AddressesAtRest, PhonesAtRest};
use crate::stores::users::{AddressChange, Change, UserStore, contract};
use souk_embedded::{Statement, Writer};

fn keyring(ids: &[&str]) -> Arc<Keyring> {
    let mut keys = ids
        .iter()
        .map(|id| Key::new(*id, &[id.as_bytes()[1]; KEY_BYTES]).unwrap());
    let first = keys.next().unwrap();
    Arc::new(Keyring::new(first, keys.collect()))
}

fn writer(directory: &TempDir) -> Writer {
    in_process_writer(directory.path()).unwrap()
}

async fn database(writer: &Writer, directory: &TempDir) -> Database {
    Database::open(writer, directory.path(), "users").await.unwrap()
}

async fn open(writer: &Writer, directory: &TempDir, keys: &[&str]) -> SqliteUsers {
    SqliteUsers::new(database(writer, directory).await, &keyring(keys))
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let directory = TempDir::new().unwrap();
    let store = open(&writer(&directory), &directory, &["k1"]).await;
    contract::suite(Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_values_are_sealed() {
    let directory = TempDir::new().unwrap();
    let writer = writer(&directory);
    let stores = contract::at_rest::Stores {
        before: Arc::new(open(&writer, &directory, &["k1"]).await),
        between: Arc::new(open(&writer, &directory, &["k2", "k1"]).await),
        after: Arc::new(open(&writer, &directory, &["k2"]).await),
        keyring: keyring(&["k2", "k1"]),
        phones: Arc::new(PhonesAtRest(database(&writer, &directory).await)),
        addresses: Arc::new(AddressesAtRest(database(&writer, &directory).await)),
    };
    contract::at_rest::suite(stores).await;
}

/// Values that were written before there was a key, as the rows of earlier versions hold them.
#[tokio::test]
async fn open_values_are_read_and_sealed_on_write() {
    let directory = TempDir::new().unwrap();
    let writer = writer(&directory);
    let store = open(&writer, &directory, &["k1"]).await;
    let (mut record, address) = contract::at_rest::sample(&store, "early").await;
    let id = record.account.id.clone();
    let lay_open = [
        Statement::new("UPDATE users SET phone = ?2 WHERE id = ?1")
            .bind(id.as_str())
            .bind(record.account.phone.as_deref()),
        Statement::new("UPDATE addresses SET body = ?2 WHERE user_id = ?1")
            .bind(id.as_str())
            .bind(serde_json::to_string(&address.address).unwrap()),
    ];
    store.database.transact(lay_open.into()).await.unwrap();
    assert_eq!(store.by_id(&id).await.unwrap().as_ref(), Some(&record));
    assert_eq!(
        store.addresses(&id).await.unwrap(),
        std::slice::from_ref(&address)
    );

    record.account.version = 2;
    assert_eq!(
        store.update(&record.account, None, 1).await.unwrap(),
        Change::Applied
    );
    let mut next = address.clone();
    next.version = 2;
    assert_eq!(
        store.put_address(&id, &next, Some(1), 9).await.unwrap(),
        AddressChange::Applied
    );
    assert_eq!(store.by_id(&id).await.unwrap(), Some(record));
    assert_eq!(store.addresses(&id).await.unwrap(), [next]);
    for sql in ["SELECT phone FROM users", "SELECT body FROM addresses"] {
        let rows = store.database.read(Statement::new(sql)).await.unwrap();
        let sealed = format!("{rows:?}");
        assert!(sealed.contains("sealed:v1:k1:"), "{sealed}");
    }
}

/// Neither a lost key nor a row that somebody has changed can be read as something else, and each names the row alone.
#[tokio::test]
async fn what_does_not_open_is_an_error_of_its_row() {
    let directory = TempDir::new().unwrap();
    let writer = writer(&directory);
    let store = open(&writer, &directory, &["k1"]).await;
    let (ada, _) = contract::at_rest::sample(&store, "ada").await;
    let (bob, _) = contract::at_rest::sample(&store, "bob").await;
    let failed = |error: StoreError| match error {
        StoreError::Sealing {
            store: "users", row, ..
        } => row,
        other => panic!("{other:?}"),
    };
    let stranger = open(&writer, &directory, &["k9"]).await;
    assert_eq!(
        failed(stranger.by_id(&ada.account.id).await.unwrap_err()),
        "usr_ada"
    );
    assert_eq!(
        failed(stranger.addresses(&ada.account.id).await.unwrap_err()),
        "usr_ada adr_home"
    );
    // What belongs to one account does not open as another's.
    let moves = [
        "UPDATE users SET phone = (SELECT phone FROM users WHERE id = 'usr_ada') WHERE id = 'usr_bob'",
        "UPDATE addresses SET body = (SELECT body FROM addresses WHERE user_id = 'usr_ada') WHERE user_id = 'usr_bob'",
    ];
    store
        .database
        .transact(moves.map(Statement::new).into())
        .await
        .unwrap();
    assert_eq!(failed(store.by_id(&bob.account.id).await.unwrap_err()), "usr_bob");
    assert_eq!(
        failed(store.addresses(&bob.account.id).await.unwrap_err()),
        "usr_bob adr_home"
    );
    assert!(store.by_id(&ada.account.id).await.unwrap().is_some());
}

/// No query may walk all accounts.
#[tokio::test]
async fn every_query_goes_by_an_index() {
    let directory = TempDir::new().unwrap();
    let store = open(&writer(&directory), &directory, &["k1"]).await;
    for sql in [
        WHOSE,
        BY_ID,
        BY_EMAIL,
        UPDATE,
        ERASE,
        ADDRESSES,
        ADD_ADDRESS,
        MAKE_DEFAULT,
        MAKE_FIRST_DEFAULT,
        PASS_DEFAULT_ON,
        PURCHASES,
        PURCHASES_BEFORE,
        PHONES_AT_REST,
        RESEAL_PHONE,
        ADDRESSES_AT_REST,
        RESEAL_ADDRESS,
    ] {
        let explain = Statement::new(format!("EXPLAIN QUERY PLAN {sql}"));
        let plan = format!("{:?}", store.database.read(explain).await.unwrap());
        for table in ["users", "addresses", "purchases", "a", "u"] {
            assert!(!plan.contains(&format!("SCAN {table}\"")), "{sql}: {plan}");
        }
        assert!(
            !plan.contains("TEMP B-TREE") || matches!(sql, ADDRESSES | PASS_DEFAULT_ON),
            "{sql}: {plan}"
        );
    }
}
