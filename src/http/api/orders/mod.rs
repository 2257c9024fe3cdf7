//! `/v1/orders`: a buyer's orders.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actors::region::{Answer, AskError};
use crate::http::edge::context::Context;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::caller::Caller;
use crate::http::request::entity;
use crate::http::request::etag::{IfMatch, IfNoneMatch};
use crate::http::request::front::{Front, SharedFront};
use crate::http::request::idempotency::Identity;
use crate::http::request::json::{self, OptionalJson};
use crate::http::request::path::PathParameter;
use crate::http::request::query::{Page, Paging, Parameters};
use crate::stores::StoreError;
use crate::stores::documents::{Document, Row, row_id};
use souk_domain::order::{OrderRefusal, REASON_LIMIT};
use souk_domain::{Aggregate, Order, OrderCommand, OrderId, OrderReply, Phase, PlacedOrder};

mod body;
mod outcome;
pub mod place;

pub use body::OrderBody;

/// The reason for a cancellation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = CancelOrder)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    #[schema(max_length = 500)]
    reason: Option<String>,
}

/// A page of orders.
type Orders = Page<OrderBody<'static>>;

/// List the caller's orders, newest first
#[utoipa::path(
    get,
    path = "/v1/orders",
    operation_id = "listOrders",
    tag = "Checkout and orders",
    params(Paging),
    responses((status = 200, description = "A page of orders.", body = Orders)),
)]
pub async fn list(
    State(front): State<SharedFront>,
    caller: Caller,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let description = format!("orders of {}", caller.buyer());
    let limit = parameters.limit();
    let before = parameters.cursor(&front.keys, &description)?;
    parameters.finish()?;

    // One more than the page shows whether another follows.
    let mut rows = front
        .orders
        .by_owner(caller.buyer(), before.as_deref(), limit + 1)
        .await?;
    let is_last = rows.len() <= limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| !is_last).map(row_id);
    let next_cursor = last.map(|id| front.keys.seal_cursor(&description, id));
    let orders: Vec<_> = rows.into_iter().filter_map(readable).collect();
    let page = Page {
        items: orders
            .iter()
            .map(|(order, version)| OrderBody::new(order, *version))
            .collect(),
        next_cursor,
    };
    json::reply(StatusCode::OK, &page)
}

/// A buyer's orders, newest first, as JSON.
///
/// # Errors
/// The store's.
pub async fn everything(front: &Front, buyer: &str, limit: usize) -> Result<Vec<serde_json::Value>, Problem> {
    let rows = front.orders.by_owner(buyer, None, limit).await?;
    rows.into_iter()
        .map(|row| {
            let (order, version) = stored(&row.map_err(|row| row.error)?)?;
            // Strings, numbers and arrays always encode.
            Ok(serde_json::to_value(OrderBody::new(&order, version)).unwrap_or_default())
        })
        .collect()
}

/// An order of a list. An unreadable one is left out and logged.
fn readable(row: Row) -> Option<(PlacedOrder, u64)> {
    let order = row
        .map_err(|row| row.error)
        .and_then(|document| stored(&document));
    order
        .inspect_err(|error| {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "an order is missing in its buyer's list"
            );
        })
        .ok()
}

/// An order as it is stored.
fn stored(document: &Document) -> Result<(PlacedOrder, u64), StoreError> {
    /// The part of a row that is needed here.
    #[derive(Deserialize)]
    struct Body {
        state: Order,
    }
    let corrupt = |what: String| StoreError::Corrupt {
        store: "orders",
        what: format!("{}: {what}", document.id),
    };
    let row: Body = serde_json::from_str(&document.body).map_err(|error| corrupt(error.to_string()))?;
    let order = row
        .state
        .view()
        .ok_or_else(|| corrupt("an order that was never placed".to_owned()))?;
    Ok((order, document.version))
}

/// Show an order of the caller
#[utoipa::path(
    get,
    path = "/v1/orders/{id}",
    operation_id = "getOrder",
    tag = "Checkout and orders",
    params(("id" = OrderId, Path, description = "The order."), IfNoneMatch),
    responses((status = 200, description = "The order.", body = OrderBody<'static>, headers(("ETag")))),
)]
pub async fn show(
    State(front): State<SharedFront>,
    context: Context,
    caller: Caller,
    PathParameter(id): PathParameter,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let (_, version, order) = own(&front, &context, &caller, &id).await?;
    json::if_none_match(&condition, version, &OrderBody::new(&order, version))
}

