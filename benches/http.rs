//! A small closed loop over HTTP, everything in one interleaved run on one machine:
//!
//! - a durable add-to-cart against an axum handler that only parses and answers;
//! - all entities on another node than the front against all on the front's own.
//!
//! `cargo bench --bench http`; `SOUK_BENCH_ROUNDS` and `SOUK_BENCH_SECONDS` set how many rounds of what length.

use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Clients, each with one connection and one request under way.
const CLIENTS: usize = 256;
/// Carts that each client fills in turn: a line holds 999 pieces at most.
const CARTS: usize = 10;
/// Different SKUs that a client adds.
const SKUS: usize = 5;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// A process that is ended with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.0.id().cast_signed()) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> (Process, String) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process");
    let mut line = String::new();
    let output = child.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut line).expect("a line");
    (Process(child), line)
}

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
    let answer = move |Json(item): Json<Item>| {
        let ready = ready.clone();
        async move {
            black_box((item.sku, item.quantity));
            ([(CONTENT_TYPE, "application/json")], ready)
        }
    };
    let router = Router::new().route("/v1/cart/items", post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    println!("{}", listener.local_addr().expect("an address"));
    axum::serve(listener, router).await.expect("a server");
}

/// One request and its reply on a kept-alive connection: the status and the body.
async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> (u16, usize, usize) {
    stream.write_all(request).await.expect("a connection");
    buffer.clear();
    loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = std::str::from_utf8(&buffer[..end])
                .expect("ASCII")
                .to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).expect("a length");
            let length: usize = length
                .split("\r\n")
                .next()
                .expect("a line")
                .parse()
                .expect("a number");
            let status = head[9..12].parse().expect("a status");
            while buffer.len() < end + 4 + length {
                let read = stream.read_buf(buffer).await.expect("a body");
                assert!(read > 0, "the connection was closed within a body");
            }
            return (status, end + 4, length);
        }
        assert!(
            stream.read_buf(buffer).await.expect("a reply") > 0,
            "the connection was closed"
        );
    }
}

async fn call(address: SocketAddr, method: &str, path: &str) -> Value {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n");
    let mut buffer = Vec::new();
    let (status, from, length) = exchange(&mut stream, request.as_bytes(), &mut buffer).await;
    assert!(status < 300, "{method} {path}: {status}");
    serde_json::from_slice(&buffer[from..from + length]).expect("JSON")
}

/// What the clients send, one list a client.
async fn requests(address: SocketAddr, carts: bool, skus: &[String]) -> Vec<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for _ in 0..CLIENTS {
        let mut list = Vec::new();
        for _ in 0..if carts { CARTS } else { 1 } {
            let token = if carts {
                let cart = call(address, "POST", "/v1/carts").await;
                format!(
                    "Cart-Token: {}\r\n",
                    cart["cart_token"].as_str().expect("a token")
                )
            } else {
                String::new()
            };
            for sku in skus {
                let body = format!("{{\"sku\":\"{sku}\",\"quantity\":1}}");
                list.push(
                    format!(
                        "POST /v1/cart/items HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n{token}Content-Length: {}\r\n\r\n{body}",
                        body.len()
                    )
                    .into_bytes(),
                );
            }
        }
        all.push(list);
    }
    all
}

/// Replies a second over `length`, and the 50th and 99th percentile of the latency in milliseconds.
async fn load(address: SocketAddr, requests: &[Vec<Vec<u8>>], length: Duration) -> (f64, f64, f64) {
    let until = Instant::now() + length;
    let mut clients = Vec::new();
    for list in requests {
        let list = list.clone();
        clients.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            let (mut buffer, mut latencies) = (Vec::new(), Vec::new());
            for request in list.iter().cycle() {
                let began = Instant::now();
                if began >= until {
                    break;
                }
                let (status, ..) = exchange(&mut stream, request, &mut buffer).await;
                assert_eq!(status, 200, "{}", String::from_utf8_lossy(&buffer));
                latencies.push(began.elapsed());
            }
            latencies
        }));
    }
    let mut latencies = Vec::new();
    for client in clients {
        latencies.extend(client.await.expect("a client"));
    }
    latencies.sort_unstable();
    let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    (latencies.len() as f64 / length.as_secs_f64(), at(0.5), at(0.99))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Side {
    name: &'static str,
    address: SocketAddr,
    requests: Vec<Vec<Vec<u8>>>,
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

fn demo(nodes: usize, data: &Path) -> (Process, Vec<SocketAddr>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_souk"));
    command
        .args(["demo", "--port", "0", "--nodes", &nodes.to_string(), "--data"])
        .arg(data);
    let (process, line) = start(&mut command);
    let ready: Value = serde_json::from_str(&line).expect("the ready line");
    let shops = ready["shop"].as_array().expect("shops");
    let address = |url: &Value| {
        url.as_str()
            .and_then(|url| url.strip_prefix("http://"))
            .and_then(|url| url.parse().ok())
            .expect("an address")
    };
    (process, shops.iter().map(address).collect())
}

async fn skus(shop: SocketAddr) -> Vec<String> {
    let page = call(shop, "GET", &format!("/v1/products?limit={SKUS}")).await;
    let items = page["items"].as_array().expect("items");
    items
        .iter()
        .map(|product| product["skus"][0]["sku"].as_str().expect("a SKU").to_owned())
        .collect()
}

async fn durable_against_parsing() {
    let own = std::env::current_exe().expect("this binary");
    let (_baseline, line) = start(Command::new(own).env("SOUK_BENCH_PART", "baseline"));
    let baseline: SocketAddr = line.trim().parse().expect("an address");
    let folder = tempfile::tempdir().expect("a folder");
    let (_demo, shops) = demo(1, &folder.path().join("data"));
    let skus = skus(shops[0]).await;
    let durable = Side {
        name: "durable add-to-cart",
        address: shops[0],
        requests: requests(shops[0], true, &skus).await,
    };
    let parsing = Side {
        name: "parse and answer",
        address: baseline,
        requests: requests(baseline, false, &skus).await,
    };
    compare(durable, parsing).await;
}

async fn remote_against_local() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    drop(demo(2, &data));
    // The first node keeps no entities from now on: all of them live on the second.
    let file = data.join("cluster.toml");
    let configuration = std::fs::read_to_string(&file).expect("a configuration");
    let mut document: toml::Table = configuration.parse().expect("TOML");
    document["nodes"][0]["roles"] = toml::Value::Array(vec!["front".into()]);
    std::fs::write(&file, document.to_string()).expect("written");
    let (_demo, shops) = demo(2, &data);
    let skus = skus(shops[0]).await;
    let side = async |name, address| Side {
        name,
        address,
        requests: requests(address, true, &skus).await,
    };
    compare(
        side("all remote", shops[0]).await,
        side("all local", shops[1]).await,
    )
    .await;
}

#[tokio::main]
async fn main() {
    if std::env::var("SOUK_BENCH_PART").as_deref() == Ok("baseline") {
        return baseline().await;
    }
    println!("{CLIENTS} clients, one request under way each");
    durable_against_parsing().await;
    remote_against_local().await;
}
