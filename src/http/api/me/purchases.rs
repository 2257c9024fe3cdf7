//! `/v1/me/purchases`: the purchase history of the caller, newest first. A projection of events: a purchase appears a
//! moment after its order.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::edge::problem::{self, Problem};
use crate::http::request::caller::Signed;
use crate::http::request::front::SharedFront;
use crate::http::request::json;
use crate::http::request::query::{Page, Paging, Parameters};
use souk_domain::{Money, OrderId, OrderStatus, Purchase, PurchasedItem, Timestamp};

/// An order in the purchase history.
#[derive(Serialize, ToSchema)]
#[schema(as = Purchase)]
pub struct Body<'a> {
    #[schema(value_type = OrderId)]
    order_id: &'a str,
    number: &'a str,
    status: &'a OrderStatus,
    total: Money,
    items: &'a [PurchasedItem],
    #[schema(format = DateTime)]
    placed_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl<'a> Body<'a> {
    pub fn new(purchase: &'a Purchase) -> Self {
        Self {
            order_id: purchase.order_id.as_str(),
            number: &purchase.number,
            status: &purchase.status,
            total: purchase.total,
            items: &purchase.items,
            placed_at: purchase.placed_at.to_rfc3339(),
            updated_at: purchase.updated_at.to_rfc3339(),
        }
    }
}

/// List the caller's purchases, newest first
///
/// A purchase appears a moment after its order.
#[utoipa::path(
    get,
    path = "/v1/me/purchases",
    operation_id = "listPurchases",
    tag = "Me",
    params(Paging),
    responses((status = 200, description = "A page of purchases.", body = inline(Page<Body<'static>>))),
)]
pub async fn list(
    State(front): State<SharedFront>,
    signed: Signed,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let user = &signed.0.user;
    let description = format!("purchases of {user}");
    let limit = parameters.limit();
    let cursor = parameters.cursor(&front.keys, &description)?;
    parameters.finish()?;
    let before = match &cursor {
        Some(position) => Some(parse(position).ok_or_else(|| Problem::new(problem::BAD_CURSOR))?),
        None => None,
    };

    // One more than the page shows whether another follows.
    let mut purchases = front
        .accounts
        .users
        .purchases(user, before.as_ref().map(|(at, id)| (*at, id)), limit + 1)
        .await?;
    let is_last = purchases.len() <= limit;
    purchases.truncate(limit);
    let page = Page {
        items: purchases.iter().map(Body::new).collect(),
        next_cursor: purchases.last().filter(|_| !is_last).map(|last| {
            let position = format!("{} {}", last.placed_at.as_millis(), last.order_id);
            front.keys.seal_cursor(&description, &position)
        }),
    };
    json::reply(StatusCode::OK, &page)
}

fn parse(position: &str) -> Option<(Timestamp, OrderId)> {
    let (at, id) = position.split_once(' ')?;
    Some((Timestamp::from_millis(at.parse().ok()?), OrderId::parse(id).ok()?))
}
