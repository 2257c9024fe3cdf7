//! `POST /v1/orders`: places the cart as an order.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::OrderBody;
use super::outcome;
use crate::actors::region::AskError;
use crate::http::api::checkout::example_address;
use crate::http::api::checkout::{self, Basket};
use crate::http::edge::context::Context;
use crate::http::edge::problem::{self, FieldError, Problem};
use crate::http::request::caller::Caller;
use crate::http::request::entity;
use crate::http::request::front::{Front, SharedFront};
use crate::http::request::idempotency::Identity;
use crate::http::request::json::Json;
use souk_domain::quote::{self, Totals};
use souk_domain::{
    Address, AddressId, EmailAddress, Money, Order, OrderCommand, OrderId, OrderReply, PaymentInstruction,
    Placement, Timestamp,
};

/// The payment gateways of an order.
const GATEWAYS: [&str; 1] = ["sandbox"];
/// Longest payment token, in visible ASCII characters.
const TOKEN_LIMIT: usize = 255;
/// Characters of the identifier in the number of an order.
const NUMBER_SUFFIX: usize = 6;

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
struct Wish {
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
    let wish = validate(complete(&front, &caller, body).await?)?;
    let id = front.keys.order_id(caller.buyer(), &key);
    let placement = match super::get(&front, &context, &id).await?.view {
        // The stored reply is lost, the order is not: the same submission has the same outcome, and another one is
        // refused by the order. The cart may have changed since.
        Some(order) => Placement {
            fingerprint: identity.fingerprint.to_string(),
            ..order.placement
        },
        None => {
            let basket = Basket::read(&front, &context, &caller).await?;
            new_placement(&front, &caller, &identity, id.clone(), wish, basket)?
        }
    };
    submit(&front, &context, &identity, &id, placement).await
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

fn validate(body: PlaceBody) -> Result<Wish, Problem> {
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
        (Some(address), Some(email)) if errors.is_empty() => Ok(Wish {
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
    wish: Wish,
    basket: Basket,
) -> Result<Placement, Problem> {
    let country = &wish.address.country;
    let shipping = quote::shipping_option(country, basket.weight_grams()?, &wish.shipping_option)
        .ok_or_else(|| Problem::field("shipping_option", "is not one of the quoted shipping options"))?;
    let totals = basket.totals(country, shipping.price)?;
    expect(&totals, wish.expected_total)?;
    let now = (front.clock)();
    Ok(Placement {
        number: number(&id, now),
        id,
        buyer: caller.buyer().to_owned(),
        cart: caller.cart().clone(),
        email: wish.email,
        fingerprint: identity.fingerprint.to_string(),
        lines: basket.lines,
        subtotal: totals.subtotal,
        tax: totals.tax,
        shipping: totals.shipping,
        total: totals.total,
        address: wish.address,
        shipping_option: shipping.id,
        payment: wish.payment,
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

async fn submit(
    front: &Front,
    context: &Context,
    identity: &Identity,
    id: &OrderId,
    placement: Placement,
) -> Result<Response, Problem> {
    let command = OrderCommand::Place(Box::new(placement));
    let mut ask = entity::change::<Order>(context, front.settings.checkout_wait, identity, command);
    ask.wait_until_settled = true;
    let answer = match front.regions.orders.ask(id.as_str(), ask).await {
        Ok(answer) => answer,
        Err(error @ AskError::Busy { .. }) => return Err(error.into()),
        // It may have been placed before the reply was lost: the order knows.
        Err(error) => super::get(front, context, id)
            .await
            .map_err(|_| error.clone())
            .and_then(|answer| {
                if answer.view.is_some() {
                    Ok(answer)
                } else {
                    Err(error)
                }
            })?,
    };
    match (answer.reply, answer.view) {
        (OrderReply::Done, Some(order)) => outcome::respond(&order, answer.version),
        (OrderReply::Refused(refusal), _) => Err(refusal.into()),
        // Completed without an order: a defect.
        (OrderReply::Done, None) => Err(Problem::new(problem::INTERNAL)),
    }
}

/// The number of the order: the day and six characters of its identifier, such as `S-20261122-4F07A1`.
fn number(id: &OrderId, at: Timestamp) -> String {
    let rfc3339 = at.to_rfc3339();
    let day: String = rfc3339
        .chars()
        .take_while(|character| *character != 'T')
        .filter(char::is_ascii_digit)
        .collect();
    let suffix = id
        .as_str()
        .trim_start_matches(OrderId::PREFIX)
        .chars()
        .take(NUMBER_SUFFIX);
    format!("S-{day}-{}", suffix.collect::<String>().to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::json;
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
    fn a_number_names_the_day_and_the_order() {
        let id = OrderId::parse("ord_4f07a1b2c3").unwrap();
        assert_eq!(number(&id, order().progress.created_at), "S-20261122-4F07A1");
    }
}