/// Cancel an order
///
/// Only before it is shipped. Stock and money are returned.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/cancel",
    operation_id = "cancelOrder",
    tag = "Checkout and orders",
    params(("id" = OrderId, Path, description = "The order."), IfMatch),
    request_body(content = Option<Cancel>, example = json!({"reason": "ordered twice"})),
    responses((status = 200, description = "The order.", body = OrderBody<'static>, headers(("ETag")))),
    extensions(("x-problems" = json!([problem::TOO_LATE, problem::ORDER_STATE]))),
)]
pub async fn cancel(
    State(front): State<SharedFront>,
    context: Context,
    caller: Caller,
    identity: Identity,
    PathParameter(id): PathParameter,
    condition: IfMatch,
    OptionalJson(body): OptionalJson<Cancel>,
) -> Result<Response, Problem> {
    let reason = body.reason.unwrap_or_default();
    if reason.chars().count() > REASON_LIMIT {
        return Err(Problem::field(
            "reason",
            format!("holds at most {REASON_LIMIT} characters"),
        ));
    }
    let (id, version, _) = own(&front, &context, &caller, &id).await?;
    let command = OrderCommand::Cancel { reason };
    let mut ask = entity::change::<Order>(&context, front.settings.checkout_wait, &identity, command);
    ask.expected_version = entity::expected_version(&condition, async || Ok(version)).await?;
    // Stock and money are returned before the reply, unless that takes too long.
    ask.wait_until_settled = true;
    let answer = match front.regions.orders.ask(id.as_str(), ask).await {
        Ok(answer) => answer,
        Err(AskError::Expired) => cancelled_by_now(&front, &context, &id).await?,
        Err(error) => return Err(error.into()),
    };
    if let OrderReply::Refused(refusal) = answer.reply {
        return Err(refusal.into());
    }
    let order = answer.view.ok_or_else(|| Problem::new(problem::NOT_FOUND))?;
    json::versioned(
        StatusCode::OK,
        answer.version,
        &OrderBody::new(&order, answer.version),
    )
}

/// After a time-out: the order, if the cancellation was recorded.
async fn cancelled_by_now(front: &Front, context: &Context, id: &OrderId) -> Result<Answer<Order>, Problem> {
    let answer = get(front, context, id).await?;
    let is_recorded = answer.view.as_ref().is_some_and(|order| {
        matches!(
            order.progress.phase,
            Phase::Cancelling { .. } | Phase::Cancelled { .. }
        )
    });
    if is_recorded {
        Ok(answer)
    } else {
        Err(AskError::Expired.into())
    }
}

/// The current order.
async fn get(front: &Front, context: &Context, id: &OrderId) -> Result<Answer<Order>, AskError> {
    let ask = entity::read(context, front.settings.ask_timeout, OrderCommand::Get);
    front.regions.orders.ask(id.as_str(), ask).await
}

/// The caller's own order; another's is not found.
async fn own(
    front: &Front,
    context: &Context,
    caller: &Caller,
    id: &str,
) -> Result<(OrderId, u64, PlacedOrder), Problem> {
    let not_found = || Problem::new(problem::NOT_FOUND);
    let id = OrderId::parse(id).map_err(|_| not_found())?;
    let answer = get(front, context, &id).await?;
    let order = answer
        .view
        .filter(|order| order.placement.buyer == caller.buyer())
        .ok_or_else(not_found)?;
    Ok((id, answer.version, order))
}

impl From<OrderRefusal> for Problem {
    fn from(refusal: OrderRefusal) -> Self {
        match refusal {
            OrderRefusal::NotPlaced | OrderRefusal::NotAGuestOrder => Self::new(problem::NOT_FOUND),
            OrderRefusal::OtherPlacement => Self::new(problem::IDEMPOTENCY_KEY_REUSED),
            OrderRefusal::Forfeited => Self::new(problem::CHECKOUT_EXPIRED),
            OrderRefusal::Failed | OrderRefusal::Shipped(_) => {
                Self::new(problem::TOO_LATE).detail(refusal.to_string())
            }
            OrderRefusal::InvalidPlacement => {
                // Placements are made here, out of prices of the catalogue.
                tracing::error!("an order was refused as contradicting itself");
                Self::new(problem::INTERNAL)
            }
            OrderRefusal::Confirmed
            | OrderRefusal::Cancelled
            | OrderRefusal::NotAllowed
            | OrderRefusal::Unfinished
            | OrderRefusal::NotRefunded => Self::new(problem::ORDER_STATE).detail(refusal.to_string()),
        }
    }
}
