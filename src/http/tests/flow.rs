//! The routes as clients meet them, before entities and stores in memory.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::actors::Regions;
use crate::actors::region::{Ask, Region};
use crate::authentication::service::Accounts;
use crate::http::api::health::HealthReport;
use crate::http::edge::admission::Admission;
use crate::http::edge::headers::{CART_TOKEN, REQUEST_ID};
use crate::http::edge::problem;
use crate::http::edge::settings::HttpSettings;
use crate::http::request::keys;
use crate::http::test_support::{Fixture, MemoryIdempotency as Memory, NOW, placed, product};
use crate::http::{Shop, router, routes};
use crate::stores::documents::DocumentStore;
use crate::stores::documents::memory::MemoryDocuments;
use crate::stores::documents::{Document, DocumentWrite};
use crate::stores::idempotency::IdempotencyStore;
use souk_domain::{FailureReason, Order, OrderCommand, PaymentId};

pub(super) struct Client {
    pub(super) router: Router,
    pub(super) orders: Region<Order>,
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
        let listed = store();
        let (router, orders, background) =
            shop_of(8, Arc::new(Memory::default()), Arc::clone(&listed), accounts).await;
        let mut client = Self {
            router,
            orders,
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
            self.orders.ask(id, ask).await.unwrap().reply,
            souk_domain::OrderReply::Done
        );
    }
}

async fn shop(
    idempotency: Arc<dyn IdempotencyStore>,
    store: Arc<dyn DocumentStore>,
) -> (Router, Region<Order>, TaskTracker) {
    shop_with_places(8, idempotency, store).await
}

async fn shop_with_places(
    places: usize,
    idempotency: Arc<dyn IdempotencyStore>,
    store: Arc<dyn DocumentStore>,
) -> (Router, Region<Order>, TaskTracker) {
    let accounts = crate::http::test_support::accounts().await;
    shop_of(places, idempotency, store, accounts).await
}

async fn shop_of(
    places: usize,
    idempotency: Arc<dyn IdempotencyStore>,
    store: Arc<dyn DocumentStore>,
    accounts: Arc<Accounts>,
) -> (Router, Region<Order>, TaskTracker) {
    let products = [
        product("a", &[("A-1", 1_000), ("A-2", 50)]),
        product("b", &[("B-1", 7)]),
    ];
    let regions = Regions::in_memory().await;
    let orders = regions.orders.clone();
    let shop = Shop {
        regions,
        catalogue: Arc::new(Fixture::new(products).with_badge("A-1", 4)),
        orders: store,
        inventory: Arc::new(MemoryDocuments::with_clock("inventory", || NOW)),
        accounts,
        idempotency,
        settings: HttpSettings {
            // No worker drives the checkouts of these tests; but an order must have been placed within this time.
            checkout_wait: std::time::Duration::from_secs(1),
            ask_timeout: std::time::Duration::from_secs(20),
            ..HttpSettings::default()
        },
        secret: [9; keys::SECRET_LENGTH],
        clock: Arc::new(|| NOW),
        health: Arc::new(|| HealthReport::of(Default::default())),
        admission: Arc::new(Admission::new(places)),
        background: TaskTracker::new(),
    };
    let background = shop.background.clone();
    (router(shop), orders, background)
}

fn store() -> Arc<dyn DocumentStore> {
    Arc::new(MemoryDocuments::with_clock("orders", || NOW))
}

pub(super) fn submission() -> Value {
    json!({
        "address": crate::http::test_support::guest_address(),
        "shipping_option": "standard",
        "payment": {"gateway": "sandbox", "token": "tok_ok"},
        "email": "ada@example.org",
    })
}

