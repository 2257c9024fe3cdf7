//! `POST /v1/orders`: places the cart as an order.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::OrderBody;
use super::outcome;
use crate::actors::region::{Answer, AskError};
use crate::digest;
use crate::http::api::checkout::example_address;
use crate::http::api::checkout::{self, Basket};
use crate::http::api::{cart, claim};
use crate::http::edge::context::Context;
use crate::http::edge::headers::REPLAYED;
use crate::http::edge::problem::{self, FieldError, Problem};
use crate::http::request::caller::Caller;
use crate::http::request::entity;
use crate::http::request::front::{Front, SharedFront};
use crate::http::request::idempotency::Identity;
use crate::http::request::json::Json;
use souk_domain::quote::{self, Totals};
use souk_domain::{
    Address, AddressId, Cart, CartCommand, EmailAddress, Money, Order, OrderCommand, OrderId, OrderReply,
    PaymentInstruction, PlacedOrder, Placement, Timestamp,
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
#[derive(Debug, Deserialize, ToSchema)]
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

impl std::fmt::Debug for PaymentBody {
    /// Leaves the token out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PaymentBody")
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
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
pub async fn place(
    State(front): State<SharedFront>,
    context: Context,
    caller: Caller,
    identity: Identity,
    Json(body): Json<PlaceBody>,
) -> Result<Response, Problem> {
    let key = identity
        .key
        .clone()
        .ok_or_else(|| Problem::new(problem::IDEMPOTENCY_KEY_REQUIRED))?;
    let id = front.keys.order_id(caller.buyer(), &key);
    // What is kept of the first request is its order.
    let earlier = async || placed_earlier(&front, &context, &id).await;
    if let Some(order) = earlier().await? {
        return repeated(&front, &context, &identity, &order).await;
    }
    let valid = validate(complete(&front, &caller, body).await?)?;
    match claim_cart(&front, &context, &caller, &identity, &id, valid).await {
        Ok(placement) => submit(&front, &context, placement).await,
        // The cart may be empty because this very order was placed in the meantime.
        Err(problem) => match earlier().await? {
            Some(order) => repeated(&front, &context, &identity, &order).await,
            None => Err(problem),
        },
    }
}

/// The order that was placed earlier under the same key. Nearly always there is none, and the store alone is asked.
async fn placed_earlier(
    front: &Front,
    context: &Context,
    id: &OrderId,
) -> Result<Option<PlacedOrder>, Problem> {
    if !front.regions.orders.has_row(id.as_str()).await? {
        return Ok(None);
    }
    Ok(super::get(front, context, id).await?.view)
}

/// The outcome of an order that was placed earlier under the same key.
async fn repeated(
    front: &Front,
    context: &Context,
    identity: &Identity,
    order: &PlacedOrder,
) -> Result<Response, Problem> {
    if order.placement.fingerprint != *identity.fingerprint {
        return Err(Problem::new(problem::IDEMPOTENCY_KEY_REUSED));
    }
    let id = &order.placement.id;
    let mut ask = entity::read::<Order>(context, front.settings.checkout_wait, OrderCommand::Get);
    ask.wait_until_settled = true;
    let answer = front.regions.orders.ask(id.as_str(), ask).await?;
    Ok(replayed(respond(answer)))
}

fn replayed(outcome: Result<Response, Problem>) -> Response {
    let mut response = outcome.into_response();
    let replayed = HeaderValue::from_static("true");
    response.headers_mut().insert(REPLAYED, replayed);
    response
}

/// Claims the cart for the order (invariant 15), in the version whose contents the order is made of.
async fn claim_cart(
    front: &Front,
    context: &Context,
    caller: &Caller,
    identity: &Identity,
    id: &OrderId,
    valid: ValidBody,
) -> Result<Placement, Problem> {
    for _ in 0..claim::ATTEMPTS {
        let cart = cart::get(front, context, caller.cart()).await?;
        if let Some(other) = cart.view.claim.as_ref().filter(|claim| claim.order != *id) {
            claim::end(front, context, caller.cart(), other).await?;
            continue;
        }
        let basket = Basket::of(front, &cart.view).await?;
        let placement = new_placement(front, caller, identity, id.clone(), &valid, basket, cart.version)?;
        let command = CartCommand::Claim { order: id.clone() };
        let mut ask = entity::read::<Cart>(context, front.settings.ask_timeout, command);
        ask.expected_version = Some(cart.version);
        match front.regions.carts.ask(caller.cart().as_str(), ask).await {
            Ok(answer) if answer.reply.is_ok() => return Ok(placement),
            Ok(_) | Err(AskError::VersionConflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(claim::contended())
}

/// The submission completed from the account: the saved address, and the e-mail address.
async fn complete(front: &Front, caller: &Caller, mut body: PlaceBody) -> Result<PlaceBody, Problem> {
    (body.address, body.address_id) =
        checkout::saved_address(front, caller, body.address, body.address_id).await?;
    if let (None, Some(user)) = (&body.email, caller.user()) {
        body.email = Some(front.accounts.account(user).await?.email.as_str().to_owned());
    }
    Ok(body)
}

fn validate(body: PlaceBody) -> Result<ValidBody, Problem> {
    let mut errors = Vec::new();
    let address = checkout::address(body.address, body.address_id.as_deref(), &mut errors);
    let email = match body.email.as_deref().map(EmailAddress::parse) {
        Some(Ok(email)) => Some(email),
        Some(Err(error)) => {
            errors.push(FieldError::new("email", error.to_string()));
            None
        }
        None => {
            errors.push(FieldError::new("email", "is required of a guest"));
            None
        }
    };
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
    front: &Front,
    caller: &Caller,
    identity: &Identity,
    id: OrderId,
    valid: &ValidBody,
    basket: Basket,
    cart_version: u64,
) -> Result<Placement, Problem> {
    let country = &valid.address.country;
    let shipping = quote::shipping_option(country, basket.weight_grams()?, &valid.shipping_option)
        .ok_or_else(|| Problem::field("shipping_option", "is not one of the quoted shipping options"))?;
    let totals = basket.totals(country, shipping.price)?;
    expect(&totals, valid.expected_total)?;
    let now = (front.clock)();
    Ok(Placement {
        number: number(&id, now),
        id,
        buyer: caller.buyer().to_owned(),
        cart: caller.cart().clone(),
        cart_version,
        email: valid.email.clone(),
        fingerprint: identity.fingerprint.to_string(),
        lines: basket.lines,
        subtotal: totals.subtotal,
        tax: totals.tax,
        shipping: totals.shipping,
        total: totals.total,
        address: valid.address.clone(),
        shipping_option: shipping.id,
        payment: valid.payment.clone(),
        deadline: now.plus(front.settings.checkout_time_to_live),
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

async fn submit(front: &Front, context: &Context, placement: Placement) -> Result<Response, Problem> {
    let id = placement.id.clone();
    let command = OrderCommand::Place(Box::new(placement));
    // Without an id of its own: the order itself recognises a repetition.
    let mut ask = entity::read::<Order>(context, front.settings.checkout_wait, command);
    ask.wait_until_settled = true;
    ask.presumes_absence = true;
    let answer = match front.regions.orders.ask(id.as_str(), ask).await {
        Ok(answer) => answer,
        Err(error @ AskError::Busy { .. }) => return Err(error.into()),
        // It may have been placed before the reply was lost: the order knows.
        Err(error) => match super::get(front, context, &id).await {
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
    let digits = hash
        .iter()
        .map(|byte| char::from(NUMBER_DIGITS[usize::from(byte % 32)]));
    let digits: Vec<char> = digits.take(4 * NUMBER_GROUPS).collect();
    let groups = digits
        .chunks(4)
        .map(|group| format!("-{}", group.iter().collect::<String>()));
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
