//! Load by shoppers who remember everything that was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::harness::{Cluster, LOOK, PATIENCE};
use crate::shop::{self, Cart, Lines, Reply};

/// Concurrent shoppers.
const SHOPPERS: usize = 6;
/// Carts per shopper that are only filled.
const CARTS: usize = 4;
/// One in this many rounds is a checkout.
const CHECKOUT_EVERY: u64 = 8;
/// Most pieces of one SKU in a cart.
const CART_LIMIT: u64 = 999;
/// Payment tokens, used in turn.
const PAYMENTS: [&str; 6] = [
    "tok_ok",
    "tok_ok",
    "tok_reply_lost",
    "tok_ok",
    "tok_declined",
    "tok_flaky",
];
/// Pause before a refused request is repeated.
const PAUSE: Duration = Duration::from_millis(50);

/// A node as a target of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every request to it must be answered.
    Fine,
    /// Not used any more; requests in flight may fail.
    Doomed,
    /// Used; it may refuse connections, but must answer what it accepted.
    Restarting,
}

#[derive(Debug)]
struct Order {
    id: String,
    cart: Cart,
    lines: Lines,
    /// The status of the reply that acknowledged it.
    acknowledged: u16,
}

#[derive(Debug, Default)]
struct Ledger {
    carts: Vec<(Cart, Lines)>,
    orders: Vec<Order>,
    replies: BTreeMap<u16, u64>,
    latencies: Vec<Duration>,
    broken_off: u64,
    refused: u64,
    violations: Vec<String>,
}

struct Shared {
    client: Client,
    skus: Vec<String>,
    targets: Mutex<Vec<(String, Target)>>,
    ledger: Mutex<Ledger>,
    stop: AtomicBool,
}

/// Running load.
pub struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts shoppers on all nodes.
    pub async fn start(cluster: &Cluster) -> Self {
        let skus = shop::plentiful(&cluster.client, &cluster.nodes[0].shop, 40).await;
        let shared = Arc::new(Shared {
            client: crate::harness::client(),
            skus,
            targets: Mutex::new(
                cluster
                    .shops()
                    .into_iter()
                    .map(|shop| (shop, Target::Fine))
                    .collect(),
            ),
            ledger: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let tasks = (0..SHOPPERS)
            .map(|number| tokio::spawn(shopper(Arc::clone(&shared), number as u64)))
            .collect();
        Self { shared, tasks }
    }

    /// Sets what is expected of a node from now on.
    pub fn treat(&self, index: usize, target: Target) {
        self.shared.targets.lock().unwrap()[index].1 = target;
    }

    /// Requests answered so far.
    pub fn answered(&self) -> u64 {
        self.shared.ledger.lock().unwrap().replies.values().sum()
    }

    /// Waits until so many more requests have been answered.
    pub async fn progress(&self, requests: u64) {
        let goal = self.answered() + requests;
        let waited = timeout(PATIENCE, async {
            while self.answered() < goal {
                sleep(LOOK).await;
            }
        });
        assert!(
            waited.await.is_ok(),
            "the shoppers are stuck: {:?}",
            self.violations()
        );
    }

    /// The violations found so far.
    pub fn violations(&self) -> Vec<String> {
        self.shared.ledger.lock().unwrap().violations.clone()
    }

    /// Stops the shoppers and compares what they remember with the shop: nothing acknowledged is missing, nothing
    /// happened twice, every checkout ended, the stock agrees with the orders, and the auditor finds nothing.
    pub async fn verify(self, cluster: &Cluster) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            timeout(PATIENCE, task)
                .await
                .expect("a shopper is stuck")
                .unwrap();
        }
        let mut ledger = std::mem::take(&mut *self.shared.ledger.lock().unwrap());
        println!(
            "load: replies by status {:?}, {} connections refused, {} broken off, {} orders, {} carts",
            ledger.replies,
            ledger.refused,
            ledger.broken_off,
            ledger.orders.len(),
            ledger.carts.len()
        );
        crate::harness::distribution("latency", &mut ledger.latencies);
        assert!(ledger.violations.is_empty(), "{:#?}", ledger.violations);
        let pieces: u64 = ledger.carts.iter().flat_map(|(_, lines)| lines.values()).sum();
        assert!(pieces > 0 && !ledger.orders.is_empty(), "the load was none");

        cluster.checkouts_have_ended(0).await;
        let shops = cluster.shops();
        for (number, (cart, expected)) in ledger.carts.iter().enumerate() {
            let shop = &shops[number % shops.len()];
            let found = answer(|| shop::read(&cluster.client, shop, cart)).await;
            assert_eq!(&shop::lines(&found.body), expected, "cart {} on {shop}", cart.id);
        }
        let mut sold = Lines::new();
        for order in &ledger.orders {
            confirm(cluster, order, &mut sold).await;
        }
        for sku in &self.shared.skus {
            let state = cluster.operator(0, &format!("/v1/actors/sku/{sku}")).await["state"].take();
            // A SKU that nobody asked for is not in memory.
            if state.is_null() && !sold.contains_key(sku) {
                continue;
            }
            assert_eq!(
                state["sold"].as_u64(),
                Some(sold.get(sku).copied().unwrap_or_default()),
                "{sku}: {state}"
            );
            assert_eq!(state["reservations"], serde_json::json!([]), "{sku}");
        }
        cluster.audit().await;
    }
}

