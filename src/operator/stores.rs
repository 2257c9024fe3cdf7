//! `/v1/stores`: technology, reachability and write metrics of each store, as seen from this node.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use futures::future::join_all;
use serde_json::{Value, json};

use super::Shared;
use crate::http::edge::problem::Problem;
use crate::http::request::json;
use crate::stores::ping::Ping;
use souk_error_chain::Chain;

/// All stores.
pub(super) async fn list(State(state): State<Shared>) -> Result<Response, Problem> {
    let pings = state.stores.pings().into_iter();
    let items = join_all(pings.map(|ping| item(&state, ping))).await;
    json::reply(StatusCode::OK, &json!({ "items": items }))
}

async fn item(state: &Shared, ping: Ping<'_>) -> Value {
    let (store, technology) = (ping.store, ping.technology);
    let answer = ping.send().await;
    let took = answer
        .as_ref()
        .map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    let mut item = json!({
        "store": store,
        "kind": technology,
        "node": state.me.name,
        "reachable": answer.is_ok(),
        "ping_microseconds": took.ok(),
        "error": answer.as_ref().err().map(|error| Chain(error).to_string()),
    });
    // Stores without a persistence actor are not written in batches.
    let persistence = state.persistence.iter().find(|one| one.store.name() == store);
    if let Some(metrics) = persistence.map(|one| &one.metrics) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        item["batches"] = read(&metrics.batches).into();
        item["rows"] = read(&metrics.rows).into();
        item["conflicts"] = read(&metrics.conflicts).into();
        item["errors"] = read(&metrics.errors).into();
        item["batch_rows"] = json!(metrics.batch_rows.quantiles());
        item["batch_microseconds"] = json!(metrics.batch_microseconds.quantiles());
    }
    item
}
