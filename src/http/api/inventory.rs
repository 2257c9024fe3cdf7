//! `/v1/admin/inventory`: a merchant's view of the stock, and what comes in and goes out besides sales.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actors::region::Answer;
use crate::http::edge::context::Context;
use crate::http::edge::problem::{self, FieldError, Problem};
use crate::http::request::caller::Signed;
use crate::http::request::entity;
use crate::http::request::etag::{IfMatch, IfNoneMatch};
use crate::http::request::front::{Front, SharedFront};
use crate::http::request::idempotency::Identity;
use crate::http::request::json::{self, Json, Quantity};
use crate::http::request::path::PathParameter;
use crate::http::request::query::{Page, Parameters};
use souk_domain::stock::{REASON_LIMIT, REFERENCE_LIMIT, StockCommand, StockRefusal, StockReply};
use souk_domain::{Sku, Stock};

/// The stock of a SKU as merchants see it.
#[derive(Serialize, ToSchema)]
#[schema(as = StockLevel)]
pub struct Body<'a> {
    #[schema(value_type = Sku)]
    sku: &'a str,
    received: u64,
    adjusted: i64,
    sold: u64,
    /// Received and adjusted, less what was sold.
    on_hand: u64,
    reserved: u64,
    /// On hand, less what is reserved.
    available: u64,
    /// None is set as yet.
    #[schema(required)]
    reorder_point: Option<u64>,
    /// The entity tag begins with it.
    version: u64,
}

/// One line of the ledger.
#[derive(Serialize, ToSchema)]
#[schema(as = StockMovement)]
pub struct Movement<'a> {
    version: u64,
    #[schema(format = DateTime)]
    at: String,
    event: &'a str,
    detail: &'a serde_json::Value,
}

/// Goods that came in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    #[schema(value_type = u32, minimum = 1, maximum = 1_000_000_000)]
    quantity: Quantity,
    /// Names the delivery: the same one counts once. Printable, and not blank; in UTF-8 at most 255 bytes.
    #[schema(min_length = 1, max_length = 255, pattern = r"\S", example = "delivery 4711")]
    reference: String,
}

/// A count or a loss.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// Not 0.
    #[schema(minimum = -1_000_000_000, maximum = 1_000_000_000, example = -2)]
    delta: i64,
    /// Printable, and not blank; in UTF-8 at most 500 bytes.
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = r"\S",
        example = "broken in the warehouse"
    )]
    reason: String,
}

/// `GET /v1/admin/inventory/{sku}`.
pub async fn show(
    State(front): State<SharedFront>,
    context: Context,
    PathParameter(sku): PathParameter,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let sku = known(&front, &sku).await?;
    let answer = get(&front, &context, &sku).await?;
    json::unless_had(&condition, answer.version, &level(&sku, &answer))
}

/// `POST /v1/admin/inventory/{sku}/receipts`: goods came in. The same reference counts once.
pub async fn receive(
    State(front): State<SharedFront>,
    context: Context,
    Signed(principal): Signed,
    identity: Identity,
    PathParameter(sku): PathParameter,
    condition: IfMatch,
    Json(body): Json<Receipt>,
) -> Result<Response, Problem> {
    let mut errors = Vec::new();
    if body.quantity.0 == 0 {
        errors.push(FieldError::new("quantity", "must be at least 1"));
    }
    text("reference", &body.reference, REFERENCE_LIMIT, &mut errors);
    let command = StockCommand::Receive {
        reference: body.reference,
        quantity: body.quantity.0,
    };
    let quantity = i64::from(body.quantity.0);
    let (response, is_news) = change(&front, &context, &identity, &condition, &sku, command, errors).await?;
    if is_news {
        tracing::info!(target: "souk::audit", user = %principal.user, sku, quantity, "stock was received");
    }
    Ok(response)
}

/// `POST /v1/admin/inventory/{sku}/adjustments`: a count or a loss. Never below what is reserved.
pub async fn adjust(
    State(front): State<SharedFront>,
    context: Context,
    Signed(principal): Signed,
    identity: Identity,
    PathParameter(sku): PathParameter,
    condition: IfMatch,
    Json(body): Json<Adjustment>,
) -> Result<Response, Problem> {
    let mut errors = Vec::new();
    if body.delta == 0 {
        errors.push(FieldError::new("delta", "must not be 0"));
    }
    text("reason", &body.reason, REASON_LIMIT, &mut errors);
    let command = StockCommand::Adjust {
        delta: body.delta,
        reason: body.reason,
        // Of the request: under an idempotency key, its repetition counts once.
        reference: identity.command.as_str().to_owned(),
    };
    let (response, is_news) = change(&front, &context, &identity, &condition, &sku, command, errors).await?;
    if is_news {
        tracing::info!(target: "souk::audit", user = %principal.user, sku, delta = body.delta, "stock was adjusted");
    }
    Ok(response)
}

