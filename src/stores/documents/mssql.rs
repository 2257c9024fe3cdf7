//! Documents in SQL Server: a batch is one round trip, under the locks of its rows.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use async_trait::async_trait;

use super::batch::{self, TRANSACTION_BYTES, WriteParts};
use super::mssql_sql::{
    APPLIED, AT_REST, BY_OWNER, BY_OWNER_BEFORE, DUE, LOAD_MANY, RESEAL, SCAN, VERSIONS, WRITE,
    WRITE_WITH_EVENTS,
};
use super::rows::{self, number, text};
use super::{DocumentStore, DocumentWrite, Row, WriteOutcome};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::mssql::MssqlPool;
use crate::stores::mssql::values::{PARAMETERS, Query, tuples};
use crate::stores::sql::SqlDatabase;
use souk_domain::Timestamp;
use souk_embedded::Rows;

/// The tables: every migration, oldest first.
pub const MIGRATIONS: &[&str] = &[include_str!("migrations/mssql/0001_rows.sql")];

/// Batches of one writer at a time: one waits for the disk while the next is under way.
const BATCHES_IN_FLIGHT: usize = 4;
/// Most bytes of an id or an owner: with all that an index adds to it, 1,700.
const KEY_LIMIT: usize = 800;
/// Parameters of a row, but for its place.
const COLUMNS: usize = 8;
/// Parameters of an event, but for its place and number.
const EVENT_COLUMNS: usize = 5;
/// Rows that are looked up, and resealed, by one statement.
const KEYS: usize = 500;

/// One of the document stores in SQL Server.
pub struct MssqlDocuments {
    pub(super) pool: MssqlPool,
    pub(super) consumers: &'static [&'static str],
}

/// Whether a row can have this key: comparisons ignore blanks at the end.
fn is_key(text: &str) -> bool {
    text.len() <= KEY_LIMIT && !text.ends_with(' ')
}

/// Those of `ids` that a row can have, so many at a time.
fn keys(ids: &[String]) -> Vec<Vec<&str>> {
    let keys: Vec<&str> = ids.iter().map(String::as_str).filter(|id| is_key(id)).collect();
    keys.chunks(KEYS).map(<[&str]>::to_vec).collect()
}

/// A list of numbers, which can't be empty.
pub(super) fn list(shards: &[u16]) -> String {
    if shards.is_empty() {
        return "NULL".to_owned();
    }
    shards.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

impl MssqlDocuments {
    /// Opens the store `name` in the database of `url`; its events go to these consumers. Without consumers it keeps no
    /// events.
    ///
    /// # Errors
    /// As of [`MssqlPool::open`].
    pub async fn open(
        url: &str,
        name: &'static str,
        consumers: &'static [&'static str],
    ) -> Result<Self, StoreError> {
        Ok(Self {
            pool: MssqlPool::open(name, url, MIGRATIONS).await?,
            consumers,
        })
    }

    /// The consumers as literals: the names are the program's own.
    pub(super) fn consumer_literals(&self) -> impl Iterator<Item = String> {
        self.consumers.iter().map(|consumer| format!("'{consumer}'"))
    }

    /// Reads by ids, so many at a time; `first` comes before them.
    async fn by_ids(&self, sql: &str, first: Option<&str>, ids: &[String]) -> Result<Rows, StoreError> {
        let before = usize::from(first.is_some());
        let mut all = Rows::new();
        for ids in keys(ids) {
            let sql = self.pool.sql(sql).replace("{ids}", &tuples(before, ids.len(), 1));
            let rows = self.pool.fetch(|| {
                let query = Query::new(sql.as_str()).bind_all(first);
                query.bind_all(ids.iter().copied())
            });
            all.append(&mut rows.await?);
        }
        Ok(all)
    }
}

/// The rows of a batch as the statement has them, with their events.
struct Batch<'a> {
    sql: String,
    part: &'a [&'a DocumentWrite],
    details: Vec<String>,
}

