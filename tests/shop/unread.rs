//! Replies that are asked for and not read, many at a time: they do not fill a node's memory.

use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;

use crate::support::attacks::{account, order_in_vain, unread};
use crate::support::client::Client;
use crate::support::cluster::{Cluster, Options};
use crate::support::full;
use crate::support::waiting::eventually;

/// Longest time for anything here that happens by itself.
const LIMIT: Duration = Duration::from_secs(60);
/// Where the unread requests come from, and where the others do.
const ATTACKER: &str = "203.0.113.9";
const SHOPPER: &str = "198.51.100.7";
/// Lines of each order, and requests that are not read.
const LINES: usize = 100;
const UNREAD: usize = 40;
/// Most that a node's memory may grow with the exports, and once more with the lists, in megabytes.
const GROWTH: f64 = 100.0;

/// Orders of the account, each of which fails and costs nothing.
fn orders() -> usize {
    if full() { 1_000 } else { 40 }
}

/// The status of the reply on a connection, once it has come; it stays unread.
async fn status(stream: &TcpStream) -> u16 {
    eventually("a reply", LIMIT, async || {
        let mut first = [0; 12];
        match stream.peek(&mut first).await {
            Ok(12) => String::from_utf8_lossy(&first[9..])
                .parse()
                .map_err(|_| "no status"),
            _ => Err("it has not come"),
        }
    })
    .await
}

/// How many replies have this status.
async fn count(streams: &[TcpStream], wanted: u16) -> usize {
    let mut count = 0;
    for stream in streams {
        count += usize::from(status(stream).await == wanted);
    }
    count
}

/// Others are served meanwhile.
async fn is_served(client: &Client) {
    let guest = client.guest().await;
    guest.get_cart().await.expect(200);
    guest.get("/v1/products?limit=100").await.expect(200);
}

#[tokio::test]
async fn unread_replies_do_not_fill_the_memory() {
    let cluster = Cluster::start(
        Options {
            nodes: 1,
            products: 120,
            settings: vec![("gateway.requests_per_minute", "0".to_owned())],
            ..Options::default()
        }
        .patient(),
    );
    let shopper = cluster.client(0).calling_from(SHOPPER);
    let attacker = cluster.client(0).calling_from(ATTACKER);
    let account = account(&attacker, "unread@shop.example", LINES).await;
    order_in_vain(&account, orders()).await;
    is_served(&shopper).await;

    let before = cluster.resident().await;
    let mut exports = Vec::new();
    for _ in 0..UNREAD {
        exports.push(unread(&account, "/v1/me/export").await);
    }
    assert_eq!(count(&exports, 200).await, 1, "one export at a time");
    assert_eq!(count(&exports, 429).await, UNREAD - 1);
    let exporting = cluster.resident().await;
    let mut lists = Vec::new();
    for _ in 0..UNREAD {
        lists.push(unread(&account, "/v1/orders?limit=100").await);
    }
    let (sent, refused) = (count(&lists, 200).await, count(&lists, 503).await);
    assert_eq!(sent + refused, UNREAD);
    assert!(
        sent > 0 && refused > 0,
        "{sent} lists are on their way, {refused} were refused"
    );
    is_served(&shopper).await;
    let worst = cluster.resident().await;
    drop((exports, lists));

    let export = eventually("the next export", LIMIT, async || {
        let reply = account.get("/v1/me/export").await;
        if reply.status == 429 {
            Err(reply)
        } else {
            Ok(reply.expect(200))
        }
    })
    .await;
    let after = cluster.resident().await;
    println!(
        "{UNREAD} unread exports of {} MB and {UNREAD} unread lists: {before:.0} MB before, {exporting:.0} MB with the exports, {worst:.0} MB with both, {after:.0} MB afterwards",
        export.text.len() / 1_000_000
    );
    let exported = export.body["orders"].as_array().map_or(0, Vec::len);
    assert_eq!(exported, orders(), "the export has all orders");
    assert_eq!(export.body["purchases"], Value::Array(Vec::new()));
    assert!(
        exporting - before < GROWTH,
        "{before:.0} MB before, {exporting:.0} MB with the exports"
    );
    assert!(
        worst - exporting < GROWTH,
        "{exporting:.0} MB before, {worst:.0} MB with the lists"
    );
}
