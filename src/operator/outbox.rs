//! `/v1/outbox`, `/v1/dead-letters`: pending and undeliverable events (invariant 10).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::redact::redacted;
use super::{Shared, access};
use crate::http::edge::context::Context;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::json;
use crate::http::request::path::PathParameter;
use crate::stores::documents::{DocumentStore, OutboxEvent};

/// Pending events shown for each store: the oldest.
const PENDING_SHOWN: usize = 20;
/// Dead letters shown for each store: the newest.
const DEAD_LETTERS_SHOWN: usize = 100;

/// The stores whose rows emit events.
fn emitting(state: &Shared) -> [&dyn DocumentStore; 4] {
    let stores = &state.stores;
    [
        &*stores.carts,
        &*stores.orders,
        &*stores.inventory,
        &*stores.payments,
    ]
}

/// The number of pending events of each store, and the first of them.
pub(super) async fn list(State(state): State<Shared>) -> Result<Response, Problem> {
    let mut items = Vec::new();
    for store in emitting(&state) {
        let depth = store.outbox_depth().await?;
        let pending = store.pending(PENDING_SHOWN).await?;
        items.push(json!({
            "store": store.name(),
            "pending": depth.pending,
            "dead": depth.dead,
            "oldest": depth.oldest.map(|at| at.to_rfc3339()),
            "events": pending.into_iter().map(event).collect::<Vec<_>>(),
        }));
    }
    json::reply(StatusCode::OK, &json!({ "items": items }))
}

/// The newest dead letters of each store, and the total number.
pub(super) async fn dead_letters(State(state): State<Shared>) -> Result<Response, Problem> {
    let mut items = Vec::new();
    let mut total = 0;
    for store in emitting(&state) {
        total += store.outbox_depth().await?.dead;
        for letter in store.dead_letters(DEAD_LETTERS_SHOWN).await? {
            let mut item = event(letter.event);
            item["store"] = store.name().into();
            item["reason"] = letter.reason.into();
            items.push(item);
        }
    }
    json::reply(StatusCode::OK, &json!({ "items": items, "total": total }))
}

/// Puts a dead letter back into the outbox.
pub(super) async fn replay(
    State(state): State<Shared>,
    PathParameter(id): PathParameter,
    context: Context,
) -> Result<Response, Problem> {
    for store in emitting(&state) {
        if store.replay(&id).await? {
            access::log(&state, &context, "replay", &id);
            // This node's relay looks at once, that of another node at its interval.
            for persistence in state
                .persistence
                .iter()
                .filter(|persistence| persistence.store.name() == store.name())
            {
                persistence.events.notify_one();
            }
            let item = json!({ "id": id, "store": store.name(), "state": "pending" });
            return json::reply(StatusCode::OK, &item);
        }
    }
    Err(Problem::new(problem::NOT_FOUND).detail("there is no dead letter with this id"))
}

fn event(event: OutboxEvent) -> Value {
    json!({
        "id": event.id,
        "sequence": event.sequence,
        "entity": event.entity,
        "shard": event.shard,
        "version": event.version,
        "at": event.at.to_rfc3339(),
        "attempts": event.attempts,
        "event": event.event.name,
        "detail": redacted(event.event.detail),
    })
}
