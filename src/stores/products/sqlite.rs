//! Products in SQLite, in the database `catalogue`. Writes change the search index in the same transaction.

use async_trait::async_trait;
use serde::Serialize;

use super::{Badge, ProductStore, last_of_each, parents_first};
use crate::stores::StoreError;
use crate::stores::search::sqlite::{INDEX_CATEGORIES, INDEX_PRODUCTS};
use crate::stores::sql::SqlDatabase;
use crate::stores::sqlite::Database;
use souk_domain::catalogue::{Category, Product};
use souk_domain::{ProductId, Sku};
use souk_embedded::Statement;

/// The schema of the database `catalogue`: products and their search index.
pub const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_catalogue.sql"),
    include_str!("migrations/0002_any_case.sql"),
];

/// Rows that go into one transaction.
const TRANSACTION_ROWS: usize = 500;

/// Bytes of JSON that go into one transaction (a single row may be larger), well below what a message to the store
/// process may be.
const TRANSACTION_BYTES: usize = 2 * 1024 * 1024;

// Products, as a JSON array in ?1.
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

/// What follows from products that were moved here, as a JSON array in ?1: their SKUs, and the search index.
pub(in crate::stores) const DERIVED: &[&str] = &[PUT_SKUS, INDEX_PRODUCTS];

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

// Categories, as a JSON array in ?1.
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

const PRODUCTS: &str =
    "SELECT p.body FROM json_each(?1) AS j CROSS JOIN products AS p ON p.id = j.value ORDER BY j.key";
const PRODUCTS_OF: &str = "SELECT body FROM products WHERE id IN \
     (SELECT product FROM skus WHERE sku IN (SELECT value FROM json_each(?1)))";
const CATEGORIES: &str = "SELECT slug, name, parent FROM categories ORDER BY rowid";
const BADGES: &str =
    "SELECT sku, available, version FROM badges WHERE sku IN (SELECT value FROM json_each(?1))";

/// The adapter.
pub struct SqliteProducts(pub Database);

impl SqliteProducts {
    async fn read_products(
        &self,
        sql: &'static str,
        ids: &(impl Serialize + Sync + ?Sized),
    ) -> Result<Vec<Product>, StoreError> {
        let rows = self.0.read(Statement::new(sql).bind(self.0.json(ids)?)).await?;
        self.0.decode(rows, |row| {
            serde_json::from_str(&row.text("body")?)
                .map_err(|error| self.0.corrupt(format!("a product: {error}")))
        })
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
            let json = self.0.json(&row)?;
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
        self.0.transact(statements).await.map(|_| ())
    }
}

#[async_trait]
impl ProductStore for SqliteProducts {
    fn technology(&self) -> &'static str {
        "sqlite"
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.0.ping().await
    }

    async fn products(&self, ids: &[ProductId]) -> Result<Vec<Product>, StoreError> {
        self.read_products(PRODUCTS, ids).await
    }

    async fn products_of(&self, skus: &[Sku]) -> Result<Vec<Product>, StoreError> {
        self.read_products(PRODUCTS_OF, skus).await
    }

    async fn categories(&self) -> Result<Vec<Category>, StoreError> {
        let rows = self.0.read(Statement::new(CATEGORIES)).await?;
        let categories = self.0.decode(rows, |row| {
            Ok(Category {
                slug: row.text("slug")?,
                name: row.text("name")?,
                parent: row.optional_text("parent")?,
            })
        })?;
        Ok(parents_first(categories))
    }

    async fn put_products(&self, products: &[Product]) -> Result<(), StoreError> {
        let rows = last_of_each(products).into_iter();
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
            .0
            .read(Statement::new(BADGES).bind(self.0.json(skus)?))
            .await?;
        self.0.decode(rows, |row| {
            let sku = row.text("sku")?;
            Ok(Badge {
                sku: Sku::parse(&sku).map_err(|error| self.0.corrupt(error.to_string()))?,
                available: row.integer("available")?,
                version: row.integer("version")?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stores::products::contract;
    use crate::stores::testing::open_database;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let (database, _folder) = open_database("catalogue").await;
        contract::suite(Arc::new(SqliteProducts(database))).await;
    }
}
