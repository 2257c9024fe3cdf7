//! Documents in SQLite: the same tables for each store, all of them in one file, so that one commit serves what several
//! stores write at the same time. A batch is a handful of statements that run once for each of its rows.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::Path;

use async_trait::async_trait;

use super::batch::{self, WriteParts};
use super::rows::{self, text};
use super::sql::{
    APPLIED, AT_REST, BY_OWNER, BY_OWNER_BEFORE, DUE, EMIT, FAN_OUT, INSERT, LOAD_MANY, RESEAL, SCAN, UPDATE,
    VERSIONS,
};
use super::{Document, DocumentStore, DocumentWrite, Row, WriteOutcome};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::sql::SqlDatabase;
use crate::stores::sqlite::Database;
use souk_domain::{NewEvent, Timestamp};
use souk_embedded::{Former, Schema, Statement, Value, Writer};

/// The file of all stores of rows.
pub const FILE: &str = "shop";

/// The migrations of the file that each store had to itself before.
pub(super) const FORMER_MIGRATIONS: &[&str] = &[
    include_str!("former/0001_documents.sql"),
    include_str!("former/0002_deliveries.sql"),
    include_str!("former/0003_fences.sql"),
    include_str!("former/0004_newest_first.sql"),
];

/// The schema of the file in which these stores have their tables. Made once for the life of the program, and leaked.
pub fn schema(stores: &[&'static str]) -> Schema {
    let tables = include_str!("migrations/0001_rows.sql");
    let tables: String = stores.iter().map(|store| of(store, tables)).collect();
    let without_tokens: String = stores.iter().map(|store| remove_tokens(store)).collect();
    let former = |store: &&'static str| Former {
        schema: former_schema(store),
        copy: (of(store, include_str!("former/copy.sql")) + remove_tokens(store)).leak(),
    };
    Schema {
        name: FILE,
        migrations: vec![&*tables.leak(), &*without_tokens.leak()].leak(),
        formers: stores.iter().map(former).collect::<Vec<_>>().leak(),
    }
}

/// The part of the second migration that concerns this store's rows, which rows of its former file need as well.
fn remove_tokens(store: &str) -> &'static str {
    match store {
        "orders" => include_str!("migrations/0002_orders.sql"),
        "payments" => include_str!("migrations/0002_payments.sql"),
        _ => "",
    }
}

const fn former_schema(store: &'static str) -> Schema {
    Schema {
        name: store,
        migrations: FORMER_MIGRATIONS,
        formers: &[],
    }
}

/// A text of SQL for the tables of a store.
fn of(store: &str, sql: &str) -> String {
    sql.replace("{store}", store)
}

/// One of the document stores (`carts`, `orders`, `inventory`, `payments`, `sandbox`) in SQLite.
pub struct SqliteDocuments {
    pub(super) database: Database,
    pub(super) consumers: &'static [&'static str],
}

impl SqliteDocuments {
    /// Opens the store `name` in the database of `directory`; its events go to these consumers. Without consumers it keeps no events.
    ///
    /// # Errors
    /// As of [`Database::open`].
    pub async fn open(
        writer: &Writer,
        directory: &Path,
        name: &'static str,
        consumers: &'static [&'static str],
    ) -> Result<Self, StoreError> {
        Ok(Self {
            database: Database::open_for(name, writer, directory, FILE).await?,
            consumers,
        })
    }

    /// A statement on this store's tables.
    pub(super) fn statement(&self, sql: &str) -> Statement {
        Statement::new(of(self.database.name(), sql))
    }

    /// A statement on this store's tables that runs once for each of these lists of values.
    fn each(&self, sql: &str, runs: Vec<Vec<Value>>) -> Statement {
        Statement::each(of(self.database.name(), sql), runs)
    }

    async fn documents(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        rows::documents(&self.database, self.database.read(statement).await?)
    }
}

#[async_trait]
impl WriteParts for SqliteDocuments {
    fn store(&self) -> &'static str {
        self.database.name()
    }

    fn keeps_events(&self) -> bool {
        !self.consumers.is_empty()
    }

    async fn write_part(&self, mark: &str, part: &[&DocumentWrite]) -> Result<HashSet<String>, StoreError> {
        let (mut updated, mut inserted) = (Vec::new(), Vec::new());
        let (mut emitted, mut fanned_out) = (Vec::new(), Vec::new());
        for write in part {
            if write.expected == 0 {
                inserted.push(columns(mark, &write.document));
            } else {
                let mut values = columns(mark, &write.document);
                values.push(write.expected.into());
                updated.push(values);
            }
            for event in &write.events {
                let id = event_id(mark, &write.document, event);
                let detail = self.database.json(&event.event.detail)?;
                emitted.push([&id[..], &[event.event.name.as_str().into(), detail.into()]].concat());
                fanned_out.extend(
                    self.consumers
                        .iter()
                        .map(|consumer| [&id[..], &[(*consumer).into()]].concat()),
                );
            }
        }
        let statements = [
            (UPDATE, updated),
            (INSERT, inserted),
            (EMIT, emitted),
            (FAN_OUT, fanned_out),
        ]
        .into_iter()
        .filter(|(_, runs)| !runs.is_empty())
        .map(|(sql, runs)| self.each(sql, runs))
        .collect();
        let results = self.database.transact(statements).await?;
        // The events return no rows.
        rows::ids(&self.database, results.into_iter().flatten().collect())
    }
}

