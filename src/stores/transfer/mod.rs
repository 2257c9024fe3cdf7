//! The rows of a store in a form that every technology shares, for moving them from one to another.
//!
//! The canonical form is the tables of the embedded store: the same columns in the same order, whatever the technology, so that
//! what two of them export is equal byte for byte. What a store derives from its rows (quotas, the search index, SKUs of
//! products) is not moved: the target derives it anew.

#[cfg(feature = "elasticsearch")]
pub mod elasticsearch;
#[cfg(feature = "redis")]
pub mod redis;
pub mod sql;
pub mod tables;
#[cfg(test)]
pub(in crate::stores) mod testing;

use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use souk_domain::Timestamp;
use souk_embedded::Value;
use souk_retry::{RetryPolicy, retry};

use super::StoreError;
use std::time::Duration;

/// Most rows of a page.
pub const PAGE_ROWS: usize = 500;

/// Most bytes of texts and blobs in a page; a single row may have more.
pub const PAGE_BYTES: usize = 2 * 1024 * 1024;

/// A server may be restarted while its rows are moved.
const ATTEMPTS: RetryPolicy = RetryPolicy {
    attempts: 8,
    first_pause: Duration::from_millis(100),
    longest_pause: Duration::from_secs(5),
};

/// What the values of a column are, where they are not null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 64 bits, signed.
    Integer,
    /// UTF-8.
    Text,
    /// Bytes.
    Bytes,
}

/// The order in which the rows of a table are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By these columns, which are the key; texts and bytes bytewise.
    Key(&'static [&'static str]),
    /// The order in which the rows were created, which the target keeps; the first column is the key.
    Creation,
}

/// A table in the canonical form.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name within the store.
    pub name: &'static str,
    /// Its columns in order.
    pub columns: &'static [(&'static str, Class)],
    /// The order of its rows.
    pub order: Order,
    /// Whether a store of rows has it, one table of many of this name.
    pub is_of_rows: bool,
    /// The column that the database numbers by itself, never the same number twice.
    pub numbered: Option<&'static str>,
    /// The column with the time from which on a row counts as gone, where a technology may remove it by itself then.
    pub expires: Option<&'static str>,
}

/// The values of a row, in the order of the table's columns.
pub type Record = Vec<Value>;

/// What stands behind the last row of a page, as the adapter that exported it understands it.
pub type Position = Vec<Value>;

/// Some rows of a table, in its order.
#[derive(Debug, Default)]
pub struct Page {
    /// The rows; none after the last one.
    pub records: Vec<Record>,
    /// Where the next page begins.
    pub next: Position,
}

/// A store whose rows can be moved, while no node uses it.
#[async_trait]
pub trait Transfer: Send + Sync {
    /// The store's name: of `[stores]`, or `idempotency`, which is part of `stores.sessions`.
    fn store(&self) -> &'static str;

    /// Its tables, in an order in which they can be filled.
    fn tables(&self) -> &'static [Table];

    /// Whether the server removes rows by itself some time after they have expired.
    fn removes_expired(&self) -> bool {
        false
    }

    /// How many rows a table has.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn count(&self, table: &'static Table) -> Result<u64, StoreError>;

    /// The rows after a position, [`PAGE_ROWS`] and [`PAGE_BYTES`] at most; none is the end.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn export(&self, table: &'static Table, after: Option<&Position>) -> Result<Page, StoreError>;

    /// Adds the rows of a page, of which those that are there already are left as they are: a page may be imported twice.
    /// `before` is the number of rows in the pages before it.
    ///
    /// # Errors
    /// [`StoreError`]. Past [`StoreError::OutcomeUnknown`] it may be repeated.
    async fn import(&self, table: &'static Table, before: u64, records: &[Record]) -> Result<(), StoreError>;

    /// Makes sure that no number is given to a new row that an imported one has. May be repeated.
    ///
    /// # Errors
    /// [`StoreError`]
    async fn finish(&self) -> Result<(), StoreError>;
}

/// A row as one line of an export, without the line's end: a JSON object with the table's columns in order; bytes are hexadecimal.
pub fn line(table: &Table, record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Line(table, record))
}

