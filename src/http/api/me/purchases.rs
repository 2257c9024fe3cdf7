//! `/v1/me/purchases`: the purchase history of the caller, newest first. A projection of events: a purchase appears a
//! moment after its order.

use std::fmt;
use std::str::FromStr;

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::api::call::Call;
use crate::http::edge::problem::Problem;
use crate::http::request::caller::Signed;
use crate::http::request::json;
use crate::http::request::query::{Page, PageRequest, Paging, Parameters};
use souk_domain::{Money, OrderId, OrderStatus, Purchase, PurchasedItem, Timestamp};

/// An order in the purchase history.
#[derive(Serialize, ToSchema)]
#[schema(as = Purchase)]
pub struct Body<'a> {
    order_id: &'a OrderId,
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
            order_id: &purchase.order_id,
            number: &purchase.number,
            status: &purchase.status,
            total: purchase.total,
            items: &purchase.items,
            placed_at: purchase.placed_at.to_rfc3339(),
            updated_at: purchase.updated_at.to_rfc3339(),
        }
    }
}

/// A page of purchases.
type Purchases = Page<Body<'static>>;

/// List the caller's purchases, newest first
///
/// A purchase appears a moment after its order.
#[utoipa::path(
    get,
    path = "/v1/me/purchases",
    operation_id = "listPurchases",
    tag = "Me",
    params(Paging),
    responses((status = 200, description = "A page of purchases.", body = Purchases)),
)]
pub async fn list(call: Call<Signed>, parameters: Parameters) -> Result<Response, Problem> {
    let (front, user) = (&call.front, call.user());
    let request: PageRequest<Place> =
        PageRequest::read(parameters, &front.keys, format!("purchases of {user}"))?;
    let before = request.after.as_ref().map(|Place(at, id)| (*at, id));
    let users = &front.accounts.users;
    let mut purchases = users.purchases(user, before, request.limit + 1).await?;
    let place = |purchase: &Purchase| Place(purchase.placed_at, purchase.order_id.clone());
    let next_cursor = request.next_cursor(&mut purchases, &front.keys, place);
    let items = purchases.iter().map(Body::new).collect();
    json::reply(StatusCode::OK, &Page { items, next_cursor })
}

/// The place of a purchase in the list.
struct Place(Timestamp, OrderId);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.as_millis(), self.1)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (at, id) = text.split_once(' ').ok_or(())?;
        let at = at.parse().map_err(|_| ())?;
        Ok(Self(
            Timestamp::from_millis(at),
            OrderId::parse(id).map_err(|_| ())?,
        ))
    }
}