#[tokio::test]
async fn a_cart_is_filled_changed_and_emptied() {
    let client = Client::new().await;
    let added = client.add("A-1", 2).await;
    assert_eq!(added.status, 200);
    assert!(added.header("etag").unwrap().starts_with("\"1."), "its version");
    assert_eq!(added.body["items"][0]["available"], 4);
    assert_eq!(added.body["subtotal"], json!({"amount": 2000, "currency": "USD"}));

    let set = client
        .send("PUT", "/v1/cart/items/B-1", Some(json!({"quantity": 3})), &[])
        .await;
    assert_eq!(set.body["item_count"], 5);
    let removed = client.send("DELETE", "/v1/cart/items/A-1", None, &[]).await;
    assert_eq!(removed.body["items"].as_array().unwrap().len(), 1);
    let zero = client
        .send("PUT", "/v1/cart/items/B-1", Some(json!({"quantity": 0})), &[])
        .await;
    assert_eq!((zero.status, &zero.body["items"]), (200, &json!([])));

    let stale = client
        .send("DELETE", "/v1/cart", None, &[("if-match", "\"1\"")])
        .await;
    assert_eq!((stale.status, stale.problem()), (412, "version-conflict"));
    let current = client.send("GET", "/v1/cart", None, &[]).await;
    let etag = current.header("etag").unwrap().to_owned();
    let unchanged = client
        .send("GET", "/v1/cart", None, &[("if-none-match", &etag)])
        .await;
    assert_eq!((unchanged.status, unchanged.body), (304, Value::Null));
    let emptied = client
        .send("DELETE", "/v1/cart", None, &[("if-match", &etag)])
        .await;
    assert_eq!(emptied.status, 200);
}

#[tokio::test]
async fn what_a_cart_does_not_take_is_refused() {
    let client = Client::new().await;
    let unknown = client.add("NONE", 1).await;
    assert_eq!((unknown.status, unknown.problem()), (404, "unknown-sku"));
    assert_eq!(client.add("A-1", 998).await.status, 200);
    for quantity in [
        json!(0),
        json!(2),
        json!(1000),
        json!(-1),
        json!(1.5),
        json!("1"),
        json!(null),
    ] {
        let body = json!({"sku": "A-1", "quantity": quantity});
        let refused = client.send("POST", "/v1/cart/items", Some(body), &[]).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (422, "validation"),
            "{quantity}"
        );
        assert_eq!(refused.body["errors"][0]["field"], "quantity");
    }
    let large = Value::String("x".repeat(257 * 1024));
    let refused = client.send("POST", "/v1/cart/items", Some(large), &[]).await;
    assert_eq!((refused.status, refused.problem()), (413, "body-too-large"));
    let untyped = client.send("POST", "/v1/cart/items", None, &[]).await;
    assert_eq!(
        (untyped.status, untyped.problem()),
        (415, "unsupported-media-type")
    );
}

#[tokio::test]
async fn nobody_and_impostors_are_turned_away() {
    let mut client = Client::new().await;
    client.token = None;
    let nobody = client.send("GET", "/v1/cart", None, &[]).await;
    assert_eq!((nobody.status, nobody.problem()), (401, "unauthorised"));
    let bearer = client
        .send("GET", "/v1/cart", None, &[("authorization", "Bearer x")])
        .await;
    assert_eq!((bearer.status, bearer.problem()), (401, "bad-token"));
    client.token = Some("A".repeat(43));
    for path in ["/v1/cart", "/v1/orders", "/v1/orders/ord_1"] {
        let forged = client.send("GET", path, None, &[]).await;
        assert_eq!((forged.status, forged.problem()), (401, "bad-cart-token"));
    }
}

#[tokio::test]
async fn an_idempotent_addition_counts_once() {
    let client = Client::new().await;
    let body = || Some(json!({"sku": "A-1", "quantity": 2}));
    let key = [("idempotency-key", "k1")];
    let first = client.send("POST", "/v1/cart/items", body(), &key).await;
    let again = client.send("POST", "/v1/cart/items", body(), &key).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.header("idempotency-replayed"), None);
    let other = client
        .send(
            "POST",
            "/v1/cart/items",
            Some(json!({"sku": "B-1", "quantity": 2})),
            &key,
        )
        .await;
    assert_eq!((other.status, other.problem()), (422, "idempotency-key-reused"));
    assert_eq!(
        client.send("GET", "/v1/cart", None, &[]).await.body["item_count"],
        2
    );
}

