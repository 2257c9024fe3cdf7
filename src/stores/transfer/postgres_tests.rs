//! Rows that are moved into PostgreSQL and out of it.

use super::*;
use crate::stores::documents::contract::CONSUMERS;
use crate::stores::documents::postgres::{self, PostgresDocuments};
use crate::stores::postgres::testing::TestDatabase;
use crate::stores::revocations::RevocationStore as _;
use crate::stores::revocations::adapter::SqlRevocations;
use crate::stores::transfer::tables;
use crate::stores::transfer::testing::{assert_filled, assert_goes_on, fill, record, text};
use crate::stores::{users, views};
use souk_domain::{SessionId, Timestamp};

/// Rows of each table: the second page is not full.
const FILLED: u64 = PAGE_ROWS as u64 + 3;

#[tokio::test(flavor = "multi_thread")]
async fn documents_come_back_in_their_order() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let open = async || database.open("orders", postgres::MIGRATIONS).await;
    let transfer = SqlTransfer::new(open().await, &tables::ROWS, Dialect::Postgres);
    // A page may be imported twice.
    for _ in 0..2 {
        fill(&transfer, FILLED).await;
    }
    assert_filled(&transfer, FILLED).await;
    let documents = PostgresDocuments::open(database.url(), "orders", CONSUMERS)
        .await
        .unwrap();
    let later = SqlTransfer::new(open().await, &tables::ROWS, Dialect::Postgres);
    assert_goes_on(&later, &documents, FILLED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_views_come_back() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let pool = database.open("users", users::postgres::MIGRATIONS).await;
    let transfer = SqlTransfer::new(pool.clone(), &tables::USERS, Dialect::Postgres);
    for _ in 0..2 {
        fill(&transfer, FILLED).await;
    }
    assert_filled(&transfer, FILLED).await;
    let revocations = SqlRevocations(pool);
    let session = SessionId::from_suffix("moved");
    revocations
        .add(std::slice::from_ref(&session), Timestamp::from_millis(1))
        .await
        .unwrap();
    let added = revocations.since(FILLED as i64, 10).await.unwrap();
    assert_eq!(added.sessions, [session]);
    let pool = database.open("views", views::postgres::MIGRATIONS).await;
    let transfer = SqlTransfer::new(pool, &tables::VIEWS, Dialect::Postgres);
    for _ in 0..2 {
        fill(&transfer, FILLED).await;
    }
    assert_filled(&transfer, FILLED).await;
}

/// Rows of half a page's bytes each.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_bounded_in_bytes() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let pool = database.open("carts", postgres::MIGRATIONS).await;
    let transfer = SqlTransfer::new(pool, &tables::ROWS, Dialect::Postgres);
    let documents = &tables::ROWS[0];
    for number in 0..5 {
        let mut large = record(documents, number + 1);
        large[7] = "x".repeat(PAGE_BYTES / 2 - 1_000).into();
        transfer.import(documents, number, &[large]).await.unwrap();
    }
    let mut sizes = Vec::new();
    let mut after = None;
    loop {
        let page = transfer.export(documents, after.as_ref()).await.unwrap();
        if page.records.is_empty() {
            break;
        }
        sizes.push(page.records.len());
        after = Some(page.next);
    }
    assert_eq!(sizes, [2, 2, 1]);
    assert_eq!(text(&transfer, documents).await.lines().count(), 5);
}
