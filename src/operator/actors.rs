//! `/v1/actors`: entities by kind, and one of them, wherever it lives.

use std::sync::atomic::Ordering;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::Shared;
use super::peers::{self, PeerError, Scope};
use super::redact::redacted;
use crate::actors::entity::Record;
use crate::actors::figures::KindFigures;
use crate::actors::region::Region;
use crate::http::conventions::Context;
use crate::http::json;
use crate::http::problem::{self, Problem};
use crate::stores::documents::DocumentStore;
use souk_cluster::ownership::Owner;
use souk_cluster::placement::shard_of;
use souk_domain::{Aggregate, CartId, Kind, OrderId, Sku};

/// The figures of each kind on this node, or on all of them.
pub(super) async fn list(
    State(state): State<Shared>,
    scope: Scope,
    context: Context,
) -> Result<Response, Problem> {
    let node = &state.me.name;
    let mut items = vec![
        figures_of(&state.regions.carts, node),
        figures_of(&state.regions.orders, node),
        figures_of(&state.regions.skus, node),
    ];
    if scope == Scope::Cluster {
        for (member, answer) in peers::ask_all::<Value>(&state, &context, "/v1/actors").await {
            match answer {
                Ok(Value::Object(mut answer)) => {
                    if let Some(Value::Array(theirs)) = answer.remove("items") {
                        items.extend(theirs);
                    }
                }
                Ok(_) => {}
                Err(error) => items.extend(Kind::ALL.map(|kind| {
                    json!({ "kind": kind, "node": member.name, "state": "unreachable", "error": error.to_string() })
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

fn figures_of<A: Aggregate>(region: &Region<A>, node: &str) -> Value {
    let context = region.context();
    let figures = &context.entity.figures;
    let waiting: Vec<u32> = context
        .directory
        .iter()
        .map(|live| live.vitals.waiting.load(Ordering::Relaxed))
        .collect();
    let [median, tail, longest] = figures.latency_quantiles();
    json!({
        "kind": A::KIND,
        "node": node,
        "state": "running",
        "live": figures.live.load(Ordering::Relaxed),
        "activations": KindFigures::read(&figures.activations),
        "passivations": KindFigures::read(&figures.passivations),
        "restarts": KindFigures::read(&figures.restarts),
        "conflicts": KindFigures::read(&figures.conflicts),
        "reloads": KindFigures::read(&figures.reloads),
        "refused": KindFigures::read(&figures.refused),
        "latency_microseconds": { "p50": median, "p99": tail, "max": longest },
        "mailbox": quantiles(waiting),
        "crashes": figures.crashes(),
    })
}

/// The quantiles 0.5, 0.99 and 1 by the nearest rank; zero where there is nothing.
fn quantiles(mut values: Vec<u32>) -> Value {
    values.sort_unstable();
    let at = |hundredths: usize| {
        let rank = (values.len() * hundredths).div_ceil(100).max(1);
        values.get(rank - 1).copied().unwrap_or(0)
    };
    json!({ "p50": at(50), "p99": at(99), "max": at(100) })
}

/// One entity: from the memory of its owner, else from the store.
pub(super) async fn show(
    State(state): State<Shared>,
    path: Result<Path<(String, String)>, PathRejection>,
    scope: Scope,
    context: Context,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(problem::NOT_FOUND).detail("there is no such actor");
    // What can't be decoded names nothing.
    let Path((kind, id)) = path.map_err(|_| unknown())?;
    let kind = Kind::parse(&kind).ok_or_else(unknown)?;
    let well_formed = match kind {
        Kind::Cart => CartId::parse(&id).is_ok(),
        Kind::Order => OrderId::parse(&id).is_ok(),
        Kind::Sku => Sku::parse(&id).is_ok(),
    };
    if !well_formed {
        return Err(unknown());
    }
    if scope == Scope::Cluster
        && let Owner::There(owner) = state.routing.owner(shard_of(&id))
        && let Some(member) = state.routing.table().view.member(&owner)
    {
        // Well-formed identifiers need no encoding.
        let path = format!("/v1/actors/{}/{id}", kind.as_str());
        match peers::ask::<Value>(&state, &context, member, Method::GET, &path).await {
            Ok(answer) => return json::reply(StatusCode::OK, &answer),
            Err(PeerError::Refused(StatusCode::NOT_FOUND)) => return Err(unknown()),
            // The owner is out of reach: the store knows what it wrote last.
            Err(error) => tracing::warn!(
                node = &*owner,
                error = &error as &dyn std::error::Error,
                "an entity's owner does not answer; it is shown from the store"
            ),
        }
    }
    let item = match kind {
        Kind::Cart => described(&state, &state.regions.carts, &*state.stores.carts, &id).await,
        Kind::Order => described(&state, &state.regions.orders, &*state.stores.orders, &id).await,
        Kind::Sku => described(&state, &state.regions.skus, &*state.stores.inventory, &id).await,
    };
    json::reply(StatusCode::OK, &item?.ok_or_else(unknown)?)
}

/// The entity as it lives on this node or stands in the store; `None` where there is neither.
async fn described<A: Aggregate>(
    state: &Shared,
    region: &Region<A>,
    store: &dyn DocumentStore,
    id: &str,
) -> Result<Option<Value>, Problem> {
    let shard = shard_of(id);
    let node = match state.routing.owner(shard) {
        Owner::Here | Owner::HereSoon => Some(state.me.name.clone()),
        Owner::There(name) => Some(name.to_string()),
        Owner::Nobody => None,
    };
    let mut item = json!({ "kind": A::KIND, "id": id, "shard": shard, "node": node });
    let live = region.describe(id).await;
    item["activated"] = region.context().directory.contains_key(id).into();
    item["mailbox"] = live.as_ref().map_or(0, |live| live.waiting).into();
    item["last_error"] = live.as_ref().and_then(|live| live.last_error.clone()).into();
    item["active_seconds"] = live.as_ref().map(|live| live.active_seconds).into();
    match live.filter(|live| live.version > 0) {
        Some(live) => {
            item["version"] = live.version.into();
            item["state"] = redacted(live.state);
        }
        // Not live, still loading, too busy to answer, or asked for and never made.
        None => match store.load(id).await? {
            Some(document) => {
                item["version"] = document.version.into();
                match Record::<A>::decode(&document).and_then(|record| serde_json::to_value(record.state)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occur() {
        assert_eq!(quantiles(Vec::new()), json!({ "p50": 0, "p99": 0, "max": 0 }));
        assert_eq!(quantiles(vec![7]), json!({ "p50": 7, "p99": 7, "max": 7 }));
        let hundred = (1..=100).rev().collect();
        assert_eq!(quantiles(hundred), json!({ "p50": 50, "p99": 99, "max": 100 }));
    }
}