impl<'a> Batch<'a> {
    fn of(store: &MssqlDocuments, part: &'a [&'a DocumentWrite]) -> Result<Self, StoreError> {
        let rows = (0..part.len()).map(|place| {
            let columns = tiberius::Query::placeholders(2 + place * COLUMNS, COLUMNS);
            format!("({place}, {columns})")
        });
        let rows = rows.collect::<Vec<_>>().join(", ");
        let mut details = Vec::new();
        let mut events = Vec::new();
        for (place, write) in part.iter().enumerate() {
            for event in &write.events {
                let number = details.len();
                let first = 2 + part.len() * COLUMNS + number * EVENT_COLUMNS;
                let columns = tiberius::Query::placeholders(first, EVENT_COLUMNS);
                events.push(format!("({place}, {number}, {columns})"));
                details.push(store.pool.json(&event.event.detail)?);
            }
        }
        let sql = if events.is_empty() {
            store.pool.sql(WRITE)
        } else {
            let consumers: Vec<String> = store
                .consumer_literals()
                .map(|name| format!("({name})"))
                .collect();
            store
                .pool
                .sql(WRITE_WITH_EVENTS)
                .replace("{events}", &events.join(", "))
                .replace("{consumers}", &consumers.join(", "))
        };
        Ok(Self {
            sql: sql.replace("{rows}", &rows),
            part,
            details,
        })
    }

    fn query(&self, mark: &'a str) -> Query<'_> {
        let mut query = Query::new(self.sql.as_str()).bind(mark);
        for write in self.part {
            let document = &write.document;
            query = query
                .bind(document.id.as_str())
                .bind(number(write.expected))
                .bind(i64::from(document.shard))
                .bind(number(document.version))
                .bind(number(document.fence))
                .bind(document.due_at.map(Timestamp::as_millis))
                .bind(document.owner.as_deref())
                .bind(document.body.as_str());
        }
        let mut details = self.details.iter();
        for write in self.part {
            for (event, detail) in write.events.iter().zip(details.by_ref()) {
                query = query
                    .bind(i64::from(write.document.shard))
                    .bind(number(event.id.version))
                    .bind(i64::from(event.id.ordinal))
                    .bind(event.event.name.as_str())
                    .bind(detail.as_str());
            }
        }
        query
    }
}

fn parameters(write: &DocumentWrite) -> usize {
    COLUMNS + EVENT_COLUMNS * write.events.len()
}

#[async_trait]
impl WriteParts for MssqlDocuments {
    fn store(&self) -> &'static str {
        self.pool.name()
    }

    fn keeps_events(&self) -> bool {
        !self.consumers.is_empty()
    }

    /// What would fail the statement, and with it the whole batch.
    fn unfit(&self, write: &DocumentWrite) -> Option<String> {
        let document = &write.document;
        let mut keys = [Some(document.id.as_str()), document.owner.as_deref()]
            .into_iter()
            .flatten();
        if let Some(key) = keys.find(|key| !is_key(key)) {
            return Some(format!(
                "a key of {} bytes, or one that ends with a blank: it can have {KEY_LIMIT} bytes and no blank at its end",
                key.len()
            ));
        }
        (parameters(write) >= PARAMETERS)
            .then(|| format!("{} events at once are too many", write.events.len()))
    }

    /// As many rows as there are parameters for.
    fn share(&self, write: &DocumentWrite) -> usize {
        let parameters = parameters(write) * TRANSACTION_BYTES;
        batch::size(write).max(parameters.div_ceil(PARAMETERS - 1))
    }

    async fn write_part(&self, mark: &str, part: &[&DocumentWrite]) -> Result<HashSet<String>, StoreError> {
        let batch = Batch::of(self, part)?;
        let rows = self.pool.execute_traced(|| batch.query(mark)).await?;
        rows::ids(&self.pool, rows)
    }
}

