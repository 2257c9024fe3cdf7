//! A small closed loop over HTTP, everything in one interleaved run on one machine:
//!
//! - a durable add-to-cart against an axum handler that only parses and answers;
//! - reading a cart against one that only answers;
//! - all entities on another node than the front against all on the front's own.
//!
//! `cargo bench --bench http`; `SOUK_BENCH_ROUNDS` and `SOUK_BENCH_SECONDS` set how many rounds of what length.
//! `SOUK_BENCH_OTHER` names another binary of souk, whose add-to-cart then takes turns with this one's.

#[path = "support/http.rs"]
#[allow(dead_code)] // Each bench uses its part of it.
mod http;

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{Client, Demo, Process, median, number, quantile, request};
use serde::Deserialize;
use serde_json::json;

/// Clients, each with one connection and one request under way.
const CLIENTS: usize = 256;
/// Carts that each client fills in turn: a line holds 999 pieces at most.
const CARTS: usize = 10;
/// Different SKUs that a client adds.
const SKUS: usize = 5;

/// The yardstick: parses the same body, answers with bytes that lie ready, as many as a cart's, and does nothing else.
async fn baseline() {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        sku: String,
        quantity: u32,
    }
    let line = json!({"sku": "ABC-DEFGH-00042-BLUE", "quantity": 1, "title": "A thing of some length",
        "product_id": "prd_0123456789abcdef", "options": {"colour": "blue"}, "available": 100,
        "unit_price": {"amount": 1299, "currency": "USD"}, "line_total": {"amount": 1299, "currency": "USD"}});
    let cart = json!({"id": "crt_0123456789abcdef0123456789abcdef", "version": 1, "currency": "USD",
        "items": vec![line; SKUS], "subtotal": {"amount": 1299, "currency": "USD"}, "item_count": 1});
    let ready = Bytes::from(cart.to_string());
    let read = ready.clone();
    let answer = move |Json(item): Json<Item>| {
        let ready = ready.clone();
        async move {
            black_box((item.sku, item.quantity));
            ([(CONTENT_TYPE, "application/json")], ready)
        }
    };
    let read = move || {
        let ready = read.clone();
        async move { ([(CONTENT_TYPE, "application/json")], ready) }
    };
    let router = Router::new()
        .route("/v1/cart/items", post(answer))
        .route("/v1/cart", get(read));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    axum::serve(listener, router).await.expect("a server");
}

/// What a client sends, in turn.
type Requests = Vec<Vec<u8>>;

fn adds(token: &str, skus: &[String]) -> Requests {
    skus.iter()
        .map(|sku| {
            let item = json!({"sku": sku, "quantity": 1});
            request("POST", "/v1/cart/items", token, Some(&item))
        })
        .collect()
}

/// One list for each client, all for carts of its own.
async fn adds_to_carts(address: SocketAddr, skus: &[String]) -> Vec<Requests> {
    let mut client = Client::connect(address).await;
    let mut all = Vec::new();
    for _ in 0..CLIENTS {
        let mut list = Vec::new();
        for _ in 0..CARTS {
            let cart = client.call("POST", "/v1/carts", "", None).await;
            let token = cart["cart_token"].as_str().expect("a token");
            list.extend(adds(&format!("Cart-Token: {token}\r\n"), skus));
        }
        all.push(list);
    }
    all
}

/// One list for each client, which reads the cart that its first request fills.
async fn reads_of_carts(address: SocketAddr, skus: &[String]) -> Vec<Requests> {
    let mut client = Client::connect(address).await;
    let mut all = Vec::new();
    for _ in 0..CLIENTS {
        let cart = client.call("POST", "/v1/carts", "", None).await;
        let token = format!(
            "Cart-Token: {}\r\n",
            cart["cart_token"].as_str().expect("a token")
        );
        for add in adds(&token, skus) {
            assert_eq!(client.exchange(&add).await.0, 200);
        }
        all.push(vec![request("GET", "/v1/cart", &token, None)]);
    }
    all
}

