//! The rows of a catalogue in Elasticsearch, for moving them.
//!
//! Searches can sort products by their number, but badges by nothing that the other technologies have, and they lag. So after a
//! refresh the ids of a table are read once, sorted in memory, and looked up page by page, which is realtime.
//!
//! A product keeps its number, category, brand, price, stock and body as the row has them. What its document holds beside these, for
//! searches, is derived from the body and from the categories, and so are the documents of the SKUs. The counter of numbers is
//! brought above all of them in the end.

use std::collections::HashSet;
use std::error::Error;

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value as Json, json};
use souk_domain::catalogue::{Category, Product};
use souk_embedded::Value;
use tokio::sync::OnceCell;

use super::{PAGE_BYTES, PAGE_ROWS, Page, Position, Record, Table, Transfer, size, tables};
use crate::stores::StoreError;
use crate::stores::elasticsearch::{Hits, Index, Operation, Outcome, Server, outcome_of_all};
use crate::stores::products::elasticsearch::{
    BADGES, BadgeDocument, ElasticProducts, Kept, PRODUCTS, categories, document, name_of, names,
};

/// Ids that one search finds.
const KEYS: usize = 5_000;

/// Products of one read, whose size is not known before.
const READ_ROWS: usize = 50;

/// What Elasticsearch has for `stores.catalogue`.
pub struct ElasticTransfer {
    products: ElasticProducts,
    /// All products in the order of their numbers: read once, and kept.
    numbers: OnceCell<Vec<(i64, String)>>,
    /// The SKUs of all badges in their order, likewise.
    skus: OnceCell<Vec<String>>,
}

/// The row of a product, as its document has it.
#[derive(Deserialize)]
struct Exported {
    number: i64,
    category: String,
    brand: String,
    price: Option<i64>,
    in_stock: bool,
    body: String,
}

/// The row of a product that becomes a document.
struct Imported<'a> {
    place: Kept,
    id: &'a str,
    category: &'a str,
    brand: &'a str,
    price: Option<i64>,
    body: &'a str,
    product: Product,
}

/// Which product of a page it is that the server or the adapter does not accept.
#[derive(Debug, thiserror::Error)]
#[error("the product {id}")]
struct OfProduct {
    id: String,
    #[source]
    cause: Box<dyn Error + Send + Sync>,
}

impl ElasticTransfer {
    /// The rows of this catalogue.
    pub fn new(products: ElasticProducts) -> Self {
        Self {
            products,
            numbers: OnceCell::new(),
            skus: OnceCell::new(),
        }
    }

    fn server(&self) -> &Server {
        &self.products.server
    }

    fn of_product(&self, id: &str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
        self.server().refused(OfProduct {
            id: id.to_owned(),
            cause: cause.into(),
        })
    }

    fn no_row(&self, table: &str, record: &Record) -> StoreError {
        self.server().refused(format!("no row of {table}: {record:?}"))
    }

    fn no_table(&self, table: &Table) -> StoreError {
        self.server().refused(format!("there is no table {}", table.name))
    }

    /// How many documents searches find.
    async fn total(&self, index: &Index) -> Result<u64, StoreError> {
        let query = json!({ "size": 0, "track_total_hits": true });
        let found: Hits<IgnoredAny> = self.server().search(index, query).await?;
        Ok(found.total)
    }

    /// The ids of all documents behind the values of `field`, of which each document has another, in the order of these.
    async fn ids(&self, index: &Index, field: &str) -> Result<Vec<(i64, String)>, StoreError> {
        let server = self.server();
        server.refresh(index).await?;
        let mut all: Vec<(i64, String)> = Vec::new();
        loop {
            let mut query = json!({ "size": KEYS, "_source": false, "sort": [{ field: "asc" }] });
            if let Some((last, _)) = all.last() {
                query["search_after"] = json!([last]);
            }
            let page: Hits<IgnoredAny> = server.search(index, query).await?;
            if page.hits.is_empty() {
                break;
            }
            for hit in page.hits {
                let Some(value) = hit.sort.first().and_then(Json::as_i64) else {
                    return Err(server.corrupt(format!("{field} of {:?} is no number", hit.id)));
                };
                all.push((value, hit.id));
            }
        }
        // Of several with one value, those behind the end of a page were passed over.
        let (found, total) = (all.len(), self.total(index).await?);
        if all.is_sorted_by(|one, next| one.0 < next.0) && found as u64 == total {
            return Ok(all);
        }
        Err(server.corrupt(format!(
            "the {total} documents of {} do not have a {field} each: {found} were found by it",
            index.name
        )))
    }

