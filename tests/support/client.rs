//! A client of the shop with one cart at one node, over kept connections.

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Body, Method};
use serde_json::{Value, json};

use super::waiting::eventually;

/// Prefix of the `type` of every problem.
pub const PROBLEM_BASE: &str = "https://souk.example/problems/";

/// Time limit of a reply. A request is always answered within `limits.total_seconds` (60 s).
const REPLY_LIMIT: Duration = Duration::from_secs(70);

/// A complete reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The raw body.
    pub text: String,
    /// The body as JSON, or `null`.
    pub body: Value,
}

impl Reply {
    /// Reads a response completely.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn read(response: reqwest::Response) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_default();
        Ok(Self {
            status,
            headers,
            text,
            body,
        })
    }

    /// Checks the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "status of: {self}");
        self
    }

    /// Checks that this is a well-formed problem of this status and kind with the request's id.
    #[track_caller]
    pub fn expect_problem(self, status: u16, kind: &str) -> Self {
        assert_eq!((self.status, self.problem()), (status, kind), "{self}");
        self
    }

    /// The kind of the problem: the last part of its `type`.
    ///
    /// # Panics
    /// If this is not a well-formed problem.
    #[track_caller]
    pub fn problem(&self) -> &str {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "content type of: {self}"
        );
        assert_eq!(
            self.body["status"], self.status,
            "the status of the body is that of the reply: {self}"
        );
        assert_eq!(
            self.body["instance"].as_str(),
            self.header("x-request-id"),
            "instance is the request id: {self}"
        );
        assert!(
            self.body["title"].as_str().is_some_and(|title| !title.is_empty()),
            "a problem has a title: {self}"
        );
        self.body["type"]
            .as_str()
            .and_then(|kind| kind.strip_prefix(PROBLEM_BASE))
            .unwrap_or_else(|| panic!("a problem has a type of the shop: {self}"))
    }

    /// The fields named by a problem.
    pub fn blamed(&self) -> Vec<&str> {
        self.body["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|error| error["field"].as_str())
            .collect()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A text in the body, by JSON pointer.
    #[track_caller]
    pub fn str(&self, pointer: &str) -> &str {
        self.body
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no text at {pointer} in: {self}"))
    }

    /// A whole number in the body, by JSON pointer.
    #[track_caller]
    pub fn i64(&self, pointer: &str) -> i64 {
        self.body
            .pointer(pointer)
            .and_then(Value::as_i64)
            .unwrap_or_else(|| panic!("no whole number at {pointer} in: {self}"))
    }

    /// The items of a list.
    #[track_caller]
    pub fn items(&self) -> &[Value] {
        self.body["items"]
            .as_array()
            .unwrap_or_else(|| panic!("no items in: {self}"))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.header("x-request-id").unwrap_or("none");
        write!(f, "{} (request {id}) {}", self.status, self.text)
    }
}

/// A client of one node. Clones share connections, which belong to the runtime of one test.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    cart_token: Option<String>,
    access_token: Option<String>,
    address: Option<String>,
}

impl Client {
    /// A client of the node at `base`, for example `http://127.0.0.1:8080`, without a cart.
    pub fn new(base: &str) -> Self {
        // Whoever was first has installed the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(REPLY_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("an HTTP client without TLS always starts");
        Self {
            http,
            base: base.to_owned(),
            cart_token: None,
            access_token: None,
            address: None,
        }
    }

    /// The same client and cart at another node.
    pub fn at(&self, base: &str) -> Self {
        Self {
            base: base.to_owned(),
            ..self.clone()
        }
    }

    /// The same client with another cart's token, or with none.
    pub fn with_cart(&self, token: Option<&str>) -> Self {
        Self {
            cart_token: token.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The same client with an access token, or with none.
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            access_token: token.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The same client, as if from this address: nodes trust a proxy on their own machine.
    pub fn calling_from(&self, address: &str) -> Self {
        Self {
            address: Some(address.to_owned()),
            ..self.clone()
        }
    }

    /// The same client with a new cart of its own.
    pub async fn guest(&self) -> Self {
        let made = self.with_cart(None).new_cart().await.expect(201);
        self.with_cart(Some(made.str("/cart_token")))
    }

    /// The node's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The address that it calls from, where it is not its own.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The token of the cart.
    pub fn cart_token(&self) -> Option<&str> {
        self.cart_token.as_deref()
    }

    /// The access token.
    pub fn access_token(&self) -> Option<&str> {
        self.access_token.as_deref()
    }

    /// A request with the client's tokens and address.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.cart_token {
            request = request.header("cart-token", token);
        }
        if let Some(token) = &self.access_token {
            request = request.bearer_auth(token);
        }
        if let Some(address) = &self.address {
            request = request.header("x-forwarded-for", address);
        }
        request
    }

