//! `/v1/admin/inventory`: stock for merchants, deliveries and adjustments.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::{Call, Change};
use super::cart::parse_sku;
use crate::actors::region::Answer;
use crate::http::edge::problem::{self, FieldError, Problem};
use crate::http::request::caller::Signed;
use crate::http::request::etag::{IfMatch, IfNoneMatch};
use crate::http::request::front::{Front, SharedFront};
use crate::http::request::json::{self, Json, Quantity};
use crate::http::request::path::PathParameter;
use crate::http::request::query::{Page, PageRequest, Paging, Parameters};
use souk_domain::stock::{REASON_LIMIT, REFERENCE_LIMIT, StockCommand, StockRefusal, StockReply};
use souk_domain::text::shows_nothing;
use souk_domain::{Sku, Stock};

/// The stock of a SKU as merchants see it.
#[derive(Serialize, ToSchema)]
#[schema(as = StockLevel)]
pub struct Body<'a> {
    sku: &'a Sku,
    received: u64,
    adjusted: i64,
    sold: u64,
    /// Received and adjusted, minus sold.
    on_hand: u64,
    reserved: u64,
    /// On hand, minus reserved.
    available: u64,
    /// Not set as yet.
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

/// A page of the ledger.
type Movements = Page<Movement<'static>>;

/// A delivery.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    #[schema(value_type = u32, minimum = 1, maximum = 1_000_000_000)]
    quantity: Quantity<1, 1_000_000_000>,
    /// Identifies the delivery, which counts once. Printable, and not blank; at most 255 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 255, pattern = r"\S", example = "delivery 4711")]
    reference: String,
}

/// A stock count or a loss.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// Not 0.
    #[schema(minimum = -1_000_000_000, maximum = 1_000_000_000, example = -2)]
    delta: i64,
    /// Printable, and not blank; at most 500 bytes of UTF-8.
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = r"\S",
        example = "broken in the warehouse"
    )]
    reason: String,
}

/// Show the stock of a SKU
#[utoipa::path(
    get,
    path = "/v1/admin/inventory/{sku}",
    operation_id = "getStock",
    tag = "Inventory",
    params(("sku" = Sku, Path, description = "The SKU."), IfNoneMatch),
    responses((status = 200, description = "The stock level.", body = Body<'static>, headers(("ETag")), example = example)),
    extensions(("x-problems" = json!([problem::UNKNOWN_SKU]))),
)]
pub async fn show(
    call: Call,
    PathParameter(sku): PathParameter,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let sku = known(&call.front, &sku).await?;
    let answer = get(&call, &sku).await?;
    json::if_none_match(&condition, answer.version, &level(&sku, &answer))
}

/// Record a delivery
///
/// A reference counts once.
#[utoipa::path(
    post,
    path = "/v1/admin/inventory/{sku}/receipts",
    operation_id = "receiveStock",
    tag = "Inventory",
    params(("sku" = Sku, Path, description = "The SKU."), IfMatch),
    request_body(content = Receipt, example = json!({"quantity": 40, "reference": "delivery 4711"})),
    responses((status = 201, description = "The stock level.", body = Body<'static>, headers(("ETag")), example = example)),
    extensions(("x-problems" = json!([problem::UNKNOWN_SKU, problem::STOCK_CONFLICT]))),
)]
pub async fn receive(
    change: Change,
    Signed(principal): Signed,
    PathParameter(sku): PathParameter,
    Json(body): Json<Receipt>,
) -> Result<Response, Problem> {
    let errors = text_error("reference", &body.reference, REFERENCE_LIMIT);
    let command = StockCommand::Receive {
        reference: body.reference,
        quantity: body.quantity.0,
    };
    let quantity = i64::from(body.quantity.0);
    let (response, is_news) = record(&change, &sku, command, errors).await?;
    if is_news {
        tracing::info!(target: "souk::audit", user = %principal.user, sku, quantity, "stock was received");
    }
    Ok(response)
}

/// Record a stock count or a loss
///
/// Never below the reserved quantity.
#[utoipa::path(
    post,
    path = "/v1/admin/inventory/{sku}/adjustments",
    operation_id = "adjustStock",
    tag = "Inventory",
    params(("sku" = Sku, Path, description = "The SKU."), IfMatch),
    request_body(content = Adjustment, example = json!({"delta": -2, "reason": "broken in the warehouse"})),
    responses((status = 201, description = "The stock level.", body = Body<'static>, headers(("ETag")), example = example)),
    extensions(("x-problems" = json!([problem::UNKNOWN_SKU, problem::STOCK_CONFLICT]))),
)]
pub async fn adjust(
    change: Change,
    Signed(principal): Signed,
    PathParameter(sku): PathParameter,
    Json(body): Json<Adjustment>,
) -> Result<Response, Problem> {
    let zero = (body.delta == 0).then(|| FieldError::new("delta", "must not be 0"));
    let errors = zero
        .into_iter()
        .chain(text_error("reason", &body.reason, REASON_LIMIT));
    let command = StockCommand::Adjust {
        delta: body.delta,
        reason: body.reason,
        // Derived from the request: a repetition under an idempotency key counts once.
        reference: change.identity.command.as_str().to_owned(),
    };
    let (response, is_news) = record(&change, &sku, command, errors).await?;
    if is_news {
        tracing::info!(target: "souk::audit", user = %principal.user, sku, delta = body.delta, "stock was adjusted");
    }
    Ok(response)
}

