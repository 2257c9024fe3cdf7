//! `souk backup` while orders are placed, and `souk restore` after all is lost.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::shared::several_stocked;
use crate::support::client::Client;
use crate::support::cluster::{Cluster, Options};
use crate::support::command::text;
use crate::support::waiting::eventually;

/// Shoppers who order one thing after another.
const SHOPPERS: usize = 4;

/// Orders before the backup, and after it.
const ORDERS: usize = 8;

/// Longest time for that many orders, and for the store process to end after its last client.
const LIMIT: Duration = Duration::from_secs(120);

/// An order.
#[derive(Clone)]
struct Placed {
    /// Of all that were begun, in this order.
    number: usize,
    id: String,
    /// Who may read it.
    client: Client,
}

/// Shoppers at work.
struct Shoppers {
    stop: Arc<AtomicBool>,
    placed: Arc<Mutex<Vec<Placed>>>,
    begun: Arc<AtomicUsize>,
    tasks: tokio::task::JoinSet<()>,
}

impl Shoppers {
    fn start(cluster: &Cluster, sku: &str) -> Self {
        let mut shoppers = Self {
            stop: Arc::default(),
            placed: Arc::default(),
            begun: Arc::default(),
            tasks: tokio::task::JoinSet::new(),
        };
        for shopper in 0..SHOPPERS {
            let client = cluster.client(shopper % cluster.len());
            let (sku, stop) = (sku.to_owned(), Arc::clone(&shoppers.stop));
            let (placed, begun) = (Arc::clone(&shoppers.placed), Arc::clone(&shoppers.begun));
            shoppers.tasks.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let number = begun.fetch_add(1, Ordering::SeqCst);
                    let guest = client.guest().await;
                    guest.add(&sku, 1).await.expect(200);
                    let order = guest
                        .place_order(&format!("backup-{number}"), "tok_ok")
                        .await
                        .expect(201);
                    placed.lock().unwrap().push(Placed {
                        number,
                        id: order.str("/id").to_owned(),
                        client: guest,
                    });
                }
            });
        }
        shoppers
    }

    /// The orders that have been acknowledged, once there are so many.
    async fn acknowledged(&self, at_least: usize) -> Vec<Placed> {
        eventually("orders are placed", LIMIT, async || {
            let placed = self.placed.lock().unwrap();
            if placed.len() >= at_least {
                Ok(placed.clone())
            } else {
                Err(placed.len())
            }
        })
        .await
    }

    async fn stop(self) -> Vec<Placed> {
        self.stop.store(true, Ordering::SeqCst);
        self.tasks.join_all().await;
        self.placed.lock().unwrap().clone()
    }
}

/// Every file of the stores is gone, as after the loss of a disk.
fn lose_stores(data: &Path) {
    for file in fs::read_dir(data).expect("the data folder can be read") {
        let file = file.expect("a file").path();
        if file.to_string_lossy().contains(".db") {
            fs::remove_file(file).expect("a database can be removed");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_shop_is_restored() {
    let cluster = Cluster::start(
        Options {
            nodes: 2,
            products: 50,
            ..Options::default()
        }
        .patient(),
    );
    let (folder, data) = (
        tempfile::tempdir().expect("a folder"),
        cluster.data().join("stores"),
    );
    let backup = folder.path().join("backups").join("first");
    let sku = several_stocked(&cluster.client(0), 1, 200, 10_000)
        .await
        .remove(0)
        .sku;

    let shoppers = Shoppers::start(&cluster, &sku);
    let before = shoppers.acknowledged(ORDERS).await;
    let made = cluster.souk(&["backup", "--out", text(&backup)]).await.expect(0);
    println!("{}", made.stdout.trim());
    let begun = shoppers.begun.load(Ordering::SeqCst);
    shoppers.acknowledged(begun + ORDERS).await;
    let all = shoppers.stop().await;
    let again = cluster.souk(&["backup", "--out", text(&backup)]).await.expect(1);
    assert!(again.stderr.contains("name a folder that does not"), "{again:?}");

    // While the shop runs, nothing is restored over it.
    let restore = ["restore", "--from", text(&backup)];
    let refused = cluster.souk(&restore).await.expect(1);
    assert!(refused.stderr.contains("another process writes"), "{refused:?}");
    for node in 0..cluster.len() {
        cluster.drain_node(node).await;
    }
    // Nor, when it has ended, over what is there.
    eventually("the store process has ended", LIMIT, async || {
        let refused = cluster.souk(&restore).await.expect(1);
        if refused.stderr.contains("another process writes") {
            Err(refused.stderr)
        } else {
            assert!(
                refused.stderr.contains("where there is no database"),
                "{refused:?}"
            );
            Ok(())
        }
    })
    .await;

    lose_stores(&data);
    cluster.souk(&restore).await.expect(0);
    for node in 0..cluster.len() {
        cluster.start_node(node);
    }
    for node in 0..cluster.len() {
        cluster.ready_again(node).await;
    }
    for Placed { id, client, .. } in &before {
        let order = client.get_order(id).await.expect(200);
        assert_eq!(order.str("/status"), "confirmed", "{order}");
    }
    let later: Vec<&Placed> = all.iter().filter(|placed| placed.number >= begun).collect();
    for Placed { id, client, .. } in &later {
        client.get_order(id).await.expect(404);
    }
    println!(
        "{} orders, {} surely before the backup, {} surely after it",
        all.len(),
        before.len(),
        later.len()
    );
    assert!(later.len() >= ORDERS);
    cluster.audit().await;
    // The shop goes on.
    let guest = cluster.client(1).guest().await;
    guest.add(&sku, 1).await.expect(200);
    guest.place_order("after", "tok_ok").await.expect(201);
}
