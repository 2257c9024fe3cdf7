//! The servers that stores run on are killed under load, and the network to them fails; all of it comes back.

use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::harness::{Cluster, distribution};
use crate::load::Load;
use crate::network::{Fault, behind_proxies};
use crate::scaled;
use crate::shop;
use crate::stores::Servers;

/// One way.
const LATENCY: Duration = Duration::from_millis(100);

/// Runs `scripts/stores COMMAND NAME`.
async fn stores(command: &str, name: &str) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/stores");
    let output = Command::new(script).args([command, name]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "scripts/stores {command} {name}: {said}");
}

/// Waits until every node says that all its stores answer, or that some do not.
async fn until_stores(cluster: &Cluster, answer: bool) {
    for index in 0..cluster.nodes.len() {
        let what = format!("that all stores answer: {answer}");
        cluster
            .until_told(index, &what, |_, body| {
                (body["checks"]["stores"] == "ok") == answer
            })
            .await;
    }
}

/// What does not need the server goes on: the catalogue without any but its own, carts are read without Redis.
async fn others_go_on(cluster: &Cluster, server: &str, cart: &shop::Cart) {
    for node in &cluster.nodes {
        let products = cluster.client.get(format!("{}/v1/products", node.shop));
        let reply = shop::send(products).await.unwrap();
        let expected = if server == "elasticsearch" { 503 } else { 200 };
        assert_eq!(reply.status, expected, "without {server}: {reply:?}");
        if server == "redis" {
            let reply = shop::send(shop::read(&cluster.client, &node.shop, cart))
                .await
                .unwrap();
            assert_eq!(reply.status, 200, "without {server}: {reply:?}");
        }
    }
}

async fn cart_on(cluster: &Cluster) -> shop::Cart {
    let shop = &cluster.nodes[0].shop;
    shop::cart_of(&shop::send(shop::new_cart(&cluster.client, shop)).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_servers_lose_no_acknowledged_write() {
    let chosen = Servers::chosen().filter(|_| std::env::var_os("SOUK_STORES_DIR").is_some());
    let Some(servers) = chosen else {
        println!("skipped: it kills the servers of SOUK_STORES_DIR, with SOUK_TEST_STORES=servers");
        return;
    };
    let names = servers.names();
    let is_embedded = servers.embeds_something();
    let cluster = Cluster::demo_on(Some(servers), 3, 60).await;
    // The folder of the stores' lock and files, if there is a store process.
    assert_eq!(!cluster.embedded_files().is_empty(), is_embedded);
    let cart = cart_on(&cluster).await;
    let load = Load::start(&cluster).await;
    load.progress(200).await;
    let mut times = Vec::new();
    for server in names.repeat(scaled(1, 10)) {
        stores("kill", server).await;
        until_stores(&cluster, false).await;
        others_go_on(&cluster, server, &cart).await;
        stores("up", server).await;
        let up = Instant::now();
        load.progress(100).await;
        times.push(up.elapsed());
        until_stores(&cluster, true).await;
    }
    distribution("a server is back: 100 requests served", &mut times);
    load.verify(&cluster).await;
    cluster.end().await;
}

/// The network to each server in turn is slow, resets every connection, and keeps everything for so long that what it kept arrives
/// when nobody waits for it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_with_faults_loses_no_acknowledged_write() {
    let Some(servers) = Servers::chosen() else {
        println!("skipped: it is about servers, with SOUK_TEST_STORES=servers");
        return;
    };
    let (servers, proxies) = behind_proxies(servers).await;
    let cluster = Cluster::demo_on(Some(servers), 3, 60).await;
    let cart = cart_on(&cluster).await;
    let load = Load::start(&cluster).await;
    load.progress(200).await;
    let mut times = Vec::new();
    for (server, proxy) in &proxies {
        proxy.set(Fault::Latency(LATENCY));
        load.progress(scaled(50, 500)).await;
        proxy.set(Fault::None);
        for fault in [Fault::Reset, Fault::BlackHole] {
            proxy.set(fault);
            until_stores(&cluster, false).await;
            others_go_on(&cluster, server, &cart).await;
            // Longer than any call, and at full size than any wait for one.
            tokio::time::sleep(Duration::from_secs(scaled(6, 30))).await;
            proxy.set(Fault::None);
            let over = Instant::now();
            load.progress(100).await;
            times.push(over.elapsed());
            until_stores(&cluster, true).await;
        }
    }
    distribution("a network is whole again: 100 requests served", &mut times);
    load.verify(&cluster).await;
    cluster.end().await;
}
