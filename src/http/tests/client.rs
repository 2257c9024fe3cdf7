//! A client of the shop over the real entities and stores in memory.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::actors::Regions;
use crate::actors::region::Ask;
use crate::authentication::service::Accounts;
use crate::clock::Clock;
use crate::http::api::health::HealthReport;
use crate::http::edge::admission::Admission;
use crate::http::edge::headers::{CART_TOKEN, REQUEST_ID};
use crate::http::edge::overload::Overload;
use crate::http::edge::problem;
use crate::http::edge::settings::HttpSettings;
use crate::http::request::keys;
use crate::http::test_support::{Fixture, MemoryIdempotency as Memory, NOW, product};
use crate::http::{Shop, router};
use crate::stores::documents::DocumentStore;
use crate::stores::documents::faulty::FaultyDocuments;
use crate::stores::idempotency::IdempotencyStore;
use souk_domain::OrderCommand;

pub(super) struct Client {
    pub(super) router: Router,
    pub(super) regions: Regions,
    /// Where orders are listed from; nothing writes the region's there.
    pub(super) listed: Arc<dyn DocumentStore>,
    pub(super) background: TaskTracker,
    pub(super) token: Option<String>,
}

pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: axum::http::HeaderMap,
    pub(super) body: Value,
}

impl Reply {
    pub(super) fn problem(&self) -> &str {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            problem::MEDIA_TYPE,
            "{}",
            self.body
        );
        assert_eq!(self.body["instance"], self.headers[REQUEST_ID].to_str().unwrap());
        self.body["type"]
            .as_str()
            .unwrap()
            .trim_start_matches(problem::TYPE_BASE)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Client {
    pub(super) async fn new() -> Self {
        Self::of(crate::http::test_support::accounts().await).await
    }

    /// Of a shop with these accounts.
    pub(super) async fn of(accounts: Arc<Accounts>) -> Self {
        let listed = store().await;
        let (router, regions, background) =
            shop_of(8, Arc::new(Memory::default()), Arc::clone(&listed), accounts).await;
        let mut client = Self {
            router,
            regions,
            listed,
            background,
            token: None,
        };
        let made = client.send("POST", "/v1/carts", None, &[]).await;
        assert_eq!(made.status, 201);
        client.token = made.body["cart_token"].as_str().map(str::to_owned);
        client
    }

    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = &self.token {
            request = request.header(CART_TOKEN, token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let response = self
            .router
            .clone()
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        }
    }

    pub(super) async fn add(&self, sku: &str, quantity: u32) -> Reply {
        self.send(
            "POST",
            "/v1/cart/items",
            Some(json!({"sku": sku, "quantity": quantity})),
            &[],
        )
        .await
    }

    pub(super) async fn place(&self, key: &str, body: Value) -> Reply {
        self.send("POST", "/v1/orders", Some(body), &[("idempotency-key", key)])
            .await
    }

    /// What the checkout's worker would do.
    pub(super) async fn drive(&self, id: &str, command: OrderCommand) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let ask = Ask::new(command, deadline, Arc::from(""));
        assert_eq!(
            self.regions.orders.ask(id, ask).await.unwrap().reply,
            souk_domain::OrderReply::Done
        );
    }
}

pub(super) async fn shop(
    idempotency: Arc<dyn IdempotencyStore>,
    store: Arc<dyn DocumentStore>,
) -> (Router, Regions, TaskTracker) {
    shop_with_permits(8, idempotency, store).await
}

pub(super) async fn shop_with_permits(
    permits: usize,
    idempotency: Arc<dyn IdempotencyStore>,
    store: Arc<dyn DocumentStore>,
) -> (Router, Regions, TaskTracker) {
    let accounts = crate::http::test_support::accounts().await;
    shop_of(permits, idempotency, store, accounts).await
}

pub(super) async fn shop_of(
    permits: usize,
    idempotency: Arc<dyn IdempotencyStore>,
    store: Arc<dyn DocumentStore>,
    accounts: Arc<Accounts>,
) -> (Router, Regions, TaskTracker) {
    shop_at(Arc::new(|| NOW), permits, idempotency, store, accounts).await
}

/// A shop whose front has this clock; its entities go by the clock of the machine.
pub(super) async fn shop_at(
    clock: Clock,
    permits: usize,
    idempotency: Arc<dyn IdempotencyStore>,
    store: Arc<dyn DocumentStore>,
    accounts: Arc<Accounts>,
) -> (Router, Regions, TaskTracker) {
    let products = [
        product("a", &[("A-1", 1_000), ("A-2", 50)]),
        product("b", &[("B-1", 7)]),
    ];
    let regions = Regions::alone().await;
    let inventory = FaultyDocuments::new("inventory").await;
    let fixture = Arc::new(Fixture::new(products).with_badge("A-1", 4));
    let shop = Shop {
        regions: regions.clone(),
        products: Arc::clone(&fixture) as Arc<_>,
        search: fixture,
        orders: store,
        inventory: Arc::clone(&inventory) as Arc<dyn DocumentStore>,
        stock_events: inventory,
        accounts,
        idempotency,
        settings: HttpSettings {
            // No worker drives the checkouts of these tests; but an order must have been placed within this time.
            checkout_wait: std::time::Duration::from_secs(1),
            ask_timeout: std::time::Duration::from_secs(20),
            ..HttpSettings::default()
        },
        secret: [9; keys::SECRET_LENGTH],
        clock,
        health: Arc::new(|| HealthReport::of(Default::default())),
        admission: Arc::new(Admission::new(permits, Overload::never())),
        background: TaskTracker::new(),
    };
    let background = shop.background.clone();
    (router(shop), regions, background)
}

pub(super) async fn store() -> Arc<dyn DocumentStore> {
    FaultyDocuments::new("orders").await
}

pub(super) fn submission() -> Value {
    json!({
        "address": crate::http::test_support::guest_address(),
        "shipping_option": "standard",
        "payment": {"gateway": "sandbox", "token": "tok_ok"},
        "email": "ada@example.org",
    })
}