    /// Sends a request.
    ///
    /// # Errors
    /// If no complete reply arrives, which tests of failing nodes need to see.
    pub async fn try_send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, reqwest::Error> {
        let mut request = self.request(method, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Reply::read(request.send().await?).await
    }

    /// Sends a request.
    ///
    /// # Panics
    /// If it is not answered.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Reply {
        self.try_send(method, path, body, headers)
            .await
            .unwrap_or_else(|error| panic!("{method} {}{path} was not answered: {error:?}", self.base))
    }

    /// Sends a body that need not be JSON.
    pub async fn send_raw(
        &self,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: impl Into<Body>,
    ) -> Reply {
        let mut request = self.request(method, path).body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let response = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{method} {}{path} was not answered: {error:?}", self.base));
        Reply::read(response)
            .await
            .unwrap_or_else(|error| panic!("the reply to {method} {path} broke off: {error:?}"))
    }

    /// `DELETE path`.
    pub async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, None, &[]).await
    }

    /// `PATCH path`.
    pub async fn patch(&self, path: &str, body: &Value) -> Reply {
        self.send("PATCH", path, Some(body), &[]).await
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None, &[]).await
    }

    /// `POST path`.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, Some(body), &[]).await
    }

    /// `POST /v1/carts`.
    pub async fn new_cart(&self) -> Reply {
        self.send("POST", "/v1/carts", None, &[]).await
    }

    /// `POST /v1/cart/items`.
    pub async fn add(&self, sku: &str, quantity: u32) -> Reply {
        self.post("/v1/cart/items", &json!({"sku": sku, "quantity": quantity}))
            .await
    }

    /// `PUT /v1/cart/items/{sku}`.
    pub async fn set(&self, sku: &str, quantity: u32) -> Reply {
        let path = format!("/v1/cart/items/{sku}");
        self.send("PUT", &path, Some(&json!({"quantity": quantity})), &[])
            .await
    }

    /// `GET /v1/cart`.
    pub async fn get_cart(&self) -> Reply {
        self.get("/v1/cart").await
    }

    /// `POST /v1/checkout/quote`.
    pub async fn quote(&self) -> Reply {
        self.post("/v1/checkout/quote", &json!({"address": address()}))
            .await
    }

    /// `POST /v1/orders` with an idempotency key and a token of the sandbox.
    pub async fn place_order(&self, key: &str, token: &str) -> Reply {
        self.place(key, &submission(token)).await
    }

    /// `POST /v1/orders` with any body.
    pub async fn place(&self, key: &str, body: &Value) -> Reply {
        self.post_under(key, "/v1/orders", body).await
    }

    /// `POST` with an idempotency key.
    pub async fn post_under(&self, key: &str, path: &str, body: &Value) -> Reply {
        self.send("POST", path, Some(body), &[("idempotency-key", key)])
            .await
    }

    /// Waits until nothing is in the cart.
    pub async fn cart_is_empty(&self, limit: Duration) {
        eventually("the cart is empty", limit, async || {
            let cart = self.get_cart().await.expect(200);
            if cart.i64("/item_count") == 0 {
                Ok(())
            } else {
                Err(cart)
            }
        })
        .await;
    }

    /// `GET /v1/orders/{id}`.
    pub async fn get_order(&self, id: &str) -> Reply {
        self.get(&format!("/v1/orders/{id}")).await
    }
}

/// A valid shipping address.
pub fn address() -> Value {
    json!({
        "name": "Ada Example",
        "line1": "1 Test Street",
        "city": "Springfield",
        "region": "IL",
        "postcode": "62701",
        "country": "US",
    })
}

/// The body of an order that pays with this sandbox token.
pub fn submission(token: &str) -> Value {
    json!({
        "address": address(),
        "shipping_option": "standard",
        "payment": {"gateway": "sandbox", "token": token},
        "email": "ada@example.org",
    })
}
