//! `/v1/stores`: what each store runs on, whether it answers, and how this node's writes to it go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use futures::future::{BoxFuture, join_all};
use serde_json::{Value, json};

use super::Shared;
use crate::actors::persistence::PersistenceFigures;
use crate::http::json;
use crate::http::problem::Problem;
use crate::stores::StoreError;
use crate::stores::documents::DocumentStore;

/// How long a store has for answering.
const PING_LIMIT: Duration = Duration::from_secs(2);

/// A store with the question whether it answers.
struct Probe<'a> {
    store: &'static str,
    kind: &'static str,
    ping: BoxFuture<'a, Result<(), StoreError>>,
}

impl<'a> Probe<'a> {
    fn documents(store: &'a dyn DocumentStore) -> Self {
        Self {
            store: store.name(),
            kind: store.technology(),
            ping: store.ping(),
        }
    }
}

/// Every store, as seen from this node.
pub(super) async fn list(State(state): State<Shared>) -> Result<Response, Problem> {
    let stores = &state.stores;
    let probes = [
        Probe::documents(&*stores.carts),
        Probe::documents(&*stores.orders),
        Probe::documents(&*stores.inventory),
        Probe::documents(&*stores.payments),
        Probe::documents(&*stores.sandbox),
        Probe {
            store: "catalogue",
            kind: stores.catalogue.technology(),
            ping: stores.catalogue.ping(),
        },
        Probe {
            store: "users",
            kind: stores.users.technology(),
            ping: stores.users.ping(),
        },
        Probe {
            store: "sessions",
            kind: stores.sessions.technology(),
            ping: Box::pin(stores.ping_sessions()),
        },
        Probe {
            store: "views",
            kind: stores.views.technology(),
            ping: Box::pin(stores.ping_views()),
        },
    ];
    let items = join_all(probes.into_iter().map(|probe| item(&state, probe))).await;
    json::reply(StatusCode::OK, &json!({ "items": items }))
}

async fn item(state: &Shared, probe: Probe<'_>) -> Value {
    let started = Instant::now();
    let error = match tokio::time::timeout(PING_LIMIT, probe.ping).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {} s", PING_LIMIT.as_secs())),
    };
    let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut item = json!({
        "store": probe.store,
        "kind": probe.kind,
        "node": state.me.name,
        "reachable": error.is_none(),
        "ping_microseconds": error.is_none().then_some(took),
        "error": error,
    });
    let persistence = state
        .persistence
        .iter()
        .find(|persistence| persistence.store.name() == probe.store);
    // Stores without a persistence actor are not written in batches.
    if let Some(persistence) = persistence {
        show_figures(&mut item, &persistence.figures);
    }
    item
}

fn show_figures(item: &mut Value, figures: &PersistenceFigures) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    item["batches"] = read(&figures.batches).into();
    item["rows"] = read(&figures.rows).into();
    item["conflicts"] = read(&figures.conflicts).into();
    item["errors"] = read(&figures.errors).into();
    let [median, tail, longest] = figures.histograms.quantiles().unwrap_or_default();
    item["batch_rows"] = json!({ "p50": median.0, "p99": tail.0, "max": longest.0 });
    item["batch_microseconds"] = json!({ "p50": median.1, "p99": tail.1, "max": longest.1 });
}
