//! What a client of the loops does: a whole checkout, or one add-to-cart.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use super::driver::{Ending, Work};
use crate::client::{Call, Client, ClientError, Endpoint, Reply};
use crate::failure::Failure;
use crate::order;

/// Lines of a checkout.
const LINES: usize = 3;
/// Different SKUs that are added to one cart.
const SKUS_OF_A_CART: usize = 5;
/// Additions to one cart: a line holds 999 pieces at most.
const ADDITIONS: usize = 999 * SKUS_OF_A_CART;
/// Prime, and far from a small fraction of usual numbers of SKUs, so that neighbours in time seldom meet at one.
const STRIDE: usize = 31;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Journey {
    /// Five requests: open a guest's cart, add three lines, place the order.
    Checkout,
    /// One request: add a piece to a cart.
    Cart,
}

impl Journey {
    /// What is counted.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Checkout => "checkouts",
            Self::Cart => "add-to-carts",
        }
    }
}

/// What all shoppers share.
#[derive(Debug)]
pub struct Shop {
    /// Bodies of additions, one for each SKU.
    additions: Vec<Bytes>,
    order: Bytes,
    number: AtomicUsize,
}

impl Shop {
    /// A shop that sells these SKUs.
    pub fn new<'a>(skus: impl IntoIterator<Item = &'a str>) -> Arc<Self> {
        let addition = |sku: &str| Bytes::from(json!({"sku": sku, "quantity": 1}).to_string());
        let order = order::body("tok_ok", "standard", Some("ada@example.com"));
        Arc::new(Self {
            additions: skus.into_iter().map(addition).collect(),
            order: order.to_string().into(),
            number: AtomicUsize::new(0),
        })
    }

    fn addition(&self, number: usize) -> Bytes {
        self.additions[number % self.additions.len()].clone()
    }
}

/// One shopper with a connection to one node.
pub struct Shopper {
    client: Client,
    shop: Arc<Shop>,
    journey: Journey,
    /// The token of the cart that is being filled, and the additions to it.
    cart: Option<(String, usize)>,
}

/// Why a journey stopped before its end.
enum Stop {
    Refused(Duration),
    Failed(String),
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Failed(souk_error_chain::Chain(&error).to_string())
    }
}

impl Shopper {
    /// `count` shoppers, spread over the nodes.
    pub fn several(count: usize, nodes: &[Endpoint], shop: &Arc<Shop>, journey: Journey) -> Vec<Self> {
        let nodes = nodes.iter().cycle().take(count);
        nodes
            .map(|node| Self {
                client: Client::new(node.clone()),
                shop: Arc::clone(shop),
                journey,
                cart: None,
            })
            .collect()
    }

    /// Connects, and opens the cart where one is filled.
    ///
    /// # Errors
    /// [`Failure`] where the shop does not answer.
    pub async fn prepare(&mut self) -> Result<(), Failure> {
        match self.open_cart().await {
            Ok(cart) => {
                self.cart = Some((cart, 0));
                Ok(())
            }
            Err(Stop::Refused(_)) => Err(Failure::Plain("the shop is busy before the load begins".into())),
            Err(Stop::Failed(why)) => Err(Failure::Plain(why)),
        }
    }

    async fn call(&mut self, what: &str, call: Call) -> Result<Reply, Stop> {
        let reply = self.client.send(call).await?;
        match (reply.status, reply.refusal()) {
            (200..300, _) => Ok(reply),
            (_, Some(retry_after)) => Err(Stop::Refused(retry_after)),
            _ => Err(Stop::Failed(format!("{what}: {}", reply.shown()))),
        }
    }

    async fn open_cart(&mut self) -> Result<String, Stop> {
        let reply = self
            .call("POST /v1/carts", Call::new(Method::POST, "/v1/carts"))
            .await?;
        match reply.json()["cart_token"].as_str() {
            Some(token) => Ok(token.to_owned()),
            None => Err(Stop::Failed("a cart without a token".into())),
        }
    }

    async fn add(&mut self, cart: &str, number: usize) -> Result<(), Stop> {
        let call = Call::new(Method::POST, "/v1/cart/items")
            .header("Cart-Token", cart)
            .body(self.shop.addition(number));
        self.call("POST /v1/cart/items", call).await.map(drop)
    }

    /// A whole checkout.
    async fn buy(&mut self) -> Result<Ending, Stop> {
        let number = self.shop.number.fetch_add(1, Ordering::Relaxed);
        let cart = self.open_cart().await?;
        for line in 0..LINES {
            self.add(&cart, number * 7 + line * STRIDE).await?;
        }
        let call = Call::new(Method::POST, "/v1/orders")
            .header("Cart-Token", &cart)
            .header("Idempotency-Key", order::key())
            .body(self.shop.order.clone());
        let reply = self.call("POST /v1/orders", call).await?;
        let order: Value = reply.json();
        match (reply.status, order["status"].as_str()) {
            (201, Some("confirmed")) => Ok(Ending::Accepted),
            (202, _) => Ok(Ending::Pending),
            _ => Err(Stop::Failed(format!(
                "an order that is not confirmed: {}",
                reply.shown()
            ))),
        }
    }

    /// One addition to a cart.
    async fn fill(&mut self) -> Result<Ending, Stop> {
        let (cart, additions) = match self.cart.take() {
            Some((cart, additions)) if additions < ADDITIONS => (cart, additions),
            _ => (self.open_cart().await?, 0),
        };
        let added = self.add(&cart, additions % SKUS_OF_A_CART).await;
        self.cart = Some((cart, additions + 1));
        added.map(|()| Ending::Accepted)
    }
}

impl Work for Shopper {
    async fn once(&mut self) -> Ending {
        let done = match self.journey {
            Journey::Checkout => self.buy().await,
            Journey::Cart => self.fill().await,
        };
        done.unwrap_or_else(|stop| match stop {
            Stop::Refused(retry_after) => Ending::Refused(retry_after),
            Stop::Failed(why) => Ending::Failed(why),
        })
    }
}
