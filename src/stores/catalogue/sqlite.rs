//! The catalogue in SQLite, its full-text search by FTS5.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use async_trait::async_trait;
use serde::Serialize;

use super::search::{Selection, page, total};
use super::{Badge, Catalogue, ProductPage, ProductQuery};
use crate::stores::StoreError;
use crate::stores::sqlite::Database;
use souk_domain::catalogue::{Category, Product};
use souk_domain::{ProductId, Sku};
use souk_embedded::{Rows, Statement, Writer};

/// The schema: every migration, oldest first.
pub const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_catalogue.sql")];

/// Rows that go into one transaction.
const TRANSACTION_ROWS: usize = 500;

/// Bytes of JSON that go into one transaction (a single row may be larger), well below what a message to the store
/// process may be.
const TRANSACTION_BYTES: usize = 2 * 1024 * 1024;

// Products, as a JSON array of themselves in ?1. The order of the five matters.
const PUT_PRODUCTS: &str = "INSERT INTO products (id, category, brand, price, body) \
     SELECT j.value->>'$.id', j.value->>'$.category', j.value->>'$.brand', \
         (SELECT min(v.value->>'$.price.amount') FROM json_each(j.value, '$.variants') AS v), j.value \
     FROM json_each(?1) AS j WHERE true ORDER BY j.key \
     ON CONFLICT (id) DO UPDATE SET \
         category = excluded.category, brand = excluded.brand, price = excluded.price, body = excluded.body";
const FORGET_SKUS: &str =
    "DELETE FROM skus WHERE product IN (SELECT j.value->>'$.id' FROM json_each(?1) AS j)";
const PUT_SKUS: &str = "INSERT INTO skus (sku, product) \
     SELECT v.value->>'$.sku', j.value->>'$.id' \
     FROM json_each(?1) AS j, json_each(j.value, '$.variants') AS v WHERE true \
     ON CONFLICT (sku) DO UPDATE SET product = excluded.product";
const INDEX_PRODUCTS: &str = "INSERT OR REPLACE INTO search (rowid, title, description, brand, category, attributes) \
     SELECT p.sequence, j.value->>'$.title', j.value->>'$.description', p.brand, coalesce(c.name, p.category), \
         (SELECT group_concat(a.value, ' ') FROM json_each(j.value, '$.attributes') AS a) \
     FROM json_each(?1) AS j \
     CROSS JOIN products AS p ON p.id = j.value->>'$.id' \
     LEFT JOIN categories AS c ON c.slug = p.category";

/// Sets the stock flag of some products to what the badges say, where it says something else.
macro_rules! flag {
    ($some:literal) => {
        concat!(
            "UPDATE products SET in_stock = NOT in_stock WHERE id IN (",
            $some,
            ") AND in_stock <> EXISTS (SELECT 1 FROM skus AS s JOIN badges AS b ON b.sku = s.sku \
               WHERE s.product = products.id AND b.available > 0)"
        )
    };
}
const FLAG_PRODUCTS: &str = flag!("SELECT j.value->>'$.id' FROM json_each(?1) AS j");

// Categories, as a JSON array of themselves in ?1: first the products of those whose name changes, then they.
const INDEX_CATEGORIES: &str = "INSERT OR REPLACE INTO search (rowid, title, description, brand, category, attributes) \
     SELECT p.sequence, p.body->>'$.title', p.body->>'$.description', p.brand, j.value->>'$.name', \
         (SELECT group_concat(a.value, ' ') FROM json_each(p.body, '$.attributes') AS a) \
     FROM json_each(?1) AS j \
     CROSS JOIN products AS p ON p.category = j.value->>'$.slug' \
     LEFT JOIN categories AS c ON c.slug = p.category \
     WHERE c.name IS NOT j.value->>'$.name'";
const PUT_CATEGORIES: &str = "INSERT INTO categories (slug, name, parent) \
     SELECT j.value->>'$.slug', j.value->>'$.name', j.value->>'$.parent' \
     FROM json_each(?1) AS j WHERE true ORDER BY j.key \
     ON CONFLICT (slug) DO UPDATE SET name = excluded.name, parent = excluded.parent";

// Badges, as a JSON array of [sku, available, version] in ?1.
const PUT_BADGES: &str = "INSERT INTO badges (sku, available, version) \
     SELECT j.value->>0, j.value->>1, j.value->>2 FROM json_each(?1) AS j WHERE true \
     ON CONFLICT (sku) DO UPDATE SET available = excluded.available, version = excluded.version \
     WHERE excluded.version > badges.version";
