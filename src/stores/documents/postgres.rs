//! Documents in PostgreSQL: each store has its tables in a schema of its own. A batch is one statement.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use async_trait::async_trait;
use sqlx::query;

use super::batch::{self, WriteParts};
use super::postgres_sql::{
    APPLIED, AT_REST, BY_OWNER, BY_OWNER_BEFORE, DUE, LOAD_MANY, RESEAL, SCAN, VERSIONS, WRITE,
    WRITE_WITH_EVENTS,
};
use super::rows::{self, number, text};
use super::{DocumentStore, DocumentWrite, Row, WriteOutcome};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::postgres::PostgresPool;
use crate::stores::sql::SqlDatabase;
use souk_domain::Timestamp;

/// The schema: every migration, oldest first.
pub const MIGRATIONS: &[&str] = &[include_str!("migrations/postgres/0001_rows.sql")];

/// Batches of one writer at a time: one waits for the disk while the next is under way.
const BATCHES_IN_FLIGHT: usize = 4;

/// Most bytes of an id or an owner. An entry of an index has to fit into a third of a page.
const KEY_LIMIT: usize = 1_024;

/// One of the document stores in PostgreSQL.
pub struct PostgresDocuments {
    pub(super) pool: PostgresPool,
    pub(super) consumers: &'static [&'static str],
}

impl PostgresDocuments {
    /// Opens the store `name` in the database of `url`; its events go to these consumers. Without consumers it keeps no
    /// events.
    ///
    /// # Errors
    /// As of [`PostgresPool::open`].
    pub async fn open(
        url: &str,
        name: &'static str,
        consumers: &'static [&'static str],
    ) -> Result<Self, StoreError> {
        Ok(Self {
            pool: PostgresPool::open(name, url, MIGRATIONS).await?,
            consumers,
        })
    }
}

/// Whether PostgreSQL can hold this text: it has no character of the number 0.
fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// Those of `ids` that a row can have.
fn storable(ids: &[String]) -> Vec<&str> {
    ids.iter()
        .map(String::as_str)
        .filter(|id| is_storable(id))
        .collect()
}

/// The columns of a batch, in the order of the ids.
#[derive(Default)]
struct Lists<'a> {
    ids: Vec<&'a str>,
    expected: Vec<i64>,
    shards: Vec<i64>,
    versions: Vec<i64>,
    fences: Vec<i64>,
    due_at: Vec<Option<i64>>,
    owners: Vec<Option<&'a str>>,
    bodies: Vec<&'a str>,
    places: Vec<i64>,
}

/// The columns of its events.
#[derive(Default)]
struct EventLists<'a> {
    entities: Vec<&'a str>,
    shards: Vec<i64>,
    versions: Vec<i64>,
    ordinals: Vec<i64>,
    names: Vec<&'a str>,
    details: Vec<String>,
}

#[async_trait]
impl WriteParts for PostgresDocuments {
    fn store(&self) -> &'static str {
        self.pool.name()
    }

    fn keeps_events(&self) -> bool {
        !self.consumers.is_empty()
    }

    /// What would fail the statement, and with it the whole batch.
    fn unfit(&self, write: &DocumentWrite) -> Option<String> {
        let document = &write.document;
        let owner = document.owner.as_deref();
        if let Some(key) = [Some(document.id.as_str()), owner]
            .into_iter()
            .flatten()
            .find(|key| key.len() > KEY_LIMIT)
        {
            return Some(format!("a key of {} bytes is too long", key.len()));
        }
        let mut texts = [document.id.as_str(), document.body.as_str()]
            .into_iter()
            .chain(owner)
            .chain(write.events.iter().map(|event| event.event.name.as_str()));
        (!texts.all(is_storable)).then(|| "a text has the character U+0000".to_owned())
    }

    async fn write_part(&self, mark: &str, part: &[&DocumentWrite]) -> Result<HashSet<String>, StoreError> {
        let mut places: Vec<(i64, &DocumentWrite)> = (0..).zip(part.iter().copied()).collect();
        places.sort_unstable_by_key(|(_, write)| write.document.id.as_str());
        let mut lists = Lists::default();
        let mut events = EventLists::default();
        for (place, write) in places {
            let document = &write.document;
            lists.ids.push(&document.id);
            lists.expected.push(number(write.expected));
            lists.shards.push(document.shard.into());
            lists.versions.push(number(document.version));
            lists.fences.push(number(document.fence));
            lists.due_at.push(document.due_at.map(Timestamp::as_millis));
            lists.owners.push(document.owner.as_deref());
            lists.bodies.push(&document.body);
            lists.places.push(place);
            for event in &write.events {
                events.entities.push(&document.id);
                events.shards.push(document.shard.into());
                events.versions.push(number(event.id.version));
                events.ordinals.push(event.id.ordinal.into());
                events.names.push(&event.event.name);
                events.details.push(self.pool.json(&event.event.detail)?);
            }
        }
        let sql = if events.entities.is_empty() {
            WRITE
        } else {
            WRITE_WITH_EVENTS
        };
        let rows = self.pool.execute_traced(|| {
            let query = query(sql)
                .bind(mark)
                .bind(&lists.ids[..])
                .bind(&lists.expected[..])
                .bind(&lists.shards[..])
                .bind(&lists.versions[..])
                .bind(&lists.fences[..])
                .bind(&lists.due_at[..])
                .bind(&lists.owners[..])
                .bind(&lists.bodies[..])
                .bind(&lists.places[..]);
            if events.entities.is_empty() {
                return query;
            }
            query
                .bind(&events.entities[..])
                .bind(&events.shards[..])
                .bind(&events.versions[..])
                .bind(&events.ordinals[..])
                .bind(&events.names[..])
                .bind(&events.details[..])
                .bind(self.consumers)
        });
        rows::ids(&self.pool, rows.await?)
    }
}

