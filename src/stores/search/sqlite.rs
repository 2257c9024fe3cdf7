//! Product search in SQLite by FTS5, in the database `catalogue`, whose index changes in the same transaction as the products.
//!
//! The text of statements comes from this file alone; what a shopper typed travels in parameters only, and in the full-text
//! expression only within quotes.

use async_trait::async_trait;

use super::{ProductQuery, SearchIndex, SearchPage, Sort};
use crate::stores::StoreError;
use crate::stores::sqlite::Database;
use souk_domain::ProductId;
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

/// Words of a query that count; more are ignored.
const WORD_LIMIT: usize = 16;

/// Weights of a match in title, description, brand, category and attributes (FTS5's `bm25`).
const RELEVANCE: &str = "bm25(search, 10.0, 1.0, 5.0, 3.0, 2.0)";

/// A category and all below it. UNION, not UNION ALL: a cycle of categories terminates.
const BELOW: &str = "WITH RECURSIVE below(slug) AS (VALUES (?) \
     UNION SELECT c.slug FROM categories AS c JOIN below ON c.parent = below.slug) SELECT slug FROM below";

/// The adapter.
pub struct SqliteSearch(pub Database);

#[async_trait]
impl SearchIndex for SqliteSearch {
    async fn search(&self, query: &ProductQuery) -> Result<SearchPage, StoreError> {
        let Some(selection) = Selection::of(query) else {
            return Ok(SearchPage::default());
        };
        let (ids, totals) =
            tokio::try_join!(self.0.read(selection.page(query)), self.0.read(selection.total()),)?;
        let ids = self.0.decode(ids, |row| {
            ProductId::parse(&row.text("id")?).map_err(|error| self.0.corrupt(error.to_string()))
        })?;
        let totals = self.0.decode(totals, |row| row.integer("count"))?;
        Ok(SearchPage {
            ids,
            total: totals.first().copied().unwrap_or(0),
        })
    }
}

/// The products that a query selects, whatever the order and the page.
struct Selection {
    from: &'static str,
    conditions: Vec<String>,
    parameters: Vec<Value>,
    searches: bool,
}

impl Selection {
    /// `None` where nothing can match: a text without a word.
    fn of(query: &ProductQuery) -> Option<Self> {
        let mut conditions = Vec::new();
        let mut parameters = Vec::new();
        let mut filter = |condition: &str, value: Value| {
            conditions.push(condition.to_owned());
            parameters.push(value);
        };
        let expression = match query.text.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(text) => Some(expression(text)?),
        };
        let searches = expression.is_some();
        if let Some(expression) = expression {
            filter("search MATCH ?", expression.into());
        }
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
        let from = if !searches {
            "products AS p"
        } else if conditions.len() > 1 || by_price {
            // CROSS: the search comes first, and the products by their number.
            "search CROSS JOIN products AS p ON p.sequence = search.rowid"
        } else {
            "search"
        };
        Some(Self {
            from,
            conditions,
            parameters,
            searches,
        })
    }

    fn tail(&self) -> String {
        if self.conditions.is_empty() {
            format!("FROM {}", self.from)
        } else {
            format!("FROM {} WHERE {}", self.from, self.conditions.join(" AND "))
        }
    }

    /// The number of a product, which is also its row in the search index.
    fn number(&self) -> &'static str {
        if self.searches {
            "search.rowid"
        } else {
            "p.sequence"
        }
    }

    /// The identifiers of the products on the page, in order. The page is found first, by indexes alone; only then are its
    /// rows read.
    fn page(&self, query: &ProductQuery) -> Statement {
        let (number, tail) = (self.number(), self.tail());
        let order = match query.sort {
            Sort::Relevance if self.searches => format!("{RELEVANCE}, {number} DESC"),
            Sort::Relevance | Sort::Newest => format!("{number} DESC"),
            Sort::Price => format!("p.price, {number}"),
            Sort::PriceDescending => format!("p.price DESC, {number} DESC"),
        };
        let mut statement = Statement::new(format!(
            "SELECT (SELECT id FROM products WHERE sequence = page.number) \
             FROM (SELECT {number} AS number {tail} ORDER BY {order} LIMIT ? OFFSET ?) AS page"
        ));
        statement.parameters.clone_from(&self.parameters);
        statement.bind(query.limit).bind(query.offset)
    }

    /// The number of selected products.
    fn total(&self) -> Statement {
        let mut statement = Statement::new(format!("SELECT count(*) {}", self.tail()));
        statement.parameters.clone_from(&self.parameters);
        statement
    }
}

/// The full-text expression for what a shopper typed: every word within quotes, so that no operator of FTS5's query
/// language is left, and the last one a prefix, because it may be still being typed. `None` where there is no word.
///
/// <https://www.sqlite.org/fts5.html#full_text_query_syntax>
fn expression(text: &str) -> Option<String> {
    let words: Vec<String> = text
        .split(|character: char| character.is_whitespace() || character == '\0')
        // What has neither letter nor digit leaves no token, and an empty phrase matches nothing.
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .take(WORD_LIMIT)
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
