//! Documents in MariaDB and MySQL: the tables of a store begin with its name. A batch is a transaction of two round trips:
//! one locks its rows and reads their versions, so that its outcomes are known before the other writes.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;

use super::batch::{self, WriteParts};
use super::mysql_sql::{
    APPLIED, AT_REST, BY_OWNER, BY_OWNER_BEFORE, CREATE, DUE, EMIT, FAN_OUT, LOAD_MANY, LOCK, LOCK_BODIES,
    NOW, NUMBER, REPLACE, RESEAL, SCAN, VERSIONS,
};
use super::rows::{self, text};
use super::{DocumentStore, DocumentWrite, Row, WriteOutcome};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::mysql::{Decision, MysqlPool, values};
use crate::stores::parts::parts;
use crate::stores::sql::{Columns, SqlDatabase};
use crate::stores::sql_pool::Access;
use souk_domain::{EventId, Timestamp};
use souk_embedded::Rows;

/// The schema: every migration, oldest first.
pub const MIGRATIONS: &[&str] = &[include_str!("migrations/mysql/0001_rows.sql")];

/// Batches of one writer at a time: one waits for the disk while the next is under way.
const BATCHES_IN_FLIGHT: usize = 4;

/// Most bytes of an id, an owner or a mark. The entries of an index have at most 3,072 bytes in all.
const KEY_LIMIT: usize = 1_024;

/// Most bytes of a row with its events: as hexadecimal digits they fit into one statement.
const ROW_LIMIT: usize = 7 * 1024 * 1024;

/// Bytes of bodies, former and new, that are resealed in one transaction.
const RESEAL_BYTES: usize = 4 * 1024 * 1024;

/// Numbers that a batch has for the rows that it creates.
const PLACES: usize = 65_536;

/// One of the document stores in MariaDB or MySQL.
pub struct MysqlDocuments {
    pub(super) pool: MysqlPool,
    pub(super) consumers: &'static [&'static str],
}

impl MysqlDocuments {
    /// Opens the store `name` in the database of `url`; its events go to these consumers. Without consumers it keeps no
    /// events.
    ///
    /// # Errors
    /// As of [`MysqlPool::open`].
    pub async fn open(
        url: &str,
        name: &'static str,
        consumers: &'static [&'static str],
    ) -> Result<Self, StoreError> {
        Ok(Self {
            pool: MysqlPool::open(name, url, MIGRATIONS).await?,
            consumers,
        })
    }

    /// The rows of a statement that only reads.
    pub(super) async fn fetch(&self, sql: &str, literals: &[String]) -> Result<Rows, StoreError> {
        let sql: Arc<str> = self.pool.sql(sql, literals).into();
        self.pool.fetch(|| Arc::clone(&sql)).await
    }

    /// Statements with the same literals.
    pub(super) fn each(&self, statements: &[&str], literals: &[String]) -> Vec<String> {
        let statements = statements.iter();
        statements.map(|sql| self.pool.sql(sql, literals)).collect()
    }

    /// What writes these rows, which stand in the order of their ids, each with its place in the batch.
    fn statements(&self, mark: &str, writes: &[(usize, &DocumentWrite)]) -> Result<Vec<String>, StoreError> {
        let mark = values::text(mark);
        let (mut replaced, mut created, mut events, mut emitted) = (vec![], vec![], vec![], vec![]);
        for (place, write) in writes {
            let document = &write.document;
            let id = values::text(&document.id);
            let row = |created: String| {
                format!(
                    "({id}, {}, {}, {}, {}, {}, {mark}, {}, {created})",
                    document.shard,
                    document.version,
                    document.fence,
                    values::optional_integer(document.due_at.map(Timestamp::as_millis)),
                    values::optional_text(document.owner.as_deref()),
                    values::text(&document.body),
                )
            };
            if write.expected == 0 {
                created.push(row(format!("@creation * {PLACES} + {place}")));
            } else {
                replaced.push(row("0".to_owned()));
            }
            for event in &write.events {
                let detail = self.pool.json(&event.event.detail)?;
                events.push(format!(
                    "({id}, {}, {}, {}, {NOW}, {}, {})",
                    document.shard,
                    event.id.version,
                    event.id.ordinal,
                    values::text(&event.event.name),
                    values::text(&detail),
                ));
                emitted.push(is_event("", &event.id));
            }
        }
        let mut statements = Vec::new();
        // Rows that exist before rows that are new: so no circle of waiting batches has both.
        if !replaced.is_empty() {
            statements.push(self.pool.sql(REPLACE, &[replaced.join(", ")]));
        }
        if !created.is_empty() {
            statements.append(&mut self.each(NUMBER, &[]));
            statements.push(self.pool.sql(CREATE, &[created.join(", ")]));
        }
        if !events.is_empty() {
            statements.push(self.pool.sql(EMIT, &[events.join(", ")]));
            let emitted = emitted.join(" OR ");
            for consumer in self.consumers {
                let literals = [values::text(consumer), emitted.clone()];
                statements.push(self.pool.sql(FAN_OUT, &literals));
            }
        }
        Ok(statements)
    }
}

/// The condition that a row of the ledger is this event.
pub(super) fn is_event(prefix: &str, event: &EventId) -> String {
    format!(
        "({prefix}entity = {} AND {prefix}version = {} AND {prefix}ordinal = {})",
        values::text(&event.entity),
        event.version,
        event.ordinal
    )
}

fn size(resealed: &Resealed) -> usize {
    resealed.row.content.len() + resealed.content.len()
}

