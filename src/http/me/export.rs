//! `/v1/me/export`: everything that the shop keeps about the caller, as JSON.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::response::Response;
use serde_json::{Value, json};

use super::super::caller::Signed;
use super::super::conventions::Context;
use super::super::problem::Problem;
use super::super::{SharedFront, auth, cart, json, orders};
use super::profile::UserBody;
use super::purchases;

/// Purchases, and orders, in an export at most. Whoever has more finds the rest in the lists.
const LIMIT: usize = 1_000;

/// `GET /v1/me/export`.
pub(in super::super) async fn show(
    State(front): State<SharedFront>,
    context: Context,
    signed: Signed,
) -> Result<Response, Problem> {
    let principal = &signed.0;
    let account = auth::account(&front, &signed).await?;
    let users = &front.accounts.users;
    let addresses: Vec<Value> = users
        .addresses(&principal.user)
        .await?
        .iter()
        .map(|saved| {
            json!({"id": saved.id.as_str(), "address": saved.address, "default": saved.default,
            "created_at": saved.created_at.to_rfc3339()})
        })
        .collect();
    let (preferences, _) = users.preferences(&principal.user).await?.unwrap_or_default();
    let bought = users.purchases(&principal.user, None, LIMIT).await?;
    let sessions: Vec<Value> = front
        .accounts
        .sessions
        .list(&principal.user, (front.clock)())
        .await?
        .iter()
        .map(|session| {
            json!({"id": session.id.as_str(), "created_at": session.created_at.to_rfc3339(),
            "last_used_at": session.last_used_at.to_rfc3339(), "user_agent": session.user_agent,
            "address": session.address})
        })
        .collect();
    let lines = cart::get(&front, &context, &principal.cart).await?.view.lines;
    let body = json!({
        "user": UserBody::new(&account),
        "addresses": addresses,
        "notification_preferences": preferences,
        "sessions": sessions,
        "cart": lines,
        "orders": orders::everything(&front, principal.user.as_str(), LIMIT).await?,
        "purchases": bought.iter().map(purchases::Body::new).collect::<Vec<_>>(),
    });
    let mut response = json::reply(StatusCode::OK, &body)?;
    let attachment = HeaderValue::from_static("attachment; filename=\"export.json\"");
    response
        .headers_mut()
        .insert(header::CONTENT_DISPOSITION, attachment);
    Ok(response)
}
