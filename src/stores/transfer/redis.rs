//! The rows of sessions, counters, one-time codes and kept replies in Redis, for moving them.
//!
//! Nothing there is in an order that the other technologies have. So the keys of a table are read once, sorted in memory and looked
//! up, page by page. What the server has removed meanwhile is left out.

use std::collections::HashMap;
use std::sync::LazyLock;

use async_trait::async_trait;
use redis::{Script, ScriptInvocation};
use souk_embedded::Value;
use tokio::sync::OnceCell;

use super::{Class, PAGE_BYTES, PAGE_ROWS, Page, Position, Record, Table, Transfer, tables};
use crate::stores::StoreError;
use crate::stores::idempotency::ROW_BYTES;
use crate::stores::redis::{Server, keep_function, script};

static READ_SESSIONS: LazyLock<Script> = script!("../sessions/lua/sessions.lua", "lua/sessions_read.lua");
static IMPORT_SESSIONS: LazyLock<Script> = script!("../sessions/lua/sessions.lua", "lua/sessions_import.lua");
static READ_HASHES: LazyLock<Script> = script!("lua/hashes_read.lua");
static IMPORT_HASHES: LazyLock<Script> = script!(keep_function(); "lua/hashes_import.lua");
static READ_NETWORKS: LazyLock<Script> = script!("lua/networks_read.lua");
static IMPORT_NETWORKS: LazyLock<Script> = script!(keep_function(); "lua/networks_import.lua");
static READ_CODES: LazyLock<Script> = script!("../codes/lua/codes.lua", "lua/codes_read.lua");
static IMPORT_CODES: LazyLock<Script> = script!("../codes/lua/codes.lua", "lua/codes_import.lua");
static READ_REPLIES: LazyLock<Script> =
    script!(row_bytes(); "../idempotency/lua/replies.lua", "lua/replies_read.lua");
static IMPORT_REPLIES: LazyLock<Script> =
    script!(row_bytes(); "../idempotency/lua/replies.lua", "lua/replies_import.lua");

fn row_bytes() -> String {
    format!("local ROW_BYTES = {ROW_BYTES}\n")
}

/// Keys of one step of the server, which does nothing else meanwhile.
const SCANNED: usize = 1_000;

/// The fields of a token and of a counter, each after the key, and the place of the one that says when it expires.
const TOKEN: (&[&str], usize) = (&["session", "expires_at", "successor", "spent_at"], 2);
const COUNTER: (&[&str], usize) = (&["start", "finish", "count"], 2);

/// The values of a row's key.
type Key = Vec<Vec<u8>>;

/// What the scripts return of each key.
type Found = Vec<Option<Vec<redis::Value>>>;

/// What Redis has for `stores.sessions`: the tables of one of the two embedded databases.
pub struct RedisTransfer {
    server: Server,
    tables: &'static [Table],
    keys: HashMap<&'static str, OnceCell<Vec<Key>>>,
}

impl RedisTransfer {
    /// Sessions with tokens and networks, counters and one-time codes.
    pub fn of_sessions(server: &Server) -> Self {
        Self::new(server.clone(), &tables::SESSIONS)
    }

    /// Kept replies.
    pub fn of_replies(server: &Server) -> Self {
        Self::new(server.for_store("idempotency"), &tables::IDEMPOTENCY)
    }

    fn new(server: Server, tables: &'static [Table]) -> Self {
        Self {
            server,
            tables,
            keys: tables.iter().map(|table| (table.name, OnceCell::new())).collect(),
        }
    }

    fn script(&self, script: &'static Script, keys: &[&str]) -> ScriptInvocation<'static> {
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(self.server.key(key));
        }
        call
    }

    fn on_sessions(&self, script: &'static Script) -> ScriptInvocation<'static> {
        let keys = [
            "sessions",
            "sessions:by-user",
            "sessions:by-expiry",
            "sessions:ended",
        ];
        self.script(script, &keys)
    }

    fn on_codes(&self, script: &'static Script) -> ScriptInvocation<'static> {
        self.script(script, &["codes", "codes:holders", "codes:by-expiry"])
    }

    fn on_replies(&self, script: &'static Script) -> ScriptInvocation<'static> {
        let keys = [
            "replies",
            "replies:bodies",
            "replies:by-claim",
            "replies:by-owner",
            "replies:answered",
            "replies:bytes",
        ];
        self.script(script, &keys)
    }

    /// The script on keys of their own.
    fn on_each<'k>(
        &self,
        script: &'static Script,
        kind: &str,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> ScriptInvocation<'static> {
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(self.server.key_of(kind, key));
        }
        call
    }

    /// All keys of this kind, without what all of them begin with.
    async fn scan(&self, kind: &str) -> Result<Vec<Vec<u8>>, StoreError> {
        let prefix = self.server.key(kind);
        // What stands for more than itself in a pattern.
        let pattern: Vec<u8> = prefix
            .iter()
            .flat_map(|byte| match byte {
                b'*' | b'?' | b'[' | b']' | b'^' | b'-' | b'\\' => vec![b'\\', *byte],
                _ => vec![*byte],
            })
            .chain([b'*'])
            .collect();
        let (mut cursor, mut all) = (0_u64, Vec::new());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(SCANNED);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.server.read(&scan).await?;
            all.extend(
                keys.iter()
                    .filter_map(|key| key.strip_prefix(&*prefix))
                    .map(<[u8]>::to_vec),
            );
            if next == 0 {
                return Ok(all);
            }
            cursor = next;
        }
    }

