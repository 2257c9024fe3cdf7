//! Two processes run under one name, as with a copied configuration.

use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use crate::harness::{Cluster, PATIENCE, souk};

/// The node that runs twice.
const TWIN: usize = 1;
/// The exit code of a node whose name a newer process has.
const SUPERSEDED: i32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newer_of_two_processes_stays() {
    let mut cluster = Cluster::demo(2, 20).await;
    // So that it is this test's child, which sees its exit code.
    cluster.kill(TWIN);
    cluster.gone(TWIN).await;
    cluster.start(TWIN, &[]).await;

    let name = cluster.nodes[TWIN].name.clone();
    let (config, shop) = elsewhere(&cluster, &name);
    let mut newer = souk()
        .args(["node", "--name", &name, "--config"])
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ended = timeout(PATIENCE, cluster.exit(TWIN)).await;
    assert_eq!(ended.expect("the older process ends").code(), Some(SUPERSEDED));
    assert!(
        cluster.log_tail(TWIN).contains("a newer process runs as"),
        "{}",
        cluster.log_tail(TWIN)
    );
    cluster.nodes[TWIN].shop = shop;
    cluster.ready(TWIN).await;
    cluster.ready(0).await;

    let pid = newer
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).unwrap()));
    kill_process(pid.unwrap(), Signal::TERM).unwrap();
    let status = timeout(PATIENCE, newer.wait()).await.unwrap().unwrap();
    assert!(status.success(), "the newer process ended with {status}");
    cluster.end().await;
}

/// Writes a copy of the configuration in which a node has other addresses. Returns it and the address of its shop.
fn elsewhere(cluster: &Cluster, name: &str) -> (std::path::PathBuf, String) {
    let text = std::fs::read_to_string(&cluster.config).unwrap();
    let mut config: toml::Table = text.parse().unwrap();
    let nodes = config["nodes"].as_array_mut().unwrap();
    let node = nodes
        .iter_mut()
        .find(|node| node["name"].as_str() == Some(name))
        .unwrap();
    let sockets = ["shop", "operator", "cluster", "gossip"].map(|key| {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        node[key] = toml::Value::String(address);
        socket
    });
    let shop = format!("http://{}", sockets[0].local_addr().unwrap());
    let file = cluster.config.with_file_name("elsewhere.toml");
    std::fs::write(&file, config.to_string()).unwrap();
    (file, shop)
}
