//! Product search in Elasticsearch, in the index of the products adapter
//! ([`products/elasticsearch.rs`](super::super::products::elasticsearch)).
//!
//! A match has the same score whatever else the catalogue holds: each field has a weight, and those in which a word occurs add up.
//! Scores by how rare a word is (BM25) shift with every write, also of a stock badge, and a cursor that holds one would skip and repeat
//! products.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{Position, ProductQuery, SearchIndex, SearchPage, Sort, words};
use crate::stores::StoreError;
use crate::stores::elasticsearch::{Hit, Server};
use crate::stores::products::elasticsearch::{KEYWORD_CHARACTERS, PRODUCTS, categories};
use souk_domain::catalogue::Category;
use souk_domain::{ProductId, Sku};

/// The fields with texts, and what a word in them counts.
const FIELDS: [(&str, u32); 5] = [
    ("title", 10),
    ("brand.words", 5),
    ("category_name", 3),
    ("attributes", 2),
    ("description", 1),
];

/// What the identifier counts: more than all words in all fields. Scores are 32-bit floats, in which integers of this size are exact.
const NAMED: u32 = 1_000_000;

/// Characters of a word that count: no longer one is in the index.
const WORD_CHARACTERS: usize = 255;

/// Longest page. The server finds at most 10,000 products, and one more than the page is looked for.
const PAGE_LIMIT: usize = 9_999;

/// The adapter.
pub struct ElasticSearch {
    server: Arc<Server>,
}

impl ElasticSearch {
    pub(in crate::stores) fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    fn result(&self, hit: &Hit<IgnoredAny>, sort: Sort) -> Result<(ProductId, Position), StoreError> {
        let id = ProductId::parse(&hit.id).map_err(|error| self.server.corrupt(error.to_string()))?;
        let position = position(&hit.sort, sort);
        let position =
            position.ok_or_else(|| self.server.corrupt(format!("{id}: its place {:?}", hit.sort)))?;
        Ok((id, position))
    }
}

#[async_trait]
impl SearchIndex for ElasticSearch {
    async fn refresh(&self) -> Result<(), StoreError> {
        self.server.refresh(&PRODUCTS).await
    }

    async fn search(&self, query: &ProductQuery) -> Result<SearchPage, StoreError> {
        let categories = match &query.category {
            Some(_) => categories(&self.server).await?,
            None => Vec::new(),
        };
        let slugs = query.category.as_ref().map(|slug| below(slug, &categories));
        let Some(body) = body(query, slugs) else {
            return Ok(SearchPage::default());
        };
        let limit = query.limit.min(PAGE_LIMIT);
        let found = self.server.search::<IgnoredAny>(&PRODUCTS, body).await?;
        let mut hits = Vec::with_capacity(found.hits.len());
        for hit in &found.hits {
            hits.push(self.result(hit, effective(query))?);
        }
        // One more than the page shows whether another follows.
        let is_last = hits.len() <= limit;
        hits.truncate(limit);
        Ok(SearchPage {
            next: hits.last().filter(|_| !is_last).map(|(_, position)| *position),
            ids: hits.into_iter().map(|(id, _)| id).collect(),
            total: found.total,
        })
    }
}

