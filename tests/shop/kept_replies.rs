//! The disk that kept replies take: a guest who repeats large requests under ever new keys does not fill it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use serde_json::json;

use crate::support::attacks::fill;
use crate::support::client::{Client, Reply};
use crate::support::cluster::{Cluster, Options};
use crate::support::waiting::eventually;

/// Lines of the cart: the most that one may have.
const LINES: usize = 100;
/// Additions under keys of their own, and how many of them are in flight at a time.
const ADDITIONS: usize = 600;
const AT_ONCE: usize = 16;
/// Additions between two looks at the disk.
const SAMPLE: usize = 50;
/// Most bytes that the additions may leave behind, logs included, once nothing is written any more.
const GROWTH: u64 = 5_000_000;
/// What the logs of the two databases that the additions write to may take until then: 4,000 pages each, and the batch that
/// exceeds them.
const LOGS: u64 = 2 * 20_000_000;

/// The log of an idle database is no larger, in bytes.
const SMALL_LOG: u64 = 1024 * 1024;

/// Bytes of all files of the folder, those in folders of it included.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            // A file may go while it is looked at.
            let metadata = entry.metadata().ok()?;
            Some(if metadata.is_dir() {
                size(&entry.path())
            } else {
                metadata.len()
            })
        })
        .sum()
}

/// Waits until the logs are in the databases, which they are when nothing is written for a while.
async fn until_idle(data: &Path) {
    eventually(
        "the logs are in the databases",
        Duration::from_secs(60),
        async || {
            let logs = ["shop.db-wal", "idempotency.db-wal"].map(|name| length(data, name));
            if logs.iter().all(|log| *log <= SMALL_LOG) {
                Ok(())
            } else {
                Err(files(data))
            }
        },
    )
    .await;
}

fn length(data: &Path, name: &str) -> u64 {
    fs::metadata(data.join(name)).map_or(0, |metadata| metadata.len())
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

fn files(data: &Path) -> String {
    ["shop.db", "shop.db-wal", "idempotency.db", "idempotency.db-wal"]
        .map(|name| format!("{name} {}", megabytes(length(data, name))))
        .join(", ")
}

/// A node without rate limits, with the given settings.
fn node(mut settings: Vec<(&'static str, String)>) -> Cluster {
    settings.extend([
        ("gateway.requests_per_minute", "0".to_owned()),
        ("gateway.requests_per_minute_per_address", "0".to_owned()),
    ]);
    Cluster::start(Options {
        nodes: 1,
        products: 200,
        settings,
        ..Options::default()
    })
}

/// A guest whose cart has as many lines as a cart may have, and one of its SKUs.
async fn guest_with_full_cart(cluster: &Cluster) -> (Client, String) {
    let guest = cluster.client(0).guest().await;
    fill(&guest, LINES).await;
    let cart = guest.get_cart().await.expect(200);
    let sku = cart.str("/items/0/sku").to_owned();
    (guest, sku)
}

async fn add(guest: &Client, sku: &str, key: &str) -> Reply {
    let body = json!({"sku": sku, "quantity": 1});
    guest.post_under(key, "/v1/cart/items", &body).await
}

#[tokio::test]
async fn many_large_replies_take_little_disk() {
    let cluster = node(Vec::new());
    let data = &cluster.data().join("stores");
    let (guest, sku) = guest_with_full_cart(&cluster).await;
    until_idle(data).await;
    let before = size(data);
    println!("before: {} ({})", megabytes(before), files(data));

    let started = Instant::now();
    let (mut worst, mut replies) = (before, 0);
    for first in (0..ADDITIONS).step_by(SAMPLE) {
        let additions = (first..first + SAMPLE).map(|number| {
            let (guest, sku) = (&guest, &sku);
            async move {
                add(guest, sku, &format!("kept-{number}"))
                    .await
                    .expect(200)
                    .text
                    .len()
            }
        });
        let lengths: Vec<usize> = stream::iter(additions).buffer_unordered(AT_ONCE).collect().await;
        replies += lengths.iter().sum::<usize>();
        worst = worst.max(size(data));
    }
    println!(
        "{ADDITIONS} additions in {:?}: {} of replies; at the worst: {} ({})",
        started.elapsed(),
        megabytes(replies as u64),
        megabytes(worst),
        files(data)
    );
    until_idle(data).await;
    let after = size(data);
    println!("after: {} ({})", megabytes(after), files(data));
    assert!(after - before <= GROWTH, "{}", megabytes(after - before));
    assert!(worst - before <= GROWTH + LOGS, "{}", megabytes(worst - before));

    let again = add(&guest, &sku, "kept-0").await.expect(200);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
}

/// Above its quota a guest is refused before anything is done; nothing that was acknowledged is done again, or denied.
#[tokio::test]
async fn a_quota_of_kept_replies_refuses_new_keys() {
    let cluster = node(vec![("limits.idempotency_bytes_per_caller", "65536".to_owned())]);
    let (guest, sku) = guest_with_full_cart(&cluster).await;
    let mut kept = 0;
    let refused = loop {
        let reply = add(&guest, &sku, &format!("quota-{kept}")).await;
        if reply.status != 200 {
            break reply.expect_problem(429, "too-many-requests");
        }
        kept += 1;
        // 512 bytes each at least.
        assert!(kept < 128, "none is refused");
    };
    println!(
        "{kept} replies of {} bytes are kept in 65,536",
        refused.text.len()
    );
    assert!(refused.header("retry-after").is_some(), "{refused}");
    let quantity = |cart: &serde_json::Value| {
        let lines = cart["items"].as_array().expect("lines");
        let line = lines.iter().find(|line| line["sku"] == sku.as_str());
        line.and_then(|line| line["quantity"].as_u64())
            .expect("a quantity")
    };
    let cart = guest.get_cart().await.expect(200);
    assert_eq!(quantity(&cart.body), 1 + kept);

    // Known keys, requests without one, and other guests are answered as ever.
    for number in [0, kept - 1] {
        let again = add(&guest, &sku, &format!("quota-{number}")).await.expect(200);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(quantity(&again.body), 2 + number);
    }
    let without = guest.add(&sku, 1).await.expect(200);
    assert_eq!(quantity(&without.body), 2 + kept);
    let other = cluster.client(0).guest().await;
    add(&other, &sku, "quota-0").await.expect(200);
}
