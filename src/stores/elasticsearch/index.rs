//! Indexes: made, brought to this version, and looked at when a store is opened.

use std::collections::HashMap;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::{Effect, Failure};
use super::{Body, INDEX_LIMIT, Server};
use crate::stores::StoreError;

/// An index of a store: under its alias `PREFIX-NAME`, the index `PREFIX-NAME-GENERATION`.
///
/// Its mapping has versions, which it counts in its `_meta`. A step that adds fields is a further text in `steps`, and is applied to the
/// index where it is. One that changes what fields are is a new generation instead: an index beside the former, which the alias
/// leads to once it is filled.
pub(in crate::stores) struct Index {
    pub(in crate::stores) name: &'static str,
    pub(in crate::stores) generation: u32,
    /// How texts are made into words, as JSON.
    pub(in crate::stores) analysis: &'static str,
    /// The fields that each version of the mapping adds, as JSON.
    pub(in crate::stores) steps: &'static [&'static str],
}

/// What the server says of an index.
#[derive(Debug, Deserialize)]
struct Description {
    mappings: Mappings,
    settings: HashMap<String, Value>,
    #[serde(default)]
    defaults: HashMap<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Mappings {
    #[serde(rename = "_meta")]
    meta: Option<Meta>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    souk_version: Option<usize>,
}

impl Index {
    /// The body of its creation, in the first version.
    pub(super) fn creation(&self, alias: &str) -> serde_json::Result<Value> {
        let mut mapping = mapping(1, self.steps[0])?;
        // A field that no version knows is a mistake.
        mapping["dynamic"] = "strict".into();
        Ok(json!({
            "aliases": { alias: {} },
            "settings": {
                "index": {
                    "number_of_shards": 1,
                    "auto_expand_replicas": "0-1",
                    // Also where nobody has searched for a while.
                    "refresh_interval": "1s",
                    "translog": { "durability": "request" },
                },
                "analysis": serde_json::from_str::<Value>(self.analysis)?,
            },
            "mappings": mapping,
        }))
    }
}

fn mapping(version: usize, fields: &str) -> serde_json::Result<Value> {
    let fields: Value = serde_json::from_str(fields)?;
    Ok(json!({ "_meta": { "souk_version": version }, "properties": fields }))
}

impl Server {
    /// Makes the index, or the missing versions of its mapping.
    pub(super) async fn prepare(&self, index: &Index) -> Result<(), StoreError> {
        let alias = self.alias(index);
        let mut description = self.describe(&alias).await?;
        if description.is_none() {
            self.create(index, &alias).await?;
            description = self.describe(&alias).await?;
        }
        let Some((name, description)) = description else {
            let name = format!("{alias}-{}", index.generation);
            return Err(self.refused(format!(
                "there is an index {name}, but the alias {alias} does not lead to it"
            )));
        };
        if name != format!("{alias}-{}", index.generation) {
            return Err(self.refused(format!(
                "the alias {alias} leads to {name}, which is of another version of Souk"
            )));
        }
        let known = index.steps.len();
        match description.mappings.meta.and_then(|meta| meta.souk_version) {
            None => return Err(self.refused(format!("the index {name} was not made by Souk"))),
            Some(version) if version > known => {
                return Err(self.refused(format!(
                    "the index {name} has version {version} of its mapping, and this program knows {known}"
                )));
            }
            // Nodes that start together may do the same twice, which changes nothing.
            Some(version) => {
                for (step, fields) in index.steps.iter().enumerate().skip(version) {
                    self.change(&name, step + 1, fields).await?;
                }
            }
        }
        for warning in warnings(&name, &description.settings, &description.defaults) {
            tracing::warn!("{warning}");
        }
        self.until_active(&name).await
    }

