//! Rows that are moved into MariaDB or MySQL and out of it.

use super::*;
use crate::stores::documents::contract::CONSUMERS;
use crate::stores::documents::mysql::{self, MysqlDocuments};
use crate::stores::mysql::testing::TestDatabase;
use crate::stores::transfer::tables;
use crate::stores::transfer::testing::{assert_filled, assert_goes_on, fill, record};
use crate::stores::views;

/// Rows of each table: the second page is not full.
const FILLED: u64 = PAGE_ROWS as u64 + 3;

#[tokio::test(flavor = "multi_thread")]
async fn documents_come_back_in_their_order() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let open = async || database.open("inventory", mysql::MIGRATIONS).await;
    let transfer = SqlTransfer::new(open().await, &tables::ROWS, Dialect::Mysql);
    // A page may be imported twice.
    for _ in 0..2 {
        fill(&transfer, FILLED).await;
    }
    assert_filled(&transfer, FILLED).await;
    let documents = MysqlDocuments::open(database.url(), "inventory", CONSUMERS)
        .await
        .unwrap();
    let later = SqlTransfer::new(open().await, &tables::ROWS, Dialect::Mysql);
    assert_goes_on(&later, &documents, FILLED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_come_back() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let pool = database.open("views", views::mysql::MIGRATIONS).await;
    let transfer = SqlTransfer::new(pool, &tables::VIEWS, Dialect::Mysql);
    for _ in 0..2 {
        fill(&transfer, FILLED).await;
    }
    assert_filled(&transfer, FILLED).await;
}

/// Two rows that fill a page, as hexadecimal digits in one statement.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_fits_into_a_statement() {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let pool = database.open("payments", mysql::MIGRATIONS).await;
    let transfer = SqlTransfer::new(pool, &tables::ROWS, Dialect::Mysql);
    let documents = &tables::ROWS[0];
    let large = |number, bytes| {
        let mut large = record(documents, number);
        large[7] = "x".repeat(bytes).into();
        large
    };
    let rows = [large(1, PAGE_BYTES - 10_000), large(2, 5_000)];
    transfer.import(documents, 0, &rows).await.unwrap();
    // The largest row that there may be.
    let row = large(3, 7 * 1024 * 1024 - 10_000);
    transfer
        .import(documents, 2, std::slice::from_ref(&row))
        .await
        .unwrap();
    let first = transfer.export(documents, None).await.unwrap();
    assert_eq!(first.records, rows);
    let second = transfer.export(documents, Some(&first.next)).await.unwrap();
    assert_eq!(second.records, [row]);
}