/// The text that is searched for.
fn text(query: &ProductQuery) -> Option<&str> {
    query
        .text
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

/// The order: without a text, nothing matches better than anything else.
fn effective(query: &ProductQuery) -> Sort {
    match query.sort {
        Sort::Relevance if text(query).is_none() => Sort::Newest,
        sort => sort,
    }
}

/// What is sent; `None` where nothing can match: a text without a word, a brand that is longer than those that are in the index.
fn body(query: &ProductQuery, slugs: Option<HashSet<&str>>) -> Option<Value> {
    let is_indexed = |text: &str| text.chars().count() <= KEYWORD_CHARACTERS;
    let mut filters = Vec::new();
    if let Some(mut slugs) = slugs {
        slugs.retain(|slug| is_indexed(slug));
        filters.push(json!({ "terms": { "category": slugs } }));
    }
    if let Some(brand) = &query.brand {
        if !is_indexed(brand) {
            return None;
        }
        filters.push(json!({ "term": { "brand": brand } }));
    }
    if query.min_price.is_some() || query.max_price.is_some() {
        let (least, most) = (
            query.min_price.unwrap_or(i64::MIN),
            query.max_price.unwrap_or(i64::MAX),
        );
        filters.push(json!({ "range": { "price": { "gte": least, "lte": most } } }));
    }
    if query.in_stock {
        filters.push(json!({ "term": { "in_stock": true } }));
    }
    let mut selection = json!({ "filter": filters });
    if let Some(text) = text(query) {
        selection["must"] = matching(text)?;
    }
    let (sort, after) = match effective(query) {
        Sort::Relevance => (json!([{ "_score": "desc" }, { "number": "desc" }]), true),
        Sort::Newest => (json!([{ "number": "desc" }]), false),
        Sort::Price => (json!([{ "price": "asc" }, { "number": "asc" }]), true),
        Sort::PriceDescending => (json!([{ "price": "desc" }, { "number": "desc" }]), true),
    };
    let mut body = json!({
        "size": query.limit.min(PAGE_LIMIT) + 1,
        "_source": false,
        "track_total_hits": true,
        "query": { "bool": selection },
        "sort": sort,
    });
    if let Some(Position { key, number }) = query.after {
        body["search_after"] = if after {
            json!([key, number])
        } else {
            json!([number])
        };
    }
    Some(body)
}

/// Products with every word of a text, the last of which may be the beginning of one; or with the text as an identifier. What was
/// typed is a value in it, and never part of a query language.
fn matching(text: &str) -> Option<Value> {
    let words: Vec<String> = words(text)
        .map(|word| word.chars().take(WORD_CHARACTERS).collect())
        .collect();
    let (last, others) = words.split_last()?;
    let mut every: Vec<Value> = others.iter().map(|word| any_field(word, false)).collect();
    every.push(any_field(last, true));
    let every = json!({ "bool": { "must": every } });
    if Sku::parse(text).is_err() {
        return Some(every);
    }
    let name = text.to_ascii_lowercase();
    let named = json!({ "constant_score": { "filter": { "term": { "names": name } }, "boost": NAMED } });
    Some(json!({ "bool": { "should": [every, named], "minimum_should_match": 1 } }))
}

/// A word in any of the fields. A whole one counts more than the beginning of one.
fn any_field(word: &str, may_begin: bool) -> Value {
    let scored =
        |filter: Value, weight: u32| json!({ "constant_score": { "filter": filter, "boost": weight } });
    let mut fields = Vec::new();
    for (field, weight) in FIELDS {
        fields.push(scored(json!({ "match_phrase": { field: word } }), weight));
        if may_begin {
            let begins = json!({ "query": word, "operator": "and" });
            fields.push(scored(json!({ "match_bool_prefix": { field: begins } }), weight));
        }
    }
    json!({ "bool": { "should": fields, "minimum_should_match": 1 } })
}

/// A category and all below it, in a tree that may have cycles.
fn below<'a>(slug: &'a str, categories: &'a [Category]) -> HashSet<&'a str> {
    let mut found = HashSet::from([slug]);
    loop {
        let known = found.len();
        for category in categories {
            if category
                .parent
                .as_deref()
                .is_some_and(|parent| found.contains(parent))
            {
                found.insert(&category.slug);
            }
        }
        if found.len() == known {
            return found;
        }
    }
}

/// By what a hit was sorted.
fn position(values: &[Value], sort: Sort) -> Option<Position> {
    let (key, number) = match (sort, values) {
        (Sort::Newest, [number]) => (0, number.as_i64()?),
        // An integer, as all weights are.
        (Sort::Relevance, [score, number]) => (score.as_f64()? as i64, number.as_i64()?),
        (Sort::Price | Sort::PriceDescending, [price, number]) => (price.as_i64()?, number.as_i64()?),
        _ => return None,
    };
    Some(Position { key, number })
}

#[cfg(test)]
mod tests {
    use super::super::WORD_LIMIT;
    use super::*;
    use crate::stores::elasticsearch::testing::TestIndexes;
    use crate::stores::search::contract;

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_contract() {
        let Some(indexes) = TestIndexes::create() else {
            return;
        };
        let products = indexes.products().await;
        let search = products.search();
        contract::suite(Arc::new(products), Arc::new(search)).await;
    }

    #[test]
    fn a_match_of_all_words_counts_less_than_an_identifier() {
        let fields: u32 = FIELDS.iter().map(|(_, weight)| 2 * weight).sum();
        let most = u32::try_from(WORD_LIMIT).unwrap() * fields;
        assert!(most < NAMED);
        // Exact as a 32-bit float.
        assert!(most + NAMED < 1 << f32::MANTISSA_DIGITS);
    }

    #[test]
    fn categories_below_are_found_in_a_cycle_too() {
        let category = |slug: &str, parent: Option<&str>| Category {
            slug: slug.to_owned(),
            name: slug.to_owned(),
            parent: parent.map(str::to_owned),
        };
        let categories = [
            category("leaf", Some("branch")),
            category("round", Some("about")),
            category("branch", Some("root")),
            category("about", Some("round")),
            category("root", None),
        ];
        assert_eq!(
            below("root", &categories),
            HashSet::from(["root", "branch", "leaf"])
        );
        assert_eq!(below("round", &categories), HashSet::from(["round", "about"]));
        assert_eq!(below("none", &categories), HashSet::from(["none"]));
    }
}
