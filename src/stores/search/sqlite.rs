//! Product search in SQLite by FTS5, in the database `catalogue`, whose index changes in the same transaction as the products.
//!
//! The text of statements comes from this file alone; what a shopper typed travels in parameters only, and in the full-text
//! expression only within quotes.

use async_trait::async_trait;

use super::{Position, ProductQuery, SearchIndex, SearchPage, Sort, words};
use crate::stores::StoreError;
use crate::stores::sql::SqlDatabase;
use crate::stores::sqlite::Database;
use souk_domain::{ProductId, Sku};
use souk_embedded::{Statement, Value};

/// Indexes products, given as a JSON array in ?1.
pub(in crate::stores) const INDEX_PRODUCTS: &str = "INSERT OR REPLACE INTO search (rowid, title, description, brand, category, attributes) \
     SELECT p.sequence, j.value->>'$.title', j.value->>'$.description', p.brand, coalesce(c.name, p.category), \
         (SELECT group_concat(a.value, ' ') FROM json_each(j.value, '$.attributes') AS a) \
     FROM json_each(?1) AS j \
     CROSS JOIN products AS p ON p.id = j.value->>'$.id' \
     LEFT JOIN categories AS c ON c.slug = p.category";
/// Indexes the products of those categories, given as a JSON array in ?1, whose names are about to change.
pub(in crate::stores) const INDEX_CATEGORIES: &str = "INSERT OR REPLACE INTO search (rowid, title, description, brand, category, attributes) \
     SELECT p.sequence, p.body->>'$.title', p.body->>'$.description', p.brand, j.value->>'$.name', \
         (SELECT group_concat(a.value, ' ') FROM json_each(p.body, '$.attributes') AS a) \
     FROM json_each(?1) AS j \
     CROSS JOIN products AS p ON p.category = j.value->>'$.slug' \
     LEFT JOIN categories AS c ON c.slug = p.category \
     WHERE c.name IS NOT j.value->>'$.name'";

/// The products that a full-text expression finds, with the score of the match: weights of a match in title, description,
/// brand, category and attributes (FTS5's `bm25`, which is lower for a better match), as an integer, so that it survives a
/// cursor.
const MATCHES: &str = "SELECT rowid AS number, CAST(bm25(search, 10.0, 1.0, 5.0, 3.0, 2.0) * -1000000000 AS INTEGER) AS score \
     FROM search WHERE search MATCH ?";

/// The product with this identifier, or with this SKU, as the best match.
const NAMED: &str = "SELECT sequence, 9223372036854775807 FROM products WHERE id IN \
     (SELECT product FROM skus WHERE sku = ? COLLATE NOCASE \
      UNION ALL SELECT id FROM products WHERE id = ? COLLATE NOCASE)";

/// A category and all below it. UNION, not UNION ALL: a cycle of categories terminates.
const BELOW: &str = "WITH RECURSIVE below(slug) AS (VALUES (?) \
     UNION SELECT c.slug FROM categories AS c JOIN below ON c.parent = below.slug) SELECT slug FROM below";

/// The adapter.
pub struct SqliteSearch(pub Database);

#[async_trait]
impl SearchIndex for SqliteSearch {
    /// The index is written with the rows.
    async fn refresh(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn search(&self, query: &ProductQuery) -> Result<SearchPage, StoreError> {
        let Some(selection) = Selection::of(query) else {
            return Ok(SearchPage::default());
        };
        let (rows, totals) =
            tokio::try_join!(self.0.read(selection.page(query)), self.0.read(selection.total()),)?;
        let mut found = self.0.decode(rows, |row| {
            let id = ProductId::parse(&row.text("id")?).map_err(|error| self.0.corrupt(error.to_string()))?;
            let position = Position {
                key: row.integer("key")?,
                number: row.integer("number")?,
            };
            Ok((id, position))
        })?;
        let totals = self.0.decode(totals, |row| row.integer("count"))?;
        // One more than the page shows whether another follows.
        let is_last = found.len() <= query.limit;
        found.truncate(query.limit);
        Ok(SearchPage {
            next: found.last().filter(|_| !is_last).map(|(_, position)| *position),
            ids: found.into_iter().map(|(id, _)| id).collect(),
            total: totals.first().copied().unwrap_or(0),
        })
    }
}

/// The products that a query selects, whatever the order and the page.
struct Selection {
    from: String,
    conditions: Vec<String>,
    parameters: Vec<Value>,
    searches: bool,
}

impl Selection {
    /// `None` where nothing can match: a text without a word.
    fn of(query: &ProductQuery) -> Option<Self> {
        let mut parameters = Vec::new();
        let found = match query.text.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(text) => {
                parameters.push(expression(text)?.into());
                Some(if Sku::parse(text).is_ok() {
                    parameters.extend([text.into(), text.into()]);
                    format!(
                        "(SELECT number, max(score) AS score FROM ({MATCHES} UNION ALL {NAMED}) GROUP BY number) AS found"
                    )
                } else {
                    format!("({MATCHES}) AS found")
                })
            }
        };
        let mut conditions = Vec::new();
        let mut filter = |condition: &str, value: Value| {
            conditions.push(condition.to_owned());
            parameters.push(value);
        };
        if let Some(category) = &query.category {
            filter(&format!("p.category IN ({BELOW})"), category.as_str().into());
        }
        if let Some(brand) = &query.brand {
            filter("p.brand = ?", brand.as_str().into());
        }
        if let Some(price) = query.min_price {
            filter("p.price >= ?", price.into());
        }
        if let Some(price) = query.max_price {
            filter("p.price <= ?", price.into());
        }
        if query.in_stock {
            filter("p.in_stock = ?", true.into());
        }
        let by_price = matches!(query.sort, Sort::Price | Sort::PriceDescending);
        let searches = found.is_some();
        let from = match found {
            None => "products AS p".to_owned(),
            // CROSS: the search comes first, and the products by their number.
            Some(found) if by_price || !conditions.is_empty() => {
                format!("{found} CROSS JOIN products AS p ON p.sequence = found.number")
            }
            Some(found) => found,
        };
        Some(Self {
            from,
            conditions,
            parameters,
            searches,
        })
    }