/// The values of [`INSERT`], which [`UPDATE`] begins with as well.
fn columns(mark: &str, document: &Document) -> Vec<Value> {
    vec![
        document.id.as_str().into(),
        document.shard.into(),
        document.version.into(),
        document.fence.into(),
        document.due_at.map(Timestamp::as_millis).into(),
        document.owner.as_deref().into(),
        mark.into(),
        document.body.as_str().into(),
    ]
}

/// The values that [`EMIT`] and [`FAN_OUT`] begin with. The version that the document has after the write is not always
/// the event's, which may belong to an earlier command of the write.
fn event_id(mark: &str, document: &Document, event: &NewEvent) -> [Value; 5] {
    [
        document.id.as_str().into(),
        mark.into(),
        document.version.into(),
        event.id.version.into(),
        event.id.ordinal.into(),
    ]
}

/// Runs of a statement that takes an id.
fn each_id(ids: &[String]) -> Vec<Vec<Value>> {
    ids.iter().map(|id| vec![id.as_str().into()]).collect()
}

#[async_trait]
impl DocumentStore for SqliteDocuments {
    fn name(&self) -> &'static str {
        self.database.name()
    }

    fn technology(&self) -> &'static str {
        "sqlite"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.database.ping().await
    }

    async fn load_many(&self, ids: &[String]) -> Result<Vec<Row>, StoreError> {
        self.documents(self.each(LOAD_MANY, each_id(ids))).await
    }

    async fn versions(&self, ids: &[String]) -> Result<Vec<u64>, StoreError> {
        let rows = self.database.read(self.each(VERSIONS, each_id(ids))).await?;
        rows::versions(&self.database, rows, ids)
    }

    async fn write(&self, mark: &str, batch: &[DocumentWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        batch::write(self, mark, batch).await
    }

    async fn applied(&self, mark: &str, ids: &[String]) -> Result<Vec<bool>, StoreError> {
        // Through the writer, and so behind whatever it has accepted: the lost write is decided before this answers.
        let runs = ids
            .iter()
            .map(|id| vec![id.as_str().into(), mark.into()])
            .collect();
        let rows = self.database.transact_one(self.each(APPLIED, runs)).await?;
        let found = rows::ids(&self.database, rows)?;
        Ok(ids.iter().map(|id| found.contains(id)).collect())
    }

    async fn due(
        &self,
        shards: &[u16],
        due: RangeInclusive<Timestamp>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let statement = self
            .statement(DUE)
            .bind(due.start().as_millis())
            .bind(due.end().as_millis())
            .bind(self.database.json(&shards)?)
            .bind(limit);
        let rows = self.database.read(statement).await?;
        self.database.decode(rows, |row| row.text("id"))
    }

    async fn by_owner(
        &self,
        owner: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let statement = match before {
            Some(before) => self
                .statement(BY_OWNER_BEFORE)
                .bind(owner)
                .bind(limit)
                .bind(before),
            None => self.statement(BY_OWNER).bind(owner).bind(limit),
        };
        self.documents(statement).await
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Row>, StoreError> {
        // No id is empty, so that every id lies above the empty one.
        self.documents(self.statement(SCAN).bind(after.unwrap_or_default()).bind(limit))
            .await
    }
}

#[async_trait]
impl RowsAtRest for SqliteDocuments {
    fn store(&self) -> &'static str {
        self.database.name()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        let statement = self
            .statement(AT_REST)
            .bind(after.unwrap_or_default())
            .bind(limit);
        rows::at_rest(&self.database, self.database.read(statement).await?)
    }

    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        let runs = rows
            .iter()
            .map(|Resealed { row, content }| {
                Ok(vec![
                    row.id.as_str().into(),
                    text(&self.database, &row.content)?.into(),
                    text(&self.database, content)?.into(),
                ])
            })
            .collect::<Result<_, StoreError>>()?;
        let statement = self.each(RESEAL, runs);
        let replaced = rows::ids(&self.database, self.database.transact_one(statement).await?)?;
        Ok(rows
            .iter()
            .map(|resealed| replaced.contains(&resealed.row.id))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use souk_embedded::Engine;
    use tempfile::TempDir;

    use super::*;
    use crate::stores::documents::sql::{
        BURY, DEAD_LETTERS, DELIVERABLE, DELIVERED, FORGET_EVENTS, LEDGER, PENDING, REMOVE_BURIED, RETRY,
    };
    use crate::stores::sqlite;
    use souk_domain::order::{NEVER, pruning_due};

    /// Rows of a file of the version before, and of the one before that, in which each store had a file of its own.
    #[tokio::test(flavor = "multi_thread")]
    async fn tokens_and_due_times_of_the_version_before_are_revised() {
        let order = |phase: &str| {
            let payment = r#"{"gateway":"sandbox","token":"tok_1"}"#;
            format!(
                r#"{{"state":{{"placed":{{"placement":{{"payment":{payment}}},"progress":{{"phase":{phase},"created_at":1000}}}}}},"answered":[]}}"#
            )
        };
        let payment = r#"{"instruction":{"gateway":"sandbox","token":"tok_1"},"reference":null}"#.to_owned();
        let samples = [
            ("orders", "ord_1", order(r#""confirming""#), true),
            ("orders", "ord_2", order(r#""awaiting_action""#), true),
            (
                "orders",
                "ord_3",
                order(r#"{"confirmed":{"payment":"pay_3"}}"#),
                false,
            ),
            (
                "orders",
                "ord_4",
                r#"{"state":{"placed":null},"answered":[]}"#.to_owned(),
                false,
            ),
            ("orders", "ord_5", "no JSON: tok_".to_owned(), true),
            (
                "orders",
                "ord_6",
                order(r#"{"failed":{"reason":"internal"}}"#),
                false,
            ),
            ("payments", "pay_3", payment, false),
        ];
        let tables = ["orders", "payments"].map(|store| of(store, include_str!("migrations/0001_rows.sql")));
        let shared = |migrations: String| Schema {
            name: FILE,
            migrations: vec![&*migrations.leak()].leak(),
            formers: &[],
        };
        let layouts = [
            vec![shared(tables.concat())],
            vec![former_schema("orders"), former_schema("payments")],
        ];
        for schemas in layouts {
            let directory = TempDir::new().unwrap();
            let is_shared = schemas.len() == 1;
            let engine = Engine::open(directory.path(), schemas.leak()).unwrap();
            let writer = Writer::in_process(engine);
            for (store, id, body, _) in &samples {
                let (name, table) = match is_shared {
                    true => (FILE, format!("{store}_documents")),
                    false => (*store, "documents".to_owned()),
                };
                let sql = format!(
                    "INSERT INTO {table} (id, shard, version, fence, due_at, mark, body) VALUES (?1, 1, 1, 0, ?3, 'm', ?2)"
                );
                let due_at = (*id == "ord_2").then_some(i64::MAX);
                let insert = Statement::new(sql).bind(*id).bind(body.as_str()).bind(due_at);
                writer.transact(name, vec![insert]).await.unwrap();
            }
            drop(writer);
            // The engine closes its files in the background.
            let writer = loop {
                match sqlite::in_process_writer(directory.path()) {
                    Ok(writer) => break writer,
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                }
            };
            for (store, id, body, keeps_token) in &samples {
                let store = SqliteDocuments::open(&writer, directory.path(), store, &[])
                    .await
                    .unwrap();
                let row = store.load(id).await.unwrap().unwrap();
                assert_eq!(row.body.contains("tok_"), *keeps_token, "{id}: {}", row.body);
                let mut expected = match keeps_token {
                    true => body.clone(),
                    false => body.replace("tok_1", ""),
                };
                let kept_until =
                    Timestamp::from_millis(1_000).plus(std::time::Duration::from_secs(30 * 24 * 3_600));
                let due_at = match *id {
                    // It waited for a decision.
                    "ord_2" => Some(NEVER),
                    "ord_6" => {
                        let keeps = format!(r#""created_at":1000,"keep_until":{}"#, kept_until.as_millis());
                        expected = expected.replace(r#""created_at":1000"#, &keeps);
                        Some(pruning_due(kept_until))
                    }
                    _ => None,
                };
                assert_eq!((row.version, row.due_at, row.body), (1, due_at, expected));
            }
        }
    }

    /// The queries that run all the time must not walk a table that grows for ever.
    #[tokio::test]
    async fn frequent_queries_use_an_index() {
        let directory = TempDir::new().unwrap();
        let writer = sqlite::in_process_writer(directory.path()).unwrap();
        let store = SqliteDocuments::open(&writer, directory.path(), "orders", &["a"])
            .await
            .unwrap();
        for sql in [
            LOAD_MANY,
            VERSIONS,
            APPLIED,
            DUE,
            BY_OWNER,
            BY_OWNER_BEFORE,
            SCAN,
            UPDATE,
            EMIT,
            FAN_OUT,
            DELIVERABLE,
            DELIVERED,
            RETRY,
            BURY,
            REMOVE_BURIED,
            PENDING,
            DEAD_LETTERS,
            LEDGER,
            FORGET_EVENTS,
            RESEAL,
            AT_REST,
        ] {
            let plan = store
                .database
                .read(store.statement(&format!("EXPLAIN QUERY PLAN {sql}")))
                .await
                .unwrap();
            let plan = format!("{plan:?}");
            for table in [
                "orders_documents",
                "d",
                "orders_ledger",
                "l",
                "orders_outbox",
                "o",
                "f",
            ] {
                // The dead letters are few, and listed newest first of all consumers.
                let is_listing = sql == DEAD_LETTERS && table == "o";
                assert!(
                    is_listing || !plan.contains(&format!("SCAN {table}\"")),
                    "{sql}: {plan}"
                );
            }
        }
    }
}
