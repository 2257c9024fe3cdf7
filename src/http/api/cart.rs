//! `/v1/carts`, `/v1/cart`: the caller's cart.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use super::call::{Call, Change};
use super::claim;
use crate::actors::region::Answer;
use crate::http::catalogue_cache::{CatalogueCache, Listing};
use crate::http::edge::problem::{self, Problem};
use crate::http::request::etag::{IfMatch, IfNoneMatch};
use crate::http::request::front::{Front, SharedFront};
use crate::http::request::json::{self, Json, NoFields, OptionalJson, Quantity};
use crate::http::request::path::PathParameter;
use crate::stores::StoreError;
use souk_domain::cart::{CartRefusal, HandOver, LINE_LIMIT, QUANTITY_LIMIT};
use souk_domain::{Aggregate, Cart, CartCommand, CartId, CartView, Currency, Money, ProductId, Sku};

/// A cart token in the published document.
const TOKEN: &str = "kZ0ww2e1mY4rTq8v5sXb6n7c9d0fGhJkLpQwErTyUiO";

/// A cart as clients see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Cart)]
pub struct CartBody<'a> {
    id: &'a CartId,
    /// The entity tag begins with it.
    version: u64,
    currency: Currency,
    items: Vec<CartItem<'a>>,
    /// The sum of the lines that have a price.
    subtotal: Money,
    /// The sum of all quantities.
    item_count: u64,
}

/// A line. A product that is not sold any more has neither title nor price, and none is available.
#[derive(Debug, Serialize, ToSchema)]
pub struct CartItem<'a> {
    sku: &'a Sku,
    product_id: &'a ProductId,
    #[schema(required)]
    title: Option<&'a str>,
    options: &'a BTreeMap<String, String>,
    quantity: u32,
    #[schema(required)]
    unit_price: Option<Money>,
    #[schema(required)]
    line_total: Option<Money>,
    /// The available quantity, as far as this node knows.
    available: u32,
}

/// The reply of most routes here.
#[derive(IntoResponses)]
#[response(status = 200, description = "The cart.", headers(("ETag")), example = json!({
        "id": "crt_000001",
        "version": 2,
        "currency": "USD",
        "items": [{
            "sku": "SHIRT-M",
            "product_id": "prd_000001",
            "title": "Linen shirt",
            "options": {"size": "M"},
            "quantity": 2,
            "unit_price": {"amount": 4900, "currency": "USD"},
            "line_total": {"amount": 9800, "currency": "USD"},
            "available": 12,
        }],
        "subtotal": {"amount": 9800, "currency": "USD"},
        "item_count": 2,
    }))]
#[expect(dead_code, reason = "it describes the reply")]
struct CartReply(CartBody<'static>);

/// A guest's new cart with the token that opens it.
#[derive(Serialize, ToSchema)]
pub struct NewCart<'a> {
    /// For the header `Cart-Token`.
    cart_token: &'a str,
    cart: CartBody<'a>,
}

/// An item to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddItem {
    #[schema(value_type = Sku)]
    sku: String,
    /// Added to the quantity in the cart.
    #[schema(value_type = u32, minimum = 1, maximum = 999)]
    quantity: Quantity<1, QUANTITY_LIMIT>,
}

/// The quantity of a line.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetItem {
    /// 0 removes the line.
    #[schema(value_type = u32, maximum = 999)]
    quantity: Quantity<0, QUANTITY_LIMIT>,
}

/// A guest's cart to merge.
#[derive(Deserialize, ToSchema)]
#[schema(as = MergeCart)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// From `POST /v1/carts`.
    cart_token: String,
}

/// Create a guest's cart
///
/// It uses no storage until an item is added.
#[utoipa::path(
    post,
    path = "/v1/carts",
    operation_id = "createCart",
    tag = "Cart",
    request_body(content = Option<NoFields>, example = json!({})),
    responses((
        status = 201,
        description = "An empty cart and the token that opens it.",
        body = NewCart<'static>,
        headers(("ETag")),
        example = json!({
            "cart_token": TOKEN,
            "cart": {
                "id": "crt_000001",
                "version": 0,
                "currency": "USD",
                "items": [],
                "subtotal": {"amount": 0, "currency": "USD"},
                "item_count": 0,
            },
        }),
    )),
)]
pub async fn create(
    State(front): State<SharedFront>,
    OptionalJson(NoFields {}): OptionalJson<NoFields>,
) -> Result<Response, Problem> {
    let (token, id) = front.keys.mint_cart();
    let (view, shown) = (Cart::initial(id.as_str()).view(), Shown::default());
    let body = NewCart {
        cart_token: &token,
        cart: CartBody::new(&id, 0, &view, &shown),
    };
    json::versioned(StatusCode::CREATED, 0, &body)
}

