//! The contract where there is a SQL Server; what a small engine can do of it where there is none.

use std::sync::Arc;

use super::*;
use crate::stores::documents::contract::{self, CONSUMERS, document, write};
use crate::stores::documents::outbox::Outbox;
use crate::stores::mssql::testing::SmallEngine;
use crate::stores::testing::server_url;

async fn open(url: &str, name: &'static str) -> MssqlDocuments {
    let consumers = if name == "orders" { CONSUMERS } else { &[] };
    MssqlDocuments::open(url, name, consumers).await.unwrap()
}

/// In the database of `SOUK_TEST_MSSQL_URL`, which must be empty.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let Some(url) = server_url("MSSQL") else {
        return;
    };
    // Two stores in one database.
    for name in ["carts", "orders"] {
        contract::rows(Arc::new(open(&url, name).await)).await;
    }
    let carts = open(&url, "carts").await;
    contract::reseals(&carts).await;
    let orders = open(&url, "orders").await;
    contract::events(&orders, &orders).await;
}

/// Its texts compare without case, and it has neither locks nor snapshots worth the name: what is left are the statements themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_engine_runs_the_statements() {
    let Some(engine) = SmallEngine::start().await else {
        return;
    };
    let carts = open(&engine.url(), "carts").await;
    contract::statements_of_rows(&carts).await;
    contract::reseals(&carts).await;
    let orders = open(&engine.url(), "orders").await;
    contract::statements_of_rows(&orders).await;
    contract::statements_of_events(&orders, &orders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let Some(mut engine) = SmallEngine::start().await else {
        return;
    };
    let store = open(&engine.url(), "orders").await;
    let first = store.write("first", &[write("kept", 0)]).await.unwrap();
    assert_eq!(first, [WriteOutcome::Applied]);
    engine.crash().await;
    // Over a new connection, and without a restart.
    let again = crate::stores::testing::until("reading", async || store.load("kept").await.ok()).await;
    assert_eq!(again, Some(document("kept", 1)));
    assert!(store.ledger("kept", 0, 10).await.unwrap().is_empty());
}

#[test]
fn keys_that_compare_otherwise_are_refused() {
    assert!(is_key("ord_1") && is_key(" a") && is_key(&"k".repeat(KEY_LIMIT)));
    assert!(!is_key("a ") && !is_key(&"k".repeat(KEY_LIMIT + 1)));
    assert_eq!(keys(&["a".to_owned(), "a ".to_owned()]), [["a"]]);
}