#[async_trait]
impl WriteParts for MysqlDocuments {
    fn store(&self) -> &'static str {
        self.pool.name()
    }

    fn keeps_events(&self) -> bool {
        !self.consumers.is_empty()
    }

    /// What would fail the statement, and with it the whole batch.
    fn unfit(&self, write: &DocumentWrite) -> Option<String> {
        let document = &write.document;
        let keys = [Some(&document.id), document.owner.as_ref()];
        if let Some(key) = keys.into_iter().flatten().find(|key| key.len() > KEY_LIMIT) {
            return Some(format!("a key of {} bytes is too long", key.len()));
        }
        let details = write
            .events
            .iter()
            .filter_map(|event| self.pool.json(&event.event.detail).ok());
        let bytes = document.body.len() + details.map(|detail| detail.len()).sum::<usize>();
        (bytes > ROW_LIMIT).then(|| format!("a row of {bytes} bytes is too large"))
    }

    async fn write_part(&self, mark: &str, part: &[&DocumentWrite]) -> Result<HashSet<String>, StoreError> {
        let mut places: Vec<(usize, &DocumentWrite)> = part.iter().copied().enumerate().collect();
        places.sort_unstable_by_key(|(_, write)| write.document.id.as_str());
        let ids = values::texts(places.iter().map(|(_, write)| &write.document.id));
        let lock = self.pool.sql(LOCK, &[ids]);
        let decide = |rows: Rows| {
            let version = |row: &mut Columns| Ok((row.text("id")?, row.integer::<u64>("version")?));
            let versions: HashMap<String, u64> = self.pool.decode(rows, version)?.into_iter().collect();
            let mut writes = places.clone();
            writes.retain(|(_, write)| {
                versions.get(&write.document.id).copied().unwrap_or(0) == write.expected
            });
            let applied = writes
                .iter()
                .map(|(_, write)| write.document.id.clone())
                .collect();
            if writes.is_empty() {
                return Ok((Decision::Nothing, applied));
            }
            Ok((Decision::Write(self.statements(mark, &writes)?), applied))
        };
        self.pool.decide(Access::TracedWrite, lock, decide).await
    }
}

#[async_trait]
impl DocumentStore for MysqlDocuments {
    fn name(&self) -> &'static str {
        self.pool.name()
    }

    fn technology(&self) -> &'static str {
        MysqlPool::TECHNOLOGY
    }

    fn batches_in_flight(&self) -> usize {
        BATCHES_IN_FLIGHT
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.pool.ping().await
    }

    async fn load_many(&self, ids: &[String]) -> Result<Vec<Row>, StoreError> {
        let rows = self.fetch(LOAD_MANY, &[values::texts(ids)]).await?;
        rows::documents(&self.pool, rows)
    }

    async fn versions(&self, ids: &[String]) -> Result<Vec<u64>, StoreError> {
        let rows = self.fetch(VERSIONS, &[values::texts(ids)]).await?;
        rows::versions(&self.pool, rows, ids)
    }

    async fn write(&self, mark: &str, batch: &[DocumentWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        batch::write(self, mark, batch).await
    }

    async fn applied(&self, mark: &str, ids: &[String]) -> Result<Vec<bool>, StoreError> {
        // First: the rows are looked at when nobody can write them under the mark any more.
        self.pool.settle().await?;
        let rows = self
            .fetch(APPLIED, &[values::texts(ids), values::text(mark)])
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
        let literals = [
            due.start().as_millis().to_string(),
            due.end().as_millis().to_string(),
            values::list(shards.iter().map(u16::to_string)),
            limit.to_string(),
        ];
        let rows = self.fetch(DUE, &literals).await?;
        self.pool.decode(rows, |row| row.text("id"))
    }

    async fn by_owner(
        &self,
        owner: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut literals = vec![values::text(owner), limit.to_string()];
        literals.extend(before.map(values::text));
        let sql = if before.is_some() {
            BY_OWNER_BEFORE
        } else {
            BY_OWNER
        };
        rows::documents(&self.pool, self.fetch(sql, &literals).await?)
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Row>, StoreError> {
        // No id is empty, so that every id lies above the empty one.
        let literals = [values::text(after.unwrap_or_default()), limit.to_string()];
        rows::documents(&self.pool, self.fetch(SCAN, &literals).await?)
    }
}

#[async_trait]
impl RowsAtRest for MysqlDocuments {
    fn store(&self) -> &'static str {
        self.pool.name()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        let literals = [values::text(after.unwrap_or_default()), limit.to_string()];
        rows::at_rest(&self.pool, self.fetch(AT_REST, &literals).await?)
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        let mut replaced: HashSet<String> = HashSet::new();
        for part in parts(rows, RESEAL_BYTES, size) {
            let ids = values::texts(part.iter().map(|resealed| &resealed.row.id));
            let lock = self.pool.sql(LOCK_BODIES, &[ids]);
            let decide = |found: Rows| {
                let bodies = rows::at_rest(&self.pool, found)?;
                let bodies: HashMap<_, _> = bodies.into_iter().map(|row| (row.id, row.content)).collect();
                let (mut statements, mut ids) = (Vec::new(), Vec::new());
                for Resealed { row, content } in part {
                    if bodies.get(&row.id) == Some(&row.content) {
                        let literals = [values::text(&row.id), values::text(text(&self.pool, content)?)];
                        statements.push(self.pool.sql(RESEAL, &literals));
                        ids.push(row.id.clone());
                    }
                }
                if ids.is_empty() {
                    return Ok((Decision::Nothing, ids));
                }
                Ok((Decision::Write(statements), ids))
            };
            replaced.extend(self.pool.decide(Access::Write, lock, decide).await?);
        }
        Ok(rows
            .iter()
            .map(|resealed| replaced.contains(&resealed.row.id))
            .collect())
    }
}

#[cfg(test)]
#[path = "mysql_tests.rs"]
mod tests;
