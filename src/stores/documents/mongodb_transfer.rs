//! The rows of a store in MongoDB, for moving them. It keeps no events, so that of the tables of a store of rows only the documents can have
//! any.

use async_trait::async_trait;
use mongodb::bson::raw::cstr;
use mongodb::bson::{Document as BsonDocument, RawBsonRef, RawDocument, RawDocumentBuf, doc, rawdoc};
use tokio::sync::OnceCell;

use super::mongodb::{MongoDocuments, above, rows, update};
use crate::stores::StoreError;
use crate::stores::mongodb::{Query, refused};
use crate::stores::transfer::{PAGE_BYTES, PAGE_ROWS, Page, Position, Record, Table, Transfer, size, tables};
use souk_embedded::Value;

/// Keys of one read, where all of them are read.
const KEYS: usize = 5_000;

/// Rows of one read, whose size is not known before.
const READ_ROWS: usize = 16;

/// Rows of one command; see the adapter.
const COMMAND_ROWS: usize = 100;

/// The documents of a store, for moving them.
pub struct MongoTransfer {
    documents: MongoDocuments,
    /// All documents in the order of their creation: read once, by their ids, and kept.
    creations: OnceCell<Vec<(String, String)>>,
}

impl MongoTransfer {
    /// Those of a store.
    pub fn new(documents: MongoDocuments) -> Self {
        Self {
            documents,
            creations: OnceCell::new(),
        }
    }

    fn corrupt(&self, id: &str, field: &str) -> StoreError {
        StoreError::Corrupt {
            store: self.store(),
            what: format!("{field} of {id:?} is missing or of a wrong kind"),
        }
    }

    /// The ids with `created` in the order of the ids.
    async fn all(&self) -> Result<Vec<(String, String)>, StoreError> {
        let mut all: Vec<(String, String)> = Vec::new();
        loop {
            let found = self.documents.collection.find(Query {
                filter: above(all.last().map(|(_, id)| id.as_str())),
                projection: doc! { "created": 1 },
                sort: doc! { "_id": 1 },
                limit: KEYS,
            });
            let found = found.await?;
            if found.is_empty() {
                return Ok(all);
            }
            for row in &found {
                let id = row.get_str("_id").map_err(|_| self.corrupt("?", "_id"))?;
                let created = row.get_str("created").map_err(|_| self.corrupt(id, "created"))?;
                all.push((created.to_owned(), id.to_owned()));
            }
        }
    }

    async fn creations(&self) -> Result<&[(String, String)], StoreError> {
        let read = async || {
            let mut all = self.all().await?;
            all.sort_unstable();
            Ok(all)
        };
        self.creations.get_or_try_init(read).await.map(Vec::as_slice)
    }

    /// Some rows, in the order of `ids`.
    async fn read(&self, ids: &[&str]) -> Result<Vec<Record>, StoreError> {
        let found = self.documents.collection.find(Query {
            filter: rows(doc! { "_id": { "$in": ids } }),
            projection: BsonDocument::new(),
            sort: BsonDocument::new(),
            limit: ids.len(),
        });
        let mut found = found
            .await?
            .iter()
            .map(|row| self.record(row))
            .collect::<Result<Vec<_>, _>>()?;
        let place = |record: &Record| ids.iter().position(|id| record[0] == Value::from(*id));
        found.sort_by_key(place);
        if found.len() < ids.len() {
            return Err(StoreError::Corrupt {
                store: self.store(),
                what: "rows vanished while they were read".to_owned(),
            });
        }
        Ok(found)
    }

    /// In the order of the table's columns.
    fn record(&self, row: &RawDocument) -> Result<Record, StoreError> {
        let id = row.get_str("_id").map_err(|_| self.corrupt("?", "_id"))?;
        let number = |field: &str| match row.get(field) {
            Ok(None) => Ok(Value::Null),
            Ok(Some(RawBsonRef::Int64(number))) => Ok(number.into()),
            Ok(Some(RawBsonRef::Int32(number))) => Ok(i64::from(number).into()),
            _ => Err(self.corrupt(id, field)),
        };
        let text = |field: &str| match row.get(field) {
            Ok(None) => Ok(Value::Null),
            Ok(Some(RawBsonRef::String(text))) => Ok(text.into()),
            _ => Err(self.corrupt(id, field)),
        };
        Ok(vec![
            id.into(),
            number("shard")?,
            number("version")?,
            number("fence")?,
            number("due_at")?,
            text("owner")?,
            text("mark")?,
            text("body")?,
        ])
    }

    /// What inserts a row, unless there is one.
    fn insertion(&self, number: u64, record: &Record) -> Result<RawDocumentBuf, StoreError> {
        let [
            Value::Text(id),
            Value::Integer(shard),
            Value::Integer(version),
            Value::Integer(fence),
            due_at,
            owner,
            Value::Text(mark),
            Value::Text(body),
        ] = record.as_slice()
        else {
            return Err(refused(self.store(), format!("no row of documents: {record:?}")));
        };
        let mut row = rawdoc! {
            "shard": *shard,
            "version": *version,
            "fence": *fence,
            "mark": mark.as_str(),
            "body": body.as_str(),
            // Below every time-ordered UUID, so that rows that are created later are newer.
            "created": format!("{number:032x}"),
        };
        if let Value::Integer(due_at) = due_at {
            row.append(cstr!("due_at"), *due_at);
        }
        if let Value::Text(owner) = owner {
            row.append(cstr!("owner"), owner.as_str());
        }
        let filter = rawdoc! { "_id": id.as_str() };
        Ok(update(filter, rawdoc! { "$setOnInsert": row }, true))
    }
}

