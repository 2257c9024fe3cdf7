//! `/v1/sagas`: the checkouts, each with its steps. What is under way is found in the orders store and in the memory of
//! the nodes that drive it; what has ended stands in its order.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Shared;
use super::peers::{self, PeerError, Scope};
use crate::actors::entity::Record;
use crate::http::conventions::Context;
use crate::http::json;
use crate::http::path::Segment;
use crate::http::problem::{self, Problem};
use crate::http::query::{Page, Parameters};
use crate::sagas::checkout::Trace;
use crate::stores::documents::{Document, Row, row_id};
use souk_cluster::ownership::Owner;
use souk_cluster::placement::{SHARDS, shard_of};
use souk_domain::checkout::StepRecord;
use souk_domain::order::{OrderStatus, OrderView};
use souk_domain::{Order, OrderId, Timestamp};

/// Orders that one request reads in search of ended checkouts; the rest is for the next page.
const SCAN_LIMIT: usize = 1_000;
/// Orders read in one go.
const SCAN_PAGE: usize = 200;
/// Checkouts under way that can be listed: to list some is to find all those before them.
const RUNNING_LISTED: usize = 10_000;
/// Traces that a node tells another of: those that were begun first, which are those that are listed first.
const TRACES_TOLD: usize = 1_000;

/// Where a checkout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Something is left to do, or the shopper has to act.
    Running,
    /// It came to its end, or was undone after its order was called off.
    Finished,
    /// It came to nothing, and everything was given back.
    Failed,
}

const STATES: &[(&str, Standing)] = &[
    ("running", Standing::Running),
    ("finished", Standing::Finished),
    ("failed", Standing::Failed),
];

impl Standing {
    fn of(order: &OrderView) -> Self {
        match order.status {
            _ if !order.finished => Self::Running,
            OrderStatus::Failed => Self::Failed,
            _ => Self::Finished,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
        }
    }
}

/// A trace as one node tells another of it.
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

/// The checkouts under way, the oldest first, then those that have ended. For another node: the traces of this one.
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
        parameters.refuse("cursor", "was not given by this list");
    }
    parameters.finish()?;

    let mut items = Vec::new();
    let mut position = begin;
    if let Some(Position::Running(offset)) = position {
        position = Some(Position::Ended(None));
        if wanted.is_none_or(|wanted| wanted == Standing::Running) {
            position = running(&state, &context, offset, limit, &mut items)
                .await?
                .or(position);
        }
    }
    if let Some(Position::Ended(after)) = position {
        position = if wanted == Some(Standing::Running) {
            None
        } else {
            ended(&state, after, wanted, limit, &mut items).await?
        };
    }
    let next_cursor = position.map(|position| position.to_string());
    json::reply(StatusCode::OK, &Page { items, next_cursor })
}

/// Where a page of the list starts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Position {
    /// Among those under way, which have no order that lasts: behind so many.
    Running(usize),
    /// Among those that have ended: behind this order.
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
    /// The reverse of its text.
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

/// Adds checkouts under way; returns where the next page starts if there are more of them.
async fn running(
    state: &Shared,
    context: &Context,
    offset: usize,
    limit: usize,
    items: &mut Vec<Value>,
) -> Result<Option<Position>, Problem> {
    let mut traces: HashMap<String, Told> = own_traces(state)
        .into_iter()
        .map(|trace| (trace.order_id.clone(), trace))
        .collect();
    for (_, answer) in peers::ask_all::<Traces>(state, context, "/v1/sagas").await {
        // Of a node that does not answer the orders tell what is durable.
        let told = answer.into_iter().flat_map(|told| told.items);
        traces.extend(told.map(|trace| (trace.order_id.clone(), trace)));
    }
    let (orders, there_are_more) = unfinished(state, offset, limit).await?;
    for (order, version) in orders {
        let trace = traces.get(order.id.as_str());
        items.push(item(state, &order, version, trace));
    }
    let next = offset + limit;
    Ok((there_are_more && next <= RUNNING_LISTED).then_some(Position::Running(next)))
}

