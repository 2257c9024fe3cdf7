//! `/v1/sagas`: the checkouts with their steps, from the orders store and from the memory of the nodes that run them.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::peers::{self, Scope};
use super::{Shared, access};
use crate::actors::entity::Record;
use crate::actors::outcome::Ask;
use crate::http::edge::context::Context;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::json;
use crate::http::request::path::PathParameter;
use crate::http::request::query::{Page, Parameters};
use crate::sagas::checkout::Trace;
use crate::stores::documents::{Document, Row, row_id};
use souk_cluster::placement::{SHARDS, shard_of};
use souk_domain::checkout::StepRecord;
use souk_domain::order::{Attention, FailureReason, NEVER, Phase, PlacedOrder};
use souk_domain::{Order, OrderCommand, OrderId, Timestamp};

/// Most orders that one request reads in search of ended checkouts; the others are for the next page.
const SCAN_LIMIT: usize = 1_000;
/// Orders of one read.
const SCAN_PAGE: usize = 200;
/// Most running checkouts that can be listed: each page has to skip all those before it.
const RUNNING_LISTED: usize = 10_000;
/// Most traces that a node reports to another: the oldest, which are listed first.
const TRACES_TOLD: usize = 1_000;

/// State of a checkout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Steps remain, or the shopper has to act.
    Running,
    /// A payment provider refused a step: somebody has to decide.
    Waiting,
    /// It succeeded, or was undone after a cancellation.
    Finished,
    /// It failed, and was undone.
    Failed,
}

const STATES: &[(&str, Standing)] = &[
    ("running", Standing::Running),
    ("waiting", Standing::Waiting),
    ("finished", Standing::Finished),
    ("failed", Standing::Failed),
];

impl Standing {
    fn of(order: &PlacedOrder) -> Self {
        match &order.progress.phase {
            phase if !phase.is_finished() && order.progress.attention.is_some() => Self::Waiting,
            phase if !phase.is_finished() => Self::Running,
            Phase::Failed { .. } => Self::Failed,
            _ => Self::Finished,
        }
    }

