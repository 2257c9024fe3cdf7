//! More concurrent buyers than pieces, through all nodes (invariants 1 and 12).

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream;
use tokio::sync::Barrier;

use crate::shared::{Stocked, cluster, several_stocked};
use crate::support::client::{Client, Reply};
use crate::support::full;
use crate::support::waiting::{eventually, within};

const FULL: usize = 2_000;
/// Enough buyers to sell out several times in a debug build.
const SMALL: usize = 300;

/// Carts that are filled concurrently before the sale.
const PREPARED_AT_ONCE: usize = 16;

/// Longest time until every buyer has an outcome.
const LIMIT: Duration = Duration::from_secs(150);

/// Most surplus buyers of one SKU when ten SKUs are on sale.
const TOO_MANY: usize = 5;

fn buyers() -> usize {
    if full() { FULL } else { SMALL }
}

/// The outcome of a buyer.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Bought,
    SoldOut,
}

/// Submits until there is an outcome, repeating what is refused temporarily.
async fn buy(client: &Client, key: &str) -> Outcome {
    let (kind, reply) = eventually("the order is decided", LIMIT, async || decided(client, key).await).await;
    match kind {
        "confirmed" => Outcome::Bought,
        "out-of-stock" => Outcome::SoldOut,
        other => panic!("{key} ended as {other}: {reply}"),
    }
}

async fn decided(client: &Client, key: &str) -> Result<(&'static str, Reply), String> {
    let reply = client.place_order(key, "tok_ok").await;
    match reply.status {
        201 => Ok(("confirmed", reply)),
        202 => {
            let order = client.get_order(reply.str("/id")).await.expect(200);
            match order.str("/status") {
                "pending" => Err(order.to_string()),
                "failed" => {
                    // The order does not say why in a field of its own; its timeline does.
                    let why = order.body["timeline"].to_string();
                    if why.contains("stock") {
                        Ok(("out-of-stock", order))
                    } else {
                        Ok(("failed", order))
                    }
                }
                _ => Ok(("confirmed", order)),
            }
        }
        409 if reply.problem() == "out-of-stock" => {
            assert!(!reply.blamed().is_empty(), "the SKU is named: {reply}");
            Ok(("out-of-stock", reply))
        }
        409 if reply.problem() == "request-in-progress" => Err(reply.to_string()),
        503 => {
            assert!(
                reply.header("retry-after").is_some(),
                "503 says when to come back: {reply}"
            );
            Err(reply.to_string())
        }
        _ => Ok(("unexpected", reply)),
    }
}

/// Runs this many concurrent buyers of one piece for each SKU; returns how many of each bought.
async fn sale(wanted: &[(Stocked, usize)]) -> Vec<usize> {
    let cluster = cluster();
    let nodes: Vec<Client> = (0..cluster.len()).map(|node| cluster.client(node)).collect();
    let total: usize = wanted.iter().map(|(_, buyers)| buyers).sum();
    let each = wanted
        .iter()
        .enumerate()
        .flat_map(|(index, (sku, buyers))| (0..*buyers).map(move |_| (index, sku.sku.clone())));
    let prepared: Vec<(usize, Client)> = stream::iter(each.enumerate())
        .map(|(number, (index, sku))| {
            let node = nodes[number % nodes.len()].clone();
            async move {
                let client = node.guest().await;
                client.add(&sku, 1).await.expect(200);
                (index, client)
            }
        })
        .buffer_unordered(PREPARED_AT_ONCE)
        .collect()
        .await;

    let barrier = Arc::new(Barrier::new(total));
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, (index, client)) in prepared.into_iter().enumerate() {
        let barrier = Arc::clone(&barrier);
        tasks.spawn(async move {
            barrier.wait().await;
            (index, buy(&client, &format!("sale-{number}")).await)
        });
    }
    let outcomes = within("the sale", LIMIT + Duration::from_secs(10), tasks.join_all()).await;
    println!("{total} buyers were answered within {:.1?}", started.elapsed());
    assert_eq!(outcomes.len(), total, "every buyer has an answer");
    (0..wanted.len())
        .map(|index| {
            outcomes
                .iter()
                .filter(|(of, outcome)| *of == index && *outcome == Outcome::Bought)
                .count()
        })
        .collect()
}

/// The stock of a SKU in the catalogue, once the badges have caught up.
async fn sold_out_everywhere(sku: &Stocked) {
    let cluster = cluster();
    for node in 0..cluster.len() {
        let client = cluster.client(node);
        let what = format!("node {node} shows that {} is sold out", sku.sku);
        eventually(&what, LIMIT, async || {
            let product = client
                .get(&format!("/v1/products/{}", sku.product))
                .await
                .expect(200);
            let left = product.body["skus"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|one| one["sku"] == sku.sku.as_str())
                .and_then(|one| one["available"].as_u64());
            if left == Some(0) {
                Ok(())
            } else {
                Err(format!("{left:?} left"))
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_hundred_pieces_are_sold_a_hundred_times() {
    let client = cluster().client(0);
    let sku = several_stocked(&client, 1, 60, 140).await.remove(0);
    let pieces = sku.available as usize;
    let wanted = [(sku, buyers())];
    assert_eq!(sale(&wanted).await, [pieces], "as many orders as pieces");
    sold_out_everywhere(&wanted[0].0).await;
    cluster().audit().await;
}

#[tokio::test]
async fn ten_skus_sell_out_at_once() {
    let client = cluster().client(1);
    let wanted: Vec<(Stocked, usize)> = several_stocked(&client, 10, 5, 19)
        .await
        .into_iter()
        .map(|sku| {
            let buyers = sku.available as usize + TOO_MANY;
            (sku, buyers)
        })
        .collect();
    let pieces: Vec<usize> = wanted.iter().map(|(sku, _)| sku.available as usize).collect();
    assert_eq!(sale(&wanted).await, pieces, "of each as many orders as pieces");
    for (sku, _) in &wanted {
        sold_out_everywhere(sku).await;
    }
    cluster().audit().await;
}
