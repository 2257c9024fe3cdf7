//! Every node is drained and restarted, one after another, under load.

use std::time::Instant;

use rustix::process::Signal;

use crate::harness::{Cluster, distribution};
use crate::load::{Load, Target};
use crate::scaled;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_request() {
    let mut cluster = Cluster::demo(3, 60).await;
    let load = Load::start(&cluster).await;
    let mut drains = Vec::new();
    for round in 0..scaled(3, 12) {
        let node = round % 3;
        load.progress(200).await;
        // Its shoppers go elsewhere when a connection is refused; what it took it answers.
        load.treat(node, Target::Restarting);
        let told = Instant::now();
        cluster.signal(node, Signal::TERM);
        cluster.gone(node).await;
        drains.push(told.elapsed());
        load.progress(100).await;
        cluster.start(node, &[]).await;
        load.treat(node, Target::Fine);
        assert!(load.violations().is_empty(), "{:#?}", load.violations());
    }
    distribution("from SIGTERM to the end", &mut drains);
    load.progress(200).await;
    load.verify(&cluster).await;
    cluster.end().await;
}