    /// Whether the order has not ended.
    fn is_unfinished(self) -> bool {
        matches!(self, Self::Running | Self::Waiting)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// A trace as nodes exchange it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Told {
    order_id: String,
    node: String,
    step: Option<String>,
    attempts: u32,
    started_at: Timestamp,
    done: Vec<StepRecord>,
    last_error: Option<String>,
}

impl Told {
    fn new(node: &str, order_id: &str, trace: &Trace) -> Self {
        Self {
            order_id: order_id.to_owned(),
            node: node.to_owned(),
            step: trace.step.map(|step| step.as_str().to_owned()),
            attempts: trace.attempts,
            started_at: trace.started_at,
            done: trace.done.clone(),
            last_error: trace.last_error.clone(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Traces {
    items: Vec<Told>,
}

fn own_traces(state: &Shared) -> Vec<Told> {
    let mut traces: Vec<Told> = state
        .traces
        .iter()
        .map(|entry| Told::new(&state.me.name, entry.key(), entry.value()))
        .collect();
    traces.sort_by_key(|trace| trace.started_at);
    traces.truncate(TRACES_TOLD);
    traces
}

/// The running checkouts, oldest first, then the ended ones. For another node: the traces of this one.
pub(super) async fn list(
    State(state): State<Shared>,
    scope: Scope,
    context: Context,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    if scope == Scope::Node {
        return json::reply(
            StatusCode::OK,
            &Traces {
                items: own_traces(&state),
            },
        );
    }
    let wanted = parameters.choice("state", STATES);
    let limit = parameters.limit();
    let begin = parameters
        .text("cursor")
        .map_or(Some(Position::Running(0)), |cursor| Position::parse(&cursor));
    if begin.is_none() {
        parameters.refuse("cursor", "is not a cursor of this list");
    }
    parameters.finish()?;

    let mut items = Vec::new();
    let mut position = begin;
    if let Some(Position::Running(offset)) = position {
        position = Some(Position::Ended(None));
        if wanted.is_none_or(Standing::is_unfinished) {
            position = running(&state, &context, offset, wanted, limit, &mut items)
                .await?
                .or(position);
        }
    }
    if let Some(Position::Ended(after)) = position {
        position = if wanted.is_some_and(Standing::is_unfinished) {
            None
        } else {
            ended(&state, after, wanted, limit, &mut items).await?
        };
    }
    let next_cursor = position.map(|position| position.to_string());
    json::reply(StatusCode::OK, &Page { items, next_cursor })
}

/// Start of a page of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Position {
    /// Running checkouts after this many, as their order is not stable.
    Running(usize),
    /// Ended checkouts after this order.
    Ended(Option<String>),
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Running(offset) => write!(f, "running.{offset}"),
            Self::Ended(None) => f.write_str("ended"),
            Self::Ended(Some(order)) => write!(f, "ended.{order}"),
        }
    }
}

impl Position {
    /// Parses its text form.
    fn parse(cursor: &str) -> Option<Self> {
        match cursor.split_once('.') {
            None => (cursor == "ended").then_some(Self::Ended(None)),
            Some(("running", offset)) => offset
                .parse()
                .ok()
                .filter(|offset| *offset <= RUNNING_LISTED)
                .map(Self::Running),
            Some(("ended", order)) => Some(Self::Ended(Some(order.to_owned()))),
            Some(_) => None,
        }
    }
}

/// Adds unfinished checkouts. Returns the start of the next page if there are more.
async fn running(
    state: &Shared,
    context: &Context,
    offset: usize,
    wanted: Option<Standing>,
    limit: usize,
    items: &mut Vec<Value>,
) -> Result<Option<Position>, Problem> {
    let mut traces: HashMap<String, Told> = own_traces(state)
        .into_iter()
        .map(|trace| (trace.order_id.clone(), trace))
        .collect();
    for (_, answer) in peers::ask_all::<Traces>(state, context, "/v1/sagas").await {
        // For a node that does not answer, the orders show the durable steps.
        let told = answer.into_iter().flat_map(|told| told.items);
        traces.extend(told.map(|trace| (trace.order_id.clone(), trace)));
    }
    let (orders, there_are_more) = unfinished(state, offset, limit).await?;
    for (order, version) in orders {
        if wanted.is_some_and(|wanted| wanted != Standing::of(&order)) {
            continue;
        }
        let trace = traces.get(order.placement.id.as_str());
        items.push(item(state, &order, version, trace));
    }
    let next = offset + limit;
    Ok((there_are_more && next <= RUNNING_LISTED).then_some(Position::Running(next)))
}

/// Unfinished orders after the first `offset`, and whether there are more. All of them have a due time up to [`NEVER`].
async fn unfinished(
    state: &Shared,
    offset: usize,
    limit: usize,
) -> Result<(Vec<(PlacedOrder, u64)>, bool), Problem> {
    let shards: Vec<u16> = (0..SHARDS).collect();
    let orders = &state.stores.orders;
    let due = orders
        .due(
            &shards,
            Timestamp::from_millis(i64::MIN)..=NEVER,
            offset + limit + 1,
        )
        .await?;
    let there_are_more = due.len() > offset + limit;
    let ids: Vec<String> = due.into_iter().skip(offset).take(limit).collect();
    let mut found: HashMap<String, (PlacedOrder, u64)> = orders
        .load_many(&ids)
        .await?
        .iter()
        .filter_map(readable)
        .filter_map(decoded)
        .map(|(order, version)| (order.placement.id.as_str().to_owned(), (order, version)))
        .collect();
    // In the order in which they are due.
    let in_order = ids.iter().filter_map(|id| found.remove(id));
    Ok((
        in_order
            .filter(|(order, _)| !order.progress.phase.is_finished())
            .collect(),
        there_are_more,
    ))
}

/// The document of a row. Unreadable rows are logged and left out of the list.
fn readable(row: &Row) -> Option<&Document> {
    row.as_ref()
        .inspect_err(|unreadable| {
            tracing::warn!(
                id = unreadable.id,
                error = &unreadable.error as &dyn std::error::Error,
                "an order can't be read"
            );
        })
        .ok()
}

/// Adds ended checkouts after `cursor` until there are `limit` items. Returns the start of the next page.
async fn ended(
    state: &Shared,
    mut cursor: Option<String>,
    wanted: Option<Standing>,
    limit: usize,
    items: &mut Vec<Value>,
) -> Result<Option<Position>, Problem> {
    let mut read = 0;
    while read < SCAN_LIMIT {
        let page = state.stores.orders.scan(cursor.as_deref(), SCAN_PAGE).await?;
        if page.is_empty() {
            return Ok(None);
        }
        read += page.len();
        for row in &page {
            if items.len() >= limit {
                return Ok(Some(Position::Ended(cursor)));
            }
            cursor = Some(row_id(row).to_owned());
            let Some((order, version)) = readable(row).and_then(decoded) else {
                continue;
            };
            let standing = Standing::of(&order);
            if !standing.is_unfinished() && wanted.is_none_or(|wanted| wanted == standing) {
                items.push(item(state, &order, version, None));
            }
        }
    }
    Ok(Some(Position::Ended(cursor)))
}

/// One checkout.
pub(super) async fn show(
    State(state): State<Shared>,
    PathParameter(id): PathParameter,
    scope: Scope,
    context: Context,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(problem::NOT_FOUND).detail("there is no such order");
    let id = OrderId::parse(&id).map_err(|_| unknown())?;
    let path = format!("/v1/sagas/{id}");
    if let Some(reply) = peers::ask_owner(&state, &context, scope, id.as_str(), &path, &unknown).await? {
        return Ok(reply);
    }
    let document = state.stores.orders.load(id.as_str()).await?.ok_or_else(unknown)?;
    let (order, version) = decoded(&document).ok_or_else(unknown)?;
    let trace = state
        .traces
        .get(id.as_str())
        .map(|trace| Told::new(&state.me.name, id.as_str(), &trace));
    json::reply(StatusCode::OK, &item(&state, &order, version, trace.as_ref()))
}

fn decoded(document: &Document) -> Option<(PlacedOrder, u64)> {
    match Record::<Order>::decode(document) {
        Ok(record) => record
            .state
            .placed()
            .map(|order| (order.clone(), document.version)),
        Err(error) => {
            tracing::warn!(order = document.id, %error, "an order does not decode");
            None
        }
    }
}

fn item(state: &Shared, order: &PlacedOrder, version: u64, trace: Option<&Told>) -> Value {
    let PlacedOrder { placement, progress } = order;
    let phase = &progress.phase;
    let shard = shard_of(placement.id.as_str());
    let node = trace
        .map(|trace| trace.node.clone())
        .or_else(|| peers::owner(&state.routing, shard));
    json!({
        "order_id": placement.id,
        "state": Standing::of(order).as_str(),
        "status": phase.status(),
        "payment_status": progress.payment_status,
        "shard": shard,
        "node": node,
        "step": trace.and_then(|trace| trace.step.as_ref()),
        "attempts": trace.map(|trace| trace.attempts),
        "last_error": trace.and_then(|trace| trace.last_error.as_ref()),
        "abandoned": phase.failure().map(FailureReason::as_str),
        "cancelling": phase.is_cancelling(),
        "awaiting_action": *phase == Phase::AwaitingAction,
        "attention": progress.attention.as_ref().map(attention),
        "created_at": progress.created_at.to_rfc3339(),
        "deadline": placement.deadline.to_rfc3339(),
        "version": version,
        "steps": steps(order, trace),
    })
}

/// What a person has to decide.
fn attention(attention: &Attention) -> Value {
    json!({
        "step": attention.step.as_str(),
        "reason": attention.reason,
        "since": attention.since.to_rfc3339(),
        "to_do": "deal with the reason at the payment provider, then POST /v1/sagas/{order_id}/retry; or cancel the order",
    })
}

/// Has a checkout that waits for a decision try again what was refused.
pub(super) async fn retry(
    State(state): State<Shared>,
    PathParameter(id): PathParameter,
    context: Context,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(problem::NOT_FOUND).detail("there is no such order");
    let id = OrderId::parse(&id).map_err(|_| unknown())?;
    let ask = Ask::new(OrderCommand::Retry, context.deadline, context.request_id.clone());
    let answer = state.regions.orders.ask(id.as_str(), ask).await?;
    let order = answer.view.ok_or_else(unknown)?;
    access::log(&state, &context, "retry", id.as_str());
    json::reply(StatusCode::OK, &item(&state, &order, answer.version, None))
}

/// The steps recorded in the order, then those that the present worker has done since, then the current one.
fn steps(order: &PlacedOrder, trace: Option<&Told>) -> Vec<Value> {
    let durable = order.progress.steps.iter();
    let done = trace
        .into_iter()
        .flat_map(|trace| &trace.done)
        .filter(|record| !order.progress.steps.contains(record));
    let mut steps: Vec<Value> = durable
        .chain(done)
        .map(|record| {
            json!({
                "step": record.step.as_str(),
                "state": "done",
                "attempts": record.attempts,
                "started_at": record.started_at.to_rfc3339(),
                "finished_at": record.finished_at.to_rfc3339(),
            })
        })
        .collect();
    if let Some(trace) = trace
        && let Some(step) = &trace.step
        && !trace.done.iter().any(|record| record.step.as_str() == step)
    {
        steps.push(json!({
            "step": step,
            "state": "running",
            "attempts": trace.attempts,
            // A worker records the start of a step when it is done.
            "started_at": null,
            "finished_at": null,
        }));
    }
    steps
}
