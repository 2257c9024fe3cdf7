//! Documents in MongoDB: a store is a collection, and emits no events. A batch is one command (large ones several), without a transaction: each row is a
//! document, which is compared and set by itself.
//!
//! | field | |
//! |---|---|
//! | `_id`, `shard`, `version`, `fence`, `body` | as of [`Document`] |
//! | `due_at`, `owner` | absent where there is none, so that partial indexes leave these rows out |
//! | `mark` | of the batch that wrote the row last |
//! | `created` | a time-ordered UUID of the row's creation |
//! | `barred` | marks of lost writes that must not be applied to this version any more, see `mongodb_lost.rs` |
//!
//! A row of the version 0 is none: it only bars lost writes from creating the row.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use async_trait::async_trait;
use mongodb::bson::raw::cstr;
use mongodb::bson::{Document as BsonDocument, RawBsonRef, RawDocument, RawDocumentBuf, doc, rawdoc};

use super::batch::{self, WriteParts};
use super::mongodb_lost::Lost;
use super::rows::number;
use super::{Document, DocumentStore, DocumentWrite, Row, Unreadable, WriteOutcome};
use crate::stores::StoreError;
use crate::stores::at_rest::{Resealed, RowAtRest, RowsAtRest};
use crate::stores::mongodb::{DUPLICATE_KEY, MongoCollection, OperationResult, Query, refused};
use crate::stores::parts::parts;
use souk_domain::Timestamp;

/// Batches of one writer at a time: one waits for a majority while the next is under way.
const BATCHES_IN_FLIGHT: usize = 4;
/// Most bytes of an id or an owner: keys of an index shall be short.
const KEY_LIMIT: usize = 1_024;
/// Most bytes of a body. Former and new body have to fit into one message of 16 MiB when they are resealed.
const BODY_LIMIT: usize = 7 * 1024 * 1024;
/// Most rows of a command, which has to end within its time limit. More would gain nothing: each row is written by itself.
const COMMAND_ROWS: usize = 100;
/// Bytes of the rows that are resealed by one command.
const RESEAL_BYTES: usize = 8 * 1024 * 1024;

/// One of the document stores in MongoDB.
pub struct MongoDocuments {
    pub(super) collection: MongoCollection,
    pub(super) lost: Lost,
}

impl MongoDocuments {
    /// Opens the store `name` in the database of `url`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] where no primary answers, [`StoreError::Refused`] for a URL that can't be used, and for a server
    /// that does not fit.
    pub async fn open(url: &str, name: &'static str) -> Result<Self, StoreError> {
        let indexes = vec![
            doc! {
                "key": { "due_at": 1, "_id": 1, "shard": 1 }, "name": "due",
                "partialFilterExpression": { "due_at": { "$exists": true } },
            },
            doc! {
                "key": { "owner": 1, "created": -1 }, "name": "owner",
                "partialFilterExpression": { "owner": { "$exists": true } },
            },
        ];
        Ok(Self {
            collection: MongoCollection::open(name, url, indexes).await?,
            lost: Lost::default(),
        })
    }

    fn corrupt(&self, what: String) -> StoreError {
        StoreError::Corrupt {
            store: self.collection.store(),
            what,
        }
    }

