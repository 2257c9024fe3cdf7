//! Reads by id, and searches.

use std::collections::HashMap;

use reqwest::Method;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use super::failure::{Effect, ServerError};
use super::{Body, Index, SERVER_LIMIT, Server};
use crate::stores::StoreError;

/// Documents of one call; more are read by several. Together they fit an answer, each being as large as it may.
const READ_ROWS: usize = 100;

/// A document by its id.
#[derive(Clone, Debug)]
pub(in crate::stores) struct Found<T> {
    /// Counts its changes, or is what its last writer said.
    pub(in crate::stores) version: u64,
    /// The change that made it: a number, and the term of the primary that gave it.
    pub(in crate::stores) change: (u64, u64),
    /// What was asked for of it.
    pub(in crate::stores) source: T,
}

#[derive(Deserialize)]
struct Documents<T> {
    docs: Vec<Entry<T>>,
}

#[derive(Deserialize)]
struct Entry<T> {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_version")]
    version: Option<u64>,
    #[serde(rename = "_seq_no")]
    number: Option<u64>,
    #[serde(rename = "_primary_term")]
    term: Option<u64>,
    #[serde(rename = "_source")]
    source: Option<T>,
    error: Option<ServerError>,
}

/// A page of a search.
#[derive(Debug)]
pub(in crate::stores) struct Hits<T> {
    pub(in crate::stores) total: u64,
    pub(in crate::stores) hits: Vec<Hit<T>>,
}

#[derive(Debug, Deserialize)]
pub(in crate::stores) struct Hit<T> {
    #[serde(rename = "_id")]
    pub(in crate::stores) id: String,
    /// By what it was sorted.
    #[serde(default)]
    pub(in crate::stores) sort: Vec<Value>,
    #[serde(rename = "_source")]
    pub(in crate::stores) source: Option<T>,
}

#[derive(Deserialize)]
struct Reply<T> {
    timed_out: bool,
    hits: ReplyHits<T>,
}

#[derive(Deserialize)]
struct ReplyHits<T> {
    total: Total,
    hits: Vec<Hit<T>>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

impl Server {
    /// Whether the documents of an index can be read.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(in crate::stores) async fn ping(&self, index: &Index) -> Result<(), StoreError> {
        self.documents::<IgnoredAny>(index, &["ping"], &[])
            .await
            .map(drop)
    }

    /// The given fields of the documents with these ids, by id; those that are not there are left out. Sees every acknowledged write.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(in crate::stores) async fn documents<T: DeserializeOwned>(
        &self,
        index: &Index,
        ids: &[&str],
        fields: &[&str],
    ) -> Result<HashMap<String, Found<T>>, StoreError> {
        let mut found = HashMap::with_capacity(ids.len());
        let fields = if fields.is_empty() {
            "false"
        } else {
            &fields.join(",")
        };
        let path = format!("{}/_mget?_source={fields}", self.alias(index));
        for ids in ids.chunks(READ_ROWS) {
            let answer = self
                .call(
                    Effect::Read,
                    Method::POST,
                    &path,
                    Body::Json(json!({ "ids": ids })),
                )
                .await?;
            let Documents { docs } = self.decode(&self.checked(Effect::Read, answer)?)?;
            for entry in docs {
                if let Some(error) = entry.error {
                    return Err(if error.kind == "index_not_found_exception" {
                        self.refused(error)
                    } else {
                        self.unavailable(error)
                    });
                }
                if let (Some(version), Some(number), Some(term), Some(source)) =
                    (entry.version, entry.number, entry.term, entry.source)
                {
                    let change = (number, term);
                    found.insert(
                        entry.id,
                        Found {
                            version,
                            change,
                            source,
                        },
                    );
                }
            }
        }
        Ok(found)
    }

    /// Searches an index. It may not have taken in what was written in the last seconds.
    ///
    /// # Errors
    /// [`StoreError`]
    pub(in crate::stores) async fn search<T: DeserializeOwned>(
        &self,
        index: &Index,
        mut query: Value,
    ) -> Result<Hits<T>, StoreError> {
        query["timeout"] = SERVER_LIMIT.into();
        // Always the same copy of the index, as long as it is there: copies take in writes at different moments.
        let path = format!(
            "{}/_search?allow_partial_search_results=false&preference=souk",
            self.alias(index)
        );
        let answer = self
            .call(Effect::Read, Method::POST, &path, Body::Json(query))
            .await?;
        let reply: Reply<T> = self.decode(&self.checked(Effect::Read, answer)?)?;
        if reply.timed_out {
            return Err(self.unavailable("the search took too long"));
        }
        Ok(Hits {
            total: reply.hits.total.value,
            hits: reply.hits.hits,
        })
    }
}