/// Replies a second over `length`, and the 50th and 99th percentile of the latency in milliseconds.
async fn load(address: SocketAddr, requests: &[Requests], length: Duration) -> (f64, f64, f64) {
    let until = Instant::now() + length;
    let mut clients = tokio::task::JoinSet::new();
    for list in requests {
        let list = list.clone();
        clients.spawn(async move {
            let mut client = Client::connect(address).await;
            let mut latencies = Vec::new();
            for request in list.iter().cycle() {
                let began = Instant::now();
                if began >= until {
                    break;
                }
                let (status, body) = client.exchange(request).await;
                assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
                latencies.push(began.elapsed().as_secs_f64() * 1e3);
            }
            latencies
        });
    }
    let mut latencies: Vec<f64> = clients.join_all().await.concat();
    latencies.sort_unstable_by(f64::total_cmp);
    let rate = latencies.len() as f64 / length.as_secs_f64();
    (rate, quantile(&latencies, 0.5), quantile(&latencies, 0.99))
}

struct Side {
    name: &'static str,
    address: SocketAddr,
    requests: Vec<Requests>,
}

/// Loads both in turn and prints the ratio of their medians.
async fn compare(one: Side, other: Side) {
    let rounds = number("SOUK_BENCH_ROUNDS", 5);
    let length = Duration::from_secs(number("SOUK_BENCH_SECONDS", 4));
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for (side, rates) in [&one, &other].into_iter().zip(&mut rates) {
            let (rate, half, most) = load(side.address, &side.requests, length).await;
            // The first round warms up.
            if round > 0 {
                println!("  {}: {rate:.0}/s, p50 {half:.2} ms, p99 {most:.2} ms", side.name);
                rates.push(rate);
            }
        }
    }
    let [one_rate, other_rate] = rates.map(median);
    println!(
        "{} / {}: {:.2} ({one_rate:.0}/s to {other_rate:.0}/s)",
        one.name,
        other.name,
        one_rate / other_rate
    );
}

async fn against_yardsticks() {
    let own = std::env::current_exe().expect("this binary");
    let (_baseline, line) = Process::start(Command::new(own).env("SOUK_BENCH_PART", "baseline"));
    let baseline: SocketAddr = line.trim().parse().expect("an address");
    let folder = tempfile::tempdir().expect("a folder");
    let demo = Demo::start(1, &folder.path().join("data"));
    let (shop, skus) = (demo.shops[0], demo.skus(SKUS).await);
    let side = |name, address, requests| Side {
        name,
        address,
        requests,
    };
    compare(
        side("durable add-to-cart", shop, adds_to_carts(shop, &skus).await),
        side("parse and answer", baseline, vec![adds("", &skus); CLIENTS]),
    )
    .await;
    compare(
        side("reading a cart", shop, reads_of_carts(shop, &skus).await),
        side(
            "answer",
            baseline,
            vec![vec![request("GET", "/v1/cart", "", None)]; CLIENTS],
        ),
    )
    .await;
}

async fn remote_against_local() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    drop(Demo::start(2, &data));
    // The first node keeps no entities from now on: all of them live on the second.
    let file = data.join("cluster.toml");
    let configuration = std::fs::read_to_string(&file).expect("a configuration");
    let mut document: toml::Table = configuration.parse().expect("TOML");
    document["nodes"][0]["roles"] = toml::Value::Array(vec!["front".into()]);
    std::fs::write(&file, document.to_string()).expect("written");
    let demo = Demo::start(2, &data);
    let skus = demo.skus(SKUS).await;
    let side = async |name, address| Side {
        name,
        address,
        requests: adds_to_carts(address, &skus).await,
    };
    compare(
        side("all remote", demo.shops[0]).await,
        side("all local", demo.shops[1]).await,
    )
    .await;
}

async fn against_another_binary(binary: &Path) {
    let folder = tempfile::tempdir().expect("a folder");
    let this = Demo::start(1, &folder.path().join("this"));
    let other = Demo::start_with(binary, 1, &folder.path().join("other"));
    let side = async |name, demo: &Demo| Side {
        name,
        address: demo.shops[0],
        requests: adds_to_carts(demo.shops[0], &demo.skus(SKUS).await).await,
    };
    compare(side("this binary", &this).await, side("the other", &other).await).await;
}

#[tokio::main]
async fn main() {
    if std::env::var("SOUK_BENCH_PART").as_deref() == Ok("baseline") {
        return baseline().await;
    }
    println!("{CLIENTS} clients, one request under way each");
    if let Some(other) = std::env::var_os("SOUK_BENCH_OTHER") {
        return against_another_binary(Path::new(&other)).await;
    }
    against_yardsticks().await;
    remote_against_local().await;
}