#[tokio::test]
async fn lines_of_another_cart_join_once() {
    let client = Client::new().await;
    client.add("A-1", 2).await;
    let other = client.send("POST", "/v1/carts", None, &[]).await.body["cart_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let guest = Client {
        router: client.router.clone(),
        orders: client.orders.clone(),
        listed: Arc::clone(&client.listed),
        background: client.background.clone(),
        token: Some(other.clone()),
    };
    guest.add("A-1", 1).await;
    for _ in 0..2 {
        let merged = client
            .send("POST", "/v1/cart/merge", Some(json!({"cart_token": other})), &[])
            .await;
        assert_eq!((merged.status, &merged.body["item_count"]), (200, &json!(3)));
    }
    let forged = client
        .send("POST", "/v1/cart/merge", Some(json!({"cart_token": "x"})), &[])
        .await;
    assert_eq!(
        (forged.status, &forged.body["errors"][0]["field"]),
        (422, &json!("cart_token"))
    );
}

#[tokio::test]
async fn an_order_is_quoted_placed_confirmed_and_shown_to_its_buyer_only() {
    let client = Client::new().await;
    let quote_body = || Some(json!({"address": crate::http::test_support::guest_address()}));
    let early = client.send("POST", "/v1/checkout/quote", quote_body(), &[]).await;
    assert_eq!((early.status, early.problem()), (422, "empty-cart"));
    assert_eq!(client.place("k0", submission()).await.problem(), "empty-cart");
    client.add("A-1", 2).await;
    let quote = client.send("POST", "/v1/checkout/quote", quote_body(), &[]).await;
    assert_eq!((quote.status, &quote.body["weight_grams"]), (200, &json!(200)));
    let shipping = quote.body["shipping_options"][0]["price"]["amount"]
        .as_i64()
        .unwrap();

    let keyless = client.send("POST", "/v1/orders", Some(submission()), &[]).await;
    assert_eq!(
        (keyless.status, keyless.problem()),
        (400, "idempotency-key-required")
    );
    let mut wrong = submission();
    wrong["expected_total"] = json!({"amount": 1, "currency": "USD"});
    let changed = client.place("k1", wrong).await;
    assert_eq!((changed.status, changed.problem()), (409, "price-changed"));
    let mut unknown = submission();
    unknown["shipping_option"] = "pigeon".into();
    assert_eq!(
        client.place("k2", unknown).await.body["errors"][0]["field"],
        "shipping_option"
    );

    let mut right = submission();
    right["expected_total"] = json!({"amount": 2000 + shipping, "currency": "USD"});
    let placed = client.place("k3", right.clone()).await;
    assert_eq!(
        (placed.status, &placed.body["status"]),
        (202, &json!("pending")),
        "{}",
        placed.body
    );
    let path = placed.header("location").unwrap().to_owned();
    let id = placed.body["id"].as_str().unwrap();
    assert_eq!(path, format!("/v1/orders/{id}"));

    let payment = PaymentId::parse("pay_1").unwrap();
    client.drive(id, OrderCommand::Confirm { payment }).await;
    let shown = client.send("GET", &path, None, &[]).await;
    assert_eq!((shown.status, &shown.body["status"]), (200, &json!("confirmed")));
    let stranger = Client::new().await;
    let stranger = Client {
        router: client.router.clone(),
        ..stranger
    };
    assert_eq!(
        stranger.send("GET", &path, None, &[]).await.problem(),
        "not-found"
    );
    assert_eq!(
        stranger
            .send("POST", &format!("{path}/cancel"), None, &[])
            .await
            .problem(),
        "not-found"
    );

    let cancel = format!("{path}/cancel");
    let cancelled = client
        .send("POST", &cancel, Some(json!({"reason": "changed my mind"})), &[])
        .await;
    assert_eq!(cancelled.status, 200);
    let end = OrderCommand::EndCancelled {
        refunded: false,
        steps: Vec::new(),
    };
    client.drive(id, end).await;
    let too_late = client
        .send("POST", &format!("{path}/cancel"), None, &[("if-match", "\"1\"")])
        .await;
    assert_eq!(too_late.problem(), "version-conflict");
}

#[tokio::test]
async fn a_body_is_kept_as_what_only_the_shop_can_make_of_it() {
    let memory = Arc::new(Memory::default());
    let mut client = Client::new().await;
    (client.router, client.orders, client.background) =
        shop(Arc::clone(&memory) as Arc<dyn IdempotencyStore>, store()).await;
    client.add("A-1", 1).await;
    let body = submission();
    assert_eq!(client.place("k", body.clone()).await.status, 202);
    let keys = keys::Keys::derive(&[9; keys::SECRET_LENGTH]);
    assert_eq!(
        memory.fingerprints(),
        [keys.fingerprint(body.to_string().as_bytes())]
    );
}