/// Checks that an acknowledged order is as acknowledged, and has ended.
async fn confirm(cluster: &Cluster, order: &Order, sold: &mut Lines) {
    let shop = &cluster.nodes[order.lines.len() % cluster.nodes.len()].shop;
    let found = answer(|| shop::order(&cluster.client, shop, &order.cart, &order.id))
        .await
        .body;
    assert_eq!(found["id"].as_str(), Some(order.id.as_str()));
    assert_eq!(shop::lines(&found), order.lines, "{found:#}");
    match (order.acknowledged, found["status"].as_str()) {
        (201 | 202, Some("confirmed")) => {
            assert_eq!(found["payment_status"], "captured", "{found:#}");
            for (sku, quantity) in &order.lines {
                *sold.entry(sku.clone()).or_default() += quantity;
            }
            let cart = answer(|| shop::read(&cluster.client, shop, &order.cart)).await;
            assert_eq!(shop::lines(&cart.body), Lines::new(), "the cart of {}", order.id);
        }
        // Its shopper was told that it is under way; it may fail.
        (202, Some("failed")) => {}
        (acknowledged, _) => panic!("acknowledged with {acknowledged}: {found:#}"),
    }
}

/// Repeats a request until the reply is 200.
pub async fn answer(request: impl Fn() -> RequestBuilder) -> Reply {
    let started = Instant::now();
    loop {
        match shop::send(request()).await {
            Ok(reply) if reply.status == 200 => return reply,
            other => assert!(started.elapsed() < PATIENCE, "no answer: {other:?}"),
        }
        sleep(PAUSE).await;
    }
}

async fn shopper(shared: Arc<Shared>, number: u64) {
    let mut random = number;
    let mut next = move |bound: usize| {
        // A linear congruential generator (Knuth, MMIX): which SKU and which cart matters little.
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % bound
    };
    let mut carts: Vec<(Cart, Lines)> = Vec::new();
    let mut round = number;
    while !shared.stop.load(Ordering::Relaxed) {
        round += 1;
        if round.is_multiple_of(CHECKOUT_EVERY) {
            let Some(mut basket) = new_cart(&shared).await else {
                break;
            };
            for _ in 0..=next(2) {
                let sku = shared.skus[next(shared.skus.len())].clone();
                add(&shared, &mut basket, sku).await;
            }
            checkout(&shared, basket, PAYMENTS[next(PAYMENTS.len())]).await;
            continue;
        }
        if carts.len() < CARTS {
            let Some(cart) = new_cart(&shared).await else {
                break;
            };
            carts.push(cart);
        }
        let at = next(carts.len());
        let sku = shared.skus[next(shared.skus.len())].clone();
        if carts[at].1.get(&sku).copied().unwrap_or_default() < CART_LIMIT {
            add(&shared, &mut carts[at], sku).await;
        }
    }
    shared.ledger.lock().unwrap().carts.extend(carts);
}

async fn new_cart(shared: &Shared) -> Option<(Cart, Lines)> {
    let reply = settle(shared, shop::new_cart).await?;
    Some((shop::cart_of(&reply), Lines::new()))
}

async fn add(shared: &Shared, (cart, lines): &mut (Cart, Lines), sku: String) {
    let key = shop::key();
    let reply = settle(shared, |client, shop| shop::add(client, shop, cart, &sku, &key)).await;
    match reply {
        Some(reply) if reply.status == 200 => *lines.entry(sku).or_default() += 1,
        Some(reply) => shared.complain(format!("an addition was answered with {reply:?}")),
        None => {}
    }
}

async fn checkout(shared: &Shared, (cart, lines): (Cart, Lines), payment: &str) {
    if lines.is_empty() {
        return;
    }
    let key = shop::key();
    let reply = settle(shared, |client, shop| {
        shop::place(client, shop, &cart, payment, &key)
    })
    .await;
    let Some(reply) = reply else { return };
    match reply.status {
        status @ (201 | 202) => {
            let id = reply.body["id"].as_str().unwrap_or_default().to_owned();
            shared.ledger.lock().unwrap().orders.push(Order {
                id,
                cart,
                lines,
                acknowledged: status,
            });
        }
        402 if payment == "tok_declined" => {}
        409 if reply.body["type"]
            .as_str()
            .is_some_and(|kind| kind.ends_with("/out-of-stock")) => {}
        _ => shared.complain(format!("a checkout with {payment} was answered with {reply:?}")),
    }
}