    /// All fields of a hash.
    async fn fields(&self, name: &str) -> Result<Vec<Vec<u8>>, StoreError> {
        let (mut cursor, mut all) = (0_u64, Vec::new());
        loop {
            let mut scan = redis::cmd("HSCAN");
            scan.arg(self.server.key(name))
                .arg(cursor)
                .arg("COUNT")
                .arg(SCANNED);
            let (next, pairs): (u64, Vec<Vec<u8>>) = self.server.read(&scan).await?;
            all.extend(pairs.into_iter().step_by(2));
            if next == 0 {
                return Ok(all);
            }
            cursor = next;
        }
    }

    /// The keys of a table in its order.
    async fn all(&self, table: &Table) -> Result<Vec<Key>, StoreError> {
        let keys = match table.name {
            "sessions" => self.fields("sessions").await?,
            "tokens" => self.scan("token:").await?,
            "networks" => self.scan("network:").await?,
            "hits" => self.scan("hits:").await?,
            "one_time_tokens" => self.fields("codes").await?,
            "idempotency" => self.fields("replies").await?,
            other => return Err(self.server.refused(format!("there is no table {other}"))),
        };
        let split = |key: Vec<u8>| {
            if table.name != "one_time_tokens" {
                return vec![key];
            }
            // No purpose has a colon.
            let end = key.iter().position(|byte| *byte == b':').unwrap_or(key.len());
            vec![
                key[..end].to_vec(),
                key.get(end + 1..).unwrap_or_default().to_vec(),
            ]
        };
        let mut keys: Vec<Key> = keys.into_iter().map(split).collect();
        keys.sort_unstable();
        // A scan may name a key twice.
        keys.dedup();
        Ok(keys)
    }

    async fn keys(&self, table: &Table) -> Result<&[Key], StoreError> {
        match self.keys.get(table.name) {
            Some(keys) => Ok(keys.get_or_try_init(|| self.all(table)).await?),
            None => Err(self.server.refused(format!("there is no table {}", table.name))),
        }
    }

    /// The rows with these keys: of each of the first of them, as many as fit.
    async fn read(&self, table: &Table, keys: &[Key]) -> Result<Found, StoreError> {
        let firsts = || keys.iter().map(|key| key[0].as_slice());
        let hashes = |kind: &str, fields: &[&str]| {
            let mut call = self.on_each(&READ_HASHES, kind, firsts());
            call.arg(fields);
            call
        };
        let (call, has_key) = match table.name {
            "tokens" => (hashes("token:", TOKEN.0), false),
            "hits" => (hashes("hits:", COUNTER.0), false),
            "networks" => (self.on_each(&READ_NETWORKS, "network:", firsts()), false),
            "sessions" => {
                let mut call = self.on_sessions(&READ_SESSIONS);
                for key in firsts() {
                    call.arg(key);
                }
                (call, true)
            }
            "one_time_tokens" => {
                let mut call = self.on_codes(&READ_CODES);
                for part in keys.iter().flatten() {
                    call.arg(part);
                }
                (call, true)
            }
            _ => {
                let mut call = self.on_replies(&READ_REPLIES);
                call.arg(PAGE_BYTES);
                for key in firsts() {
                    call.arg(key);
                }
                (call, true)
            }
        };
        let mut found: Found = self.server.read(&call).await?;
        if !has_key {
            for (row, key) in found.iter_mut().zip(keys) {
                if let Some(row) = row {
                    row.insert(0, redis::Value::BulkString(key[0].clone()));
                }
            }
        }
        Ok(found)
    }

