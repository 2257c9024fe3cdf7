//! `/v1/actors`: metrics of each kind of entity, and a single entity on any node.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::Shared;
use super::peers::{self, Scope};
use super::redact::redacted;
use crate::actors::metrics::Distribution;
use crate::actors::region::AnyRegion;
use crate::http::edge::context::Context;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::json;
use souk_cluster::placement::shard_of;
use souk_domain::identifiers::well_formed;

/// The metrics of each kind on this node, or on all nodes.
pub(super) async fn list(
    State(state): State<Shared>,
    scope: Scope,
    context: Context,
) -> Result<Response, Problem> {
    let node = &state.me.name;
    let regions = state.regions.all();
    let mut items: Vec<Value> = regions.map(|region| kind_of(region, node)).into();
    if scope == Scope::Cluster {
        for (member, answer) in peers::ask_all::<Value>(&state, &context, "/v1/actors").await {
            match answer {
                Ok(Value::Object(mut answer)) => {
                    if let Some(Value::Array(theirs)) = answer.remove("items") {
                        items.extend(theirs);
                    }
                }
                Ok(_) => {}
                Err(error) => items.extend(regions.map(|region| {
                    json!({ "kind": region.kind(), "node": member.name, "state": "unreachable", "error": error.to_string() })
                })),
            }
        }
        items.sort_by(|one, other| {
            let key = |item: &'_ Value| {
                let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
                (text("kind"), text("node"))
            };
            key(one).cmp(&key(other))
        });
    }
    json::reply(StatusCode::OK, &json!({ "items": items }))
}

fn kind_of(region: &dyn AnyRegion, node: &str) -> Value {
    let metrics = region.metrics();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let waiting: Distribution = region.mailboxes().into_iter().collect();
    json!({
        "kind": region.kind(),
        "node": node,
        "state": "running",
        "live": metrics.live.load(Ordering::Relaxed),
        "activations": read(&metrics.activations),
        "passivations": read(&metrics.passivations),
        "restarts": read(&metrics.restarts),
        "conflicts": read(&metrics.conflicts),
        "reloads": read(&metrics.reloads),
        "refused": read(&metrics.refused),
        "latency_microseconds": metrics.latency.quantiles(),
        "mailbox": waiting.quantiles(),
        "crashes": metrics.crashes(),
    })
}

/// One entity: from the memory of its owner, otherwise from the store.
pub(super) async fn show(
    State(state): State<Shared>,
    path: Result<Path<(String, String)>, PathRejection>,
    scope: Scope,
    context: Context,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(problem::NOT_FOUND).detail("there is no such actor");
    // A path that can't be decoded matches no entity.
    let Path((kind, id)) = path.map_err(|_| unknown())?;
    let region = state.regions.of_kind(&kind).ok_or_else(unknown)?;
    if !well_formed(&id) {
        return Err(unknown());
    }
    // Well-formed identifiers need no encoding.
    let path = format!("/v1/actors/{}/{id}", kind.as_str());
    if let Some(reply) = peers::ask_owner(&state, &context, scope, &id, &path, &unknown).await? {
        return Ok(reply);
    }
    let item = described(&state, region, &id).await?.ok_or_else(unknown)?;
    json::reply(StatusCode::OK, &item)
}

/// The entity from the memory of this node, otherwise from the store; `None` where it does not exist.
async fn described(state: &Shared, region: &dyn AnyRegion, id: &str) -> Result<Option<Value>, Problem> {
    let shard = shard_of(id);
    let node = peers::owner(&state.routing, shard);
    let mut item = json!({ "kind": region.kind(), "id": id, "shard": shard, "node": node });
    let live = region.describe(id).await;
    item["activated"] = region.is_live(id).into();
    item["mailbox"] = live.as_ref().map_or(0, |live| live.waiting).into();
    item["last_error"] = live.as_ref().and_then(|live| live.last_error.clone()).into();
    item["active_seconds"] = live.as_ref().map(|live| live.active_seconds).into();
    match live.filter(|live| live.version > 0) {
        Some(live) => {
            item["version"] = live.version.into();
            item["state"] = redacted(live.state);
        }
        // Not in memory, still loading, too busy to answer, or never created.
        None => match region.persistence().store.load(id).await? {
            Some(document) => {
                item["version"] = document.version.into();
                match region.state_of(&document) {
                    Ok(shown) => item["state"] = redacted(shown),
                    Err(error) => {
                        item["state"] = Value::Null;
                        item["last_error"] = format!("the row does not decode: {error}").into();
                    }
                }
            }
            None => return Ok(None),
        },
    }
    Ok(Some(item))
}
