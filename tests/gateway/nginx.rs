//! nginx with the repository's configuration in front of three nodes, one of which is killed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use souk::cli::demo::ports::Free;
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Options};
use crate::support::guard::Guarded;
use crate::support::waiting::eventually;

/// The nodes as `deploy/nginx.conf` names them.
const NODES: [&str; 3] = ["10.89.7.11:8080", "10.89.7.12:8080", "10.89.7.13:8080"];
/// The address that nginx listens on.
const LISTEN: &str = "listen 8080 reuseport backlog=4096;";
/// Longest time for nginx to start, and for any other awaited event.
const LIMIT: Duration = Duration::from_secs(90);
/// Reads that are answered before a node is killed, and after.
const PHASE: u32 = 1_500;
/// Most pieces of one SKU that a test adds: below the limit of a line.
const MOST_ADDED: u32 = 900;

/// A running nginx; stopped on drop.
pub struct Nginx {
    _process: Guarded,
    _folder: TempDir,
    /// Its address, as in `http://127.0.0.1:8080`.
    pub base: String,
}

/// Whether nginx is installed. Prints a note if not, since a skipped test looks like a passed one.
pub fn is_there(test: &str) -> bool {
    let found = Command::new("nginx").arg("-v").stderr(Stdio::null()).status();
    let there = found.is_ok_and(|status| status.success());
    if !there {
        // Not by the macro, whose output is kept back where a test passes. A closed stderr has no reader to tell.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: {test}: there is no nginx here; `apt-get install nginx-light` installs it"
        );
    }
    there
}

impl Nginx {
    /// Starts nginx with the repository's configuration; only addresses and paths are replaced.
    pub async fn before(nodes: [&str; 3]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", Free::avoiding([]).choose().unwrap());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nginx.conf");
        let mut text = fs::read_to_string(path).unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut replace = |old: &str, new: &str| {
            assert!(text.contains(old), "deploy/nginx.conf has no {old:?}");
            text = text.replace(old, new);
        };
        for (named, node) in NODES.iter().zip(nodes) {
            replace(named, node.trim_start_matches("http://"));
        }
        replace(LISTEN, &format!("listen {address};"));
        replace("/tmp/nginx.pid", &at("nginx.pid"));
        replace(
            "access_log /dev/stdout",
            &format!("access_log {}", at("access.log")),
        );
        replace("error_log /dev/stderr", &format!("error_log {}", at("error.log")));
        // Where a package's nginx keeps them, only root may write.
        let kept: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|what| format!("    {what}_temp_path {};\n", at(what)))
            .collect();
        replace("http {\n", &format!("http {{\n{kept}"));
        let config = folder.path().join("nginx.conf");
        fs::write(&config, text).unwrap();
        let log = File::create(folder.path().join("stderr.log")).unwrap();
        let mut command = Command::new("nginx");
        command
            .arg("-e")
            .arg(at("error.log"))
            .arg("-c")
            .arg(&config)
            .args(["-g", "daemon off;"]);
        let process = Guarded::start(&command, log, None);
        let base = format!("http://{address}");
        eventually("nginx listens", LIMIT, async || {
            tokio::net::TcpStream::connect(&address)
                .await
                .map(drop)
                .map_err(|error| {
                    let told = fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
                    format!("{error}\n{told}")
                })
        })
        .await;
        Self {
            _process: process,
            _folder: folder,
            base,
        }
    }
}

/// Adds one piece after another until stopped: requests sent, and requests that succeeded.
async fn add(client: Client, sku: String, end: Arc<AtomicBool>) -> (Client, String, u32, u32) {
    let (mut sent, mut added) = (0, 0);
    while !end.load(Ordering::Relaxed) && sent < MOST_ADDED {
        let body = serde_json::json!({"sku": sku, "quantity": 1});
        sent += 1;
        // Without an Idempotency-Key: nobody but nginx keeps a second delivery from counting.
        if let Ok(reply) = client.try_send("POST", "/v1/cart/items", Some(&body), &[]).await {
            assert!(matches!(reply.status, 200 | 500..=599), "{reply}");
            added += u32::from(reply.status == 200);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (client, sku, sent, added)
}

async fn answered(reads: &AtomicU32, goal: u32) {
    eventually(
        &format!("{goal} reads are answered"),
        LIMIT,
        async || match reads.load(Ordering::Relaxed) {
            so_far if so_far < goal => Err(so_far),
            _ => Ok(()),
        },
    )
    .await;
}

#[tokio::test]
async fn reads_survive_a_dead_node_and_writes_happen_once() {
    if !is_there("reads_survive_a_dead_node_and_writes_happen_once") {
        return;
    }
    let cluster = Cluster::start(Options {
        products: 50,
        ..Options::default()
    });
    let nginx = Nginx::before([cluster.shop(0), cluster.shop(1), cluster.shop(2)]).await;
    let client = Client::new(&nginx.base);
    let products = client.get("/v1/products?limit=20").await.expect(200);
    let sku = products.str("/items/0/skus/0/sku").to_owned();

    let end = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU32::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (client, end, reads) = (client.clone(), Arc::clone(&end), Arc::clone(&reads));
            tokio::spawn(async move {
                while !end.load(Ordering::Relaxed) {
                    client.get("/v1/products?limit=5").await.expect(200);
                    reads.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    let mut writers = Vec::new();
    for _ in 0..4 {
        let guest = client.guest().await;
        writers.push(tokio::spawn(add(guest, sku.clone(), Arc::clone(&end))));
    }
    answered(&reads, PHASE).await;
    cluster.kill_node(1).await;
    answered(&reads, reads.load(Ordering::Relaxed) + PHASE).await;
    end.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.expect("every read was answered with 200");
    }
    for writer in writers {
        let (client, sku, sent, added) = writer.await.unwrap();
        let cart = eventually("the cart can be read again", LIMIT, async || {
            let cart = client.get_cart().await;
            if cart.status == 200 { Ok(cart) } else { Err(cart) }
        })
        .await;
        let held = cart.items().iter().find(|item| item["sku"] == sku.as_str());
        let quantity = held.and_then(|item| item["quantity"].as_u64()).unwrap_or(0);
        assert!(added > 0, "{cart}");
        assert!(
            (u64::from(added)..=u64::from(sent)).contains(&quantity),
            "{quantity} are in the cart; {sent} were sent and {added} acknowledged"
        );
    }
    cluster.audit().await;
}
