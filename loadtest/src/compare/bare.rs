//! The yardstick that only parses and answers: bare axum, with the requests of a checkout and bytes that lie ready.

use std::hint::black_box;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::client::Endpoint;
use crate::failure::{Failure, Outcome};

/// Longest time until it listens.
const START_LIMIT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    sku: String,
    quantity: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    address: Address,
    shipping_option: String,
    payment: Payment,
    email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    name: String,
    line1: String,
    city: String,
    postcode: String,
    country: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payment {
    gateway: String,
    token: String,
}

/// A reply that lies ready.
#[derive(Clone)]
struct Ready(StatusCode, Bytes);

impl Ready {
    fn new(status: StatusCode, body: &Value) -> Self {
        Self(status, body.to_string().into())
    }
}

impl IntoResponse for Ready {
    fn into_response(self) -> axum::response::Response {
        (self.0, [(CONTENT_TYPE, "application/json")], self.1).into_response()
    }
}

fn router() -> Router {
    let line = json!({"sku": "ABC-DEFGH-00042-BLUE", "quantity": 1, "title": "A thing of some length",
        "product_id": "prd_0123456789abcdef", "options": {"colour": "blue"}, "available": 100,
        "unit_price": {"amount": 1299, "currency": "USD"}, "line_total": {"amount": 1299, "currency": "USD"}});
    let cart = json!({"id": "crt_0123456789abcdef0123456789abcdef", "version": 1, "currency": "USD",
        "items": vec![line.clone(); 3], "subtotal": {"amount": 1299, "currency": "USD"}, "item_count": 3});
    let opened = Ready::new(
        StatusCode::CREATED,
        &json!({"cart_token": "c".repeat(80), "cart": cart}),
    );
    let order = json!({"id": "ord_0123456789abcdef", "status": "confirmed", "items": vec![line; 3],
        "total": {"amount": 1299, "currency": "USD"}});
    let (cart, order) = (
        Ready::new(StatusCode::OK, &cart),
        Ready::new(StatusCode::CREATED, &order),
    );
    let add = move |Json(Item { sku, quantity }): Json<Item>| {
        black_box((sku, quantity));
        std::future::ready(cart.clone())
    };
    let place = move |Json(body): Json<Order>| {
        let Address {
            name,
            line1,
            city,
            postcode,
            country,
        } = body.address;
        black_box((name, line1, city, postcode, country));
        black_box((
            body.shipping_option,
            body.payment.gateway,
            body.payment.token,
            body.email,
        ));
        std::future::ready(order.clone())
    };
    Router::new()
        .route("/v1/carts", post(move || std::future::ready(opened.clone())))
        .route("/v1/cart/items", post(add))
        .route("/v1/orders", post(place))
}

/// Serves until the process is ended: the hidden command. Prints its address.
///
/// # Errors
/// [`Failure`] where it can't listen.
pub async fn serve() -> Result<Outcome, Failure> {
    let failed = |error| Failure::failed("bare axum can't listen", error);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .map_err(failed)?;
    println!("{}", listener.local_addr().map_err(failed)?);
    axum::serve(listener, router()).await.map_err(failed)?;
    Ok(Outcome::Done)
}

/// A process of this program that serves it, until it is dropped.
pub struct Bare {
    _process: Child,
    /// Its address.
    pub endpoint: Endpoint,
}

impl Bare {
    /// Starts one.
    ///
    /// # Errors
    /// [`Failure`] where it does not start.
    pub async fn start() -> Result<Self, Failure> {
        let failed = |error| Failure::failed("bare axum does not start", error);
        let mut process = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("bare")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let silent = || Failure::Plain("bare axum does not tell its address".into());
        let output = process.stdout.take().ok_or_else(silent)?;
        let line = timeout(START_LIMIT, BufReader::new(output).lines().next_line())
            .await
            .map_err(|_| silent())?
            .map_err(failed)?
            .ok_or_else(silent)?;
        let address: SocketAddr = line.parse().map_err(|_| silent())?;
        Ok(Self {
            _process: process,
            endpoint: format!("http://{address}").parse().map_err(Failure::Plain)?,
        })
    }
}
