//! A node is stopped (SIGSTOP), considered dead, and woken.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use crate::harness::{Cluster, distribution};
use crate::load::{Load, Samples, Target, answer, until_served};
use crate::scaled;
use crate::shop;

const VICTIM: usize = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_woken_node_serves_nothing_stale() {
    let cluster = Cluster::demo(3, 60).await;
    let samples = Samples::make(&cluster, 30).await;
    let load = Load::start(&cluster).await;
    for _ in 0..scaled(1, 5) {
        load.progress(200).await;
        let carts = samples.owned_by(&cluster, VICTIM).await;
        let (zombie, other) = (cluster.nodes[VICTIM].shop.clone(), cluster.nodes[0].shop.clone());
        load.treat(VICTIM, Target::Doomed);
        // It has them in memory, and connections to answer on.
        for cart in &carts {
            answer(|| shop::read(&cluster.client, &zombie, cart)).await;
        }
        cluster.signal(VICTIM, Signal::STOP);
        let stopped = Instant::now();
        let pause = Duration::from_secs(scaled(6, 15));

        // Changes that wait in its sockets until it wakes.
        let late: Vec<_> = carts
            .iter()
            .map(|cart| {
                let key = shop::key();
                let request = shop::add(&cluster.client, &zombie, cart, &samples.sku, &key);
                (cart.clone(), key, tokio::spawn(shop::send(request)))
            })
            .collect();
        let mut times = until_served(&cluster, &other, &samples.sku, carts.clone(), stopped).await;
        distribution("stopped: carts serve again", &mut times);
        let mut quantities = Vec::new();
        for cart in &carts {
            let shown = answer(|| shop::read(&cluster.client, &other, cart)).await;
            quantities.push(shop::lines(&shown.body)[&samples.sku]);
        }
        // Reads that begin after those changes, and wait as well.
        let reads: Vec<_> = carts
            .iter()
            .map(|cart| tokio::spawn(shop::send(shop::read(&cluster.client, &zombie, cart))))
            .collect();
        load.progress(100).await;
        // How long it stands still is what this scenario is about.
        sleep(pause.saturating_sub(stopped.elapsed())).await;
        cluster.signal(VICTIM, Signal::CONT);

        let mut shown = 0;
        for ((read, cart), quantity) in reads.into_iter().zip(&carts).zip(&quantities) {
            // A connection that was idle for longer than the header time-out may end before its request was read: then the
            // next one is the first that is answered.
            let reply = match read.await.unwrap() {
                Ok(reply) => reply,
                Err(_) => answer(|| shop::read(&cluster.client, &zombie, cart)).await,
            };
            match reply.status {
                200 => {
                    shown += 1;
                    let found = shop::lines(&reply.body)[&samples.sku];
                    assert!(
                        (*quantity..=quantity + 1).contains(&found),
                        "the woken node shows {found}, not {quantity} or one late change more"
                    );
                }
                503 => assert!(reply.retry_after, "{reply:?}"),
                _ => panic!("{reply:?}"),
            }
        }
        println!(
            "first replies of the woken node: {shown} reads shown, {} refused",
            carts.len() - shown
        );
        for ((cart, key, sent), quantity) in late.into_iter().zip(&quantities) {
            // Whatever became of it: under its key it happens once.
            let first = sent.await.unwrap();
            if let Ok(reply) = &first {
                assert!(matches!(reply.status, 200 | 503), "{reply:?}");
            }
            answer(|| shop::add(&cluster.client, &other, &cart, &samples.sku, &key)).await;
            for shop in [&other, &zombie] {
                let found = answer(|| shop::read(&cluster.client, shop, &cart)).await;
                assert_eq!(
                    shop::lines(&found.body)[&samples.sku],
                    quantity + 1,
                    "{} on {shop} after {first:?}",
                    cart.id
                );
            }
        }
        cluster.ready(VICTIM).await;
        load.treat(VICTIM, Target::Fine);
    }
    load.progress(200).await;
    load.verify(&cluster).await;
    cluster.end().await;
}
