//! `POST /v1/orders`: places the cart as an order.

use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::OrderBody;
use super::outcome;
use crate::actors::region::{Answer, AskError};
use crate::digest;
use crate::http::api::call::Call;
use crate::http::api::checkout::{self, example_address};
use crate::http::api::claim;
use crate::http::edge::headers::REPLAYED;
use crate::http::edge::problem::{self, FieldError, Problem};
use crate::http::request::entity;
use crate::http::request::idempotency::Identity;
use crate::http::request::json::Json;
use souk_domain::quote::{self, Totals};
use souk_domain::{
    Address, AddressId, Cart, CartCommand, EmailAddress, Money, Order, OrderCommand, OrderId, OrderLine,
    OrderReply, PaymentInstruction, PlacedOrder, Placement, Timestamp,
};

/// The payment gateways of an order.
const GATEWAYS: [&str; 1] = ["sandbox"];
/// Longest payment token, in visible ASCII characters.
const TOKEN_LIMIT: usize = 255;
/// The digits of order numbers: Crockford's base 32, which has no letters that look like digits.
const NUMBER_DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Groups of four such digits in a number. Three are 60 bits: of 9,000 orders a day, two have the same number once in
/// 70 million years.
const NUMBER_GROUPS: usize = 3;

/// The order of a cart: address (`address` or `address_id`), shipping, payment.
#[derive(Deserialize, ToSchema)]
#[schema(as = PlaceOrder)]
#[serde(deny_unknown_fields)]
pub struct PlaceBody {
    address: Option<Address>,
    /// One of the caller's saved addresses.
    #[schema(value_type = Option<AddressId>)]
    address_id: Option<String>,
    /// The `id` of a shipping option of `POST /v1/checkout/quote`.
    shipping_option: String,
    payment: PaymentBody,
    /// Required of a guest; the account's own by default.
    #[schema(max_length = 254, format = Email)]
    email: Option<String>,
    /// Refuses the order if its total differs.
    expected_total: Option<Money>,
}

/// The payment of an order.
#[derive(Deserialize, ToSchema)]
#[schema(as = PaymentInstruction)]
#[serde(deny_unknown_fields)]
struct PaymentBody {
    #[schema(pattern = "^sandbox$", example = "sandbox")]
    gateway: String,
    /// The token that the gateway issued to the client.
    #[schema(pattern = "^[!-~]{1,255}$", example = "tok_ok")]
    token: String,
}

/// A request whose body alone is valid.
struct ValidBody {
    address: Address,
    email: EmailAddress,
    shipping_option: String,
    payment: PaymentInstruction,
    expected_total: Option<Money>,
}

/// Order the contents of the cart
///
/// Reserves the stock and the money, and replies when the order is confirmed or has failed; with 202 where that takes longer
/// than 5 s. A failed order has a `Location` too.
#[utoipa::path(
    post,
    path = "/v1/orders",
    operation_id = "placeOrder",
    tag = "Checkout and orders",
    request_body(content = PlaceBody, example = json!({
        "address": example_address(),
        "shipping_option": "standard",
        "payment": {"gateway": "sandbox", "token": "tok_ok"},
        "email": "ada@example.org",
    })),
    responses(
        (
            status = 201,
            description = "The order, confirmed.",
            body = OrderBody<'static>,
            headers(("ETag"), ("Location")),
            links(
                ("getOrder" = (operation_id = "getOrder", parameters(("id" = "$response.body#/id")))),
                ("cancelOrder" = (operation_id = "cancelOrder", parameters(("id" = "$response.body#/id")))),
            ),
        ),
        (
            status = 202,
            description = "The order, still pending: poll its `Location`.",
            body = OrderBody<'static>,
            headers(("ETag"), ("Location")),
            links(
                ("getOrder" = (operation_id = "getOrder", parameters(("id" = "$response.body#/id")))),
                ("cancelOrder" = (operation_id = "cancelOrder", parameters(("id" = "$response.body#/id")))),
            ),
        ),
    ),
    extensions(("x-problems" = json!([
        problem::PAYMENT_DECLINED,
        problem::OUT_OF_STOCK,
        problem::PRICE_CHANGED,
        problem::CHECKOUT_IN_PROGRESS,
        problem::CHECKOUT_EXPIRED,
        problem::ORDER_CANCELLED,
        problem::EMPTY_CART,
        problem::CHECKOUT_FAILED,
    ]))),
)]
pub async fn place(call: Call, identity: Identity, Json(body): Json<PlaceBody>) -> Result<Response, Problem> {
    let key = identity
        .key
        .as_deref()
        .ok_or_else(|| Problem::new(problem::IDEMPOTENCY_KEY_REQUIRED))?;
    let id = call.front.keys.order_id(call.caller.buyer(), key);
    // What is kept of the first request is its order.
    if let Some(order) = placed_earlier(&call, &id).await? {
        return repeated(&call, &identity, &order).await;
    }
    let valid = validate(complete(&call, body).await?)?;
    match claim_cart(&call, &identity, &id, valid).await {
        Ok(placement) => submit(&call, placement).await,
        // The cart may be empty because this very order was placed in the meantime.
        Err(problem) => match placed_earlier(&call, &id).await? {
            Some(order) => repeated(&call, &identity, &order).await,
            None => Err(problem),
        },
    }
}

