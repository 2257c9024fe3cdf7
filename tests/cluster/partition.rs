//! A node is cut off from its peers, but not from the store or its clients.
//!
//! Each node runs in a network namespace with one interface to the other nodes and one to clients; the cut takes the
//! first one down. The embedded stores are reached over a Unix socket and are not affected. Creating namespaces needs
//! privileges (CAP_NET_ADMIN and CAP_SYS_ADMIN) and `ip`; without them the scenario prints a note and is skipped.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::harness::{Cluster, HandMade, LOOK, PATIENCE, distribution};
use crate::load::{Load, Samples, until_served};
use crate::scaled;

/// The second byte of the addresses between nodes, and of those towards clients.
const PEERS: u32 = 18;
const CLIENTS: u32 = 19;

const NODES: usize = 3;
const VICTIM: usize = 2;
/// How long the cut lasts after the others have taken over.
const CUT: Duration = Duration::from_secs(5);

/// Three connected network namespaces; deleted on drop.
struct Network {
    prefix: String,
    octet: u32,
}

/// A port without a listener.
const CLOSED_PORT: u16 = 9;
/// Longest time for packets to arrive.
const PROBE: Duration = Duration::from_secs(10);

fn run(line: &str) -> std::io::Result<Output> {
    let mut words = line.split(' ');
    Command::new(words.next().unwrap_or_default())
        .args(words)
        .output()
}

impl Network {
    /// Creates the network, or returns the reason why it can't.
    fn lay() -> Result<Self, String> {
        let id = std::process::id();
        // Several of them may run on one machine: names and addresses follow from the process.
        let network = Self {
            prefix: format!("sk{:x}", id & 0xffff),
            octet: id % 128,
        };
        network.build()?;
        network.probe()?;
        Ok(network)
    }

    /// Whether packets arrive, from here and between the nodes: the machine's packet filter may drop them.
    fn probe(&self) -> Result<(), String> {
        for node in 0..NODES {
            let address = format!("{}:{CLOSED_PORT}", self.client_address(node));
            let refused = address
                .parse()
                .map_err(|error| format!("{address}: {error}"))
                .and_then(|parsed| {
                    TcpStream::connect_timeout(&parsed, PROBE)
                        .err()
                        .ok_or(format!("somebody listens at {address}"))
                })?;
            if refused.kind() != ErrorKind::ConnectionRefused {
                return Err(format!("no packet reaches {address}: {refused}"));
            }
            let peer = self.peer_address((node + 1) % NODES);
            let connect = format!("exec 3<>/dev/tcp/{peer}/{CLOSED_PORT}");
            let output = Command::new("timeout")
                .arg(PROBE.as_secs().to_string())
                .args(["ip", "netns", "exec", &self.space(node), "bash", "-c", &connect])
                .output()
                .map_err(|error| error.to_string())?;
            let told = String::from_utf8_lossy(&output.stderr);
            if !told.contains("refused") {
                return Err(format!("no packet reaches {peer} from node {node}: {told}"));
            }
        }
        Ok(())
    }

    fn build(&self) -> Result<(), String> {
        let prefix = &self.prefix;
        let mut lines = vec![
            format!("ip link add {prefix}p type bridge"),
            format!("ip link set {prefix}p up"),
            format!("ip link add {prefix}c type bridge"),
            format!("ip address add {} dev {prefix}c", self.address(CLIENTS, 254)),
            format!("ip link set {prefix}c up"),
        ];
        for node in 0..NODES {
            let space = self.space(node);
            lines.push(format!("ip netns add {space}"));
            lines.push(format!("ip -n {space} link set lo up"));
            for (side, net) in [("p", PEERS), ("c", CLIENTS)] {
                let (outer, inner) = (format!("{prefix}{side}{node}"), format!("{side}{node}"));
                lines.extend([
                    format!("ip link add {outer} type veth peer name {inner} netns {space}"),
                    format!("ip link set {outer} master {prefix}{side}"),
                    format!("ip link set {outer} up"),
                    format!(
                        "ip -n {space} address add {} dev {inner}",
                        self.address(net, node + 1)
                    ),
                    format!("ip -n {space} link set {inner} up"),
                ]);
            }
        }
        lines.iter().try_for_each(|line| Self::must(line))
    }