    /// The selected products; `more` is a further condition.
    fn tail(&self, more: Option<&str>) -> String {
        let conditions: Vec<&str> = self.conditions.iter().map(String::as_str).chain(more).collect();
        if conditions.is_empty() {
            format!("FROM {}", self.from)
        } else {
            format!("FROM {} WHERE {}", self.from, conditions.join(" AND "))
        }
    }

    /// The identifiers of the products on the page, in order, with their positions, and of one product more. The page is found
    /// first, by indexes alone; only then are its rows read.
    fn page(&self, query: &ProductQuery) -> Statement {
        let number = if self.searches {
            "found.number"
        } else {
            "p.sequence"
        };
        let (key, follows, direction) = match query.sort {
            Sort::Relevance if self.searches => ("found.score", "<", "DESC"),
            Sort::Relevance | Sort::Newest => ("0", "<", "DESC"),
            Sort::Price => ("p.price", ">", "ASC"),
            Sort::PriceDescending => ("p.price", "<", "DESC"),
        };
        // Sorted by number alone, an index gives the order.
        let (order, after) = if key == "0" {
            (format!("{number} {direction}"), format!("{number} {follows} ?"))
        } else {
            (
                format!("{key} {direction}, {number} {direction}"),
                format!("({key}, {number}) {follows} (?, ?)"),
            )
        };
        let tail = self.tail(query.after.map(|_| after.as_str()));
        let mut statement = Statement::new(format!(
            "SELECT (SELECT id FROM products WHERE sequence = page.number) AS id, page.key, page.number \
             FROM (SELECT {number} AS number, {key} AS key {tail} ORDER BY {order} LIMIT ?) AS page"
        ));
        statement.runs = vec![self.parameters.clone()];
        if let Some(Position { key: value, number }) = query.after {
            if key != "0" {
                statement = statement.bind(value);
            }
            statement = statement.bind(number);
        }
        statement.bind(query.limit.saturating_add(1))
    }

    /// The number of selected products.
    fn total(&self) -> Statement {
        let mut statement = Statement::new(format!("SELECT count(*) AS count {}", self.tail(None)));
        statement.runs = vec![self.parameters.clone()];
        statement
    }
}

/// The full-text expression for what a shopper typed: every word within quotes, so that no operator of FTS5's query
/// language is left, and the last one a prefix, because it may be still being typed. `None` where there is no word.
///
/// <https://www.sqlite.org/fts5.html#full_text_query_syntax>
fn expression(text: &str) -> Option<String> {
    let words: Vec<String> = words(text)
        .map(|word| format!("\"{}\"", word.replace('"', "\"\"")))
        .collect();
    if words.is_empty() {
        return None;
    }
    Some(format!("{}*", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::WORD_LIMIT;
    use super::*;
    use crate::stores::products::sqlite::SqliteProducts;
    use crate::stores::search::contract;
    use crate::stores::testing::open_database;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let (database, _folder) = open_database("catalogue").await;
        let products = SqliteProducts(database.clone());
        contract::suite(Arc::new(products), Arc::new(SqliteSearch(database))).await;
    }

    #[test]
    fn any_input_becomes_quoted_words() {
        for (text, expected) in [
            ("red shoe", Some("\"red\" \"shoe\"*")),
            ("  Müller's\t\"NOT\"  ", Some("\"Müller's\" \"\"\"NOT\"\"\"*")),
            (
                "title:x OR (y* ^z) -- {a b}:c",
                Some("\"title:x\" \"OR\" \"(y*\" \"^z)\" \"{a\" \"b}:c\"*"),
            ),
            ("a\0b", Some("\"a\" \"b\"*")),
            ("-- * ! \"", None),
        ] {
            assert_eq!(expression(text).as_deref(), expected, "{text}");
        }
        let many = expression(&"w ".repeat(1_000)).unwrap();
        assert_eq!(many.split(' ').count(), WORD_LIMIT);
    }
}
