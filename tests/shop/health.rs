//! `/livez`, `/readyz`.

use std::time::Duration;

use crate::shared::cluster;
use crate::support::cluster::{Cluster, Options};
use crate::support::full;
use crate::support::waiting::eventually;

/// From the start of a demo until it is ready, at full size.
const START_TARGET: Duration = Duration::from_secs(15);
/// Longest time for an awaited event.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_node_is_alive_and_ready() {
    let cluster = cluster();
    println!("the shared demo was ready after {:.1?}", cluster.start_time());
    assert!(
        !full() || cluster.start_time() < START_TARGET,
        "ready after {:.1?} only",
        cluster.start_time()
    );
    for node in 0..cluster.len() {
        for path in ["/livez", "/readyz"] {
            let client = cluster.client(node);
            // A busy machine may be late with the look at the view that would verify it: degraded for a moment.
            eventually(&format!("{path} of node {node} is ok"), LIMIT, async || {
                let reply = client.get(path).await;
                if reply.status == 503 {
                    return Err(reply);
                }
                let reply = reply.expect(200);
                assert!(reply.body["checks"].is_object(), "{reply}");
                assert!(reply.header("x-request-id").is_some(), "{reply}");
                if reply.str("/status") == "ok" {
                    Ok(())
                } else {
                    Err(reply)
                }
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_demo_that_is_stopped_leaves_nothing_running() {
    let cluster = Cluster::start(Options {
        products: 10,
        ..Options::default()
    });
    let pids: Vec<u32> = cluster.pids().into_iter().flatten().collect();
    assert_eq!(pids.len(), 3);
    let demo = cluster.demo_pid();
    let code = cluster.stop();
    assert_eq!(code, Some(0), "the demo's exit code\n{}", cluster.logs(|_| true));
    for pid in pids.into_iter().chain([demo]) {
        let folder = std::path::PathBuf::from(format!("/proc/{pid}"));
        assert!(!folder.exists(), "process {pid} outlived the demo");
    }
    eventually("the stores' process is gone", LIMIT, async || {
        match running_in(cluster.data()) {
            processes if processes.is_empty() => Ok(()),
            processes => Err(format!("{processes:?} still run")),
        }
    })
    .await;
}

/// Processes with the folder on their command line.
fn running_in(folder: &std::path::Path) -> Vec<String> {
    let folder = folder.to_string_lossy();
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|line| line.contains(&*folder))
        .map(|line| line.replace('\0', " "))
        .collect()
}