#[tokio::test]
async fn an_outcome_survives_the_loss_of_the_kept_reply() {
    let memory = Arc::new(Memory::default());
    let mut client = Client::new().await;
    (client.router, client.orders, client.background) =
        shop(Arc::clone(&memory) as Arc<dyn IdempotencyStore>, store()).await;
    client.add("A-1", 1).await;
    let placed = client.place("k", submission()).await;
    let id = placed.body["id"].as_str().unwrap().to_owned();
    let reason = FailureReason::PaymentDeclined {
        code: "no_funds".to_owned(),
    };
    client.drive(&id, OrderCommand::Abandon { reason }).await;
    client
        .drive(
            &id,
            OrderCommand::EndFailed {
                voided: true,
                steps: Vec::new(),
            },
        )
        .await;
    assert_eq!(client.send("DELETE", "/v1/cart", None, &[]).await.status, 200);

    assert_eq!(
        client.place("k", submission()).await.status,
        202,
        "the first reply again"
    );
    memory.forget();
    let again = client.place("k", submission()).await;
    assert_eq!((again.status, again.problem()), (402, "payment-declined"));
    memory.forget();
    let mut other = submission();
    other["email"] = "other@example.org".into();
    let reused = client.place("k", other).await;
    assert_eq!((reused.status, reused.problem()), (422, "idempotency-key-reused"));
}

#[tokio::test]
async fn the_catalogue_is_browsed_page_by_page() {
    let client = Client::new().await;
    let first = client.send("GET", "/v1/products?limit=1", None, &[]).await;
    assert_eq!(
        (&first.body["total"], &first.body["items"][0]["id"]),
        (&json!(2), &json!("prd_a"))
    );
    assert_eq!(
        (&first.body["facets"], &first.body["suggestion"]),
        (&json!({}), &Value::Null)
    );
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = client
        .send("GET", &format!("/v1/products?limit=5&cursor={cursor}"), None, &[])
        .await;
    assert_eq!(
        (&second.body["items"][0]["id"], &second.body["next_cursor"]),
        (&json!("prd_b"), &Value::Null)
    );
    let foreign = client
        .send("GET", &format!("/v1/products?q=x&cursor={cursor}"), None, &[])
        .await;
    assert_eq!((foreign.status, foreign.problem()), (400, "bad-cursor"));
    assert_eq!(
        client
            .send("GET", "/v1/products?limit=0", None, &[])
            .await
            .problem(),
        "validation"
    );

    let shown = client.send("GET", "/v1/products/prd_a", None, &[]).await;
    assert_eq!(shown.status, 200);
    assert!(shown.header("etag").unwrap().starts_with("\"3."), "its version");
    assert_eq!(shown.body["skus"][0]["available"], 4);
    assert_eq!(shown.body["rating"], json!({"average": null, "count": 0}));
    for path in [
        "/v1/products/prd_c",
        "/v1/products/..%2f",
        "/v1/products/%ff",
        "/images/prd_a.png",
        "/images/x.svg",
    ] {
        let missing = client.send("GET", path, None, &[]).await;
        assert_eq!((missing.status, missing.problem()), (404, "not-found"), "{path}");
    }
    let picture = client.send("GET", "/images/prd_a.svg", None, &[]).await;
    assert_eq!(picture.header("content-type"), Some("image/svg+xml"));
    assert!(picture.header("cache-control").unwrap().contains("max-age"));
    assert_eq!(
        client.send("GET", "/v1/categories", None, &[]).await.body,
        json!({"items": []})
    );
}

