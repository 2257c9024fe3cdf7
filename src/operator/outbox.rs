//! `/v1/outbox`, `/v1/dead-letters`: pending and undeliverable events (invariant 10).

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::redact::redacted;
use super::{Shared, access};
use crate::http::edge::context::Context;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::json;
use crate::http::request::path::PathParameter;
use crate::stores::documents::{Delivery, Outbox};
use souk_domain::EventId;

/// Pending events shown for each consumer: the oldest.
const PENDING_SHOWN: usize = 20;
/// Dead letters shown for each store: the newest.
const DEAD_LETTERS_SHOWN: usize = 100;

/// The outboxes of all stores that emit events.
fn outboxes(state: &Shared) -> [&dyn Outbox; 2] {
    [&*state.stores.order_events, &*state.stores.stock_events]
}

/// The number of pending events of each consumer, and the first of them.
pub(super) async fn list(State(state): State<Shared>) -> Result<Response, Problem> {
    let mut items = Vec::new();
    for outbox in outboxes(&state) {
        for depth in outbox.depth().await? {
            let pending = outbox.pending(&depth.consumer, PENDING_SHOWN).await?;
            items.push(json!({
                "store": outbox.name(),
                "consumer": depth.consumer,
                "pending": depth.pending,
                "dead": depth.dead,
                "oldest": depth.oldest.map(|at| at.to_rfc3339()),
                "events": pending.into_iter().map(item).collect::<Vec<_>>(),
            }));
        }
    }
    json::reply(StatusCode::OK, &json!({ "items": items }))
}

/// The newest dead letters of each store, and the total number.
pub(super) async fn dead_letters(State(state): State<Shared>) -> Result<Response, Problem> {
    let mut items = Vec::new();
    let mut total = 0;
    for outbox in outboxes(&state) {
        total += outbox.depth().await?.iter().map(|depth| depth.dead).sum::<u64>();
        for letter in outbox.dead_letters(DEAD_LETTERS_SHOWN).await? {
            let mut item = item(letter.delivery);
            item["store"] = outbox.name().into();
            item["consumer"] = letter.consumer.into();
            item["reason"] = letter.reason.into();
            items.push(item);
        }
    }
    json::reply(StatusCode::OK, &json!({ "items": items, "total": total }))
}

/// The query of a replay.
#[derive(serde::Deserialize)]
pub(super) struct Replay {
    /// Whose dead letter; without it, those of all consumers.
    consumer: Option<String>,
}

/// Puts the dead letters of an event back into the outbox.
pub(super) async fn replay(
    State(state): State<Shared>,
    PathParameter(id): PathParameter,
    Query(Replay { consumer }): Query<Replay>,
    context: Context,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(problem::NOT_FOUND).detail("there is no dead letter with this id");
    let event: EventId = id.parse().map_err(|_| unknown())?;
    for outbox in outboxes(&state) {
        let consumers = outbox.replay(&event, consumer.as_deref()).await?;
        if consumers.is_empty() {
            continue;
        }
        access::log(&state, &context, "replay", &id);
        // The relay of another node that serves its shard reads the outbox at its interval; this node's at once.
        for persistence in &state.persistence {
            if persistence.store.name() == outbox.name() {
                persistence.events.send_replace(());
            }
        }
        let item = json!({ "id": id, "store": outbox.name(), "consumers": consumers, "state": "pending" });
        return json::reply(StatusCode::OK, &item);
    }
    Err(unknown())
}

fn item(Delivery { event, attempts }: Delivery) -> Value {
    json!({
        "id": event.id.to_string(),
        "sequence": event.sequence,
        "entity": event.id.entity,
        "shard": event.shard,
        "version": event.id.version,
        "at": event.at.to_rfc3339(),
        "attempts": attempts,
        "event": event.event.name,
        "detail": redacted(event.event.detail),
    })
}
