//! `/v1/orders`: a buyer's orders.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::actors::region::{Answer, AskError};
use crate::http::api::call::{Call, Change};
use crate::http::edge::problem::{self, Problem};
use crate::http::request::etag::{IfMatch, IfNoneMatch};
use crate::http::request::front::Front;
use crate::http::request::json::{self, OptionalJson};
use crate::http::request::path::PathParameter;
use crate::http::request::query::{Page, PageRequest, Paging, Parameters};
use crate::stores::StoreError;
use crate::stores::documents::{BATCH_LIMIT, Row, row_id};
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
pub async fn list(call: Call, parameters: Parameters) -> Result<Response, Problem> {
    let (front, buyer) = (&call.front, call.caller.buyer());
    let request: PageRequest<String> =
        PageRequest::read(parameters, &front.keys, format!("orders of {buyer}"))?;
    let before = request.after.as_deref();
    let rows = request.limit + 1;
    // While it is made a list takes several times the memory of its reply, which has a budget of its own.
    let _turn = front.listed_orders.acquire_many(permits(rows)).await;
    let mut rows = front.orders.by_owner(buyer, before, rows).await?;
    let next_cursor = request.next_cursor(&mut rows, &front.keys, |row| row_id(row).to_owned());
    let orders: Vec<_> = rows.into_iter().filter_map(readable).collect();
    let items = orders
        .iter()
        .map(|(order, version)| OrderBody::new(order, *version))
        .collect();
    json::reply(StatusCode::OK, &Page { items, next_cursor })
}

/// The permits for so many orders: fewer than there are (`limits.listed_orders`).
fn permits(orders: usize) -> u32 {
    u32::try_from(orders).unwrap_or(u32::MAX)
}

/// Those of these orders that still belong to guests.
///
/// # Errors
/// The store's.
pub async fn of_guests(front: &Front, ids: &[OrderId]) -> Result<Vec<PlacedOrder>, Problem> {
    let mut orders = Vec::with_capacity(ids.len());
    for page in ids.chunks(BATCH_LIMIT) {
        let page: Vec<String> = page.iter().map(ToString::to_string).collect();
        let rows = front.orders.load_many(&page).await?;
        orders.extend(rows.into_iter().filter_map(readable).map(|(order, _)| order));
    }
    orders.retain(|order| order.placement.buyer == order.placement.cart.as_str());
    Ok(orders)
}

/// An order of a list. An unreadable one is left out and logged.
fn readable(row: Row) -> Option<(PlacedOrder, u64)> {
    stored(row)
        .inspect_err(|error| {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "an order is missing in its buyer's list"
            );
        })
        .ok()
}

/// An order as it is stored, and its version.
///
/// # Errors
/// The store's, and `Corrupt` for a row that holds no order.
pub fn stored(row: Row) -> Result<(PlacedOrder, u64), StoreError> {
    /// The part of a row that is needed here.
    #[derive(Deserialize)]
    struct Body {
        state: Order,
    }
    let document = row.map_err(|row| row.error)?;
    let corrupt = |what: String| StoreError::Corrupt {
        store: "orders",
        what: format!("{}: {what}", document.id),
    };
    let body: Body = serde_json::from_str(&document.body).map_err(|error| corrupt(error.to_string()))?;
    let order = body
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
    call: Call,
    PathParameter(id): PathParameter,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let (version, order) = own(&call, &id).await?;
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
    change: Change,
    PathParameter(id): PathParameter,
    OptionalJson(body): OptionalJson<Cancel>,
) -> Result<Response, Problem> {
    let reason = body.reason.unwrap_or_default();
    if reason.chars().count() > REASON_LIMIT {
        return Err(Problem::field(
            "reason",
            format!("holds at most {REASON_LIMIT} characters"),
        ));
    }
    let Call { front, .. } = &change.call;
    let (version, order) = own(&change.call, &id).await?;
    let id = &order.placement.id;
    let command = OrderCommand::Cancel { reason };
    let current = async || Ok(version);
    let mut ask = change.ask(front.settings.checkout_wait, command, current).await?;
    // Stock and money are returned before the reply, unless that takes too long.
    ask.wait_until_settled = true;
    let answer = match front.regions.orders.ask(id.as_str(), ask).await {
        Ok(answer) => answer,
        Err(AskError::Expired) => cancelled_by_now(&change.call, id).await?,
        Err(error) => return Err(error.into()),
    };
    if let OrderReply::Refused(refusal) = answer.reply {
        return Err(refusal.into());
    }
    let order = answer.view.ok_or_else(|| Problem::new(problem::NOT_FOUND))?;
    let body = OrderBody::new(&order, answer.version);
    json::versioned(StatusCode::OK, answer.version, &body)
}

/// After a time-out: the order, if the cancellation was recorded.
async fn cancelled_by_now(call: &Call, id: &OrderId) -> Result<Answer<Order>, AskError> {
    let answer = call.ask_order(id, OrderCommand::Get).await?;
    let phase = answer.view.as_ref().map(|order| &order.progress.phase);
    if matches!(phase, Some(Phase::Cancelling { .. } | Phase::Cancelled { .. })) {
        Ok(answer)
    } else {
        Err(AskError::Expired)
    }
}

/// The caller's own order, with its version; another's is not found.
async fn own(call: &Call, id: &str) -> Result<(u64, PlacedOrder), Problem> {
    let not_found = || Problem::new(problem::NOT_FOUND);
    let id = OrderId::parse(id).map_err(|_| not_found())?;
    let answer = call.ask_order(&id, OrderCommand::Get).await?;
    let order = answer
        .view
        .filter(|order| order.placement.buyer == call.caller.buyer())
        .ok_or_else(not_found)?;
    Ok((answer.version, order))
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