    /// A row in the canonical form.
    fn record(&self, table: &Table, row: Vec<redis::Value>) -> Result<Record, StoreError> {
        let wrong = |column: &str| {
            self.server
                .corrupt(format!("{column} of a row of {} is of a wrong kind", table.name))
        };
        if row.len() != table.columns.len() {
            return Err(wrong("the number of columns"));
        }
        let columns = row.into_iter().zip(table.columns);
        columns
            .map(|(value, (column, class))| match (value, class) {
                (redis::Value::Nil, _) => Ok(Value::Null),
                (redis::Value::Int(number), Class::Integer) => Ok(number.into()),
                (redis::Value::BulkString(bytes), Class::Bytes) => Ok(bytes.into()),
                (redis::Value::BulkString(bytes), class) => {
                    let text = String::from_utf8(bytes).map_err(|_| wrong(column))?;
                    match class {
                        Class::Integer => Ok(text.parse::<i64>().map_err(|_| wrong(column))?.into()),
                        _ => Ok(text.into()),
                    }
                }
                _ => Err(wrong(column)),
            })
            .collect()
    }

    /// The script that imports these rows, with all that it needs to know.
    fn importing(&self, table: &Table, records: &[Record]) -> ScriptInvocation<'static> {
        let firsts = || records.iter().map(|record| bytes(&record[0]));
        let firsts: Vec<Vec<u8>> = firsts().collect();
        let firsts = || firsts.iter().map(Vec::as_slice);
        let hashes = |kind: &str, (fields, expiry): (&[&str], usize)| {
            let mut call = self.on_each(&IMPORT_HASHES, kind, firsts());
            call.arg(fields.len()).arg(expiry).arg(fields);
            for value in records.iter().flat_map(|record| &record[1..]) {
                call.arg(marked(value));
            }
            call
        };
        match table.name {
            "tokens" => hashes("token:", TOKEN),
            "hits" => hashes("hits:", COUNTER),
            "networks" => {
                let mut call = self.on_each(&IMPORT_NETWORKS, "network:", firsts());
                for record in records {
                    call.arg(bytes(&record[1]));
                }
                call
            }
            "sessions" => {
                let mut call = self.on_sessions(&IMPORT_SESSIONS);
                for value in records.iter().flatten() {
                    call.arg(bytes(value));
                }
                call
            }
            "one_time_tokens" => {
                let mut call = self.on_codes(&IMPORT_CODES);
                for value in records.iter().flatten() {
                    call.arg(bytes(value));
                }
                call
            }
            _ => {
                let mut call = self.on_replies(&IMPORT_REPLIES);
                for record in records {
                    let (always, maybe) = record.split_at(5);
                    for value in always {
                        call.arg(bytes(value));
                    }
                    for value in maybe {
                        call.arg(marked(value));
                    }
                }
                call
            }
        }
    }
}

/// A value as the server keeps it; nothing where there is none.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        Value::Integer(number) => number.to_string().into_bytes(),
        Value::Real(number) => number.to_string().into_bytes(),
        Value::Text(text) => text.clone().into_bytes(),
        Value::Blob(bytes) => bytes.clone(),
    }
}

/// The same, where a value that is there begins with "=".
fn marked(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => Vec::new(),
        value => [b"=".to_vec(), bytes(value)].concat(),
    }
}

#[async_trait]
impl Transfer for RedisTransfer {
    fn store(&self) -> &'static str {
        self.server.store()
    }

    fn tables(&self) -> &'static [Table] {
        self.tables
    }

    fn removes_expired(&self) -> bool {
        true
    }

    async fn count(&self, table: &'static Table) -> Result<u64, StoreError> {
        Ok(self.all(table).await?.len() as u64)
    }

    async fn export(&self, table: &'static Table, after: Option<&Position>) -> Result<Page, StoreError> {
        let all = self.keys(table).await?;
        let after: Option<Key> = after.map(|after| after.iter().map(bytes).collect());
        let mut from = after.map_or(0, |after| all.partition_point(|key| *key <= after));
        // A page of what has been removed meanwhile is not the end.
        while let Some(some) = all.get(from..).filter(|some| !some.is_empty()) {
            let some = &some[..some.len().min(PAGE_ROWS)];
            let found = self.read(table, some).await?;
            let read = found.len().clamp(1, some.len());
            let records = found.into_iter().flatten().map(|row| self.record(table, row));
            let records = records.collect::<Result<Vec<_>, _>>()?;
            if !records.is_empty() {
                let next = some[read - 1].iter().map(|part| Value::Blob(part.clone()));
                return Ok(Page {
                    records,
                    next: next.collect(),
                });
            }
            from += read;
        }
        Ok(Page::default())
    }

    async fn import(&self, table: &'static Table, _: u64, records: &[Record]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        self.server.write(&self.importing(table, records)).await
    }

    /// Nothing has a number.
    async fn finish(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "redis_tests.rs"]
mod tests;