#[tokio::test]
async fn above_the_limit_requests_are_refused_and_probes_answered() {
    let (router, ..) = shop_with_places(0, Arc::new(Memory::default()), store()).await;
    let send = |path| {
        router
            .clone()
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
    };
    for route in routes::table() {
        let request = Request::builder()
            .method(&route.method)
            .uri(route.path.replace(['{', '}'], "x"));
        let refused = router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(
            refused.status(),
            StatusCode::SERVICE_UNAVAILABLE,
            "{}",
            route.path
        );
        assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    }
    assert_eq!(send("/readyz").await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_buyer_lists_their_own_orders_page_by_page() {
    let store = store();
    let mut client = Client::new().await;
    (client.router, client.orders, client.background) =
        shop(Arc::new(Memory::default()), Arc::clone(&store)).await;
    let cart = client.send("GET", "/v1/cart", None, &[]).await.body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let batch: Vec<_> = [
        ("ord_1", cart.as_str()),
        ("ord_2", "crt_other"),
        ("ord_3", &cart),
        ("ord_4", &cart),
    ]
    .map(|(id, buyer)| DocumentWrite {
        document: Document {
            id: id.to_owned(),
            shard: 0,
            version: 1,
            due_at: None,
            owner: Some(buyer.to_owned()),
            body: json!({"state": placed(id, buyer), "answered": []}).to_string(),
        },
        expected: 0,
        events: Vec::new(),
    })
    .into();
    store.write("mark", &batch).await.unwrap();

    let ids = |reply: &Reply| -> Vec<String> {
        let items = reply.body["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = client.send("GET", "/v1/orders?limit=2", None, &[]).await;
    assert_eq!(ids(&first), ["ord_4", "ord_3"]);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let path = format!("/v1/orders?limit=2&cursor={cursor}");
    let second = client.send("GET", &path, None, &[]).await;
    assert_eq!(
        (ids(&second), &second.body["next_cursor"]),
        (vec!["ord_1".to_owned()], &Value::Null)
    );

    // One that can't be read is missing; the others are there.
    let mut broken = batch[2].clone();
    broken.document.id = "ord_3a".to_owned();
    broken.document.body = "{}".to_owned();
    store.write("other mark", &[broken]).await.unwrap();
    let whole = client.send("GET", "/v1/orders", None, &[]).await;
    assert_eq!(ids(&whole), ["ord_4", "ord_3", "ord_1"]);
    let page = client.send("GET", "/v1/orders?limit=2", None, &[]).await;
    assert_eq!(ids(&page), ["ord_4"]);
    assert!(page.body["next_cursor"].is_string());

    let stranger = Client {
        router: client.router.clone(),
        ..Client::new().await
    };
    assert_eq!(
        stranger.send("GET", &path, None, &[]).await.problem(),
        "bad-cursor"
    );
    assert_eq!(
        ids(&stranger.send("GET", "/v1/orders", None, &[]).await),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn work_under_a_key_goes_on_when_its_client_hangs_up() {
    let client = Client::new().await;
    let body = || Some(json!({"sku": "A-1", "quantity": 2}));
    let key = [("idempotency-key", "k1")];
    tokio::select! {
        biased;
        _ = client.send("POST", "/v1/cart/items", body(), &key) => panic!("answered without a task of its own"),
        () = std::future::ready(()) => {}
    }
    client.background.close();
    client.background.wait().await;
    assert_eq!(
        client.send("GET", "/v1/cart", None, &[]).await.body["item_count"],
        2
    );
    let again = client.send("POST", "/v1/cart/items", body(), &key).await;
    assert_eq!(
        (again.header("idempotency-replayed"), &again.body["item_count"]),
        (Some("true"), &json!(2))
    );
}

#[tokio::test]
async fn other_methods_are_refused_by_name_and_described() {
    let client = Client::new().await;
    for (path, allowed) in [
        ("/v1/orders", "POST,GET,HEAD"),
        ("/v1/carts", "POST"),
        ("/livez", "GET,HEAD"),
    ] {
        let refused = client.send("PATCH", path, None, &[]).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (405, "method-not-allowed"),
            "{path}"
        );
        assert_eq!(refused.header("allow"), Some(allowed));
        let described = client.send("OPTIONS", path, None, &[]).await;
        assert_eq!(
            (described.status, described.header("allow")),
            (204, Some(allowed))
        );
    }
    let nowhere = client.send("GET", "/v1/nowhere", None, &[]).await;
    assert_eq!((nowhere.status, nowhere.problem()), (404, "not-found"));
}