#[async_trait]
impl DocumentStore for MssqlDocuments {
    fn name(&self) -> &'static str {
        self.pool.name()
    }

    fn technology(&self) -> &'static str {
        MssqlPool::TECHNOLOGY
    }

    fn batches_in_flight(&self) -> usize {
        BATCHES_IN_FLIGHT
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.pool.ping().await
    }

    async fn load_many(&self, ids: &[String]) -> Result<Vec<Row>, StoreError> {
        let rows = self.by_ids(LOAD_MANY, None, ids).await?;
        rows::documents(&self.pool, rows)
    }

    async fn versions(&self, ids: &[String]) -> Result<Vec<u64>, StoreError> {
        let rows = self.by_ids(VERSIONS, None, ids).await?;
        rows::versions(&self.pool, rows, ids)
    }

    async fn write(&self, mark: &str, batch: &[DocumentWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        batch::write(self, mark, batch).await
    }

    async fn applied(&self, mark: &str, ids: &[String]) -> Result<Vec<bool>, StoreError> {
        // First, and on a connection of its own: the rows are looked at when nobody can write them under the mark any more.
        self.pool.settle().await?;
        let found = rows::ids(&self.pool, self.by_ids(APPLIED, Some(mark), ids).await?)?;
        Ok(ids.iter().map(|id| found.contains(id)).collect())
    }

    async fn due(
        &self,
        shards: &[u16],
        due: RangeInclusive<Timestamp>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let sql = self.pool.sql(DUE).replace("{shards}", &list(shards));
        let rows = self.pool.fetch(|| {
            Query::new(sql.as_str())
                .bind(due.start().as_millis())
                .bind(due.end().as_millis())
                .bind(rows::limit(limit))
        });
        self.pool.decode(rows.await?, |row| row.text("id"))
    }

    async fn by_owner(
        &self,
        owner: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if !is_key(owner) || !before.is_none_or(is_key) {
            return Ok(Vec::new());
        }
        let sql = self.pool.sql(if before.is_some() {
            BY_OWNER_BEFORE
        } else {
            BY_OWNER
        });
        let rows = self.pool.fetch(|| {
            let query = Query::new(sql.as_str()).bind(owner).bind(rows::limit(limit));
            query.bind_all(before)
        });
        rows::documents(&self.pool, rows.await?)
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Row>, StoreError> {
        // No id is empty, so that every id lies above the empty one.
        let (sql, after) = (self.pool.sql(SCAN), after.unwrap_or_default());
        let rows = self
            .pool
            .fetch(|| Query::new(sql.as_str()).bind(after).bind(rows::limit(limit)));
        rows::documents(&self.pool, rows.await?)
    }
}

#[async_trait]
impl RowsAtRest for MssqlDocuments {
    fn store(&self) -> &'static str {
        self.pool.name()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        let (sql, after) = (self.pool.sql(AT_REST), after.unwrap_or_default());
        let rows = self
            .pool
            .fetch(|| Query::new(sql.as_str()).bind(after).bind(rows::limit(limit)));
        rows::at_rest(&self.pool, rows.await?)
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        let mut replaced = HashSet::new();
        for part in rows.chunks(KEYS) {
            let sql = self.pool.sql(RESEAL).replace("{rows}", &tuples(0, part.len(), 3));
            let mut values = Vec::with_capacity(part.len() * 3);
            for Resealed { row, content } in part {
                values.extend([
                    row.id.as_str(),
                    text(&self.pool, &row.content)?,
                    text(&self.pool, content)?,
                ]);
            }
            let rows = self
                .pool
                .execute(|| Query::new(sql.as_str()).bind_all(values.iter().copied()));
            replaced.extend(rows::ids(&self.pool, rows.await?)?);
        }
        Ok(rows
            .iter()
            .map(|resealed| replaced.contains(&resealed.row.id))
            .collect())
    }
}

#[cfg(test)]
#[path = "mssql_tests.rs"]
mod tests;
