//! Rows of documents and events, as SQL databases return them.

use std::collections::{HashMap, HashSet};

use super::outbox::{DeadLetter, Delivery, LedgerEvent, OutboxDepth};
use super::{Document, Row, Unreadable};
use crate::stores::StoreError;
use crate::stores::at_rest::RowAtRest;
use crate::stores::sql::{Columns, SqlDatabase};
use souk_domain::{EncodedEvent, EventId, Timestamp};
use souk_embedded::Rows;

/// The columns id, shard, version, fence, due_at, owner, body.
pub(super) fn documents(database: &impl SqlDatabase, rows: Rows) -> Result<Vec<Row>, StoreError> {
    database.decode(rows, document)
}

fn document(columns: &mut Columns) -> Result<Row, StoreError> {
    let id = columns.text("id")?;
    let mut rest = || {
        Ok(Document {
            id: id.clone(),
            shard: columns.integer("shard")?,
            version: columns.integer("version")?,
            fence: columns.integer("fence")?,
            due_at: columns.optional_integer("due_at")?.map(Timestamp::from_millis),
            owner: columns.optional_text("owner")?,
            body: columns.text("body")?,
        })
    };
    Ok(rest().map_err(|error| Unreadable {
        id: id.clone(),
        due_at: None,
        error,
    }))
}

/// The columns sequence, entity, version, ordinal, shard, at, name, detail.
pub(super) fn event(database: &impl SqlDatabase, row: &mut Columns) -> Result<LedgerEvent, StoreError> {
    Ok(LedgerEvent {
        sequence: row.integer("sequence")?,
        id: EventId {
            entity: row.text("entity")?,
            version: row.integer("version")?,
            ordinal: row.integer("ordinal")?,
        },
        shard: row.integer("shard")?,
        at: Timestamp::from_millis(row.integer("at")?),
        event: EncodedEvent {
            name: row.text("name")?,
            detail: serde_json::from_str(&row.text("detail")?)
                .map_err(|error| database.corrupt(format!("the detail of an event: {error}")))?,
        },
    })
}

/// Those of an event, then attempts.
pub(super) fn delivery(database: &impl SqlDatabase, row: &mut Columns) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        event: event(database, row)?,
        attempts: row.integer("attempts")?,
    })
}

/// As [`delivery`], then consumer and reason.
pub(super) fn dead_letter(database: &impl SqlDatabase, row: &mut Columns) -> Result<DeadLetter, StoreError> {
    Ok(DeadLetter {
        delivery: delivery(database, row)?,
        consumer: row.text("consumer")?,
        reason: row.text("reason")?,
    })
}

/// The columns consumer, pending, dead, oldest.
pub(super) fn depth(row: &mut Columns) -> Result<OutboxDepth, StoreError> {
    Ok(OutboxDepth {
        consumer: row.text("consumer")?,
        pending: row.integer("pending")?,
        dead: row.integer("dead")?,
        oldest: row.optional_integer("oldest")?.map(Timestamp::from_millis),
    })
}

/// The columns id, version: the versions in the order of `ids`, 0 where there is none.
pub(super) fn versions(
    database: &impl SqlDatabase,
    rows: Rows,
    ids: &[String],
) -> Result<Vec<u64>, StoreError> {
    let decode = |row: &mut Columns| Ok((row.text("id")?, row.integer("version")?));
    let found: HashMap<String, u64> = database.decode(rows, decode)?.into_iter().collect();
    Ok(ids.iter().map(|id| found.get(id).copied().unwrap_or(0)).collect())
}

/// The column id.
pub(super) fn ids(database: &impl SqlDatabase, rows: Rows) -> Result<HashSet<String>, StoreError> {
    let ids = database.decode(rows, |row| row.text("id"))?;
    Ok(ids.into_iter().collect())
}

/// The columns id, body.
pub(super) fn at_rest(database: &impl SqlDatabase, rows: Rows) -> Result<Vec<RowAtRest>, StoreError> {
    database.decode(rows, |row| {
        Ok(RowAtRest {
            id: row.text("id")?,
            content: row.text("body")?.into_bytes(),
        })
    })
}

/// A limit of rows as a parameter: limits are far below what its type holds.
#[cfg(any(feature = "mssql", feature = "postgres"))]
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// A number as a parameter: none that a store has is above.
#[cfg(any(feature = "mongodb", feature = "mssql", feature = "postgres"))]
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A body of a row at rest. The column is text, and text never equals bytes.
pub(super) fn text<'a>(database: &impl SqlDatabase, bytes: &'a [u8]) -> Result<&'a str, StoreError> {
    std::str::from_utf8(bytes).map_err(|error| database.refused(error))
}
