//! The rows of a store in an SQL database, whichever it is.

use std::collections::HashMap;

use async_trait::async_trait;
use souk_embedded::{Row, Rows, Statement, Value};
use tokio::sync::OnceCell;

use super::{Class, Order, PAGE_BYTES, PAGE_ROWS, Page, Position, Record, Table, Transfer};
use crate::stores::StoreError;
use crate::stores::sql::{Columns, SqlDatabase};

/// Keys of one read, where all of them are read.
const KEYS: usize = 5_000;

/// Numbers that a batch of documents takes for the rows that it creates; see the adapters.
#[cfg(any(feature = "mysql", feature = "postgres"))]
const PLACES: i64 = 65_536;

/// What databases write differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite: rows have a number of their own, which grows with each row that is created.
    Sqlite,
    /// PostgreSQL: a store has a schema of its own, and a sequence does not follow numbers that it did not give.
    #[cfg(feature = "postgres")]
    Postgres,
    /// MariaDB and MySQL.
    #[cfg(feature = "mysql")]
    Mysql,
}

impl Dialect {
    /// Whether the tables of documents have the name of their store before their own.
    fn has_prefixes(self) -> bool {
        match self {
            Self::Sqlite => true,
            #[cfg(feature = "postgres")]
            Self::Postgres => false,
            #[cfg(feature = "mysql")]
            Self::Mysql => true,
        }
    }

    /// The condition that the columns stand after these parameters, in a form that the database goes by an index for.
    fn after(self, columns: &[&str]) -> String {
        let parameters = || (1..=columns.len()).map(|number| format!("?{number}"));
        match self {
            // It does not go by an index for a comparison of rows.
            #[cfg(feature = "mysql")]
            Self::Mysql => {
                let part = |last: usize| {
                    let equal = columns.iter().zip(parameters()).take(last);
                    let equal = equal.map(|(column, parameter)| format!("{column} = {parameter} AND "));
                    format!("({}{} > ?{})", equal.collect::<String>(), columns[last], last + 1)
                };
                (0..columns.len()).map(part).collect::<Vec<_>>().join(" OR ")
            }
            _ => format!(
                "({}) > ({})",
                columns.join(", "),
                parameters().collect::<Vec<_>>().join(", ")
            ),
        }
    }

    /// The two parts of an insertion around its columns and its rows, which leaves rows alone that are there.
    fn insertion(self, table: &Table) -> (&'static str, String) {
        let _ = table;
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres if table.numbered.is_some() => {
                (" OVERRIDING SYSTEM VALUE", " ON CONFLICT DO NOTHING".to_owned())
            }
            #[cfg(feature = "mysql")]
            Self::Mysql => {
                let (column, _) = table.columns[0];
                ("", format!(" ON DUPLICATE KEY UPDATE {column} = {column}"))
            }
            _ => ("", " ON CONFLICT DO NOTHING".to_owned()),
        }
    }

    /// Whether documents have a column with the order of their creation.
    fn has_created(self) -> bool {
        self != Self::Sqlite
    }

    /// What makes the next number of the table higher than any that it has.
    fn number(self, table: &Table, name: &str, store: &str) -> Vec<String> {
        let _ = (table, name, store);
        match self {
            Self::Sqlite => Vec::new(),
            #[cfg(feature = "postgres")]
            Self::Postgres => match (table.order, table.numbered) {
                (Order::Creation, _) => vec![format!(
                    "SELECT setval('creations', max(created) / {PLACES} + 1) FROM {name} HAVING count(*) > 0"
                )],
                (_, Some(column)) => vec![format!(
                    "SELECT setval(pg_get_serial_sequence('{name}', '{column}'), max({column})) FROM {name} HAVING count(*) > 0"
                )],
                _ => Vec::new(),
            },
            // The others follow by themselves: the highest number of a row counts.
            #[cfg(feature = "mysql")]
            Self::Mysql => match table.order {
                Order::Creation => vec![
                    format!(
                        "INSERT INTO {store}_creations (number) \
                         SELECT COALESCE(MAX(created), 0) DIV {PLACES} + 1 FROM {name} \
                         ON DUPLICATE KEY UPDATE number = VALUES(number)"
                    ),
                    format!("DELETE FROM {store}_creations"),
                ],
                Order::Key(_) => Vec::new(),
            },
        }
    }
}

