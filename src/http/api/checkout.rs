//! `/v1/checkout`: quotes; and what placing an order shares with them.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::call::Call;
use crate::http::edge::problem::{self, FieldError, Problem};
use crate::http::request::front::Front;
use crate::http::request::json::{self, Json};
use crate::stores::StoreError;
use crate::stores::products::ProductStore;
use souk_domain::catalogue::Product;
use souk_domain::quote::{self, QuoteError, QuoteLine, ShippingOption};
use souk_domain::{Address, AddressId, CartCommand, CartView, Money, OrderLine, Sku};

/// The address: one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = QuoteRequest)]
#[serde(deny_unknown_fields)]
pub struct QuoteBody {
    address: Option<Address>,
    /// One of the caller's saved addresses.
    #[schema(value_type = Option<AddressId>)]
    address_id: Option<String>,
}

/// The price of the cart.
#[derive(Debug, Serialize, ToSchema)]
pub struct Quote {
    subtotal: Money,
    tax: Money,
    /// Empty where nothing is shipped to the country.
    shipping_options: Vec<ShippingOption>,
    weight_grams: u64,
}

/// Calculate tax and shipping for the cart
#[utoipa::path(
    post,
    path = "/v1/checkout/quote",
    operation_id = "quote",
    tag = "Checkout and orders",
    request_body(content = QuoteBody, example = json!({"address": example_address()})),
    responses((status = 200, description = "Tax and shipping options.", body = Quote, example = json!({
        "subtotal": {"amount": 9800, "currency": "USD"},
        "tax": {"amount": 0, "currency": "USD"},
        "shipping_options": [{
            "id": "standard",
            "carrier": "Caravan",
            "service": "Standard",
            "price": {"amount": 499, "currency": "USD"},
            "min_days": 3,
            "max_days": 5,
        }],
        "weight_grams": 440,
    }))),
    extensions(("x-problems" = json!([problem::EMPTY_CART, problem::OUT_OF_STOCK]))),
)]
pub async fn quote(call: Call, Json(body): Json<QuoteBody>) -> Result<Response, Problem> {
    let mut errors = Vec::new();
    let (given, address_id) = saved_address(&call, body.address, body.address_id).await?;
    let Some(address) = address(given, address_id.as_deref(), &mut errors) else {
        return Err(Problem::validation(errors));
    };
    let cart = call.ask_cart(call.caller.cart(), CartCommand::Get).await?.view;
    let lines = quote_lines(&price(&call.front, &cart).await?);
    let subtotal = quote::subtotal(&lines, cart.currency)?;
    let weight_grams = quote::weight_grams(&lines)?;
    let body = Quote {
        subtotal,
        tax: quote::tax(subtotal, &address.country)?,
        shipping_options: quote::shipping_options(&address.country, weight_grams),
        weight_grams,
    };
    json::reply(StatusCode::OK, &body)
}

/// Replaces `address_id` with the caller's saved address. An unknown one, or one beside a given address, is left for
/// [`address`] to refuse.
pub async fn saved_address(
    call: &Call,
    given: Option<Address>,
    address_id: Option<String>,
) -> Result<(Option<Address>, Option<String>), Problem> {
    let (None, Some(id), Some(user)) = (&given, &address_id, call.caller.user()) else {
        return Ok((given, address_id));
    };
    let addresses = call.front.accounts.users.addresses(user).await?;
    let found = addresses.into_iter().find(|saved| saved.id.as_str() == id);
    Ok(match found {
        Some(saved) => (Some(saved.address), None),
        None => (None, address_id),
    })
}

/// The client's address, or `None` with the reason in `errors`.
pub fn address(
    given: Option<Address>,
    address_id: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> Option<Address> {
    let error = match (given, address_id) {
        (Some(address), None) => {
            let below = |error: souk_domain::FieldError| {
                FieldError::new(format!("address.{}", error.field), error.message)
            };
            return address
                .normalised()
                .map_err(|wrong| errors.extend(wrong.into_iter().map(below)))
                .ok();
        }
        (None, None) => FieldError::new("address", "is required"),
        (Some(_), Some(_)) => FieldError::new("address_id", "can't be given together with address"),
        // Only accounts save addresses, and this caller's have been looked up by now.
        (None, Some(_)) => FieldError::new("address_id", "is not one of the caller's addresses"),
    };
    errors.push(error);
    None
}

/// The lines of a cart at current prices, read from the catalogue: an order never uses cached prices, nor prices of the client.
///
/// # Errors
/// 422 `empty-cart`; 409 `out-of-stock` for products that are not sold any more.
pub async fn price(front: &Front, cart: &CartView) -> Result<Vec<OrderLine>, Problem> {
    if cart.lines.is_empty() {
        return Err(Problem::new(problem::EMPTY_CART));
    }
    let products = products_in(cart, front.products.as_ref()).await?;
    priced(cart, &products)
}

/// The products in a cart. Its lines name them, so that one read is enough; only SKUs that are not among theirs any more are asked for.
async fn products_in(cart: &CartView, catalogue: &dyn ProductStore) -> Result<Vec<Product>, StoreError> {
    let ids: BTreeSet<_> = cart.lines.iter().map(|line| &line.product_id).collect();
    let ids: Vec<_> = ids.into_iter().cloned().collect();
    let mut products = catalogue.products(&ids).await?;
    let is_there = |sku: &Sku| products.iter().any(|product| product.variant(sku).is_some());
    let moved: Vec<_> = cart
        .lines
        .iter()
        .map(|line| &line.sku)
        .filter(|sku| !is_there(sku))
        .cloned()
        .collect();
    if !moved.is_empty() {
        products.extend(catalogue.products_of(&moved).await?);
    }
    Ok(products)
}

fn priced(cart: &CartView, products: &[Product]) -> Result<Vec<OrderLine>, Problem> {
    let mut lines = Vec::with_capacity(cart.lines.len());
    let mut gone = Vec::new();
    for line in &cart.lines {
        let found = products
            .iter()
            .find_map(|product| Some((product, product.variant(&line.sku)?)));
        match found {
            Some((product, variant)) => lines.push(OrderLine {
                sku: line.sku.clone(),
                product_id: product.id.clone(),
                title: product.title.clone(),
                options: variant.options.clone(),
                quantity: line.quantity,
                unit_price: variant.price,
                weight_grams: variant.weight_grams,
            }),
            None => gone.push(FieldError::new(line.sku.to_string(), "is not sold any more")),
        }
    }
    if gone.is_empty() {
        Ok(lines)
    } else {
        Err(Problem::new(problem::OUT_OF_STOCK).errors(gone))
    }
}

/// What the totals of an order are calculated from.
pub fn quote_lines(lines: &[OrderLine]) -> Vec<QuoteLine> {
    let line = |line: &OrderLine| QuoteLine {
        unit_price: line.unit_price,
        quantity: line.quantity,
        weight_grams: line.weight_grams,
    };
    lines.iter().map(line).collect()
}

impl From<QuoteError> for Problem {
    fn from(error: QuoteError) -> Self {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the catalogue's prices or weights do not add up"
        );
        Self::new(problem::INTERNAL)
    }
}