    async fn export_categories(&self, after: Option<&Position>) -> Result<Page, StoreError> {
        let from = match after.map(Vec::as_slice) {
            None => 0,
            Some([Value::Integer(place)]) => usize::try_from(*place).unwrap_or(usize::MAX),
            Some(other) => return Err(self.no_position(other)),
        };
        let all = categories(self.server()).await?;
        let some = all.into_iter().skip(from).take(PAGE_ROWS);
        let records: Vec<Record> = some
            .map(|category| vec![category.slug.into(), category.name.into(), category.parent.into()])
            .collect();
        let next = vec![(from.saturating_add(records.len())).into()];
        Ok(Page { records, next })
    }

    async fn export_products(&self, after: Option<&Position>) -> Result<Page, StoreError> {
        let all = self
            .numbers
            .get_or_try_init(|| self.ids(&PRODUCTS, "number"))
            .await?;
        let from = match after.map(Vec::as_slice) {
            None => 0,
            Some([Value::Integer(number)]) => all.partition_point(|(own, _)| own <= number),
            Some(other) => return Err(self.no_position(other)),
        };
        let some = all.get(from..).unwrap_or_default();
        let some = &some[..some.len().min(PAGE_ROWS)];
        let (mut page, mut bytes) = (Page::default(), 0);
        for part in some.chunks(READ_ROWS) {
            for ((number, _), record) in part.iter().zip(self.read_products(part).await?) {
                bytes += size(&record);
                if !page.records.is_empty() && bytes > PAGE_BYTES {
                    return Ok(page);
                }
                page.records.push(record);
                page.next = vec![(*number).into()];
            }
        }
        Ok(page)
    }

    /// Some products, in their order.
    async fn read_products(&self, some: &[(i64, String)]) -> Result<Vec<Record>, StoreError> {
        let ids: Vec<&str> = some.iter().map(|(_, id)| id.as_str()).collect();
        let fields = ["number", "category", "brand", "price", "in_stock", "body"];
        let mut found = self
            .server()
            .documents::<Exported>(&PRODUCTS, &ids, &fields)
            .await?;
        let record = |id: &&str| {
            let row = found.remove(*id).ok_or_else(|| self.vanished(id))?.source;
            Ok(vec![
                row.number.into(),
                (*id).into(),
                row.category.into(),
                row.brand.into(),
                row.price.into(),
                i64::from(row.in_stock).into(),
                row.body.into(),
            ])
        };
        ids.iter().map(record).collect()
    }

    async fn export_badges(&self, after: Option<&Position>) -> Result<Page, StoreError> {
        let read = async || {
            // By the changes that made them: nothing else of them is in the order of an index.
            let all = self.ids(&BADGES, "_seq_no").await?;
            let mut skus: Vec<String> = all.into_iter().map(|(_, sku)| sku).collect();
            skus.sort_unstable();
            Ok::<_, StoreError>(skus)
        };
        let all = self.skus.get_or_try_init(read).await?;
        let from = match after.map(Vec::as_slice) {
            None => 0,
            Some([Value::Text(sku)]) => all.partition_point(|own| own <= sku),
            Some(other) => return Err(self.no_position(other)),
        };
        let some: Vec<&str> = all
            .iter()
            .skip(from)
            .take(PAGE_ROWS)
            .map(String::as_str)
            .collect();
        let mut found = self
            .server()
            .documents::<BadgeDocument>(&BADGES, &some, &["available"])
            .await?;
        let record = |sku: &&str| {
            let badge = found.remove(*sku).ok_or_else(|| self.vanished(sku))?;
            Ok(vec![
                (*sku).into(),
                badge.source.available.into(),
                badge.version.into(),
            ])
        };
        Ok(Page {
            records: some.iter().map(record).collect::<Result<_, StoreError>>()?,
            next: some.last().map(|sku| (*sku).into()).into_iter().collect(),
        })
    }

    fn no_position(&self, position: &[Value]) -> StoreError {
        self.server().refused(format!("no position: {position:?}"))
    }

    fn vanished(&self, id: &str) -> StoreError {
        self.server()
            .corrupt(format!("{id:?} vanished while it was read"))
    }

    async fn import_categories(&self, records: &[Record]) -> Result<(), StoreError> {
        let known: HashSet<String> = categories(self.server())
            .await?
            .into_iter()
            .map(|category| category.slug)
            .collect();
        let mut new = Vec::new();
        for record in records {
            let [Value::Text(slug), Value::Text(name), parent] = record.as_slice() else {
                return Err(self.no_row("categories", record));
            };
            let parent = match parent {
                Value::Null => None,
                Value::Text(parent) => Some(parent.clone()),
                _ => return Err(self.no_row("categories", record)),
            };
            if !known.contains(slug) {
                let (slug, name) = (slug.clone(), name.clone());
                new.push(Category { slug, name, parent });
            }
        }
        self.products.change_categories(&new).await
    }

