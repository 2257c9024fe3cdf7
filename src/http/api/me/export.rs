//! `/v1/me/export`: the data kept about the caller, as JSON.
//!
//! It may be long, so that it is made piece by piece as its client reads it.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, StreamExt};
use serde::Serialize;
use utoipa::ToSchema;

use super::purchases;
use crate::http::api::account::UserBody;
use crate::http::api::call::Call;
use crate::http::api::credentials::require_step_up;
use crate::http::api::orders::{self, OrderBody};
use crate::http::edge::problem::{self, Problem};
use crate::http::request::caller::Signed;
use crate::http::request::exports::Running;
use crate::http::request::front::{Front, SharedFront};
use crate::http::request::json::{self, JSON};
use crate::stores::documents::row_id;
use souk_domain::{
    Address, AddressId, CartCommand, CartLine, OrderId, Preferences, SessionId, Timestamp, UserId,
};

/// Orders, and purchases, read at a time.
const PIECE: usize = 16;
/// What stands between the orders and the purchases.
const ORDERS_END: &str = r#"],"purchases":["#;
/// What stands behind the purchases.
const END: &str = "]}";

/// The data kept about an account. The lists of orders and purchases are last, and filled in piece by piece.
#[derive(Serialize, ToSchema)]
pub struct Export<'a> {
    user: UserBody<'a>,
    addresses: Vec<ExportedAddress<'a>>,
    notification_preferences: Preferences,
    sessions: Vec<ExportedSession<'a>>,
    cart: Vec<CartLine>,
    orders: Vec<OrderBody<'a>>,
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
/// All of it, and one export of an account at a time; a further one gets 429. Needs a step-up.
#[utoipa::path(
    get,
    path = "/v1/me/export",
    operation_id = "exportMe",
    tag = "Me",
    responses((status = 200, description = "All of it.", body = Export<'static>)),
    extensions(("x-problems" = json!([problem::STEP_UP_REQUIRED, problem::TOO_MANY_REQUESTS]))),
)]
pub async fn show(call: Call<Signed>) -> Result<Response, Problem> {
    require_step_up(&call).await?;
    let running = call.front.exports.begin(call.user()).ok_or_else(|| {
        Problem::new(problem::TOO_MANY_REQUESTS)
            .detail("an export of this account is under way")
            .retry_after(problem::RETRY_AFTER)
    })?;
    let first = Bytes::from(beginning(&call).await?);
    let lists = Lists {
        front: call.front,
        running,
        next: Next::Orders(None),
    };
    let rest = stream::try_unfold(Some(lists), |lists| async {
        let Some(lists) = lists else { return Ok(None) };
        lists.piece().await.map(Some)
    });
    let body = stream::iter([Ok::<_, io::Error>(first)]).chain(rest);
    let name = [(
        header::CONTENT_DISPOSITION,
        "attachment; filename=\"export.json\"",
    )];
    Ok((JSON, name, Body::from_stream(body)).into_response())
}

/// Everything up to the first order.
async fn beginning(call: &Call<Signed>) -> Result<Vec<u8>, Problem> {
    let (front, principal) = (&call.front, &call.caller.0);
    let account = front.accounts.account(&principal.user).await?;
    let users = &front.accounts.users;
    let addresses = users.addresses(&principal.user).await?;
    let (preferences, _) = users.preferences(&principal.user).await?.unwrap_or_default();
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
    let mut encoded = json::encode(&Export {
        user: UserBody::new(&account),
        addresses: addresses.collect(),
        notification_preferences: preferences,
        sessions: sessions.collect(),
        cart: cart.lines,
        orders: Vec::new(),
        purchases: Vec::new(),
    })?;
    encoded.truncate(encoded.len() - ORDERS_END.len() - END.len());
    Ok(encoded)
}

/// The lists that are still to be made.
struct Lists {
    front: SharedFront,
    running: Running,
    next: Next,
}

/// Which entries come next: those before this one.
enum Next {
    Orders(Option<String>),
    Purchases(Option<(Timestamp, OrderId)>),
}

impl Lists {
    /// The next piece, and what is left. A failure ends the connection, by which the client knows that the export is not complete.
    async fn piece(self) -> io::Result<(Bytes, Option<Self>)> {
        let Self { front, running, next } = self;
        let made = match next {
            Next::Orders(before) => orders_before(&front, running.user(), before.as_deref()).await,
            Next::Purchases(before) => purchases_before(&front, running.user(), before.as_ref()).await,
        };
        let (piece, next) = made.map_err(|problem| {
            tracing::error!(problem = problem.kind().name(), user = %running.user(), "an export was cut short");
            io::Error::other("the export could not be completed")
        })?;
        let left = next.map(|next| Self { front, running, next });
        Ok((piece.into(), left))
    }
}

async fn orders_before(
    front: &Front,
    user: &UserId,
    before: Option<&str>,
) -> Result<(Vec<u8>, Option<Next>), Problem> {
    let rows = front.orders.by_owner(user.as_str(), before, PIECE).await?;
    let last = rows
        .last()
        .filter(|_| rows.len() == PIECE)
        .map(|row| row_id(row).to_owned());
    let orders = rows
        .into_iter()
        .map(orders::stored)
        .collect::<Result<Vec<_>, _>>()?;
    let mut piece = Vec::new();
    append(
        &mut piece,
        before.is_some(),
        orders
            .iter()
            .map(|(order, version)| OrderBody::new(order, *version)),
    )?;
    let next = match last {
        Some(last) => Next::Orders(Some(last)),
        None => {
            piece.extend_from_slice(ORDERS_END.as_bytes());
            Next::Purchases(None)
        }
    };
    Ok((piece, Some(next)))
}

async fn purchases_before(
    front: &Front,
    user: &UserId,
    before: Option<&(Timestamp, OrderId)>,
) -> Result<(Vec<u8>, Option<Next>), Problem> {
    let users = &front.accounts.users;
    let place = before.map(|(at, id)| (*at, id));
    let bought = users.purchases(user, place, PIECE).await?;
    let mut piece = Vec::new();
    append(
        &mut piece,
        before.is_some(),
        bought.iter().map(purchases::Body::new),
    )?;
    match bought.last().filter(|_| bought.len() == PIECE) {
        Some(last) => {
            let next = Next::Purchases(Some((last.placed_at, last.order_id.clone())));
            Ok((piece, Some(next)))
        }
        None => {
            piece.extend_from_slice(END.as_bytes());
            Ok((piece, None))
        }
    }
}

/// Appends the entries of a list that has begun.
fn append<T: Serialize>(
    piece: &mut Vec<u8>,
    mut has_entries: bool,
    entries: impl Iterator<Item = T>,
) -> Result<(), Problem> {
    for entry in entries {
        if has_entries {
            piece.push(b',');
        }
        has_entries = true;
        piece.extend(json::encode(&entry)?);
    }
    Ok(())
}
