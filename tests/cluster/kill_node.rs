//! Nodes are killed and restarted, repeatedly.

use std::time::Duration;

use crate::harness::{Cluster, distribution};
use crate::load::{Load, Samples, Target, until_served};
use crate::scaled;

/// Longest take-over of a dead node's carts in seconds (99th percentile), at full size; generous otherwise.
fn failover_limit() -> Duration {
    Duration::from_secs(scaled(15, 3))
}
/// Most views from the death of a node until it is back: two, and some more on a busy machine where nodes suspect each
/// other. If nodes that still hear the dead one added it again, there would be dozens.
const VIEWS: u64 = 10;
/// Requests between two kills.
const BETWEEN: u64 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_nodes_lose_no_acknowledged_write() {
    let mut cluster = Cluster::demo(3, 60).await;
    let samples = Samples::make(&cluster, 48).await;
    let load = Load::start(&cluster).await;
    let mut failovers = Vec::new();
    for round in 0..scaled(3, 24) {
        let (victim, survivor) = (round % 3, (round + 1) % 3);
        let before = view(&cluster, survivor).await;
        load.progress(BETWEEN).await;
        let orphans = samples.owned_by(&cluster, victim).await;
        assert!(!orphans.is_empty(), "the victim owns nothing");
        // What is under way through the victim breaks off, and its shoppers ask elsewhere under the same key.
        load.treat(victim, Target::Doomed);
        let killed = cluster.kill(victim);
        let shop = cluster.nodes[survivor].shop.clone();
        let mut times = until_served(&cluster, &shop, &samples.sku, orphans, killed).await;
        distribution(&format!("kill {}: carts serve again", round + 1), &mut times);
        failovers.extend(times);
        cluster.gone(victim).await;

        load.progress(BETWEEN).await;
        cluster.start(victim, &[]).await;
        load.treat(victim, Target::Fine);
        let share = samples.owned_by(&cluster, victim).await;
        assert!(!share.is_empty(), "a node that came back gets no share");
        let views = view(&cluster, survivor).await - before;
        assert!(
            views <= VIEWS,
            "it took {views} views to leave one node out and take it in again"
        );
        assert!(load.violations().is_empty(), "{:#?}", load.violations());
    }
    let slow = distribution("all kills: carts serve again", &mut failovers);
    assert!(slow < failover_limit(), "p99 of the failovers is {slow:?}");
    load.verify(&cluster).await;
    cluster.end().await;
}

/// The number of the view at a node.
async fn view(cluster: &Cluster, node: usize) -> u64 {
    let nodes = cluster.operator(node, "/v1/nodes").await;
    let views = nodes["items"].as_array().into_iter().flatten();
    views
        .filter_map(|node| node["view"].as_u64())
        .max()
        .expect("a node that tells of its view")
}