/// An address in the published document.
pub fn example_address() -> serde_json::Value {
    serde_json::json!({
        "name": "Ada Example",
        "line1": "1 Test Street",
        "city": "Springfield",
        "region": "IL",
        "postcode": "62701",
        "country": "US",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_support::{Fixture, guest_address, product, sku};
    use souk_domain::{CartLine, Currency, ProductId};

    fn check(given: Option<Address>, id: Option<&str>) -> (Option<Address>, Vec<String>) {
        let mut errors = Vec::new();
        let address = address(given, id, &mut errors);
        (
            address,
            errors.into_iter().map(|error| error.field.into_owned()).collect(),
        )
    }

    #[test]
    fn one_whole_address_is_needed() {
        assert!(check(Some(guest_address()), None).0.is_some());
        assert_eq!(check(None, None), (None, vec!["address".to_owned()]));
        assert_eq!(check(None, Some("adr_1")).1, ["address_id"]);
        assert_eq!(check(Some(guest_address()), Some("adr_1")).1, ["address_id"]);
        let wrong = Address {
            city: String::new(),
            country: "XX".to_owned(),
            ..guest_address()
        };
        assert_eq!(
            check(Some(wrong), None),
            (
                None,
                vec!["address.city".to_owned(), "address.country".to_owned()]
            )
        );
    }

    #[test]
    fn what_a_form_left_empty_counts_as_absent() {
        let given = Address {
            line2: Some(" ".to_owned()),
            phone: Some(String::new()),
            ..guest_address()
        };
        let (read, errors) = check(Some(given), None);
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(
            read.map(|address| (address.line2, address.phone)),
            Some((None, None))
        );
    }

    /// A cart of SKUs of the product `a`.
    fn cart(lines: &[(&str, u32)]) -> CartView {
        let line = |(text, quantity): &(&str, u32)| CartLine {
            sku: sku(text),
            product_id: ProductId::parse("prd_a").unwrap(),
            quantity: *quantity,
        };
        CartView {
            currency: Currency::USD,
            lines: lines.iter().map(line).collect(),
            claim: None,
            hand_over: None,
        }
    }

    #[test]
    fn a_basket_is_priced_by_the_catalogue() {
        let products = [
            product("a", &[("A-1", 1_000), ("A-2", 50)]),
            product("b", &[("B-1", 7)]),
        ];
        let priced = priced(&cart(&[("B-1", 3), ("A-2", 2)]), &products).unwrap();
        assert_eq!(priced[0].product_id.as_str(), "prd_b");
        let lines = quote_lines(&priced);
        assert_eq!(quote::subtotal(&lines, Currency::USD).unwrap().amount, 121);
        assert_eq!(quote::weight_grams(&lines).unwrap(), 500);
        let totals = quote::totals(&lines, "US", Money::new(499, Currency::USD)).unwrap();
        assert_eq!(totals.total.amount, 620);
    }

    #[tokio::test]
    async fn products_are_read_once_and_a_sku_that_moved_is_found() {
        let shop = Fixture::new([
            product("a", &[("A-1", 1_000), ("A-2", 50)]),
            product("b", &[("B-1", 7)]),
        ]);
        assert_eq!(
            products_in(&cart(&[("A-1", 1), ("A-2", 1)]), &shop)
                .await
                .unwrap()
                .len(),
            1
        );
        assert_eq!(shop.reads(), 1);
        let basket = cart(&[("A-1", 1), ("B-1", 1), ("GONE", 1)]);
        let products = products_in(&basket, &shop).await.unwrap();
        assert_eq!(shop.reads(), 3);
        let refused = priced(&basket, &products).unwrap_err();
        assert_eq!(refused.field_errors()[0].field, "GONE");
    }

    #[test]
    fn what_is_not_sold_any_more_is_named() {
        let products = [product("a", &[("A-1", 1_000)])];
        let refused = priced(&cart(&[("GONE", 1), ("A-1", 1), ("LOST", 1)]), &products).unwrap_err();
        assert_eq!(refused.kind(), problem::OUT_OF_STOCK);
        let fields: Vec<_> = refused
            .field_errors()
            .iter()
            .map(|error| error.field.as_ref())
            .collect();
        assert_eq!(fields, ["GONE", "LOST"]);
    }
}
