//! Requests whose bodies never come, many at a time from one address: everybody else is served.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::attacks::half_sent;
use crate::support::client::Client;
use crate::support::cluster::{Cluster, Options};
use crate::support::full;
use crate::support::waiting::{eventually, within};

/// Longest time for anything here that happens by itself.
const LIMIT: Duration = Duration::from_secs(60);
/// Where the half-sent requests come from, and where the others do.
const ATTACKER: &str = "203.0.113.9";
const SHOPPER: &str = "198.51.100.7";
/// Bytes that a small body announces, and that a large one does: the largest that is accepted.
const SMALL: usize = 200;
const LARGE: usize = 256 * 1024;
/// Bytes of bodies that may be received at a time; one address gets a sixteenth.
const BODIES: usize = 64 * 1024 * 1024;

/// The status of the reply that has come on a connection; nothing while none has.
fn status(stream: &TcpStream) -> Option<String> {
    let mut reply = [0; 12];
    match stream.try_read(&mut reply) {
        Ok(read) => Some(String::from_utf8_lossy(&reply[..read]).into_owned()),
        Err(_) => None,
    }
}

/// All of a shopper's requests are answered: reads and writes.
async fn is_served(client: &Client) {
    let guest = client.guest().await;
    guest.get_cart().await.expect(200);
    guest.get("/v1/products?limit=3").await.expect(200);
    let wrong = json!({"email": "nobody@accounts.example", "password": "Wrong-Guess-Again"});
    client
        .post("/v1/auth/login", &wrong)
        .await
        .expect_problem(401, "bad-credentials");
    client.get("/readyz").await.expect(200);
}

#[tokio::test]
async fn half_sent_bodies_keep_nobody_else_out() {
    // At full size as many as in the attack; else as many more than a node may have in flight.
    let (in_flight, held) = if full() { (4_096, 3_700) } else { (64_u32, 200) };
    let cluster = Cluster::start(Options {
        nodes: 1,
        products: 20,
        settings: vec![
            ("limits.in_flight_commands", in_flight.to_string()),
            ("limits.in_flight_per_kind", (in_flight / 2).to_string()),
            ("limits.in_flight_per_entity", (in_flight / 4).to_string()),
            ("limits.bodies_bytes", BODIES.to_string()),
        ],
        ..Options::default()
    });
    let shopper = cluster.client(0).calling_from(SHOPPER);
    let attacker = cluster.client(0).calling_from(ATTACKER);
    is_served(&shopper).await;
    let before = cluster.resident().await;

    let mut streams = Vec::new();
    for _ in 0..held {
        streams.push(half_sent(&attacker, SMALL).await);
    }
    is_served(&shopper).await;
    assert!(
        streams.iter().all(|stream| status(stream).is_none()),
        "what is late only is waited for"
    );
    let worst = cluster.resident().await;
    println!("{held} half-sent bodies: {before:.0} MB before, {worst:.0} MB meanwhile");

    // Large ones soon use up the share of their address, and nobody else's.
    let share = BODIES / 16 / LARGE;
    let mut large = Vec::new();
    for _ in 0..2 * share {
        large.push(half_sent(&attacker, LARGE).await);
    }
    eventually("the rest of the large bodies is refused", LIMIT, || async {
        let refused = large.iter().filter(|stream| {
            let mut first = [0; 12];
            let peeked = stream.try_read(&mut first);
            peeked.is_ok_and(|read| first[..read].starts_with(b"HTTP/1.1 503"))
        });
        let refused = refused.count();
        if refused > 0 { Ok(()) } else { Err("none is yet") }
    })
    .await;
    is_served(&shopper).await;

    // Who was waited for is served when the rest comes.
    let mut late = streams.pop().expect("a stream");
    let rest = " ".repeat(SMALL - "{\"email\":".len());
    late.write_all(rest.as_bytes()).await.expect("the rest is sent");
    let mut reply = [0; 12];
    within("a reply to the late one", LIMIT, late.read_exact(&mut reply))
        .await
        .expect("a reply");
    assert_eq!(&reply, b"HTTP/1.1 400");
    drop((streams, large));
    is_served(&shopper).await;
    println!("{:.0} MB afterwards", cluster.resident().await);
}