/// Show the caller's cart
#[utoipa::path(
    get,
    path = "/v1/cart",
    operation_id = "getCart",
    tag = "Cart",
    params(IfNoneMatch),
    responses(CartReply)
)]
pub async fn show(call: Call, condition: IfNoneMatch) -> Result<Response, Problem> {
    let id = call.caller.cart();
    let Answer { version, view, .. } = call.ask_cart(id, CartCommand::Get).await?;
    let shown = Shown::of(&call.front.catalogue_cache, &view).await?;
    json::if_none_match(&condition, version, &CartBody::new(id, version, &view, &shown))
}

/// Add an item to the cart
///
/// Adds to the quantity in the cart; a cart holds up to 100 lines of up to 999 each.
#[utoipa::path(
    post,
    path = "/v1/cart/items",
    operation_id = "addCartItem",
    tag = "Cart",
    params(IfMatch),
    request_body(content = AddItem, example = json!({"sku": "SHIRT-M", "quantity": 2})),
    responses(CartReply),
    extensions(("x-problems" = json!([problem::UNKNOWN_SKU]))),
)]
pub async fn add_item(change: Change, Json(body): Json<AddItem>) -> Result<Response, Problem> {
    let (sku, product_id) = known_sku(&change.call.front, &body.sku).await?;
    let command = CartCommand::Add {
        sku,
        product_id,
        quantity: body.quantity.0,
    };
    apply(&change, command).await
}

/// Set the quantity of an item
#[utoipa::path(
    put,
    path = "/v1/cart/items/{sku}",
    operation_id = "setCartItem",
    tag = "Cart",
    params(("sku" = Sku, Path, description = "The SKU."), IfMatch),
    request_body(content = SetItem, example = json!({"quantity": 3})),
    responses(CartReply),
    extensions(("x-problems" = json!([problem::UNKNOWN_SKU]))),
)]
pub async fn set_item(
    change: Change,
    PathParameter(sku): PathParameter,
    Json(body): Json<SetItem>,
) -> Result<Response, Problem> {
    let command = if body.quantity.0 == 0 {
        // Removing works for SKUs that are not in the catalogue any more.
        CartCommand::Remove {
            sku: parse_sku(&sku)?,
        }
    } else {
        let (sku, product_id) = known_sku(&change.call.front, &sku).await?;
        CartCommand::SetQuantity {
            sku,
            product_id,
            quantity: body.quantity.0,
        }
    };
    apply(&change, command).await
}

/// Remove an item from the cart
///
/// Removing an absent item succeeds.
#[utoipa::path(
    delete,
    path = "/v1/cart/items/{sku}",
    operation_id = "removeCartItem",
    tag = "Cart",
    params(("sku" = Sku, Path, description = "The SKU."), IfMatch),
    responses(CartReply),
    extensions(("x-problems" = json!([problem::UNKNOWN_SKU]))),
)]
pub async fn remove_item(change: Change, PathParameter(sku): PathParameter) -> Result<Response, Problem> {
    let sku = parse_sku(&sku)?;
    apply(&change, CartCommand::Remove { sku }).await
}

/// Empty the cart
#[utoipa::path(
    delete,
    path = "/v1/cart",
    operation_id = "emptyCart",
    tag = "Cart",
    params(IfMatch),
    responses(CartReply)
)]
pub async fn empty(change: Change) -> Result<Response, Problem> {
    apply(&change, CartCommand::Empty).await
}