/// Makes a request, and repeats it under its key where it is refused for the moment or breaks off for a known reason.
/// `None` if it failed for no known reason, which is recorded as a violation.
async fn settle(shared: &Shared, request: impl Fn(&Client, &str) -> RequestBuilder) -> Option<Reply> {
    let started = Instant::now();
    let mut turn = usize::from(shop::key().as_bytes()[0]);
    loop {
        let (index, shop) = {
            let targets = shared.targets.lock().unwrap();
            let usable: Vec<(usize, &String)> = targets
                .iter()
                .enumerate()
                .filter(|(_, (_, target))| *target != Target::Doomed)
                .map(|(index, (shop, _))| (index, shop))
                .collect();
            let (index, shop) = usable[turn % usable.len()];
            (index, shop.clone())
        };
        turn += 1;
        let sent_at = Instant::now();
        let sent = shop::send(request(&shared.client, &shop)).await;
        let target = shared.targets.lock().unwrap()[index].1;
        match shared.note(&shop, target, sent, sent_at.elapsed()) {
            Noted::Settled(reply) => return Some(reply),
            Noted::Violated => return None,
            Noted::Again if started.elapsed() < PATIENCE => sleep(PAUSE).await,
            Noted::Again => {
                shared.complain("a request was refused for too long".to_owned());
                return None;
            }
        }
    }
}

enum Noted {
    Settled(Reply),
    Again,
    Violated,
}

impl Shared {
    /// Counts and judges the outcome of a request.
    fn note(&self, shop: &str, target: Target, sent: shop::Sent, took: Duration) -> Noted {
        let mut ledger = self.ledger.lock().unwrap();
        match sent {
            Ok(reply) => {
                *ledger.replies.entry(reply.status).or_default() += 1;
                ledger.latencies.push(took);
                let kind = reply.body["type"].as_str().unwrap_or_default();
                match reply.status {
                    503 if reply.retry_after => Noted::Again,
                    409 if kind.ends_with("/request-in-progress") => Noted::Again,
                    _ => Noted::Settled(reply),
                }
            }
            Err(error) if error.is_connect() && target != Target::Fine => {
                ledger.refused += 1;
                Noted::Again
            }
            Err(_) if target == Target::Doomed => {
                ledger.broken_off += 1;
                Noted::Again
            }
            Err(error) => {
                let what = format!("{shop} ({target:?}) did not answer after {took:?}: {error:?}");
                ledger.violations.push(what);
                Noted::Violated
            }
        }
    }

    fn complain(&self, what: String) {
        self.ledger.lock().unwrap().violations.push(what);
    }
}

/// Carts whose owners are known: to see them answer again.
pub struct Samples {
    pub carts: Vec<(Cart, u64)>,
    pub sku: String,
}

impl Samples {
    /// Makes carts with one piece in each.
    pub async fn make(cluster: &Cluster, count: usize) -> Self {
        let shop = &cluster.nodes[0].shop;
        let sku = shop::plentiful(&cluster.client, shop, 1).await.remove(0);
        let mut carts = Vec::new();
        for _ in 0..count {
            let reply = shop::send(shop::new_cart(&cluster.client, shop)).await.unwrap();
            let cart = shop::cart_of(&reply);
            let key = shop::key();
            answer(|| shop::add(&cluster.client, shop, &cart, &sku, &key)).await;
            let seen = cluster.operator(0, &format!("/v1/actors/cart/{}", cart.id)).await;
            carts.push((cart, seen["shard"].as_u64().unwrap()));
        }
        Self { carts, sku }
    }

    /// Those that a node owns now.
    pub async fn owned_by(&self, cluster: &Cluster, index: usize) -> Vec<Cart> {
        let owners = cluster.owners(index).await;
        let name = &cluster.nodes[index].name;
        self.carts
            .iter()
            .filter(|(_, shard)| owners[usize::try_from(*shard).unwrap()] == *name)
            .map(|(cart, _)| cart.clone())
            .collect()
    }
}

/// From `since` until each of these carts has taken a change through `shop` and shown it.
pub async fn until_served(
    cluster: &Cluster,
    shop: &str,
    sku: &str,
    carts: Vec<Cart>,
    since: Instant,
) -> Vec<Duration> {
    let asks = carts.into_iter().map(|cart| async move {
        let key = shop::key();
        let changed = answer(|| shop::add(&cluster.client, shop, &cart, sku, &key)).await;
        let shown = answer(|| shop::read(&cluster.client, shop, &cart)).await;
        assert_eq!(shop::lines(&changed.body), shop::lines(&shown.body));
        since.elapsed()
    });
    futures::future::join_all(asks).await
}