/// Statements that derive what a table does not hold from the JSON array of the bodies in `?1`, which is its last column.
pub type Derived = (&'static str, &'static [&'static str]);

/// The rows of a store in an SQL database.
pub struct SqlTransfer<D> {
    database: D,
    store: &'static str,
    tables: &'static [Table],
    dialect: Dialect,
    derived: Option<Derived>,
    /// The documents in the order of their creation, by which no index goes: read once, by their ids, and kept.
    creations: OnceCell<Vec<(i64, String)>>,
}

impl<D: SqlDatabase> SqlTransfer<D> {
    /// The `tables` of a store.
    pub fn new(database: D, tables: &'static [Table], dialect: Dialect) -> Self {
        Self {
            store: database.name(),
            database,
            tables,
            dialect,
            derived: None,
            creations: OnceCell::new(),
        }
    }

    /// The same, where the rows of a table have others that are derived from them.
    #[must_use]
    pub fn deriving(self, derived: Derived) -> Self {
        Self {
            derived: Some(derived),
            ..self
        }
    }

    fn name(&self, table: &Table) -> String {
        if table.is_of_rows && self.dialect.has_prefixes() {
            format!("{}_{}", self.store, table.name)
        } else {
            table.name.to_owned()
        }
    }

    /// The rows in their canonical form.
    fn canonical(&self, table: &Table, rows: Rows) -> Result<Vec<Record>, StoreError> {
        let canonical = |row: Row| {
            let values = row.into_iter().zip(table.columns);
            values
                .map(|(value, (column, class))| match (value, class) {
                    // Where columns are bytes, what can be read as a text comes as one.
                    (Value::Text(text), Class::Bytes) => Ok(Value::Blob(text.into_bytes())),
                    (value @ Value::Null, _)
                    | (value @ Value::Integer(_), Class::Integer)
                    | (value @ Value::Text(_), Class::Text)
                    | (value @ Value::Blob(_), Class::Bytes) => Ok(value),
                    (other, _) => Err(self.database.corrupt(format!(
                        "column {column} of {} holds {other:?} instead of {class:?}",
                        table.name
                    ))),
                })
                .collect()
        };
        rows.into_iter().map(canonical).collect()
    }

    /// A page by columns that an index goes by.
    async fn page_by(
        &self,
        table: &Table,
        key: &[&str],
        after: Option<&Position>,
    ) -> Result<Page, StoreError> {
        let (name, order) = (self.name(table), key.join(", "));
        let (condition, bound) = match after {
            Some(after) => (format!("WHERE {}", self.dialect.after(key)), after.as_slice()),
            None => (String::new(), &[][..]),
        };
        let select = |columns: &str, limit: usize| {
            let number = bound.len() + 1;
            let sql = format!("SELECT {columns} FROM {name} {condition} ORDER BY {order} LIMIT ?{number}");
            let statement = bound.iter().cloned().fold(Statement::new(sql), Statement::bind);
            statement.bind(limit)
        };
        // No writer is at work: what is counted is what is read then.
        let sizes = self
            .database
            .read(select(&format!("{order}, {}", size(table)), PAGE_ROWS))
            .await?;
        let count = fitting(sizes.iter().map(|row| row.last()));
        if count == 0 {
            return Ok(Page::default());
        }
        let rows = self.database.read(select(&columns(table), count)).await?;
        let mut next = sizes.into_iter().nth(count - 1).unwrap_or_default();
        next.pop();
        Ok(Page {
            records: self.canonical(table, rows)?,
            next,
        })
    }

    /// All documents in the order of their creation.
    async fn creations(&self, table: &Table) -> Result<&[(i64, String)], StoreError> {
        let read = async || {
            let (name, key) = (self.name(table), table.columns[0].0);
            let mut all: Vec<(i64, String)> = Vec::new();
            loop {
                let last = all.last().map(|(_, id)| id.as_str());
                let condition = last.map_or("", |_| "WHERE {key} > ?1").replace("{key}", key);
                let sql =
                    format!("SELECT created, {key} FROM {name} {condition} ORDER BY {key} LIMIT {KEYS}");
                let statement = last.into_iter().fold(Statement::new(sql), Statement::bind);
                let rows = self.database.read(statement).await?;
                if rows.is_empty() {
                    all.sort_unstable();
                    return Ok(all);
                }
                all.extend(
                    self.database
                        .decode(rows, |row| Ok((row.integer("created")?, row.text(key)?)))?,
                );
            }
        };
        self.creations.get_or_try_init(read).await.map(Vec::as_slice)
    }

    /// A page in the order of creation, where no index has it.
    async fn page_of_creations(&self, table: &Table, after: Option<&Position>) -> Result<Page, StoreError> {
        let all = self.creations(table).await?;
        let from = match after {
            Some(after) => {
                let mut after = Columns::new(self.store, after.clone());
                let after = (after.integer("created")?, after.text("id")?);
                all.partition_point(|creation| *creation <= after)
            }
            None => 0,
        };
        let some = all.get(from..).unwrap_or_default();
        let ids: Vec<&str> = some.iter().take(PAGE_ROWS).map(|(_, id)| id.as_str()).collect();
        let (name, key) = (self.name(table), table.columns[0].0);
        let select = |columns: &str, ids: &[&str]| {
            let list: Vec<String> = (1..=ids.len()).map(|number| format!("?{number}")).collect();
            let sql = format!(
                "SELECT {columns} FROM {name} WHERE {key} IN ({})",
                list.join(", ")
            );
            ids.iter()
                .fold(Statement::new(sql), |statement, id| statement.bind(*id))
        };
        if ids.is_empty() {
            return Ok(Page::default());
        }
        let sizes = self
            .database
            .read(select(&format!("{key}, {}", size(table)), &ids))
            .await?;
        let sizes: HashMap<String, Value> = self
            .database
            .decode(sizes, |row| {
                Ok((row.text(key)?, Value::Integer(row.integer("size")?)))
            })?
            .into_iter()
            .collect();
        let count = fitting(ids.iter().map(|id| sizes.get(*id)));
        let rows = self.database.read(select(&columns(table), &ids[..count])).await?;
        let records = self.canonical(table, rows)?;
        let by_id = records.into_iter().filter_map(|record| match record.first() {
            Some(Value::Text(id)) => Some((id.clone(), record)),
            _ => None,
        });
        let mut by_id: HashMap<String, Record> = by_id.collect();
        let wanted = ids[..count].iter();
        let records: Vec<Record> = wanted.filter_map(|id| by_id.remove(*id)).collect();
        if records.len() < count {
            return Err(self
                .database
                .corrupt(format!("rows of {name} vanished while they were read")));
        }
        let next = some
            .get(count - 1)
            .map(|(created, id)| vec![(*created).into(), id.as_str().into()]);
        Ok(Page {
            records,
            next: next.unwrap_or_default(),
        })
    }
}

fn columns(table: &Table) -> String {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// The bytes of a row's texts and blobs.
fn size(table: &Table) -> String {
    let long = table.columns.iter().filter(|(_, class)| *class != Class::Integer);
    let lengths = long.map(|(name, _)| format!(" + coalesce(octet_length({name}), 0)"));
    format!("0{} AS size", lengths.collect::<String>())
}

/// How many of these sizes fit into a page: at least one, where there is one.
fn fitting<'a>(sizes: impl Iterator<Item = Option<&'a Value>>) -> usize {
    let (mut count, mut bytes) = (0, 0);
    for size in sizes {
        bytes += match size {
            Some(Value::Integer(size)) => usize::try_from(*size).unwrap_or(0),
            _ => 0,
        };
        if count > 0 && bytes > PAGE_BYTES {
            break;
        }
        count += 1;
    }
    count
}

#[async_trait]
impl<D: SqlDatabase> Transfer for SqlTransfer<D> {
    fn store(&self) -> &'static str {
        self.store
    }

    fn tables(&self) -> &'static [Table] {
        self.tables
    }

    async fn count(&self, table: &'static Table) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM {}", self.name(table));
        let rows = self.database.read(Statement::new(sql)).await?;
        let counts = self.database.decode(rows, |row| row.integer("count"))?;
        Ok(counts.first().copied().unwrap_or(0))
    }

    async fn export(&self, table: &'static Table, after: Option<&Position>) -> Result<Page, StoreError> {
        match table.order {
            Order::Key(key) => self.page_by(table, key, after).await,
            Order::Creation if self.dialect.has_created() => self.page_of_creations(table, after).await,
            Order::Creation => self.page_by(table, &["rowid"], after).await,
        }
    }

    async fn import(&self, table: &'static Table, before: u64, records: &[Record]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let has_created = table.order == Order::Creation && self.dialect.has_created();
        let mut values: Vec<Value> = Vec::new();
        let mut rows = Vec::with_capacity(records.len());
        for (number, record) in (before + 1..).zip(records) {
            let created = has_created.then(|| Value::from(number));
            let row = record.iter().cloned().chain(created).map(|value| match value {
                // Written out: it has no type that would have to be that of its column.
                Value::Null => "NULL".to_owned(),
                value => {
                    values.push(value);
                    format!("?{}", values.len())
                }
            });
            rows.push(format!("({})", row.collect::<Vec<_>>().join(", ")));
        }
        let (mode, tail) = self.dialect.insertion(table);
        let created = if has_created { ", created" } else { "" };
        let insert = Statement {
            sql: format!(
                "INSERT INTO {} ({}{created}){mode} VALUES {}{tail}",
                self.name(table),
                columns(table),
                rows.join(", ")
            )
            .into(),
            runs: vec![values],
        };
        let mut statements = vec![insert];
        if let Some((_, derived)) = self.derived.filter(|(name, _)| *name == table.name) {
            let bodies: Vec<&str> = records
                .iter()
                .filter_map(|record| match record.last() {
                    Some(Value::Text(body)) => Some(body.as_str()),
                    _ => None,
                })
                .collect();
            let bodies = format!("[{}]", bodies.join(","));
            statements.extend(
                derived
                    .iter()
                    .map(|sql| Statement::new(*sql).bind(bodies.as_str())),
            );
        }
        self.database.transact(statements).await.map(drop)
    }

    async fn finish(&self) -> Result<(), StoreError> {
        for table in self.tables {
            let statements = self.dialect.number(table, &self.name(table), self.store);
            if !statements.is_empty() {
                let statements = statements.into_iter().map(Statement::new).collect();
                self.database.transact(statements).await?;
            }
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "mysql"))]
#[path = "mysql_tests.rs"]
mod mysql_tests;
#[cfg(all(test, feature = "postgres"))]
#[path = "postgres_tests.rs"]
mod postgres_tests;