/// Merge a guest's cart into the caller's
///
/// The guest's lines move: quantities are added up and capped, and the guest's cart is empty afterwards. What is put into it
/// later can be merged later.
#[utoipa::path(
    post,
    path = "/v1/cart/merge",
    operation_id = "mergeCart",
    tag = "Cart",
    params(IfMatch),
    request_body(content = Merge, example = json!({"cart_token": TOKEN})),
    responses(CartReply),
    extensions(("x-problems" = json!([problem::CHECKOUT_IN_PROGRESS]))),
)]
pub async fn merge(change: Change, Json(body): Json<Merge>) -> Result<Response, Problem> {
    let Change { call, condition, .. } = &change;
    let from = call
        .front
        .keys
        .open_cart(&body.cart_token)
        .ok_or_else(|| Problem::field("cart_token", "is not the token of a cart of this shop"))?;
    let to = call.caller.cart();
    if from == *to {
        return Err(Problem::field(
            "cart_token",
            "is the token of the caller's own cart",
        ));
    }
    let current = async || Ok(call.ask_cart(to, CartCommand::Get).await?.version);
    condition.check(current).await?;
    for _ in 0..claim::ATTEMPTS {
        let hand_over = CartCommand::HandOver { to: to.clone() };
        let guest = call.ask_cart(&from, hand_over).await?.view;
        if let Some(HandOver { to, number, lines }) = guest.hand_over {
            // Where one was interrupted, perhaps on its way to another account, this finishes it, and the next comes after it.
            let from_guest = from.clone();
            let receive = CartCommand::Receive {
                from: from_guest,
                number,
                lines,
            };
            call.ask_cart(&to, receive).await?;
            call.ask_cart(&from, CartCommand::FinishHandOver { number })
                .await?;
        } else if let Some(claim) = guest.claim.filter(|_| !guest.lines.is_empty()) {
            claim::end(call, &from, &claim).await?;
        } else {
            return reply(call, &call.ask_cart(to, CartCommand::Get).await?).await;
        }
    }
    // Others change the cart all the time.
    Err(Problem::busy(problem::RETRY_AFTER))
}

/// Changes the caller's cart, and shows it.
async fn apply(change: &Change, command: CartCommand) -> Result<Response, Problem> {
    let Call { front, caller, .. } = &change.call;
    let current = async || {
        let cart = change.call.ask_cart(caller.cart(), CartCommand::Get).await?;
        Ok(cart.version)
    };
    let ask = change.ask(front.settings.ask_timeout, command, current).await?;
    let answer = front.regions.carts.ask(caller.cart().as_str(), ask).await?;
    answer.reply?;
    reply(&change.call, &answer).await
}

async fn reply(call: &Call, answer: &Answer<Cart>) -> Result<Response, Problem> {
    let shown = Shown::of(&call.front.catalogue_cache, &answer.view).await?;
    let body = CartBody::new(call.caller.cart(), answer.version, &answer.view, &shown);
    json::versioned(StatusCode::OK, answer.version, &body)
}

/// A SKU, whether or not the catalogue has it.
pub fn parse_sku(text: &str) -> Result<Sku, Problem> {
    // A malformed SKU does not exist.
    Sku::parse(text).map_err(|_| Problem::new(problem::UNKNOWN_SKU))
}

async fn known_sku(front: &Front, text: &str) -> Result<(Sku, ProductId), Problem> {
    let sku = parse_sku(text)?;
    match front.catalogue_cache.listing(&sku).await? {
        Some(listing) => Ok((sku, listing.product().id.clone())),
        None => Err(Problem::new(problem::UNKNOWN_SKU)),
    }
}

/// The catalogue's part of a cart, line by line.
#[derive(Default)]
struct Shown {
    listings: Vec<Option<Listing>>,
    available: Vec<u32>,
}

impl Shown {
    async fn of(catalogue: &CatalogueCache, view: &CartView) -> Result<Self, StoreError> {
        let skus: Vec<&Sku> = view.lines.iter().map(|line| &line.sku).collect();
        Ok(Self {
            listings: catalogue.listings(&skus).await?,
            available: catalogue.available(&skus).await?,
        })
    }
}

impl<'a> CartBody<'a> {
    fn new(id: &'a CartId, version: u64, view: &'a CartView, shown: &'a Shown) -> Self {
        static NO_OPTIONS: BTreeMap<String, String> = BTreeMap::new();
        let mut subtotal = Money::zero(view.currency);
        let mut items = Vec::with_capacity(view.lines.len());
        for ((line, listing), available) in view.lines.iter().zip(&shown.listings).zip(&shown.available) {
            let listing = listing.as_ref();
            let unit_price = listing.map(|listing| listing.variant().price);
            // A price that does not fit the cart (another currency, or absurdly high) makes its line unsellable, but the
            // shopper sees the rest.
            let line_total = unit_price
                .and_then(|price| price.times(line.quantity).ok())
                .filter(|total| total.currency == subtotal.currency);
            let sum = line_total.and_then(|total| subtotal.plus(total).ok());
            subtotal = sum.unwrap_or(subtotal);
            items.push(CartItem {
                sku: &line.sku,
                product_id: &line.product_id,
                title: listing.map(|listing| listing.product().title.as_str()),
                options: listing.map_or(&NO_OPTIONS, |listing| &listing.variant().options),
                quantity: line.quantity,
                unit_price,
                line_total: sum.and(line_total),
                available: if sum.is_some() { *available } else { 0 },
            });
        }
        Self {
            id,
            version,
            currency: view.currency,
            items,
            subtotal,
            item_count: view.lines.iter().map(|line| u64::from(line.quantity)).sum(),
        }
    }
}

