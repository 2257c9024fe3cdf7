//! The servers that stores run on are killed under load, and come back.

use std::time::Instant;

use tokio::process::Command;

use crate::harness::{Cluster, distribution};
use crate::load::Load;
use crate::scaled;
use crate::shop;

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

/// What does not need the server goes on: the catalogue without either, carts are read without Redis.
async fn others_go_on(cluster: &Cluster, server: &str, cart: &shop::Cart) {
    for node in &cluster.nodes {
        let products = cluster.client.get(format!("{}/v1/products", node.shop));
        let reply = shop::send(products).await.unwrap();
        assert_eq!(reply.status, 200, "without {server}: {reply:?}");
        if server == "redis" {
            let reply = shop::send(shop::read(&cluster.client, &node.shop, cart))
                .await
                .unwrap();
            assert_eq!(reply.status, 200, "without {server}: {reply:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_servers_lose_no_acknowledged_write() {
    let servers = std::env::var("SOUK_TEST_STORES").is_ok_and(|stores| stores == "servers");
    if !servers || std::env::var_os("SOUK_STORES_DIR").is_none() {
        println!("skipped: it kills the servers of SOUK_STORES_DIR, with SOUK_TEST_STORES=servers");
        return;
    }
    let cluster = Cluster::demo(3, 60).await;
    let shop = &cluster.nodes[0].shop;
    let cart = shop::cart_of(&shop::send(shop::new_cart(&cluster.client, shop)).await.unwrap());
    let load = Load::start(&cluster).await;
    load.progress(200).await;
    let mut times = Vec::new();
    for server in ["redis", "postgres", "mysql", "mongodb"].repeat(scaled(1, 10)) {
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
