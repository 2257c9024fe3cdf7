//! Categories in Elasticsearch: all in one document, and their names in the documents of the products.

use std::collections::HashMap;

use serde_json::json;

use super::ElasticProducts;
use super::documents::{CATALOGUE, CATEGORIES, CategoriesDocument, Named, PRODUCTS, name_of, names};
use super::settling::PAUSES;
use crate::stores::StoreError;
use crate::stores::elasticsearch::{Hits, Operation, Server, outcome_of_all};
use souk_domain::catalogue::Category;

/// Products that one search finds, of those whose category was renamed.
pub(super) const RENAMED_ROWS: usize = 500;

/// Categories that one search looks for.
pub(super) const RENAMED_CATEGORIES: usize = 1_000;

impl ElasticProducts {
    /// Adds or replaces categories, on condition that nobody else has changed any meanwhile.
    pub(in crate::stores) async fn change_categories(&self, changes: &[Category]) -> Result<(), StoreError> {
        let mut pauses = PAUSES;
        loop {
            let found = self
                .server
                .documents::<CategoriesDocument>(&CATALOGUE, &[CATEGORIES], &["categories"])
                .await?
                .remove(CATEGORIES);
            let known = found.as_ref().map_or(&[][..], |found| &found.source.categories);
            let categories = merged(known, changes);
            if categories == known {
                return Ok(());
            }
            let document = CategoriesDocument { categories };
            let operation = match &found {
                Some(found) => Operation::replace(CATEGORIES, found.change, &document),
                None => Operation::create(CATEGORIES, &document),
            };
            let mut outcomes = Vec::new();
            let results = self.server.bulk(&CATALOGUE, &[self.encoded(operation)?]).await?;
            if self
                .conflicts(&[()], results, &mut outcomes, &mut pauses)
                .await?
                .is_empty()
            {
                return outcome_of_all(outcomes);
            }
        }
    }

    /// Settles the products of these categories that bear another name.
    pub(super) async fn rename(&self, slugs: &[&str]) -> Result<(), StoreError> {
        let names = names(&categories(&self.server).await?);
        let mut after = None;
        loop {
            let mut query = json!({
                "size": RENAMED_ROWS,
                "_source": ["category", "category_name"],
                "query": { "terms": { "category": slugs } },
                "sort": ["number"],
            });
            if let Some(number) = after {
                query["search_after"] = json!([number]);
            }
            let page: Hits<Named> = self.server.search(&PRODUCTS, query).await?;
            let is_last = page.hits.len() < RENAMED_ROWS;
            after = page.hits.last().and_then(|hit| hit.sort.first().cloned());
            let renamed = page.hits.into_iter().filter(|hit| {
                let source = hit.source.as_ref();
                source.is_none_or(|source| name_of(&names, &source.category) != source.category_name)
            });
            self.settle(renamed.map(|hit| hit.id).collect(), true).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

/// All categories, in the order in which they came.
pub(in crate::stores) async fn categories(server: &Server) -> Result<Vec<Category>, StoreError> {
    let mut found = server
        .documents::<CategoriesDocument>(&CATALOGUE, &[CATEGORIES], &["categories"])
        .await?;
    Ok(found
        .remove(CATEGORIES)
        .map_or_else(Vec::new, |found| found.source.categories))
}

/// Known categories with those of the same slug replaced, and others at the end.
fn merged(known: &[Category], changes: &[Category]) -> Vec<Category> {
    let mut categories = known.to_vec();
    let mut places: HashMap<String, usize> = known
        .iter()
        .enumerate()
        .map(|(place, category)| (category.slug.clone(), place))
        .collect();
    for change in changes {
        match places.get(&change.slug) {
            Some(place) => categories[*place] = change.clone(),
            None => {
                places.insert(change.slug.clone(), categories.len());
                categories.push(change.clone());
            }
        }
    }
    categories
}