    fn imported<'a>(&self, record: &'a Record) -> Result<Imported<'a>, StoreError> {
        let [
            Value::Integer(number),
            Value::Text(id),
            Value::Text(category),
            Value::Text(brand),
            price @ (Value::Null | Value::Integer(_)),
            Value::Integer(in_stock @ (0 | 1)),
            Value::Text(body),
        ] = record.as_slice()
        else {
            return Err(self.no_row("products", record));
        };
        Ok(Imported {
            place: Kept {
                number: u64::try_from(*number).map_err(|error| self.of_product(id, error))?,
                in_stock: *in_stock == 1,
            },
            id,
            category,
            brand,
            price: match price {
                Value::Integer(price) => Some(*price),
                _ => None,
            },
            body,
            product: serde_json::from_str(body).map_err(|error| self.of_product(id, error))?,
        })
    }

    async fn import_products(&self, records: &[Record]) -> Result<(), StoreError> {
        let rows = records
            .iter()
            .map(|record| self.imported(record))
            .collect::<Result<Vec<_>, _>>()?;
        let products: Vec<&Product> = rows.iter().map(|row| &row.product).collect();
        self.products.put_skus(&products).await?;
        let names = names(&categories(self.server()).await?);
        let operation = |row: &Imported<'_>| {
            let mut document = document(&row.product, &row.place, &names)?;
            document.category = row.category;
            document.brand = row.brand;
            document.price = row.price;
            document.category_name = name_of(&names, row.category);
            // As it is, and not as this version would write it.
            document.body = row.body.to_owned();
            Operation::create(row.id, &document)
        };
        let operations = rows
            .iter()
            .map(|row| operation(row).map_err(|error| self.of_product(row.id, error)))
            .collect::<Result<Vec<_>, _>>()?;
        let outcomes = self.server().bulk(&PRODUCTS, &operations).await?;
        // One that is there already conflicts.
        outcome_of_all(rows.iter().zip(outcomes).map(|(row, outcome)| match outcome {
            Outcome::Failed(StoreError::Refused { cause, .. }) => {
                Outcome::Failed(self.of_product(row.id, cause))
            }
            outcome => outcome,
        }))
    }

    async fn import_badges(&self, records: &[Record]) -> Result<(), StoreError> {
        let operation = |record: &Record| {
            let no_row = || self.no_row("badges", record);
            let [
                Value::Text(sku),
                Value::Integer(available),
                Value::Integer(version),
            ] = record.as_slice()
            else {
                return Err(no_row());
            };
            let badge = BadgeDocument {
                available: u32::try_from(*available).map_err(|_| no_row())?,
            };
            let version = u64::try_from(*version).map_err(|_| no_row())?;
            Operation::newer(sku, version, &badge).map_err(|error| self.server().refused(error))
        };
        let operations = records.iter().map(operation).collect::<Result<Vec<_>, _>>()?;
        // One that is there already is not older, and conflicts.
        outcome_of_all(self.server().bulk(&BADGES, &operations).await?)
    }
}

#[async_trait]
impl Transfer for ElasticTransfer {
    fn store(&self) -> &'static str {
        self.server().store()
    }

    fn tables(&self) -> &'static [Table] {
        &tables::CATALOGUE
    }

    async fn count(&self, table: &'static Table) -> Result<u64, StoreError> {
        let index = match table.name {
            "categories" => return Ok(categories(self.server()).await?.len() as u64),
            "products" => &PRODUCTS,
            "badges" => &BADGES,
            _ => return Err(self.no_table(table)),
        };
        self.server().refresh(index).await?;
        self.total(index).await
    }

    async fn export(&self, table: &'static Table, after: Option<&Position>) -> Result<Page, StoreError> {
        match table.name {
            "categories" => self.export_categories(after).await,
            "products" => self.export_products(after).await,
            "badges" => self.export_badges(after).await,
            _ => Err(self.no_table(table)),
        }
    }

    async fn import(&self, table: &'static Table, _: u64, records: &[Record]) -> Result<(), StoreError> {
        match table.name {
            "categories" => self.import_categories(records).await,
            "products" => self.import_products(records).await,
            "badges" => self.import_badges(records).await,
            _ => Err(self.no_table(table)),
        }
    }

    async fn finish(&self) -> Result<(), StoreError> {
        let server = self.server();
        server.refresh(&PRODUCTS).await?;
        let query = json!({ "size": 1, "_source": false, "sort": [{ "number": "desc" }] });
        let last: Hits<IgnoredAny> = server.search(&PRODUCTS, query).await?;
        let highest = last.hits.first().and_then(|hit| hit.sort.first()?.as_u64());
        match highest {
            Some(highest) => self.products.number_above(highest).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "elasticsearch_tests.rs"]
mod elasticsearch_tests;
