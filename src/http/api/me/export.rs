//! `/v1/me/export`: the data kept about the caller, as JSON.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::purchases;
use crate::http::api::account::UserBody;
use crate::http::api::{account, cart, orders};
use crate::http::edge::context::Context;
use crate::http::edge::problem::Problem;
use crate::http::request::caller::Signed;
use crate::http::request::front::SharedFront;
use crate::http::request::json;
use crate::stores::sessions::Session;
use crate::stores::users::SavedAddress;
use souk_domain::{Address, AddressId, CartLine, Preferences, SessionId};

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
    #[schema(value_type = AddressId)]
    id: &'a str,
    address: &'a Address,
    default: bool,
    #[schema(format = DateTime)]
    created_at: String,
}

/// A session of the account.
#[derive(Serialize, ToSchema)]
struct ExportedSession<'a> {
    #[schema(value_type = SessionId)]
    id: &'a str,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    last_used_at: String,
    user_agent: &'a str,
    address: &'a str,
}

impl<'a> ExportedAddress<'a> {
    fn new(saved: &'a SavedAddress) -> Self {
        Self {
            id: saved.id.as_str(),
            address: &saved.address,
            default: saved.default,
            created_at: saved.created_at.to_rfc3339(),
        }
    }
}

impl<'a> ExportedSession<'a> {
    fn new(session: &'a Session) -> Self {
        Self {
            id: session.id.as_str(),
            created_at: session.created_at.to_rfc3339(),
            last_used_at: session.last_used_at.to_rfc3339(),
            user_agent: &session.user_agent,
            address: &session.address,
        }
    }
}

/// Export the data kept about the caller
///
/// The newest 1000 orders and purchases; the lists have the rest.
#[utoipa::path(
    get,
    path = "/v1/me/export",
    operation_id = "exportMe",
    tag = "Me",
    responses((status = 200, description = "All of it.", body = Export<'static>)),
)]
pub async fn show(
    State(front): State<SharedFront>,
    context: Context,
    signed: Signed,
) -> Result<Response, Problem> {
    let principal = &signed.0;
    let account = account::of(&front, &signed).await?;
    let users = &front.accounts.users;
    let addresses = users.addresses(&principal.user).await?;
    let (preferences, _) = users.preferences(&principal.user).await?.unwrap_or_default();
    let bought = users.purchases(&principal.user, None, LIMIT).await?;
    let sessions = front
        .accounts
        .sessions
        .list(&principal.user, (front.clock)())
        .await?;
    let lines = cart::get(&front, &context, &principal.cart).await?.view.lines;
    let body = Export {
        user: UserBody::new(&account),
        addresses: addresses.iter().map(ExportedAddress::new).collect(),
        notification_preferences: preferences,
        sessions: sessions.iter().map(ExportedSession::new).collect(),
        cart: lines,
        orders: orders::everything(&front, principal.user.as_str(), LIMIT).await?,
        purchases: bought.iter().map(purchases::Body::new).collect(),
    };
    let mut response = json::reply(StatusCode::OK, &body)?;
    let attachment = HeaderValue::from_static("attachment; filename=\"export.json\"");
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, attachment);
    Ok(response)
}