#[async_trait]
impl DocumentStore for PostgresDocuments {
    fn name(&self) -> &'static str {
        self.pool.name()
    }

    fn technology(&self) -> &'static str {
        PostgresPool::TECHNOLOGY
    }

    fn batches_in_flight(&self) -> usize {
        BATCHES_IN_FLIGHT
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.pool.ping().await
    }

    async fn load_many(&self, ids: &[String]) -> Result<Vec<Row>, StoreError> {
        let ids = storable(ids);
        let rows = self.pool.fetch(|| query(LOAD_MANY).bind(&ids[..])).await?;
        rows::documents(&self.pool, rows)
    }

    async fn versions(&self, ids: &[String]) -> Result<Vec<u64>, StoreError> {
        let known = storable(ids);
        let rows = self.pool.fetch(|| query(VERSIONS).bind(&known[..])).await?;
        rows::versions(&self.pool, rows, ids)
    }

    async fn write(&self, mark: &str, batch: &[DocumentWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        batch::write(self, mark, batch).await
    }

    async fn applied(&self, mark: &str, ids: &[String]) -> Result<Vec<bool>, StoreError> {
        // First, and on a connection of its own: the rows are looked at when nobody can write them under the mark any more.
        self.pool.settle().await?;
        let known = storable(ids);
        let rows = self
            .pool
            .fetch(|| query(APPLIED).bind(&known[..]).bind(mark))
            .await?;
        let found = rows::ids(&self.pool, rows)?;
        Ok(ids.iter().map(|id| found.contains(id)).collect())
    }

    async fn due(
        &self,
        shards: &[u16],
        due: RangeInclusive<Timestamp>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let shards: Vec<i64> = shards.iter().copied().map(i64::from).collect();
        let rows = self.pool.fetch(|| {
            query(DUE)
                .bind(due.start().as_millis())
                .bind(due.end().as_millis())
                .bind(&shards[..])
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
        if !is_storable(owner) || !before.is_none_or(is_storable) {
            return Ok(Vec::new());
        }
        let limit = rows::limit(limit);
        let rows = self.pool.fetch(|| match before {
            Some(before) => query(BY_OWNER_BEFORE).bind(owner).bind(limit).bind(before),
            None => query(BY_OWNER).bind(owner).bind(limit),
        });
        rows::documents(&self.pool, rows.await?)
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Row>, StoreError> {
        // No id is empty, so that every id lies above the empty one.
        let (after, limit) = (after.unwrap_or_default(), rows::limit(limit));
        let rows = self.pool.fetch(|| query(SCAN).bind(after).bind(limit)).await?;
        rows::documents(&self.pool, rows)
    }
}

#[async_trait]
impl RowsAtRest for PostgresDocuments {
    fn store(&self) -> &'static str {
        self.pool.name()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        let (after, limit) = (after.unwrap_or_default(), rows::limit(limit));
        let rows = self.pool.fetch(|| query(AT_REST).bind(after).bind(limit)).await?;
        rows::at_rest(&self.pool, rows)
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        let mut sorted: Vec<&Resealed> = rows.iter().collect();
        sorted.sort_unstable_by_key(|resealed| &resealed.row.id);
        let (mut ids, mut former, mut contents) = (Vec::new(), Vec::new(), Vec::new());
        for Resealed { row, content } in sorted {
            ids.push(row.id.as_str());
            former.push(text(&self.pool, &row.content)?);
            contents.push(text(&self.pool, content)?);
        }
        let replaced = self
            .pool
            .execute(|| query(RESEAL).bind(&ids[..]).bind(&former[..]).bind(&contents[..]));
        let replaced = rows::ids(&self.pool, replaced.await?)?;
        Ok(rows
            .iter()
            .map(|resealed| replaced.contains(&resealed.row.id))
            .collect())
    }
}

#[cfg(test)]
#[path = "postgres_tests.rs"]
mod tests;