/// Only documents are there.
fn is_documents(table: &Table) -> bool {
    *table == tables::ROWS[0]
}

#[async_trait]
impl Transfer for MongoTransfer {
    fn store(&self) -> &'static str {
        self.documents.collection.store()
    }

    fn tables(&self) -> &'static [Table] {
        &tables::ROWS
    }

    async fn count(&self, table: &'static Table) -> Result<u64, StoreError> {
        if !is_documents(table) {
            return Ok(0);
        }
        Ok(self.all().await?.len() as u64)
    }

    async fn export(&self, table: &'static Table, after: Option<&Position>) -> Result<Page, StoreError> {
        if !is_documents(table) {
            return Ok(Page::default());
        }
        let all = self.creations().await?;
        let from = match after.map(Vec::as_slice) {
            None => 0,
            Some([Value::Text(created), Value::Text(id)]) => all.partition_point(|creation| {
                (creation.0.as_str(), creation.1.as_str()) <= (created.as_str(), id.as_str())
            }),
            Some(other) => return Err(refused(self.store(), format!("no position: {other:?}"))),
        };
        let some = all.get(from..).unwrap_or_default();
        let some = &some[..some.len().min(PAGE_ROWS)];
        let (mut records, mut bytes): (Vec<Record>, usize) = (Vec::new(), 0);
        'page: for part in some.chunks(READ_ROWS) {
            let ids: Vec<&str> = part.iter().map(|(_, id)| id.as_str()).collect();
            for record in self.read(&ids).await? {
                bytes += size(&record);
                if !records.is_empty() && bytes > PAGE_BYTES {
                    break 'page;
                }
                records.push(record);
            }
        }
        let next = match records.len().checked_sub(1).and_then(|last| some.get(last)) {
            Some((created, id)) => vec![created.as_str().into(), id.as_str().into()],
            None => Position::new(),
        };
        Ok(Page { records, next })
    }

    async fn import(&self, table: &'static Table, before: u64, records: &[Record]) -> Result<(), StoreError> {
        if !is_documents(table) && !records.is_empty() {
            let cause = format!("it keeps no events, and there are rows of {}", table.name);
            return Err(refused(self.store(), cause));
        }
        let numbered: Vec<(u64, &Record)> = (before + 1..).zip(records).collect();
        for part in numbered.chunks(COMMAND_ROWS) {
            let operations = part
                .iter()
                .map(|(number, record)| self.insertion(*number, record))
                .collect::<Result<Vec<_>, _>>()?;
            for result in self.documents.collection.bulk_write(false, operations).await? {
                result.map_err(|error| error.into_error(self.store()))?;
            }
        }
        Ok(())
    }

    /// What is created later has a time in it.
    async fn finish(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::documents::{DocumentStore as _, WriteOutcome, contract, row_id};
    use crate::stores::mongodb::testing::TestDatabase;
    use crate::stores::transfer::testing::{assert_filled_table, record};

    /// The second page is not full.
    const FILLED: u64 = PAGE_ROWS as u64 + 3;

    #[tokio::test(flavor = "multi_thread")]
    async fn documents_come_back_in_their_order() {
        let Some(database) = TestDatabase::create() else {
            return;
        };
        let open = async || {
            let documents = MongoDocuments::open(&database.url(), "carts").await.unwrap();
            MongoTransfer::new(documents)
        };
        let (transfer, table) = (open().await, &tables::ROWS[0]);
        let records: Vec<Record> = (1..=FILLED).map(|number| record(table, number)).collect();
        // A page may be imported twice.
        for part in [
            &records[..PAGE_ROWS],
            &records[..PAGE_ROWS],
            &records[PAGE_ROWS..],
        ] {
            let before = if part.len() == PAGE_ROWS {
                0
            } else {
                PAGE_ROWS as u64
            };
            transfer.import(table, before, part).await.unwrap();
        }
        // What only bars a lost write is no row.
        let bar = update(
            rawdoc! { "_id": "barred" },
            rawdoc! { "$set": { "version": 0_i64 } },
            true,
        );
        transfer
            .documents
            .collection
            .bulk_write(false, vec![bar])
            .await
            .unwrap();
        assert_eq!(transfer.count(table).await.unwrap(), FILLED);
        assert_filled_table(&transfer, table, FILLED).await;

        let documents = &transfer.documents;
        let Value::Text(owner) = &records[FILLED as usize - 1][5] else {
            panic!("the last row has an owner");
        };
        let mut write = contract::write("new", 0);
        write.document.owner = Some(owner.clone());
        assert_eq!(
            documents.write("new", &[write]).await.unwrap(),
            [WriteOutcome::Applied]
        );
        let listed = documents.by_owner(owner, None, 10).await.unwrap();
        let listed: Vec<Value> = listed.iter().map(|row| row_id(row).into()).collect();
        assert_eq!(listed, ["new".into(), records[FILLED as usize - 1][0].clone()]);
        assert_eq!(open().await.count(table).await.unwrap(), FILLED + 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn events_are_refused() {
        let Some(database) = TestDatabase::create() else {
            return;
        };
        let documents = MongoDocuments::open(&database.url(), "carts").await.unwrap();
        let transfer = MongoTransfer::new(documents);
        let ledger = &tables::ROWS[1];
        let error = transfer
            .import(ledger, 0, &[record(ledger, 1)])
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error}");
        transfer.import(ledger, 0, &[]).await.unwrap();
    }
}