    /// Waits until the index answers: one that was made a moment ago, by this node or by another, does not yet, and neither does any
    /// while the server is starting.
    async fn until_active(&self, name: &str) -> Result<(), StoreError> {
        #[derive(Deserialize)]
        struct Health {
            timed_out: bool,
        }
        // Its status does not tell: an index whose primary was never assigned counts as yellow.
        let path = format!("_cluster/health/{name}?wait_for_active_shards=1&timeout=30s&master_timeout=30s");
        let answer = self
            .call_within(INDEX_LIMIT, Effect::Read, Method::GET, &path, Body::Nothing)
            .await?;
        // Some versions say it by the status, some by the body alone.
        match serde_json::from_slice::<Health>(&answer.bytes) {
            Ok(Health { timed_out: true }) => {
                Err(self.unavailable(format!("the primary shard of the index {name} is not active")))
            }
            Ok(Health { timed_out: false }) | Err(_) => self.checked(Effect::Read, answer).map(drop),
        }
    }

    /// The index that an alias leads to, by its own name.
    async fn describe(&self, alias: &str) -> Result<Option<(String, Description)>, StoreError> {
        let path = format!("{alias}?flat_settings=true&include_defaults=true");
        let answer = self.call(Effect::Read, Method::GET, &path, Body::Nothing).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let bytes = self.checked(Effect::Read, answer)?;
        let indexes: HashMap<String, Description> = self.decode(&bytes)?;
        if indexes.len() > 1 {
            return Err(self.refused(format!("the alias {alias} leads to several indexes")));
        }
        Ok(indexes.into_iter().next())
    }

    async fn create(&self, index: &Index, alias: &str) -> Result<(), StoreError> {
        let body = index.creation(alias).map_err(|error| self.refused(error))?;
        let path = format!("{alias}-{}?timeout=30s&master_timeout=30s", index.generation);
        let answer = self
            .call_within(INDEX_LIMIT, Effect::Read, Method::PUT, &path, Body::Json(body))
            .await?;
        // Another node was faster.
        if let Ok(failure) = serde_json::from_slice::<Failure>(&answer.bytes)
            && failure.error.kind == "resource_already_exists_exception"
        {
            return Ok(());
        }
        self.checked(Effect::Read, answer).map(drop)
    }

    async fn change(&self, name: &str, version: usize, fields: &str) -> Result<(), StoreError> {
        let mapping = mapping(version, fields).map_err(|error| self.refused(error))?;
        let path = format!("{name}/_mapping?timeout=30s&master_timeout=30s");
        let answer = self
            .call_within(INDEX_LIMIT, Effect::Read, Method::PUT, &path, Body::Json(mapping))
            .await?;
        self.checked(Effect::Read, answer).map(drop)
    }
}

/// What by its settings an index may lose, or show late.
fn warnings(name: &str, settings: &HashMap<String, Value>, defaults: &HashMap<String, Value>) -> Vec<String> {
    let value = |key: &str| {
        settings
            .get(key)
            .or_else(|| defaults.get(key))
            .and_then(Value::as_str)
    };
    let mut warnings = Vec::new();
    if let Some(durability) = value("index.translog.durability")
        && !durability.eq_ignore_ascii_case("request")
    {
        warnings.push(format!(
            "Elasticsearch acknowledges writes to {name} before they are on disk (index.translog.durability {durability}): a crash \
             loses the last seconds of products and stock badges; set it to request"
        ));
    }
    match value("index.refresh_interval") {
        None | Some("1s") => {}
        Some(interval) => warnings.push(format!(
            "searches see writes to {name} late, or never (index.refresh_interval {interval}); set it to 1s"
        )),
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_lose_or_hide_writes_are_named() {
        let settings = |durability: &str, interval: &str| {
            HashMap::from([
                ("index.translog.durability".to_owned(), durability.into()),
                ("index.refresh_interval".to_owned(), interval.into()),
            ])
        };
        let none = HashMap::new();
        assert!(warnings("i", &settings("request", "1s"), &none).is_empty());
        assert!(warnings("i", &settings("REQUEST", "1s"), &none).is_empty());
        assert!(warnings("i", &none, &none).is_empty());
        for (settings, named) in [
            (settings("async", "1s"), "durability async"),
            (settings("request", "-1"), "refresh_interval -1"),
        ] {
            for (set, defaults) in [(&settings, &none), (&none, &settings)] {
                let warnings = warnings("i", set, defaults);
                assert_eq!(warnings.len(), 1);
                assert!(warnings[0].contains(named), "{warnings:?}");
            }
        }
    }
}
