//! How a product query becomes SQL. The text of the statements comes from here alone; what a shopper typed travels in
//! parameters only, and in the full-text expression only within quotes.

use super::{ProductQuery, Sort};
use souk_embedded::{Statement, Value};

/// Words of a query that count; more are ignored.
pub const WORD_LIMIT: usize = 16;

/// How much a match counts in title, description, brand, category and attributes (the weights of FTS5's `bm25`).
const RELEVANCE: &str = "bm25(search, 10.0, 1.0, 5.0, 3.0, 2.0)";

/// A category and all below it. UNION, not UNION ALL: a circle of categories ends.
const BELOW: &str = "WITH RECURSIVE below(slug) AS (VALUES (?) \
     UNION SELECT c.slug FROM categories AS c JOIN below ON c.parent = below.slug) SELECT slug FROM below";

/// Which products a query means, whatever the order and the page.
pub(super) struct Selection {
    from: &'static str,
    conditions: Vec<String>,
    parameters: Vec<Value>,
    searches: bool,
}

impl Selection {
    /// `None` where nothing can match: a text without a single word in it.
    pub(super) fn of(query: &ProductQuery) -> Option<Self> {
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

    /// The number of a product: the row of the search index has the same.
    fn number(&self) -> &'static str {
        if self.searches {
            "search.rowid"
        } else {
            "p.sequence"
        }
    }
}

/// The numbers of the products on the page that `query` asks for, in order.
pub(super) fn page(selection: &Selection, query: &ProductQuery) -> Statement {
    let (number, tail) = (selection.number(), selection.tail());
    let order = match query.sort {
        Sort::Relevance if selection.searches => format!("{RELEVANCE}, {number} DESC"),
        Sort::Relevance | Sort::Newest => format!("{number} DESC"),
        Sort::Price => format!("p.price, {number}"),
        Sort::PriceDescending => format!("p.price DESC, {number} DESC"),
    };
    let mut statement = Statement::new(format!(
        "SELECT {number} {tail} ORDER BY {order} LIMIT ? OFFSET ?"
    ));
    statement.parameters.clone_from(&selection.parameters);
    statement.bind(query.limit).bind(query.offset)
}

/// How many products the selection has.
pub(super) fn total(selection: &Selection) -> Statement {
    let mut statement = Statement::new(format!("SELECT count(*) {}", selection.tail()));
    statement.parameters.clone_from(&selection.parameters);
    statement
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
    use super::*;

    #[test]
    fn whatever_is_typed_becomes_quoted_words() {
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
