//! A node is cut off from the coordination store alone: it still reaches its peers, its stores and its clients, and goes on
//! with a view in which it owns shards that have another owner by now.
//!
//! The fail point `views` of that node fails all calls to the coordination store while a file exists.

use std::time::{Duration, Instant};

use futures::future::join_all;
use souk_cluster::placement::{self, shard_of};
use souk_cluster::view::View;
use souk_cluster::view::fixtures::member;

use crate::harness::Cluster;
use crate::load::{Load, Samples, Target, answer, until_served};
use crate::scaled;
use crate::shop::{self, Cart};

/// The node that is killed and comes back.
const MOVER: usize = 0;
/// The node that is cut off, and does not see it come back.
const VICTIM: usize = 1;
/// For a request to a node that may not know the owner: it answers 503 in time.
const BUDGET: Duration = Duration::from_secs(30);

/// Adds a piece through the node that is cut off and then reads through the owner, several times: what the former said was
/// done is there. Returns how many changes it acknowledged.
async fn add_there_read_here(cluster: &Cluster, cart: &Cart, sku: &str) -> usize {
    let (there, here) = (&cluster.nodes[VICTIM].shop, &cluster.nodes[MOVER].shop);
    let mut acknowledged = 0;
    for _ in 0..scaled(2, 10) {
        let key = shop::key();
        let request = shop::add(&cluster.client, there, cart, sku, &key).timeout(BUDGET);
        let before = answer(|| shop::read(&cluster.client, here, cart)).await;
        let least = shop::lines(&before.body)[sku];
        let changed = shop::send(request).await.unwrap();
        let shown = answer(|| shop::read(&cluster.client, here, cart)).await;
        let shown = shop::lines(&shown.body)[sku];
        if changed.status == 200 {
            acknowledged += 1;
            let done = shop::lines(&changed.body)[sku];
            assert!(done > least, "{}: {done} after {least}", cart.id);
            assert!(shown >= done, "{}: {shown} after {done}", cart.id);
        } else {
            assert_eq!(changed.status, 503, "{changed:?}");
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_the_coordination_store_hides_nothing() {
    let mut cluster = Cluster::demo(3, 60).await;
    let samples = Samples::make(&cluster, 60).await;
    let cut = cluster.config.with_file_name("cut");
    let fail_point = format!("views=return({})", cut.display());
    cluster.kill(VICTIM);
    cluster.gone(VICTIM).await;
    cluster.start(VICTIM, &[("FAILPOINTS", &fail_point)]).await;

    // The victim takes over what belonged to a node that dies …
    cluster.kill(MOVER);
    cluster.gone(MOVER).await;
    let there = cluster.nodes[VICTIM].shop.clone();
    let all: Vec<Cart> = samples.carts.iter().map(|(cart, _)| cart.clone()).collect();
    until_served(&cluster, &there, &samples.sku, all, Instant::now()).await;
    let before = view_of(&cluster, VICTIM).await;

    // … is cut off, and does not learn that it is back.
    std::fs::write(&cut, "").unwrap();
    cluster.start(MOVER, &[]).await;
    let load = Load::start(&cluster).await;
    load.treat(VICTIM, Target::Doomed);
    let disputed = disputed(&cluster, &samples);
    assert!(!disputed.is_empty(), "no cart has two owners");
    assert!(view_of(&cluster, MOVER).await > before);

    let rounds = disputed
        .iter()
        .map(|cart| add_there_read_here(&cluster, cart, &samples.sku));
    let acknowledged: usize = join_all(rounds).await.into_iter().sum();
    println!(
        "{} carts with two owners: the former acknowledged {acknowledged} changes, and none was hidden",
        disputed.len()
    );
    load.progress(100).await;
    assert_eq!(
        view_of(&cluster, VICTIM).await,
        before,
        "it has seen the new view"
    );

    std::fs::remove_file(&cut).unwrap();
    cluster.ready(VICTIM).await;
    load.treat(VICTIM, Target::Fine);
    for cart in disputed {
        let mut shown = Vec::new();
        for node in [MOVER, VICTIM] {
            let reply = answer(|| shop::read(&cluster.client, &cluster.nodes[node].shop, cart)).await;
            shown.push(shop::lines(&reply.body));
        }
        assert_eq!(shown[0], shown[1], "{}", cart.id);
    }
    load.verify(&cluster).await;
    cluster.audit().await;
    cluster.end().await;
}

/// The carts of a shard that the victim owned without the mover, and the mover owns since it is back.
fn disputed<'a>(cluster: &Cluster, samples: &'a Samples) -> Vec<&'a Cart> {
    let view = |without: Option<usize>| View {
        number: 1,
        members: (0..cluster.nodes.len())
            .filter(|index| Some(*index) != without)
            .map(|index| member(&cluster.nodes[index].name, 1))
            .collect(),
    };
    let (before, now) = (view(Some(MOVER)), view(None));
    let owns = |view: &View, shard: u16, index: usize| {
        placement::owner(view, shard).is_some_and(|member| member.name == cluster.nodes[index].name)
    };
    samples
        .carts
        .iter()
        .map(|(cart, _)| cart)
        .filter(|cart| {
            let shard = shard_of(&cart.id);
            owns(&before, shard, VICTIM) && owns(&now, shard, MOVER)
        })
        .collect()
}

/// The number of the view that a node has installed.
async fn view_of(cluster: &Cluster, index: usize) -> u64 {
    let nodes = cluster.operator(index, "/v1/nodes").await;
    let nodes = nodes["items"].as_array().unwrap();
    let own = nodes
        .iter()
        .find(|node| node["name"] == cluster.nodes[index].name.as_str());
    own.unwrap()["view"].as_u64().unwrap()
}