    fn id<'a>(&self, row: &'a RawDocument) -> Result<&'a str, StoreError> {
        row.get_str("_id")
            .map_err(|error| self.corrupt(error.to_string()))
    }

    /// A number of a row, which our writers and people may have written as any kind.
    fn number(row: &RawDocument, field: &str) -> Result<Option<i64>, String> {
        match row.get(field) {
            Ok(None) => Ok(None),
            Ok(Some(RawBsonRef::Int64(number))) => Ok(Some(number)),
            Ok(Some(RawBsonRef::Int32(number))) => Ok(Some(number.into())),
            Ok(Some(_)) => Err(format!("{field} is no integer")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn counter<T: TryFrom<i64>>(row: &RawDocument, field: &str) -> Result<T, String> {
        let number = Self::number(row, field)?.ok_or_else(|| format!("{field} is missing"))?;
        T::try_from(number).map_err(|_| format!("{field} is {number}"))
    }

    fn document(&self, row: &RawDocument) -> Result<Row, StoreError> {
        let id = self.id(row)?;
        let rest = || {
            let owner = match row.get("owner") {
                Ok(Some(RawBsonRef::String(owner))) => Some(owner.to_owned()),
                Ok(None) => None,
                _ => return Err("owner is no text".to_owned()),
            };
            Ok(Document {
                id: id.to_owned(),
                shard: Self::counter(row, "shard")?,
                version: Self::counter(row, "version")?,
                fence: Self::counter(row, "fence")?,
                due_at: Self::number(row, "due_at")?.map(Timestamp::from_millis),
                owner,
                body: row.get_str("body").map_err(|error| error.to_string())?.to_owned(),
            })
        };
        Ok(rest().map_err(|what| Unreadable {
            id: id.to_owned(),
            due_at: None,
            error: self.corrupt(format!("{id}: {what}")),
        }))
    }

    fn documents(&self, rows: Vec<RawDocumentBuf>) -> Result<Vec<Row>, StoreError> {
        rows.iter().map(|row| self.document(row)).collect()
    }

    async fn ids(&self, query: Query) -> Result<Vec<String>, StoreError> {
        let rows = self.collection.find(query).await?;
        rows.iter().map(|row| self.id(row).map(str::to_owned)).collect()
    }

    /// The ids of those that were applied.
    ///
    /// # Errors
    /// Where one failed otherwise than by a conflict.
    fn applied_of<'a>(
        &self,
        ids: impl Iterator<Item = &'a str>,
        results: Vec<OperationResult>,
    ) -> Result<HashSet<String>, StoreError> {
        let store = self.collection.store();
        let mut applied = HashSet::with_capacity(results.len());
        let mut failure = None;
        for (id, result) in ids.zip(results) {
            match result {
                Ok(0) => {}
                Ok(_) => {
                    applied.insert(id.to_owned());
                }
                Err(error) if error.code() == DUPLICATE_KEY => {}
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            None => Ok(applied),
            Some(error) if applied.is_empty() => Err(error.into_error(store)),
            // Others were written: of all of them nothing less can be said.
            Some(error) => Err(StoreError::OutcomeUnknown {
                store,
                cause: error.into(),
            }),
        }
    }
}

/// A body of a row at rest. The field is a string, which never equals bytes.
fn text<'a>(store: &'static str, bytes: &'a [u8]) -> Result<&'a str, StoreError> {
    std::str::from_utf8(bytes).map_err(|error| refused(store, error))
}

/// An operation on one document of a bulk write.
pub(super) fn update(filter: RawDocumentBuf, update: RawDocumentBuf, upsert: bool) -> RawDocumentBuf {
    rawdoc! { "update": 0, "filter": filter, "updateMods": update, "multi": false, "upsert": upsert }
}

/// Compare-and-set of one row. A new row is inserted where none has its id: nothing has the version 0 but what bars lost writes, and
/// with another version there the insertion fails on the key.
fn compare_and_set(mark: &str, write: &DocumentWrite) -> RawDocumentBuf {
    let document = &write.document;
    let filter = rawdoc! {
        "_id": document.id.as_str(),
        "version": number(write.expected),
        "barred": { "$ne": mark },
    };
    let mut set = rawdoc! {
        "shard": i32::from(document.shard),
        "version": number(document.version),
        "fence": number(document.fence),
        "mark": mark,
        "body": document.body.as_str(),
    };
    let mut unset = rawdoc! { "barred": "" };
    match document.due_at {
        Some(due_at) => set.append(cstr!("due_at"), due_at.as_millis()),
        None => unset.append(cstr!("due_at"), ""),
    }
    match &document.owner {
        Some(owner) => set.append(cstr!("owner"), owner.as_str()),
        None => unset.append(cstr!("owner"), ""),
    }
    let is_creation = write.expected == 0;
    if is_creation {
        // Those of one process grow, and follow the order of a batch; between processes the clocks decide.
        let created = uuid::Uuid::now_v7().simple().to_string();
        set.append(cstr!("created"), created.as_str());
    }
    update(filter, rawdoc! { "$set": set, "$unset": unset }, is_creation)
}

/// Rows, and not what bars lost writes.
pub(super) fn rows(mut filter: BsonDocument) -> BsonDocument {
    filter.insert("version", doc! { "$gt": 0_i64 });
    filter
}

fn of_ids(ids: &[String]) -> BsonDocument {
    rows(doc! { "_id": { "$in": ids } })
}

pub(super) fn above(after: Option<&str>) -> BsonDocument {
    rows(after.map_or_else(BsonDocument::new, |after| doc! { "_id": { "$gt": after } }))
}

#[async_trait]
impl WriteParts for MongoDocuments {
    fn store(&self) -> &'static str {
        self.collection.store()
    }

    fn keeps_events(&self) -> bool {
        false
    }

    fn unfit(&self, write: &DocumentWrite) -> Option<String> {
        let Document { id, owner, body, .. } = &write.document;
        let key = id.len().max(owner.as_ref().map_or(0, String::len));
        if key > KEY_LIMIT {
            return Some(format!("a key of {key} bytes is too long"));
        }
        (body.len() > BODY_LIMIT).then(|| format!("a body of {} bytes is too long", body.len()))
    }

    async fn write_part(&self, mark: &str, part: &[&DocumentWrite]) -> Result<HashSet<String>, StoreError> {
        let mut applied = HashSet::with_capacity(part.len());
        for rows in part.chunks(COMMAND_ROWS) {
            let operations = rows.iter().map(|write| compare_and_set(mark, write)).collect();
            let ids = rows.iter().map(|write| write.document.id.as_str());
            let written = match self.collection.bulk_write(false, operations).await {
                Ok(results) => self.applied_of(ids, results),
                Err(error) => Err(error),
            };
            match written {
                Ok(ids) => applied.extend(ids),
                Err(error) if applied.is_empty() => return Err(error),
                // Those of a former command are durable: of all of them nothing less can be said.
                Err(error) => {
                    return Err(StoreError::OutcomeUnknown {
                        store: self.collection.store(),
                        cause: Box::new(error),
                    });
                }
            }
        }
        Ok(applied)
    }
}

#[async_trait]
impl DocumentStore for MongoDocuments {
    fn name(&self) -> &'static str {
        self.collection.store()
    }

    fn technology(&self) -> &'static str {
        "mongodb"
    }

    fn batches_in_flight(&self) -> usize {
        BATCHES_IN_FLIGHT
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.collection.ping().await
    }

    async fn load_many(&self, ids: &[String]) -> Result<Vec<Row>, StoreError> {
        let rows = self.collection.find(Query {
            filter: of_ids(ids),
            projection: BsonDocument::new(),
            sort: BsonDocument::new(),
            limit: ids.len(),
        });
        self.documents(rows.await?)
    }

    async fn versions(&self, ids: &[String]) -> Result<Vec<u64>, StoreError> {
        let query = Query {
            filter: of_ids(ids),
            projection: doc! { "version": 1 },
            sort: BsonDocument::new(),
            limit: ids.len(),
        };
        let rows = self.collection.find(query).await?;
        let mut versions = HashMap::with_capacity(rows.len());
        for row in &rows {
            let id = self.id(row)?;
            let version: u64 =
                Self::counter(row, "version").map_err(|what| self.corrupt(format!("{id}: {what}")))?;
            versions.insert(id, version);
        }
        Ok(ids
            .iter()
            .map(|id| versions.get(id.as_str()).copied().unwrap_or(0))
            .collect())
    }

    async fn write(&self, mark: &str, batch: &[DocumentWrite]) -> Result<Vec<WriteOutcome>, StoreError> {
        self.lost.make_room(&self.collection).await?;
        let under_way = self.lost.track(mark, batch);
        let outcomes = batch::write(self, mark, batch).await;
        if !matches!(outcomes, Err(StoreError::OutcomeUnknown { .. })) {
            under_way.answered();
        }
        outcomes
    }

    async fn applied(&self, mark: &str, ids: &[String]) -> Result<Vec<bool>, StoreError> {
        self.lost.settle(&self.collection, mark).await?;
        let found = self.ids(Query {
            filter: doc! { "_id": { "$in": ids }, "mark": mark },
            projection: doc! { "_id": 1 },
            sort: BsonDocument::new(),
            limit: ids.len(),
        });
        let found: HashSet<String> = found.await?.into_iter().collect();
        Ok(ids.iter().map(|id| found.contains(id)).collect())
    }

    async fn due(
        &self,
        shards: &[u16],
        due: RangeInclusive<Timestamp>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let shards: Vec<i32> = shards.iter().copied().map(i32::from).collect();
        let (from, until) = (due.start().as_millis(), due.end().as_millis());
        let query = Query {
            filter: doc! { "due_at": { "$gte": from, "$lte": until }, "shard": { "$in": shards } },
            projection: doc! { "_id": 1 },
            sort: doc! { "due_at": 1, "_id": 1 },
            limit,
        };
        self.ids(query).await
    }

    async fn by_owner(
        &self,
        owner: &str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut filter = doc! { "owner": owner };
        if let Some(before) = before {
            let found = self.collection.find(Query {
                filter: doc! { "_id": before },
                projection: doc! { "created": 1 },
                sort: BsonDocument::new(),
                limit: 1,
            });
            let found = found.await?;
            let Some(created) = found.first().and_then(|row| row.get_str("created").ok()) else {
                return Ok(Vec::new());
            };
            filter.insert("created", doc! { "$lt": created });
        }
        let rows = self.collection.find(Query {
            filter,
            projection: BsonDocument::new(),
            sort: doc! { "created": -1 },
            limit,
        });
        self.documents(rows.await?)
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.collection.find(Query {
            filter: above(after),
            projection: BsonDocument::new(),
            sort: doc! { "_id": 1 },
            limit,
        });
        self.documents(rows.await?)
    }
}