/// Show the ledger of a SKU, oldest first
#[utoipa::path(
    get,
    path = "/v1/admin/inventory/{sku}/movements",
    operation_id = "listStockMovements",
    tag = "Inventory",
    params(("sku" = Sku, Path, description = "The SKU."), Paging),
    responses((status = 200, description = "A page of the ledger.", body = Movements)),
    extensions(("x-problems" = json!([problem::UNKNOWN_SKU]))),
)]
pub async fn movements(
    State(front): State<SharedFront>,
    PathParameter(sku): PathParameter,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let sku = known(&front, &sku).await?;
    let list = format!("movements of {sku}");
    let request: PageRequest<u64> = PageRequest::read(parameters, &front.keys, list.clone())?;
    let (limit, after) = (request.limit, request.after.unwrap_or_default());

    let mut events = front.stock_events.ledger(sku.as_str(), after, limit + 1).await?;
    let next = (events.len() > limit).then(|| {
        events.truncate(limit);
        let last = events.last().map_or(after, |event| event.id.version);
        // A page ends with a whole version: seldom more than one event, and never many.
        let whole = events.iter().take_while(|event| event.id.version != last).count();
        if whole > 0 {
            events.truncate(whole);
        }
        events.last().map_or(last, |event| event.id.version)
    });
    let items = events.iter().map(|event| Movement {
        version: event.id.version,
        at: event.at.to_rfc3339(),
        event: &event.event.name,
        detail: &event.event.detail,
    });
    let page = Page {
        items: items.collect(),
        next_cursor: next.map(|version| front.keys.seal_cursor(&list, &version.to_string())),
    };
    json::reply(StatusCode::OK, &page)
}

fn text_error(field: &'static str, value: &str, limit: usize) -> Option<FieldError> {
    if shows_nothing(value) || value.len() > limit {
        Some(FieldError::new(
            field,
            format!("must hold from 1 to {limit} bytes"),
        ))
    } else if value.chars().any(char::is_control) {
        Some(FieldError::new(field, "holds characters that can't be printed"))
    } else {
        None
    }
}

/// A SKU of the catalogue, or with stock: what is not sold any more can still be counted.
async fn known(front: &Front, text: &str) -> Result<Sku, Problem> {
    let sku = parse_sku(text)?;
    let is_listed = front.catalogue_cache.listing(&sku).await?.is_some();
    if is_listed || front.inventory.load(sku.as_str()).await?.is_some() {
        Ok(sku)
    } else {
        Err(Problem::new(problem::UNKNOWN_SKU))
    }
}

async fn get(call: &Call, sku: &Sku) -> Result<Answer<Stock>, Problem> {
    let ask = call.read(StockCommand::Get);
    Ok(call.front.regions.skus.ask(sku.as_str(), ask).await?)
}

/// The reply to a movement, and whether it changed anything: a repetition does not.
async fn record(
    change: &Change,
    sku: &str,
    command: StockCommand,
    errors: impl IntoIterator<Item = FieldError>,
) -> Result<(Response, bool), Problem> {
    let front = &change.call.front;
    let sku = known(front, sku).await?;
    let errors: Vec<_> = errors.into_iter().collect();
    if !errors.is_empty() {
        return Err(Problem::validation(errors));
    }
    let figure = match command {
        StockCommand::Receive { .. } => "quantity",
        _ => "delta",
    };
    let standing = get(&change.call, &sku).await?.version;
    let current = async || Ok(standing);
    let ask = change.ask(front.settings.ask_timeout, command, current).await?;
    let answer = front.regions.skus.ask(sku.as_str(), ask).await?;
    match answer.reply {
        StockReply::Refused(StockRefusal::OutOfRange) => {
            Err(Problem::field(figure, "leads outside of what a stock can hold"))
        }
        StockReply::Refused(other) => Err(Problem::new(problem::STOCK_CONFLICT).detail(other.to_string())),
        StockReply::Done | StockReply::Overdue(_) => {
            let response = json::versioned(StatusCode::CREATED, answer.version, &level(&sku, &answer))?;
            // With concurrent movements a repetition may look like a change: rather one line too many in the log.
            Ok((response, answer.version > standing))
        }
    }
}

fn level<'a>(sku: &'a Sku, answer: &Answer<Stock>) -> Body<'a> {
    let level = &answer.view;
    Body {
        sku,
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

/// A stock level in the published document.
fn example() -> serde_json::Value {
    serde_json::json!({
        "sku": "SHIRT-M",
        "received": 40,
        "adjusted": -2,
        "sold": 26,
        "on_hand": 12,
        "reserved": 1,
        "available": 11,
        "reorder_point": null,
        "version": 31,
    })
}
