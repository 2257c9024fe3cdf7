//! `/v1/me/claimable-orders`: orders that were placed as a guest with the account's proven address.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::api::call::Call;
use crate::http::api::orders::{self, OrderBody};
use crate::http::edge::problem::{self, Problem};
use crate::http::request::caller::Signed;
use crate::http::request::json;
use crate::http::request::path::PathParameter;
use crate::http::request::query::Page;
use souk_domain::{Money, OrderCommand, OrderId};

/// What an order shows before its owner accepts it: somebody else may have given this address.
#[derive(Serialize, ToSchema)]
#[schema(as = ClaimableOrder)]
pub struct Claimable<'a> {
    id: &'a OrderId,
    number: &'a str,
    total: Money,
    #[schema(format = DateTime)]
    created_at: String,
}

/// All of them.
type ClaimableOrders = Page<Claimable<'static>>;

/// List orders that the caller may claim
///
/// Placed as a guest with the account's verified address, the oldest first. None while the address is not verified.
#[utoipa::path(
    get,
    path = "/v1/me/claimable-orders",
    operation_id = "listClaimableOrders",
    tag = "Me",
    responses((status = 200, description = "All of them, at most 1000.", body = ClaimableOrders)),
)]
pub async fn list(call: Call<Signed>) -> Result<Response, Problem> {
    let accounts = &call.front.accounts;
    let account = accounts.account(call.user()).await?;
    let ids = accounts.guest_orders(&account).await?;
    let orders = orders::of_guests(&call.front, &ids).await?;
    let items = orders
        .iter()
        .map(|order| Claimable {
            id: &order.placement.id,
            number: &order.placement.number,
            total: order.placement.total,
            created_at: order.progress.created_at.to_rfc3339(),
        })
        .collect();
    json::reply(StatusCode::OK, &Page::whole(items))
}

/// Claim an order
///
/// It becomes the caller's, as if it had been placed by the account.
#[utoipa::path(
    post,
    path = "/v1/me/claimable-orders/{id}",
    operation_id = "claimOrder",
    tag = "Me",
    params(("id" = OrderId, Path, description = "The order.")),
    responses((status = 200, description = "The order.", body = OrderBody<'static>, headers(("ETag")))),
)]
pub async fn claim(call: Call<Signed>, PathParameter(id): PathParameter) -> Result<Response, Problem> {
    let not_found = || Problem::new(problem::NOT_FOUND);
    let id = OrderId::parse(&id).map_err(|_| not_found())?;
    let accounts = &call.front.accounts;
    let account = accounts.account(call.user()).await?;
    let command = if accounts.guest_orders(&account).await?.contains(&id) {
        let buyer = account.id.as_str().to_owned();
        OrderCommand::Claim { buyer }
    } else {
        // Claimed before, perhaps.
        OrderCommand::Get
    };
    let answer = call.ask_order(&id, command).await?;
    let order = answer
        .view
        .filter(|order| order.placement.buyer == account.id.as_str())
        .ok_or_else(not_found)?;
    let body = OrderBody::new(&order, answer.version);
    json::versioned(StatusCode::OK, answer.version, &body)
}
