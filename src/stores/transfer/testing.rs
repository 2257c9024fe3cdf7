//! Rows of every table for tests.

use std::path::Path;

use serde_json::json;
use souk_embedded::{Value, Writer};

#[cfg(any(feature = "mysql", feature = "postgres"))]
use super::tables;
use super::{Class, Order, Record, StoreError, Table, Transfer, lines};
use crate::config::StoreUrls;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::stores::documents::{DocumentStore, WriteOutcome, contract, row_id};
use crate::stores::open::transfer::Places;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use souk_domain::fixtures::raw_event;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use souk_domain::{EventId, NewEvent};

/// Columns that may be null, which they are in every other row.
const NULLABLE: &[&str] = &[
    "due_at",
    "owner",
    "retry_at",
    "phone",
    "default_address",
    "revoked_at",
    "stepped_up_at",
    "successor",
    "spent_at",
    "status",
    "headers",
    "network",
    "parent",
];

/// The `number`th row, from 1: its key is not in the order of the numbers, and it has what is easily mistaken.
pub fn record(table: &Table, number: u64) -> Record {
    let scattered = number * 7_919 % 10_007;
    let text = |column: &str| format!("{column} {scattered:05} it's “Zoë\\” \u{1f6d2} ?1");
    let columns = table.columns.iter().map(|(column, class)| {
        // The body of a reply goes with its status.
        let is_nullable = match (table.name, *column) {
            ("idempotency", "body") => true,
            ("revocations", "revoked_at") => false,
            (_, column) => NULLABLE.contains(&column),
        };
        if is_nullable && number.is_multiple_of(2) {
            return Value::Null;
        }
        match (*column, class) {
            ("singleton", _) => Value::Integer(1),
            ("in_stock", _) => (number % 2).into(),
            // Not in the order in which a product is written.
            ("body", Class::Text) if table.name == "products" => json!({
                "version": 1,
                "variants": [{
                    "sku": format!("SKU-{number}"),
                    "options": {},
                    "price": {"amount": number, "currency": "USD"},
                    "weight_grams": 1,
                }],
                "images": [],
                "attributes": {"colour": "red"},
                "brand": text("brand"),
                "category": text("category"),
                "description": "Of clay.",
                "title": "Jug",
                "id": text("id"),
            })
            .to_string()
            .into(),
            // Rows that belong to a user belong to one that there is.
            ("user_id", Class::Text) => text("id").into(),
            (column, Class::Text) => text(column).into(),
            (_, Class::Bytes) => vec![255, 0, (scattered % 256) as u8, (scattered / 256) as u8].into(),
            (_, Class::Integer) => number.into(),
        }
    });
    columns.collect()
}

/// Fills every table with so many rows.
pub async fn fill(transfer: &dyn Transfer, rows: u64) {
    for table in transfer.tables() {
        let rows = if table.name == "views" { 1 } else { rows };
        let records: Vec<Record> = (1..=rows).map(|number| record(table, number)).collect();
        for (part, records) in records.chunks(100).enumerate() {
            transfer.import(table, part as u64 * 100, records).await.unwrap();
        }
    }
    transfer.finish().await.unwrap();
}

/// All lines of a table.
pub async fn text(transfer: &dyn Transfer, table: &'static Table) -> String {
    let mut text = Vec::new();
    let write = |line: &[u8]| {
        text.extend_from_slice(line);
        Ok::<_, StoreError>(())
    };
    lines(transfer, table, None, write, |_| {}).await.unwrap();
    String::from_utf8(text).unwrap()
}

/// All embedded stores of a folder.
pub async fn embedded(writer: &Writer, directory: &Path) -> Vec<Box<dyn Transfer>> {
    let urls = StoreUrls::default();
    let places = Places {
        urls: &urls,
        directory,
        writer: Some(writer),
    };
    let mut all = Vec::new();
    for (name, _) in urls.all() {
        all.append(&mut places.transfers(name).await.unwrap());
    }
    all
}

/// Checks that the rows of `there` are those that [`fill`] made, in their order.
pub async fn assert_filled(there: &dyn Transfer, rows: u64) {
    for table in there.tables() {
        assert_filled_table(there, table, rows).await;
    }
}

/// As [`assert_filled`], of one table.
pub async fn assert_filled_table(there: &dyn Transfer, table: &'static Table, rows: u64) {
    let rows = if table.name == "views" { 1 } else { rows };
    let mut records: Vec<Record> = (1..=rows).map(|number| record(table, number)).collect();
    if let Order::Key(key) = table.order {
        let place = |name: &&str| {
            table
                .columns
                .iter()
                .position(|(column, _)| column == name)
                .unwrap()
        };
        let places: Vec<usize> = key.iter().map(place).collect();
        records.sort_by_key(|record| {
            let parts = places.iter().map(|place| match &record[*place] {
                Value::Integer(integer) => (*integer, Vec::new()),
                Value::Text(text) => (0, text.clone().into_bytes()),
                Value::Blob(bytes) => (0, bytes.clone()),
                other => panic!("{other:?}"),
            });
            parts.collect::<Vec<_>>()
        });
    }
    let expected: String = records
        .iter()
        .map(|record| String::from_utf8(super::line(table, record).unwrap()).unwrap() + "\n")
        .collect();
    // Not as one: a difference of megabytes helps nobody.
    let found = text(there, table).await;
    assert_eq!(found.lines().count(), expected.lines().count(), "{}", table.name);
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "{}.{}", there.store(), table.name);
    }
}

/// After rows were moved into `transfer`, which is of `documents`, the next ones are created after them: the row of an owner is
/// newer than the one that was moved, and its event has a new number.
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub async fn assert_goes_on(transfer: &dyn Transfer, documents: &dyn DocumentStore, rows: u64) {
    let (documents_table, ledger) = (&tables::ROWS[0], &tables::ROWS[1]);
    let text_of = |value: &Value| match value {
        Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    // The last row that has an owner.
    let last = record(documents_table, rows - 1 + rows % 2);
    let (id, owner) = (text_of(&last[0]), text_of(&last[5]));
    let write = |id: &str| {
        let mut write = contract::write(id, 0);
        write.document.owner = Some(owner.clone());
        write.events = vec![NewEvent {
            id: EventId {
                entity: id.to_owned(),
                version: 1,
                ordinal: 0,
            },
            event: raw_event("moved", json!({})),
        }];
        write
    };
    for id in ["new-b", "new-a"] {
        let outcomes = documents.write(id, &[write(id)]).await.unwrap();
        assert_eq!(outcomes, [WriteOutcome::Applied]);
    }
    let listed = documents.by_owner(&owner, None, 10).await.unwrap();
    let listed: Vec<&str> = listed.iter().map(row_id).collect();
    assert_eq!(listed, ["new-a", "new-b", &id]);
    let numbers: Vec<u64> = text(transfer, ledger)
        .await
        .lines()
        .skip(usize::try_from(rows).unwrap())
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["sequence"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(numbers.len(), 2);
    assert!(numbers.iter().all(|number| *number > rows), "{numbers:?}");
}