/// Orders that are not finished, behind the first `offset`, and whether there are more of them: every one is due at
/// some time.
async fn unfinished(
    state: &Shared,
    offset: usize,
    limit: usize,
) -> Result<(Vec<(OrderView, u64)>, bool), Problem> {
    let shards: Vec<u16> = (0..SHARDS).collect();
    let orders = &state.stores.orders;
    let due = orders
        .due(&shards, Timestamp::from_millis(i64::MAX), offset + limit + 1)
        .await?;
    let there_are_more = due.len() > offset + limit;
    let ids: Vec<String> = due.into_iter().skip(offset).take(limit).collect();
    let mut found: HashMap<String, (OrderView, u64)> = orders
        .load_each(&ids)
        .await?
        .iter()
        .filter_map(readable)
        .filter_map(decoded)
        .map(|(order, version)| (order.id.as_str().to_owned(), (order, version)))
        .collect();
    // In the order in which they are due.
    let in_order = ids.iter().filter_map(|id| found.remove(id));
    Ok((
        in_order.filter(|(order, _)| !order.finished).collect(),
        there_are_more,
    ))
}

/// The document of a row. One that can't be read is missing in the list, and the log tells why.
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

/// Adds ended checkouts from above `cursor` until there are `limit` items; returns where the next page starts.
async fn ended(
    state: &Shared,
    mut cursor: Option<String>,
    wanted: Option<Standing>,
    limit: usize,
    items: &mut Vec<Value>,
) -> Result<Option<Position>, Problem> {
    let mut read = 0;
    while read < SCAN_LIMIT {
        let page = state
            .stores
            .orders
            .scan_each(cursor.as_deref(), SCAN_PAGE)
            .await?;
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
            if standing != Standing::Running && wanted.is_none_or(|wanted| wanted == standing) {
                items.push(item(state, &order, version, None));
            }
        }
    }
    Ok(Some(Position::Ended(cursor)))
}

/// One checkout.
pub(super) async fn show(
    State(state): State<Shared>,
    Segment(id): Segment,
    scope: Scope,
    context: Context,
) -> Result<Response, Problem> {
    let unknown = || Problem::new(problem::NOT_FOUND).detail("no such order was placed");
    let id = OrderId::parse(&id).map_err(|_| unknown())?;
    if scope == Scope::Cluster
        && let Owner::There(owner) = state.routing.owner(shard_of(id.as_str()))
        && let Some(member) = state.routing.table().view.member(&owner)
    {
        let path = format!("/v1/sagas/{id}");
        match peers::ask::<Value>(&state, &context, member, Method::GET, &path).await {
            Ok(answer) => return json::reply(StatusCode::OK, &answer),
            Err(PeerError::Refused(StatusCode::NOT_FOUND)) => return Err(unknown()),
            Err(error) => tracing::warn!(
                node = &*owner,
                error = &error as &dyn std::error::Error,
                "an order's owner does not answer; its checkout is shown from the store"
            ),
        }
    }
    let document = state.stores.orders.load(id.as_str()).await?.ok_or_else(unknown)?;
    let (order, version) = decoded(&document).ok_or_else(unknown)?;
    let trace = state
        .traces
        .get(id.as_str())
        .map(|trace| Told::new(&state.me.name, id.as_str(), &trace));
    json::reply(StatusCode::OK, &item(&state, &order, version, trace.as_ref()))
}

fn decoded(document: &Document) -> Option<(OrderView, u64)> {
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

fn item(state: &Shared, order: &OrderView, version: u64, trace: Option<&Told>) -> Value {
    let shard = shard_of(order.id.as_str());
    let node = match (trace, state.routing.owner(shard)) {
        (Some(trace), _) => Some(trace.node.clone()),
        (None, Owner::Here | Owner::HereSoon) => Some(state.me.name.clone()),
        (None, Owner::There(name)) => Some(name.to_string()),
        (None, Owner::Nobody) => None,
    };
    json!({
        "order_id": order.id,
        "state": Standing::of(order).as_str(),
        "status": order.status,
        "payment_status": order.payment_status,
        "shard": shard,
        "node": node,
        "step": trace.and_then(|trace| trace.step.as_ref()),
        "attempts": trace.map(|trace| trace.attempts),
        "last_error": trace.and_then(|trace| trace.last_error.as_ref()),
        "abandoned": order.abandoned.as_ref().map(|reason| reason.as_str()),
        "cancelling": order.cancelling,
        "awaiting_action": order.awaiting_action,
        "created_at": order.created_at.to_rfc3339(),
        "deadline": order.deadline.to_rfc3339(),
        "version": version,
        "steps": steps(order, trace),
    })
}

/// The steps that the order accounts for, then those that the present worker has done and not accounted for yet, then
/// the one at work.
fn steps(order: &OrderView, trace: Option<&Told>) -> Vec<Value> {
    let durable = order.steps.iter();
    let done = trace
        .into_iter()
        .flat_map(|trace| &trace.done)
        .filter(|record| !order.steps.contains(record));
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
            // A worker notes when a step began once it is done.
            "started_at": null,
            "finished_at": null,
        }));
    }
    steps
}