    fn must(line: &str) -> Result<(), String> {
        let output = run(line).map_err(|error| format!("{line}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }

    fn space(&self, node: usize) -> String {
        format!("{}n{node}", self.prefix)
    }

    fn host(&self, net: u32, host: usize) -> String {
        // The range for tests of networks (RFC 2544), which no machine has a use for.
        format!("198.{net}.{}.{host}", self.octet)
    }

    fn address(&self, net: u32, host: usize) -> String {
        format!("{}/24", self.host(net, host))
    }

    /// The address of a node towards its peers.
    fn peer_address(&self, node: usize) -> String {
        self.host(PEERS, node + 1)
    }

    /// The address of a node towards clients.
    fn client_address(&self, node: usize) -> String {
        self.host(CLIENTS, node + 1)
    }

    fn set(&self, node: usize, state: &str) {
        Self::must(&format!("ip link set {}p{node} {state}", self.prefix)).unwrap();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was never made can't be removed: errors are expected after a failed start.
        for node in 0..NODES {
            for side in ["p", "c"] {
                let _ = run(&format!("ip link delete {}{side}{node}", self.prefix));
            }
            let _ = run(&format!("ip netns delete {}", self.space(node)));
        }
        for side in ["p", "c"] {
            let _ = run(&format!("ip link delete {}{side}", self.prefix));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_off_steps_down_and_rejoins() {
    let network = match Network::lay() {
        Ok(network) => network,
        Err(reason) => {
            // Not by the macro, whose output is kept back where a test passes.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: the partition: no network of name spaces can be laid here ({reason})"
            );
            return;
        }
    };
    let nodes = (0..NODES).map(|node| HandMade {
        client_address: network.client_address(node),
        peer_address: network.peer_address(node),
        wrapper: vec!["ip".into(), "netns".into(), "exec".into(), network.space(node)],
    });
    let cluster = Cluster::by_hand(nodes.collect(), 60).await;
    let samples = Samples::make(&cluster, 30).await;
    let load = Load::start(&cluster).await;
    for _ in 0..scaled(1, 5) {
        load.progress(200).await;
        let orphans = samples.owned_by(&cluster, VICTIM).await;
        assert!(!orphans.is_empty(), "the victim owns nothing");
        network.set(VICTIM, "down");
        let cut = Instant::now();
        let other = cluster.nodes[0].shop.clone();
        let mut times = until_served(&cluster, &other, &samples.sku, orphans, cut).await;
        distribution("cut off: carts serve again", &mut times);
        let stepped_down = timeout(PATIENCE, async {
            while cluster
                .readiness(VICTIM)
                .await
                .is_none_or(|(status, report)| status != 503 || report["checks"]["view"] != "unavailable")
            {
                sleep(LOOK).await;
            }
        });
        let found = stepped_down.await;
        assert!(
            found.is_ok(),
            "the cut-off node stays: {:?}",
            cluster.readiness(VICTIM).await
        );
        println!(
            "the cut-off node says that it is out of the view after {:?}",
            cut.elapsed()
        );
        for node in [0, 1] {
            cluster.ready(node).await;
        }
        load.progress(100).await;
        // A cut that lasts: it must not come back before it is healed.
        sleep(CUT).await;
        let (status, report) = cluster.readiness_told(VICTIM).await;
        assert_eq!(status, 503, "{report}");
        network.set(VICTIM, "up");
        let healed = Instant::now();
        cluster.ready(VICTIM).await;
        println!("healed: ready again after {:?}", healed.elapsed());
        let share = samples.owned_by(&cluster, VICTIM).await;
        assert!(!share.is_empty(), "a node that came back gets no share");
    }
    load.progress(200).await;
    load.verify(&cluster).await;
    cluster.end().await;
    drop(network);
}