/// `GET /v1/admin/inventory/{sku}/movements`: the ledger, oldest first.
pub async fn movements(
    State(front): State<SharedFront>,
    PathParameter(sku): PathParameter,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let sku = known(&front, &sku).await?;
    let description = format!("movements of {sku}");
    let limit = parameters.limit();
    let after = parameters.cursor(&front.keys, &description)?;
    parameters.finish()?;
    let after = match after {
        Some(position) => position.parse().map_err(|_| Problem::new(problem::BAD_CURSOR))?,
        None => 0,
    };

    // A page ends with a whole version: the events of one are more than one seldom, and never many.
    let mut events = front.inventory.ledger(sku.as_str(), after, limit + 1).await?;
    let next = (events.len() > limit).then(|| {
        events.truncate(limit);
        let last = events.last().map_or(after, |event| event.version);
        let begins_whole = events.iter().position(|event| event.version == last).unwrap_or(0);
        if begins_whole > 0 {
            events.truncate(begins_whole);
        }
        events.last().map_or(last, |event| event.version)
    });
    let page = Page {
        items: events
            .iter()
            .map(|event| Movement {
                version: event.version,
                at: event.at.to_rfc3339(),
                event: &event.event.name,
                detail: &event.event.detail,
            })
            .collect(),
        next_cursor: next.map(|version| front.keys.seal_cursor(&description, &version.to_string())),
    };
    json::reply(StatusCode::OK, &page)
}

fn text(field: &'static str, value: &str, limit: usize, errors: &mut Vec<FieldError>) {
    if value.trim().is_empty() || value.len() > limit {
        errors.push(FieldError::new(
            field,
            format!("must hold from 1 to {limit} bytes"),
        ));
    } else if value.chars().any(char::is_control) {
        errors.push(FieldError::new(field, "holds characters that can't be printed"));
    }
}

/// A SKU that is in the catalogue, or that has stock: what is not sold any more can still be counted.
async fn known(front: &Front, text: &str) -> Result<Sku, Problem> {
    let unknown = || Problem::new(problem::UNKNOWN_SKU);
    let sku = Sku::parse(text).map_err(|_| unknown())?;
    let is_listed = front
        .catalogue_cache
        .listings(&[&sku])
        .await?
        .pop()
        .flatten()
        .is_some();
    if is_listed || front.inventory.load(sku.as_str()).await?.is_some() {
        Ok(sku)
    } else {
        Err(unknown())
    }
}

async fn get(front: &Front, context: &Context, sku: &Sku) -> Result<Answer<Stock>, Problem> {
    let ask = entity::read(context, front.settings.ask_timeout, StockCommand::Get);
    Ok(front.regions.skus.ask(sku.as_str(), ask).await?)
}

/// The reply to a movement, and whether it moved anything: a repetition does not.
async fn change(
    front: &Front,
    context: &Context,
    identity: &Identity,
    condition: &IfMatch,
    sku: &str,
    command: StockCommand,
    errors: Vec<FieldError>,
) -> Result<(Response, bool), Problem> {
    let sku = known(front, sku).await?;
    if !errors.is_empty() {
        return Err(Problem::validation(errors));
    }
    let figure = match command {
        StockCommand::Receive { .. } => "quantity",
        _ => "delta",
    };
    let standing = get(front, context, &sku).await?.version;
    let mut ask = entity::change::<Stock>(context, front.settings.ask_timeout, identity, command);
    ask.expected_version = entity::expected_version(condition, async || Ok(standing)).await?;
    let answer = front.regions.skus.ask(sku.as_str(), ask).await?;
    match answer.reply {
        StockReply::Refused(StockRefusal::OutOfRange) => {
            Err(Problem::field(figure, "leads outside of what a stock can hold"))
        }
        StockReply::Refused(other) => Err(Problem::new(problem::STOCK_CONFLICT).detail(other.to_string())),
        StockReply::Done | StockReply::Overdue(_) => {
            let response = json::versioned(StatusCode::CREATED, answer.version, &level(&sku, &answer))?;
            // Where others move stock in between, a repetition looks like news: better one line of the log too many.
            Ok((response, answer.version > standing))
        }
    }
}

fn level<'a>(sku: &'a Sku, answer: &Answer<Stock>) -> Body<'a> {
    let level = &answer.view;
    Body {
        sku: sku.as_str(),
        received: level.received,
        adjusted: level.adjusted,
        sold: level.sold,
        on_hand: level.on_hand,
        reserved: level.reserved,
        available: level.available,
        reorder_point: None,
        version: answer.version,
    }
}