impl From<CartRefusal> for Problem {
    fn from(refusal: CartRefusal) -> Self {
        match refusal {
            CartRefusal::QuantityOutOfRange => Self::field(
                "quantity",
                format!("a line has a quantity between 1 and {QUANTITY_LIMIT}"),
            ),
            CartRefusal::TooManyLines => Self::field("sku", format!("a cart has at most {LINE_LIMIT} lines")),
            CartRefusal::Claimed => Self::new(problem::CHECKOUT_IN_PROGRESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::etag::Tag;
    use crate::http::test_support::{Fixture, product, sku};
    use souk_domain::CartLine;

    fn line(text: &str, quantity: u32) -> CartLine {
        CartLine {
            sku: sku(text),
            product_id: ProductId::parse("prd_a").unwrap(),
            quantity,
        }
    }

    async fn rendered(lines: Vec<CartLine>) -> serde_json::Value {
        let products = [product("a", &[("A-1", 1_250), ("HUGE", i64::MAX)])];
        let catalogue = Fixture::new(products).with_badge("A-1", 4).with_badge("HUGE", 1);
        let catalogue_cache = CatalogueCache::new(
            std::sync::Arc::new(catalogue),
            &(&crate::config::Limits::default()).into(),
        );
        let view = CartView {
            currency: Currency::USD,
            lines,
            claim: None,
            hand_over: None,
        };
        let id = CartId::parse("crt_1").unwrap();
        let shown = Shown::of(&catalogue_cache, &view).await.unwrap();
        serde_json::to_value(CartBody::new(&id, 3, &view, &shown)).unwrap()
    }

    #[tokio::test]
    async fn a_cart_shows_what_the_contract_names() {
        let body = rendered(vec![line("A-1", 2)]).await;
        assert_eq!(
            body,
            serde_json::json!({
                "id": "crt_1", "version": 3, "currency": "USD",
                "items": [{
                    "sku": "A-1", "product_id": "prd_a", "title": "Product a", "options": {"size": "A-1"},
                    "quantity": 2, "unit_price": {"amount": 1250, "currency": "USD"},
                    "line_total": {"amount": 2500, "currency": "USD"}, "available": 4,
                }],
                "subtotal": {"amount": 2500, "currency": "USD"}, "item_count": 2,
            })
        );
    }

    #[tokio::test]
    async fn changed_prices_or_stock_change_the_tag() {
        let mut before = rendered(vec![line("A-1", 2)]).await;
        let tag = |body: &serde_json::Value| Tag::of_body(3, &serde_json::to_vec(body).unwrap());
        let had = IfNoneMatch::OneOf(vec![tag(&before)]);
        let status = |body: &serde_json::Value| json::if_none_match(&had, 3, body).unwrap().status();
        assert_eq!(status(&before), StatusCode::NOT_MODIFIED);
        before["items"][0]["available"] = 3.into();
        assert_eq!(status(&before), StatusCode::OK);
    }

    #[tokio::test]
    async fn lines_without_a_price_are_shown_and_not_added_up() {
        let body = rendered(vec![line("GONE", 5), line("A-1", 1), line("HUGE", 2)]).await;
        assert_eq!(body["subtotal"]["amount"], 1250);
        assert_eq!(body["item_count"], 8);
        for at in [0, 2] {
            assert_eq!(body["items"][at]["line_total"], serde_json::Value::Null);
            assert_eq!(body["items"][at]["available"], 0);
        }
        assert_eq!(body["items"][0]["quantity"], 5);
        assert_eq!(body["items"][0]["title"], serde_json::Value::Null);
        assert_eq!(body["items"][0]["options"], serde_json::json!({}));
    }
}
