//! The port for product search: an index that the adapter makes from what the [`products`](super::products) port stores.
//!
//! The index may lag: a change of products, categories or stock badges is found within [`LAG`]. So a page names products, and
//! the reader gets them from the products port.

#[cfg(test)]
pub mod contract;
#[cfg(feature = "elasticsearch")]
pub mod elasticsearch;
pub mod sqlite;

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use souk_domain::ProductId;

/// How long after a write at most the index reflects it, while the store is available.
pub const LAG: Duration = Duration::from_secs(5);

/// Words of a text that count; more are ignored.
const WORD_LIMIT: usize = 16;

/// The order of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Best match first; newest first where there is no text.
    #[default]
    Relevance,
    /// Lowest price first.
    Price,
    /// Highest price first.
    PriceDescending,
    /// Newest first.
    Newest,
}

/// A query.
#[derive(Clone, Debug, Default)]
pub struct ProductQuery {
    /// Full text: every word must occur, the last one may be a prefix. The identifier of a product or of one of its SKUs, in
    /// any case, finds that product too, before all others.
    pub text: Option<String>,
    /// A category's slug; includes the categories below it.
    pub category: Option<String>,
    /// Exactly this brand.
    pub brand: Option<String>,
    /// Minor units, inclusive.
    pub min_price: Option<i64>,
    /// Minor units, inclusive.
    pub max_price: Option<i64>,
    /// Only products that can be bought now, by their stock badges.
    pub in_stock: bool,
    /// The order.
    pub sort: Sort,
    /// The last result of the page before, where this is not the first.
    pub after: Option<Position>,
    /// The maximum number of results.
    pub limit: usize,
}

/// A place in the order of a result. It does not move while other products appear, change or sell out, as the number of
/// results before it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// What the result is sorted by: the price, the score of the match; 0 where it is sorted by age alone.
    pub key: i64,
    /// The product's number in the order of creation.
    pub number: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.number)
    }
}

impl FromStr for Position {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (key, number) = text.split_once(' ').unwrap_or((text, ""));
        Ok(Self {
            key: key.parse()?,
            number: number.parse()?,
        })
    }
}

/// A page of results.
#[derive(Clone, Debug, Default)]
pub struct SearchPage {
    /// The products on this page, in order.
    pub ids: Vec<ProductId>,
    /// The number of results on all pages.
    pub total: u64,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Position>,
}

/// The port. Part of `stores.catalogue`, whose ping covers it.
#[async_trait]
pub trait SearchIndex: Send + Sync + 'static {
    /// A page of the products that match `query`. Following pages skip and repeat no product, whatever happens to others
    /// meanwhile; only a product whose own place in the order changes may be missed or met twice. Scores of a text shift
    /// slightly as the texts of the catalogue change.
    async fn search(&self, query: &ProductQuery) -> Result<SearchPage, StoreError>;

    /// Takes in all that was acknowledged before. Costly where the index lags: for the end of an import, not for requests.
    async fn refresh(&self) -> Result<(), StoreError>;
}

/// The words of a text that somebody typed, as far as they count.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| character.is_whitespace() || character == '\0')
        // What has neither letter nor digit is no word for an index either.
        .filter(|word| word.chars().any(char::is_alphanumeric))
        .take(WORD_LIMIT)
}
