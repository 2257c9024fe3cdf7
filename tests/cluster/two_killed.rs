//! Two of three nodes die at the same moment.

use std::time::Duration;

use crate::harness::{Cluster, distribution};
use crate::load::{Load, Samples, Target, until_served};
use crate::scaled;

/// The last node waits before it decides alone: a partition would look the same. The figure that counts is that of the
/// full size.
fn limit() -> Duration {
    Duration::from_secs(scaled(30, 10))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_three_goes_on_alone() {
    let mut cluster = Cluster::demo(3, 60).await;
    let samples = Samples::make(&cluster, 30).await;
    let load = Load::start(&cluster).await;
    load.progress(200).await;
    load.treat(0, Target::Doomed);
    load.treat(1, Target::Doomed);
    cluster.kill(0);
    let killed = cluster.kill(1);
    let carts = samples.carts.iter().map(|(cart, _)| cart.clone()).collect();
    let shop = cluster.nodes[2].shop.clone();
    let mut times = until_served(&cluster, &shop, &samples.sku, carts, killed).await;
    distribution("two of three killed: carts serve again", &mut times);
    let slowest = *times.last().unwrap();
    assert!(slowest < limit(), "the last cart served after {slowest:?}");
    load.progress(100).await;
    for dead in [0, 1] {
        cluster.gone(dead).await;
        cluster.start(dead, &[]).await;
        load.treat(dead, Target::Fine);
    }
    load.progress(100).await;
    load.verify(&cluster).await;
    cluster.end().await;
}
