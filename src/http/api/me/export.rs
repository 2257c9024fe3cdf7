//! `/v1/me/export`: the data kept about the caller, as JSON.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::purchases;
use crate::http::api::account::UserBody;
use crate::http::api::call::Call;
use crate::http::api::credentials::require_step_up;
use crate::http::api::orders;
use crate::http::edge::problem::{self, Problem};
use crate::http::request::caller::Signed;
use crate::http::request::json;
use souk_domain::{Address, AddressId, CartCommand, CartLine, Preferences, SessionId};

/// Most purchases, and most orders, in an export. The lists have the rest.
const LIMIT: usize = 1_000;

/// The data kept about an account.
#[derive(Serialize, ToSchema)]
pub struct Export<'a> {
    user: UserBody<'a>,
    addresses: Vec<ExportedAddress<'a>>,
    notification_preferences: Preferences,
    sessions: Vec<ExportedSession<'a>>,
    cart: Vec<CartLine>,
    #[schema(value_type = Vec<orders::OrderBody<'static>>)]
    orders: Vec<Value>,
    purchases: Vec<purchases::Body<'a>>,
}

/// A saved address.
#[derive(Serialize, ToSchema)]
struct ExportedAddress<'a> {
    id: &'a AddressId,
    address: &'a Address,
    default: bool,
    #[schema(format = DateTime)]
    created_at: String,
}

/// A session of the account.
#[derive(Serialize, ToSchema)]
struct ExportedSession<'a> {
    id: &'a SessionId,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_used_at: String,
    user_agent: &'a str,
    address: &'a str,
}

/// Export the data kept about the caller
///
/// The newest 1000 orders and purchases; the lists have the rest. Needs a step-up.
#[utoipa::path(
    get,
    path = "/v1/me/export",
    operation_id = "exportMe",
    tag = "Me",
    responses((status = 200, description = "All of it.", body = Export<'static>)),
    extensions(("x-problems" = json!([problem::STEP_UP_REQUIRED]))),
)]
pub async fn show(call: Call<Signed>) -> Result<Response, Problem> {
    require_step_up(&call).await?;
    let (front, principal) = (&call.front, &call.caller.0);
    let account = front.accounts.account(&principal.user).await?;
    let users = &front.accounts.users;
    let addresses = users.addresses(&principal.user).await?;
    let (preferences, _) = users.preferences(&principal.user).await?.unwrap_or_default();
    let bought = users.purchases(&principal.user, None, LIMIT).await?;
    let sessions = &front.accounts.sessions;
    let sessions = sessions.list(&principal.user, (front.clock)()).await?;
    let cart = call.ask_cart(&principal.cart, CartCommand::Get).await?.view;
    let addresses = addresses.iter().map(|saved| ExportedAddress {
        id: &saved.id,
        address: &saved.address,
        default: saved.default,
        created_at: saved.created_at.to_rfc3339(),
    });
    let sessions = sessions.iter().map(|session| ExportedSession {
        id: &session.id,
        created_at: session.created_at.to_rfc3339(),
        last_used_at: session.last_used_at.to_rfc3339(),
        user_agent: &session.user_agent,
        address: &session.address,
    });
    let body = Export {
        user: UserBody::new(&account),
        addresses: addresses.collect(),
        notification_preferences: preferences,
        sessions: sessions.collect(),
        cart: cart.lines,
        orders: orders::everything(front, principal.user.as_str(), LIMIT).await?,
        purchases: bought.iter().map(purchases::Body::new).collect(),
    };
    let headers = [(
        header::CONTENT_DISPOSITION,
        "attachment; filename=\"export.json\"",
    )];
    Ok((headers, json::reply(StatusCode::OK, &body)?).into_response())
}