#[async_trait]
impl RowsAtRest for MongoDocuments {
    fn store(&self) -> &'static str {
        self.collection.store()
    }

    async fn rows_at_rest(&self, after: Option<&str>, limit: usize) -> Result<Vec<RowAtRest>, StoreError> {
        let query = Query {
            filter: above(after),
            projection: doc! { "body": 1 },
            sort: doc! { "_id": 1 },
            limit,
        };
        let rows = self.collection.find(query).await?;
        let row = |row: &RawDocumentBuf| {
            let id = self.id(row)?;
            let body = row
                .get_str("body")
                .map_err(|error| self.corrupt(format!("{id}: {error}")))?;
            Ok(RowAtRest {
                id: id.to_owned(),
                content: body.as_bytes().to_vec(),
            })
        };
        rows.iter().map(row).collect()
    }

    /// Each row is replaced by itself: MongoDB needs no transaction for that, and none of the rows depends on another.
    async fn reseal(&self, rows: &[Resealed]) -> Result<Vec<bool>, StoreError> {
        let store = self.collection.store();
        let size = |resealed: &Resealed| resealed.row.content.len() + resealed.content.len();
        let mut replaced = HashSet::with_capacity(rows.len());
        for part in parts(rows, RESEAL_BYTES, size) {
            let mut operations = Vec::with_capacity(part.len());
            for Resealed { row, content } in part {
                let former = rawdoc! { "_id": row.id.as_str(), "body": text(store, &row.content)? };
                let new = rawdoc! { "$set": { "body": text(store, content)? } };
                operations.push(update(former, new, false));
            }
            let results = self.collection.bulk_write(false, operations).await?;
            let ids = part.iter().map(|resealed| resealed.row.id.as_str());
            replaced.extend(self.applied_of(ids, results)?);
        }
        Ok(rows
            .iter()
            .map(|resealed| replaced.contains(&resealed.row.id))
            .collect())
    }
}

#[cfg(test)]
#[path = "mongodb_tests.rs"]
mod tests;
