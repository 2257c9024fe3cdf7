//! Whole checkouts over HTTP, in one interleaved run on one machine: what they cost, how that grows with the cluster, and
//! how many there are beside a plain PostgreSQL that does the least a checkout needs.
//!
//! `cargo bench --bench checkout`; `SOUK_BENCH_ROUNDS` and `SOUK_BENCH_SECONDS` set how many rounds of what length.
//! PostgreSQL's part needs its server's programs and runs them as the user `postgres`; the count of fsyncs needs strace.
//! Without them the bench says so and leaves those lines out.

#[path = "support/http.rs"]
#[allow(dead_code)] // Each bench uses its part of it.
mod http;
#[path = "support/postgres.rs"]
mod postgres;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Client, Demo, cost, median, number, quantile};
use postgres::Postgres;
use serde_json::{Value, json};

/// Shoppers, each with one connection to one of the nodes.
const SHOPPERS: usize = 64;
/// Connections to PostgreSQL: with more of them it does no more on two cores.
const POSTGRES_CLIENTS: usize = 16;
/// Different SKUs that are bought.
const SKUS: usize = 100;
/// Lines of a checkout.
const LINES: usize = 3;
/// Checkouts whose fsyncs are counted.
const TRACED: usize = 50;
/// Sizes of the cluster whose costs are compared.
const SIZES: [usize; 3] = [1, 3, 6];

/// What all shoppers share.
struct Shop {
    skus: Vec<String>,
    orders: AtomicU64,
}

/// One shopper, who buys as often as wanted.
struct Shopper {
    client: Client,
    shop: Arc<Shop>,
}

impl Shopper {
    async fn new(address: SocketAddr, shop: &Arc<Shop>) -> Self {
        Self {
            client: Client::connect(address).await,
            shop: Arc::clone(shop),
        }
    }

    /// A guest's cart, named by a header.
    async fn cart(&mut self) -> String {
        let cart = self.client.call("POST", "/v1/carts", "", None).await;
        format!(
            "Cart-Token: {}\r\n",
            cart["cart_token"].as_str().expect("a token")
        )
    }

    async fn add(&mut self, cart: &str, sku: &str) {
        let item = json!({"sku": sku, "quantity": 1});
        self.client
            .call("POST", "/v1/cart/items", cart, Some(&item))
            .await;
    }

    /// Opens a cart, fills it and places the order; how long the last call took, in milliseconds.
    async fn buy(&mut self) -> f64 {
        let number = self.shop.orders.fetch_add(1, Ordering::Relaxed);
        let cart = self.cart().await;
        for line in 0..LINES as u64 {
            // Far apart, so that neighbours in time seldom meet at one SKU.
            let at = (number * 7 + line * 31) % SKUS as u64;
            let sku = self.shop.skus[at as usize].clone();
            self.add(&cart, &sku).await;
        }
        let headers = format!("{cart}Idempotency-Key: bench-{number}-{}\r\n", std::process::id());
        let began = Instant::now();
        let order = self
            .client
            .call("POST", "/v1/orders", &headers, Some(&order()))
            .await;
        let took = began.elapsed().as_secs_f64() * 1e3;
        assert_eq!(order["status"], "confirmed", "{order}");
        took
    }
}

fn order() -> Value {
    json!({
        "address": {"name": "Ada", "line1": "1 Street", "city": "London", "postcode": "SW1Y 4JH", "country": "GB"},
        "shipping_option": "standard",
        "payment": {"gateway": "sandbox", "token": "tok_ok"},
        "email": "ada@example.com",
    })
}

/// What the shoppers of one round did.
struct Round {
    rate: f64,
    /// Processor time of all processes of the shop for one of what was done, in milliseconds.
    cost: f64,
    latencies: Vec<f64>,
}

/// What a shopper does without a pause.
#[derive(Clone, Copy)]
enum Work {
    Buy,
    Add,
}

struct Cluster {
    _folder: tempfile::TempDir,
    demo: Demo,
    shop: Arc<Shop>,
}

impl Cluster {
    async fn start(nodes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let demo = Demo::start(nodes, &folder.path().join("data"));
        let skus = demo.skus(SKUS).await;
        demo.stock(&skus).await;
        let orders = AtomicU64::new(0);
        Self {
            _folder: folder,
            demo,
            shop: Arc::new(Shop { skus, orders }),
        }
    }

