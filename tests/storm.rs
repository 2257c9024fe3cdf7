//! What crowds of strangers do, and its effect on shoppers: a storm of logins, each of which is expensive, and attacks on memory and
//! disk.
//!
//! In a binary of its own, since each test uses the whole machine. By default they check that shoppers are answered meanwhile; `SOUK_TEST_SCALE=full`, with an optimised build, compares their latency with the promised figure.

#[path = "support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use support::attacks;
use support::client::Client;
use support::cluster::{Cluster, Options};
use support::full;

/// Concurrent logins: more than the password queue holds.
const LOGINS: usize = 100;
/// Largest ratio of the latency to that without logins, at full size.
const ALLOWED: u32 = 2;
/// Time limit of one cart read, on a busy machine too.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// One test at a time: each needs the machine.
static MACHINE: Mutex<()> = Mutex::const_new(());

/// Concurrent shoppers who read their carts.
fn shoppers() -> usize {
    if full() { 64 } else { 2 }
}

/// Duration of each measurement.
fn measured() -> Duration {
    Duration::from_secs(if full() { 30 } else { 4 })
}

/// The 99th percentile of cart reads, all of which must be answered.
async fn p99(shoppers: &[Client]) -> Duration {
    let until = Instant::now() + measured();
    let times = join_all(shoppers.iter().map(|client| async move {
        let mut times = Vec::new();
        // Once at least, on whatever machine.
        while times.is_empty() || Instant::now() < until {
            let started = Instant::now();
            client.get_cart().await.expect(200);
            times.push(started.elapsed());
        }
        times
    }))
    .await;
    let mut times = times.concat();
    times.sort_unstable();
    let longest = times[times.len() - 1];
    assert!(longest < LOOK_LIMIT, "a look at a cart took {longest:?}");
    times[(times.len() * 99).div_ceil(100) - 1]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_logins_does_not_keep_shoppers_waiting() {
    let _alone = MACHINE.lock().await;
    let cluster = Cluster::start(Options {
        nodes: 1,
        products: 20,
        ..Options::default()
    });
    let shop = cluster.shop(0);
    let shopper = &cluster.ready().shopper;
    let credentials = json!({"email": shopper["email"], "password": shopper["password"]});
    let mut crowd_of_shoppers = Vec::new();
    for _ in 0..shoppers() {
        crowd_of_shoppers.push(Client::new(shop).guest().await);
    }
    let quiet = p99(&crowd_of_shoppers).await;

    let over = Arc::new(AtomicBool::new(false));
    let [signed_in, busy] = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let crowd: Vec<_> = (0..LOGINS)
        .map(|number| {
            let client = Client::new(shop).calling_from(&format!("198.19.0.{}", number + 1));
            let (over, signed_in, busy) = (Arc::clone(&over), Arc::clone(&signed_in), Arc::clone(&busy));
            let credentials = credentials.clone();
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let reply = client.post("/v1/auth/login", &credentials).await;
                    if reply.status == 200 {
                        signed_in.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    let refused = reply.expect_problem(503, "busy");
                    let wait: u64 = refused
                        .header("retry-after")
                        .and_then(|value| value.parse().ok())
                        .unwrap_or_else(|| panic!("no Retry-After: {refused}"));
                    assert!((1..=60).contains(&wait), "{refused}");
                    busy.fetch_add(1, Ordering::Relaxed);
                    // As a client does that was told to come later, but not quite as patiently.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
        })
        .collect();
    let stormy = p99(&crowd_of_shoppers).await;
    over.store(true, Ordering::Relaxed);
    for one in crowd {
        one.await.expect("every login is answered as it should be");
    }
    let [signed_in, busy] = [signed_in, busy].map(|count| count.load(Ordering::Relaxed));
    println!(
        "GET /v1/cart, p99: {quiet:?} when it is quiet, {stormy:?} during {signed_in} logins and {busy} refusals ({:.1} times)",
        stormy.as_secs_f64() / quiet.as_secs_f64()
    );
    assert!(signed_in > 0, "somebody gets in");
    assert!(busy > 0, "what does not fit into the queue is refused");
    assert!(
        !full() || stormy <= quiet * ALLOWED,
        "p99 of GET /v1/cart: {quiet:?} when it is quiet, {stormy:?} in the storm"
    );
    // And afterwards all is well at once.
    Client::new(shop)
        .calling_from("198.19.1.1")
        .post("/v1/auth/login", &credentials)
        .await
        .expect(200);
    let errors = cluster.errors_logged();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

/// Repeats `attack` until the task is aborted.
fn keep_up<F: Future<Output = ()> + Send + 'static>(
    attacks: &mut JoinSet<()>,
    attackers: usize,
    attack: impl Fn(usize) -> F + Clone + Send + 'static,
) {
    for attacker in 0..attackers {
        let attack = attack.clone();
        attacks.spawn(async move {
            loop {
                attack(attacker).await;
            }
        });
    }
}

/// Unread exports, keyed additions to a full cart, half-sent bodies, and made-up codes and taken addresses, all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_at_once_do_not_keep_shoppers_waiting() {
    let _alone = MACHINE.lock().await;
    let cluster = Cluster::start(
        Options {
            nodes: 1,
            products: 120,
            ..Options::default()
        }
        .patient(),
    );
    let mut shoppers_there = Vec::new();
    for number in 0..shoppers() {
        let address = format!("198.51.100.{}", number + 1);
        shoppers_there.push(cluster.client(0).calling_from(&address).guest().await);
    }
    let at = |address: &str| cluster.client(0).calling_from(address);
    let account = attacks::account(&at("203.0.113.1"), "attacker@shop.example", 100).await;
    attacks::order_in_vain(&account, if full() { 200 } else { 5 }).await;
    let full_cart = at("203.0.113.2").guest().await;
    attacks::fill(&full_cart, 100).await;
    let cart = full_cart.get_cart().await.expect(200);
    let line = json!({"sku": cart.str("/items/0/sku"), "quantity": 1});
    let quiet = p99(&shoppers_there).await;

    let mut running = JoinSet::new();
    keep_up(&mut running, 40, move |_| {
        let account = account.clone();
        async move {
            let _unread = attacks::unread(&account, "/v1/me/export").await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let added = Arc::new(AtomicUsize::new(0));
    let (adder, count) = (full_cart.clone(), Arc::clone(&added));
    keep_up(&mut running, 4, move |_| {
        let (adder, line, count) = (adder.clone(), line.clone(), Arc::clone(&count));
        async move {
            let key = format!("flood-{}", count.fetch_add(1, Ordering::Relaxed));
            adder.post_under(&key, "/v1/cart/items", &line).await;
        }
    });
    let silent = at("203.0.113.3");
    let mut half_sent = Vec::new();
    for _ in 0..if full() { 3_700 } else { 100 } {
        half_sent.push(attacks::half_sent(&silent, 200).await);
    }
    let prober = at("203.0.113.4");
    keep_up(&mut running, 8, move |number| {
        let prober = prober.clone();
        async move {
            let password = "Quartz-Otter-Guess-Lantern";
            let token = format!("{number:043}");
            let reset = json!({"token": token, "password": password});
            prober.post("/v1/auth/password/reset", &reset).await;
            let taken = json!({"email": "attacker@shop.example", "password": password, "name": "Taken"});
            prober.post("/v1/auth/register", &taken).await;
        }
    });
    let attacked = p99(&shoppers_there).await;
    running.shutdown().await;
    drop(half_sent);
    println!(
        "GET /v1/cart, p99: {quiet:?} when it is quiet, {attacked:?} under {} additions and the other attacks ({:.1} times)",
        added.load(Ordering::Relaxed),
        attacked.as_secs_f64() / quiet.as_secs_f64()
    );
    assert!(
        !full() || attacked <= quiet * ALLOWED,
        "p99 of GET /v1/cart: {quiet:?} when it is quiet, {attacked:?} under attack"
    );
    let errors = cluster.errors_logged();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}