struct Line<'a>(&'a Table, &'a Record);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(table, record) = self;
        let mut map = serializer.serialize_map(Some(table.columns.len()))?;
        for ((name, _), value) in table.columns.iter().zip(*record) {
            match value {
                Value::Null => map.serialize_entry(name, &())?,
                Value::Integer(integer) => map.serialize_entry(name, integer)?,
                Value::Real(real) => map.serialize_entry(name, real)?,
                Value::Text(text) => map.serialize_entry(name, text)?,
                Value::Blob(bytes) => map.serialize_entry(name, &hex::encode(bytes))?,
            }
        }
        map.end()
    }
}

/// Bytes of a row's texts and blobs.
pub fn size(record: &Record) -> usize {
    let sizes = record.iter().map(|value| match value {
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
        Value::Null | Value::Integer(_) | Value::Real(_) => 0,
    });
    sizes.sum()
}

/// A page of `transfer`, which is asked again after failures that pass.
///
/// # Errors
/// That of the last attempt.
pub async fn page(
    transfer: &dyn Transfer,
    table: &'static Table,
    after: Option<&Position>,
) -> Result<Page, StoreError> {
    let export = || transfer.export(table, after);
    retry("export of rows", ATTEMPTS, StoreError::is_transient, export).await
}

/// Imports a page into `transfer`, again after failures that pass.
///
/// # Errors
/// That of the last attempt.
pub async fn import(
    transfer: &dyn Transfer,
    table: &'static Table,
    before: u64,
    records: &[Record],
) -> Result<(), StoreError> {
    let import = || transfer.import(table, before, records);
    retry("import of rows", ATTEMPTS, StoreError::is_transient, import).await
}

/// How many lines a table has, and their SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Rows.
    pub rows: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// Gives every line of a table, with its end, to `write`; without rows that have expired by `now` where that is given. `seen` is called with
/// the rows of each page.
///
/// # Errors
/// [`StoreError`], those of `write`
pub async fn lines<E: From<StoreError>>(
    transfer: &dyn Transfer,
    table: &'static Table,
    now: Option<Timestamp>,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
    mut seen: impl FnMut(u64),
) -> Result<Digest, E> {
    let (mut context, mut rows) = (Context::new(&SHA256), 0);
    let mut after = None;
    loop {
        let page = page(transfer, table, after.as_ref()).await?;
        if page.records.is_empty() {
            let sha256 = hex::encode(context.finish());
            return Ok(Digest { rows, sha256 });
        }
        for record in page.records.iter().filter(|record| lives(table, record, now)) {
            let mut line = line(table, record).map_err(|error| StoreError::Refused {
                store: transfer.store(),
                cause: error.into(),
            })?;
            line.push(b'\n');
            context.update(&line);
            write(&line)?;
            rows += 1;
        }
        seen(page.records.len() as u64);
        after = Some(page.next);
    }
}

/// Whether a row counts at a time.
fn lives(table: &Table, record: &Record, now: Option<Timestamp>) -> bool {
    let (Some(now), Some(expires)) = (now, table.expires) else {
        return true;
    };
    let place = table.columns.iter().position(|(name, _)| *name == expires);
    let at = place.and_then(|place| record.get(place));
    !matches!(at, Some(Value::Integer(at)) if *at <= now.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_lives_until_it_expires() {
        let token = |expires_at: i64| {
            let hash = Value::Blob(vec![1]);
            vec![hash, "ses_1".into(), expires_at.into(), Value::Null, Value::Null]
        };
        let now = Some(Timestamp::from_millis(1_000));
        assert!(lives(&tables::TOKENS, &token(1_001), now));
        assert!(!lives(&tables::TOKENS, &token(1_000), now));
        assert!(lives(&tables::TOKENS, &token(1_000), None));
        assert!(lives(
            &tables::VIEWS[0],
            &vec![1_i64.into(), 1_i64.into(), "{}".into()],
            now
        ));
    }

    #[test]
    fn a_line_has_the_columns_in_order() {
        let table = &tables::TOKENS;
        let record = vec![
            Value::Blob(vec![0, 255]),
            "ses_\"1\"\n".into(),
            Value::Integer(i64::MAX),
            Value::Null,
            Value::Integer(-1),
        ];
        assert_eq!(
            String::from_utf8(line(table, &record).unwrap()).unwrap(),
            r#"{"hash":"00ff","session_id":"ses_\"1\"\n","expires_at":9223372036854775807,"successor":null,"spent_at":-1}"#
        );
    }
}