    /// Lets `shoppers`, spread over the nodes, work for `length`.
    async fn round(&self, shoppers: usize, work: Work, length: Duration) -> Round {
        let mut ready = Vec::new();
        for (number, address) in (0..shoppers).zip(self.demo.shops.iter().cycle()) {
            let mut shopper = Shopper::new(*address, &self.shop).await;
            let cart = shopper.cart().await;
            ready.push((number, shopper, cart));
        }
        let used = cost::processor_time(&self.demo.processes);
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for (number, mut shopper, mut cart) in ready {
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                while began.elapsed() < length {
                    match work {
                        Work::Buy => latencies.push(shopper.buy().await),
                        Work::Add => {
                            let at = number + latencies.len();
                            // A line holds 999 pieces at most.
                            if latencies.len() % 4_000 == 3_999 {
                                cart = shopper.cart().await;
                            }
                            let sku = shopper.shop.skus[at % 5].clone();
                            let began = Instant::now();
                            shopper.add(&cart, &sku).await;
                            latencies.push(began.elapsed().as_secs_f64() * 1e3);
                        }
                    }
                }
                latencies
            });
        }
        let mut latencies: Vec<f64> = tasks.join_all().await.concat();
        let took = began.elapsed();
        let used = cost::processor_time(&self.demo.processes) - used;
        latencies.sort_unstable_by(f64::total_cmp);
        Round {
            rate: latencies.len() as f64 / took.as_secs_f64(),
            cost: used.as_secs_f64() * 1e3 / latencies.len() as f64,
            latencies,
        }
    }

    /// Fsyncs of all processes for one checkout of a single shopper; `None` where strace is missing.
    async fn fsyncs(&self) -> Option<f64> {
        let report = tempfile::NamedTempFile::new().expect("a file");
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-q", "-e", "trace=fsync,fdatasync", "-o"])
            .arg(report.path());
        for pid in &self.demo.processes {
            strace.args(["-p", &pid.to_string()]);
        }
        let mut strace = strace.stderr(Stdio::null()).spawn().ok()?;
        let pid = rustix::process::Pid::from_raw(strace.id().cast_signed()).expect("a process id");
        let mut shopper = Shopper::new(self.demo.shops[0], &self.shop).await;
        // Attached once the first are seen.
        while count_syncs(report.path()) == 0 {
            shopper.buy().await;
            if strace.try_wait().expect("a child").is_some() {
                return None;
            }
        }
        let before = count_syncs(report.path());
        for _ in 0..TRACED {
            shopper.buy().await;
        }
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a live process");
        strace.wait().expect("a child");
        Some((count_syncs(report.path()) - before) as f64 / TRACED as f64)
    }
}

fn count_syncs(report: &std::path::Path) -> usize {
    let report = std::fs::read_to_string(report).unwrap_or_default();
    // A call that another thread's interrupts stands on two lines.
    report.lines().filter(|line| line.contains("sync(")).count()
}

async fn beside_postgres(cluster: &Cluster, rounds: u64, length: Duration) {
    let postgres = Postgres::start();
    if postgres.is_none() {
        println!("PostgreSQL's programs or its user are missing: no yardstick");
    }
    let (mut shop, mut yardstick, mut cost, mut latency) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let measured = cluster.round(SHOPPERS, Work::Buy, length).await;
        let plain = postgres
            .as_ref()
            .map(|postgres| postgres.rate(POSTGRES_CLIENTS, length));
        let alone = cluster.round(1, Work::Buy, length / 2).await;
        // The first round warms up.
        if round > 0 {
            println!("  {:.0} checkouts/s; PostgreSQL {plain:.0?}/s", measured.rate);
            shop.push(measured.rate);
            cost.push(measured.cost);
            latency.push(quantile(&alone.latencies, 0.5));
            yardstick.extend(plain);
        }
    }
    let rate = median(shop);
    println!("checkouts/s, three nodes, {SHOPPERS} shoppers: {rate:.0}");
    if !yardstick.is_empty() {
        let plain = median(yardstick);
        println!(
            "  ÷ plain PostgreSQL, {POSTGRES_CLIENTS} clients ({plain:.0}/s): {:.2}",
            rate / plain
        );
    }
    println!("processor time of a checkout: {:.2} ms", median(cost));
    println!("order call, one shopper: p50 {:.2} ms", median(latency));
    match cluster.fsyncs().await {
        Some(count) => println!("fsyncs of a checkout, one shopper: {count:.1}"),
        None => println!("strace is missing or not allowed: fsyncs were not counted"),
    }
}

/// What one checkout and one add-to-cart cost with clusters of several sizes, in turn.
async fn growth(rounds: u64, length: Duration) {
    for (work, name) in [(Work::Buy, "checkout"), (Work::Add, "add-to-cart")] {
        let mut costs = SIZES.map(|_| Vec::new());
        for _ in 0..rounds {
            for (size, costs) in SIZES.into_iter().zip(&mut costs) {
                // One cluster at a time: the heartbeats of idle ones would count.
                let cluster = Cluster::start(size).await;
                cluster.round(SHOPPERS, work, length / 2).await;
                costs.push(cluster.round(SHOPPERS, work, length).await.cost);
            }
        }
        let costs = costs.map(median);
        for (size, cost) in SIZES.into_iter().zip(costs) {
            println!(
                "processor time of a {name}, nodes {size}: {cost:.3} ms, {:.2} times",
                cost / costs[0]
            );
        }
    }
}

#[tokio::main]
async fn main() {
    let rounds = number("SOUK_BENCH_ROUNDS", 3);
    let length = Duration::from_secs(number("SOUK_BENCH_SECONDS", 4));
    {
        let cluster = Cluster::start(3).await;
        beside_postgres(&cluster, rounds, length).await;
    }
    growth(rounds, length).await;
}