const FLAG_BADGES: &str =
    flag!("SELECT product FROM skus WHERE sku IN (SELECT j.value->>0 FROM json_each(?1) AS j)");

const PRODUCT: &str = "SELECT body FROM products WHERE id = ?1";
const PRODUCTS_OF: &str = "SELECT body FROM products WHERE id IN \
     (SELECT product FROM skus WHERE sku IN (SELECT value FROM json_each(?1)))";
const BODIES: &str =
    "SELECT sequence, body FROM products WHERE sequence IN (SELECT value FROM json_each(?1))";
const CATEGORIES: &str = "SELECT slug, name, parent FROM categories ORDER BY rowid";
const BADGES: &str =
    "SELECT sku, available, version FROM badges WHERE sku IN (SELECT value FROM json_each(?1))";

/// The catalogue in SQLite.
pub struct SqliteCatalogue {
    database: Database,
}

impl SqliteCatalogue {
    /// Opens the database `catalogue` of `directory`.
    ///
    /// # Errors
    /// As of [`Database::open`].
    pub async fn open(writer: &Writer, directory: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            database: Database::open(writer, directory, "catalogue").await?,
        })
    }

    fn json(&self, value: &impl Serialize) -> Result<String, StoreError> {
        serde_json::to_string(value).map_err(|error| StoreError::Refused {
            store: self.database.name(),
            cause: Box::new(error),
        })
    }

    fn parse(&self, body: &str) -> Result<Product, StoreError> {
        serde_json::from_str(body).map_err(|error| self.database.corrupt(format!("a product: {error}")))
    }

    fn products(&self, rows: Rows) -> Result<Vec<Product>, StoreError> {
        self.database.decode(rows, |row| self.parse(&row.text("body")?))
    }

    /// Runs `statements`, each with the same JSON array of rows, for part after part of `rows`.
    async fn put<T: Serialize + Sync>(
        &self,
        statements: &[&'static str],
        rows: impl Iterator<Item = T> + Send,
    ) -> Result<(), StoreError> {
        let mut part = String::new();
        let mut count = 0;
        for row in rows {
            let json = self.json(&row)?;
            if count == TRANSACTION_ROWS || (count > 0 && part.len() + json.len() > TRANSACTION_BYTES) {
                self.put_part(statements, &part).await?;
                part.clear();
                count = 0;
            }
            part.push(if count == 0 { '[' } else { ',' });
            part.push_str(&json);
            count += 1;
        }
        if count > 0 {
            self.put_part(statements, &part).await?;
        }
        Ok(())
    }

    async fn put_part(&self, statements: &[&'static str], part: &str) -> Result<(), StoreError> {
        let statements = statements
            .iter()
            .map(|sql| Statement::new(*sql).bind(format!("{part}]")))
            .collect();
        self.database.transact(statements).await.map(|_| ())
    }
}

/// Parents before their children. What has no way to a root (a parent that is missing, a circle) comes as it stands.
fn parents_first(mut categories: Vec<Category>) -> Vec<Category> {
    let known: HashSet<String> = categories.iter().map(|category| category.slug.clone()).collect();
    let mut placed: HashSet<String> = HashSet::new();
    let mut ordered = Vec::with_capacity(categories.len());
    while !categories.is_empty() {
        let (ready, waiting): (Vec<_>, Vec<_>) = categories.into_iter().partition(|category| {
            category
                .parent
                .as_ref()
                .is_none_or(|parent| placed.contains(parent) || !known.contains(parent))
        });
        let stuck = ready.is_empty();
        placed.extend(ready.iter().map(|category| category.slug.clone()));
        ordered.extend(ready);
        categories = waiting;
        if stuck {
            ordered.append(&mut categories);
        }
    }
    ordered
}

#[async_trait]
impl Catalogue for SqliteCatalogue {
    fn technology(&self) -> &'static str {
        "sqlite"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.database.ping().await
    }

    async fn product(&self, id: &ProductId) -> Result<Option<Product>, StoreError> {
        let statement = Statement::new(PRODUCT).bind(id.as_str());
        Ok(self.products(self.database.read(statement).await?)?.pop())
    }

    async fn products_of(&self, skus: &[Sku]) -> Result<Vec<Product>, StoreError> {
        let statement = Statement::new(PRODUCTS_OF).bind(self.json(&skus)?);
        self.products(self.database.read(statement).await?)
    }

    async fn list(&self, query: &ProductQuery) -> Result<ProductPage, StoreError> {
        let empty = ProductPage {
            items: Vec::new(),
            total: 0,
        };
        let Some(selection) = Selection::of(query) else {
            return Ok(empty);
        };
        let (sequences, totals) = tokio::try_join!(
            self.database.read(page(&selection, query)),
            self.database.read(total(&selection)),
        )?;
        let sequences: Vec<i64> = self.database.decode(sequences, |row| row.integer("sequence"))?;
        let totals = self.database.decode(totals, |row| row.integer("count"))?;
        // The page is found first, by indexes alone; only then are the bodies of its products read.
        let bodies = Statement::new(BODIES).bind(self.json(&sequences)?);
        let rows = self.database.read(bodies).await?;
        let found = self.database.decode(rows, |row| {
            Ok((row.integer::<i64>("sequence")?, self.parse(&row.text("body")?)?))
        })?;
        let mut found: HashMap<i64, Product> = found.into_iter().collect();
        Ok(ProductPage {
            items: sequences
                .iter()
                .filter_map(|sequence| found.remove(sequence))
                .collect(),
            total: totals.first().copied().unwrap_or(0),
        })
    }

    async fn categories(&self) -> Result<Vec<Category>, StoreError> {
        let rows = self.database.read(Statement::new(CATEGORIES)).await?;
        let categories = self.database.decode(rows, |row| {
            Ok(Category {
                slug: row.text("slug")?,
                name: row.text("name")?,
                parent: row.optional_text("parent")?,
            })
        })?;
        Ok(parents_first(categories))
    }

    async fn put_products(&self, products: &[Product]) -> Result<(), StoreError> {
        // Of a product that stands twice the last one counts, and leaves no SKU of the first behind.
        let last: HashMap<&ProductId, usize> = products
            .iter()
            .enumerate()
            .map(|(index, product)| (&product.id, index))
            .collect();
        let rows = products
            .iter()
            .enumerate()
            .filter(|(index, product)| last.get(&product.id) == Some(index))
            .map(|(_, product)| product);
        let statements = [PUT_PRODUCTS, FORGET_SKUS, PUT_SKUS, INDEX_PRODUCTS, FLAG_PRODUCTS];
        self.put(&statements, rows).await
    }

    async fn put_categories(&self, categories: &[Category]) -> Result<(), StoreError> {
        self.put(&[INDEX_CATEGORIES, PUT_CATEGORIES], categories.iter())
            .await
    }

    async fn put_badges(&self, badges: &[Badge]) -> Result<(), StoreError> {
        let rows = badges
            .iter()
            .map(|badge| (&badge.sku, badge.available, badge.version));
        self.put(&[PUT_BADGES, FLAG_BADGES], rows).await
    }

    async fn badges(&self, skus: &[Sku]) -> Result<Vec<Badge>, StoreError> {
        let rows = self
            .database
            .read(Statement::new(BADGES).bind(self.json(&skus)?))
            .await?;
        self.database.decode(rows, |row| {
            let sku = row.text("sku")?;
            Ok(Badge {
                sku: Sku::parse(&sku).map_err(|error| self.database.corrupt(error.to_string()))?,
                available: row.integer("available")?,
                version: row.integer("version")?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::stores::catalogue::contract;
    use crate::stores::sqlite;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_contract_is_kept() {
        let directory = TempDir::new().unwrap();
        let writer = sqlite::in_process_writer(directory.path()).unwrap();
        let store = SqliteCatalogue::open(&writer, directory.path()).await.unwrap();
        contract::suite(Arc::new(store)).await;
    }

    #[test]
    fn a_circle_of_categories_is_listed_all_the_same() {
        let category = |slug: &str, parent: Option<&str>| Category {
            slug: slug.to_owned(),
            name: slug.to_owned(),
            parent: parent.map(str::to_owned),
        };
        let ordered = parents_first(vec![
            category("leaf", Some("branch")),
            category("round", Some("about")),
            category("branch", Some("root")),
            category("orphan", Some("nobody")),
            category("about", Some("round")),
            category("root", None),
        ]);
        let slugs: Vec<&str> = ordered.iter().map(|category| category.slug.as_str()).collect();
        assert_eq!(slugs, ["orphan", "root", "branch", "leaf", "round", "about"]);
    }
}