/// The order that was placed earlier under the same key. Nearly always there is none, and the store alone is asked.
async fn placed_earlier(call: &Call, id: &OrderId) -> Result<Option<PlacedOrder>, Problem> {
    if !call.front.regions.orders.has_row(id.as_str()).await? {
        return Ok(None);
    }
    Ok(call.ask_order(id, OrderCommand::Get).await?.view)
}

/// The outcome of an order that was placed earlier under the same key.
async fn repeated(call: &Call, identity: &Identity, order: &PlacedOrder) -> Result<Response, Problem> {
    if order.placement.fingerprint != *identity.fingerprint {
        return Err(Problem::new(problem::IDEMPOTENCY_KEY_REUSED));
    }
    let wait = call.front.settings.checkout_wait;
    let mut ask = entity::read::<Order>(&call.context, wait, OrderCommand::Get);
    ask.wait_until_settled = true;
    let orders = &call.front.regions.orders;
    let answer = orders.ask(order.placement.id.as_str(), ask).await?;
    Ok(replayed(respond(answer)))
}

fn replayed(outcome: Result<Response, Problem>) -> Response {
    ([(REPLAYED, "true")], outcome).into_response()
}

/// Claims the cart for the order (invariant 15), in the version whose contents the order is made of.
async fn claim_cart(
    call: &Call,
    identity: &Identity,
    id: &OrderId,
    valid: ValidBody,
) -> Result<Placement, Problem> {
    let cart_id = call.caller.cart();
    for _ in 0..claim::ATTEMPTS {
        let cart = call.ask_cart(cart_id, CartCommand::Get).await?;
        if let Some(other) = cart.view.claim.as_ref().filter(|claim| claim.order != *id) {
            claim::end(call, cart_id, other).await?;
            continue;
        }
        let lines = checkout::price(&call.front, &cart.view).await?;
        let placement = new_placement(call, identity, id.clone(), &valid, lines, cart.version)?;
        let mut ask = call.read::<Cart>(CartCommand::Claim { order: id.clone() });
        ask.expected_version = Some(cart.version);
        match call.front.regions.carts.ask(cart_id.as_str(), ask).await {
            Ok(answer) if answer.reply.is_ok() => return Ok(placement),
            Ok(_) | Err(AskError::VersionConflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Others change the cart all the time.
    Err(Problem::busy(problem::RETRY_AFTER))
}

/// The submission completed from the account: the saved address, and the e-mail address.
async fn complete(call: &Call, mut body: PlaceBody) -> Result<PlaceBody, Problem> {
    (body.address, body.address_id) = checkout::saved_address(call, body.address, body.address_id).await?;
    if let (None, Some(user)) = (&body.email, call.caller.user()) {
        body.email = Some(call.front.accounts.account(user).await?.email.as_str().to_owned());
    }
    Ok(body)
}

fn validate(body: PlaceBody) -> Result<ValidBody, Problem> {
    let mut errors = Vec::new();
    let address = checkout::address(body.address, body.address_id.as_deref(), &mut errors);
    let email = match &body.email {
        Some(email) => EmailAddress::parse(email).map_err(|error| error.to_string()),
        None => Err("is required of a guest".to_owned()),
    };
    let email = email
        .map_err(|message| errors.push(FieldError::new("email", message)))
        .ok();
    if !GATEWAYS.contains(&body.payment.gateway.as_str()) {
        errors.push(FieldError::new(
            "payment.gateway",
            format!("must be one of {}", GATEWAYS.join(", ")),
        ));
    }
    let token = &body.payment.token;
    if token.is_empty() || token.len() > TOKEN_LIMIT || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!("must hold from 1 to {TOKEN_LIMIT} visible ASCII characters");
        errors.push(FieldError::new("payment.token", message));
    }
    match (address, email) {
        (Some(address), Some(email)) if errors.is_empty() => Ok(ValidBody {
            address,
            email,
            shipping_option: body.shipping_option,
            payment: PaymentInstruction {
                gateway: body.payment.gateway,
                token: body.payment.token,
            },
            expected_total: body.expected_total,
        }),
        _ => Err(Problem::validation(errors)),
    }
}

fn new_placement(
    call: &Call,
    identity: &Identity,
    id: OrderId,
    valid: &ValidBody,
    lines: Vec<OrderLine>,
    cart_version: u64,
) -> Result<Placement, Problem> {
    let country = &valid.address.country;
    let quoted = checkout::quote_lines(&lines);
    let shipping = quote::shipping_option(country, quote::weight_grams(&quoted)?, &valid.shipping_option)
        .ok_or_else(|| Problem::field("shipping_option", "is not one of the quoted shipping options"))?;
    let totals = quote::totals(&quoted, country, shipping.price)?;
    expect(&totals, valid.expected_total)?;
    let now = (call.front.clock)();
    Ok(Placement {
        number: number(&id, now),
        id,
        buyer: call.caller.buyer().to_owned(),
        cart: call.caller.cart().clone(),
        cart_version,
        email: valid.email.clone(),
        fingerprint: identity.fingerprint.to_string(),
        lines,
        subtotal: totals.subtotal,
        tax: totals.tax,
        shipping: totals.shipping,
        total: totals.total,
        address: valid.address.clone(),
        shipping_option: shipping.id,
        payment: valid.payment.clone(),
        deadline: now.plus(call.front.settings.checkout_time_to_live),
    })
}

fn expect(totals: &Totals, expected: Option<Money>) -> Result<(), Problem> {
    match expected {
        Some(expected) if expected != totals.total => {
            let Money { amount, currency } = totals.total;
            let message = format!("the total is {amount} minor units of {}", currency.as_str());
            Err(Problem::new(problem::PRICE_CHANGED)
                .detail(message.clone())
                .errors(vec![FieldError::new("expected_total", message)]))
        }
        _ => Ok(()),
    }
}

async fn submit(call: &Call, placement: Placement) -> Result<Response, Problem> {
    let id = placement.id.clone();
    // Without an id of its own: the order itself recognises a repetition.
    let command = OrderCommand::Place(Box::new(placement));
    let wait = call.front.settings.checkout_wait;
    let mut ask = entity::read::<Order>(&call.context, wait, command);
    ask.wait_until_settled = true;
    ask.presumes_absence = true;
    let answer = match call.front.regions.orders.ask(id.as_str(), ask).await {
        Ok(answer) => answer,
        Err(error @ AskError::Busy { .. }) => return Err(error.into()),
        // It may have been placed before the reply was lost: the order knows.
        Err(error) => match call.ask_order(&id, OrderCommand::Get).await {
            Ok(answer) if answer.view.is_some() => Answer {
                reply: OrderReply::Done,
                ..answer
            },
            _ => return Err(error.into()),
        },
    };
    match answer.reply {
        OrderReply::Done => respond(answer),
        OrderReply::AlreadyPlaced => Ok(replayed(respond(answer))),
        OrderReply::Refused(refusal) => Err(refusal.into()),
    }
}

fn respond(answer: Answer<Order>) -> Result<Response, Problem> {
    // Completed without an order: a defect.
    let order = answer.view.ok_or_else(|| Problem::new(problem::INTERNAL))?;
    outcome::respond(&order, answer.version)
}

/// The number of the order: the day and a hash of its identifier, such as `S-20261122-4F07-A1B2-C3D4`.
fn number(id: &OrderId, at: Timestamp) -> String {
    let day: String = at.to_rfc3339()[..10].replace('-', "");
    let hash = digest::sha256(id.as_str().as_bytes());
    let digit = |byte: &u8| char::from(NUMBER_DIGITS[usize::from(byte % 32)]);
    let groups = hash
        .chunks(4)
        .take(NUMBER_GROUPS)
        .map(|group| format!("-{}", group.iter().map(digit).collect::<String>()));
    format!("S-{day}{}", groups.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::request::{json, keys};
    use crate::http::test_support::order;
    use souk_domain::Currency;

    fn blamed(change: impl FnOnce(&mut serde_json::Value)) -> Vec<String> {
        let mut body = serde_json::json!({
            "address": {"name": "A", "line1": "B", "city": "C", "postcode": "10115", "country": "DE"},
            "shipping_option": "standard",
            "payment": {"gateway": "sandbox", "token": "tok_ok"},
            "email": "a@b.example",
        });
        change(&mut body);
        let read = json::parse(&serde_json::to_vec(&body).unwrap()).and_then(validate);
        match read {
            Ok(_) => Vec::new(),
            Err(problem) => problem
                .field_errors()
                .iter()
                .map(|error| error.field.to_string())
                .collect(),
        }
    }

    #[test]
    fn each_wrong_field_is_named() {
        let long = "x".repeat(TOKEN_LIMIT + 1);
        assert_eq!(blamed(|_| {}), Vec::<String>::new());
        assert_eq!(blamed(|body| body["email"] = "nobody".into()), ["email"]);
        assert_eq!(blamed(|body| body["email"] = serde_json::Value::Null), ["email"]);
        assert_eq!(
            blamed(|body| body["address"] = serde_json::Value::Null),
            ["address"]
        );
        assert_eq!(
            blamed(|body| body["address"]["country"] = "us".into()),
            ["address.country"]
        );
        assert_eq!(
            blamed(|body| body["payment"]["gateway"] = "bank".into()),
            ["payment.gateway"]
        );
        for token in ["", "a b", "é", long.as_str()] {
            assert_eq!(
                blamed(|body| body["payment"]["token"] = token.into()),
                ["payment.token"],
                "{token}"
            );
        }
        assert_eq!(
            blamed(|body| body["payment"]["card"] = "4111".into()),
            ["payment.card"]
        );
        assert_eq!(
            blamed(|body| body["expected_total"] = 5.into()),
            ["expected_total"]
        );
        let several = blamed(|body| {
            body["email"] = "x".into();
            body["payment"]["token"] = "".into();
        });
        assert_eq!(several, ["email", "payment.token"]);
    }

    #[test]
    fn an_unexpected_total_is_told() {
        let money = |amount| Money::new(amount, Currency::USD);
        let totals = Totals {
            subtotal: money(100),
            tax: money(0),
            shipping: money(10),
            total: money(110),
        };
        assert!(expect(&totals, None).is_ok());
        assert!(expect(&totals, Some(money(110))).is_ok());
        for expected in [money(111), Money::new(110, Currency::parse("EUR").unwrap())] {
            let refused = expect(&totals, Some(expected)).unwrap_err();
            assert_eq!(refused.kind(), problem::PRICE_CHANGED);
            assert!(refused.field_errors()[0].message.contains("110"));
        }
    }

    #[test]
    fn numbers_name_the_day_and_never_collide() {
        let at = order().progress.created_at;
        let keys = keys::Keys::derive(&[7; keys::SECRET_LENGTH]);
        let numbers: BTreeSet<String> = (0..9_000)
            .map(|key: u32| number(&keys.order_id("crt_1", &key.to_string()), at))
            .collect();
        assert_eq!(numbers.len(), 9_000);
        for number in numbers {
            let parts: Vec<&str> = number.split('-').collect();
            assert_eq!(parts[..2], ["S", "20261122"]);
            assert!(parts[2..].iter().all(|part| part.len() == 4), "{number}");
        }
    }
}
