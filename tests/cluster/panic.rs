//! An entity that panics at every command affects only its own callers.

use souk_cluster::placement::shard_of;

use crate::harness::Cluster;
use crate::load::answer;
use crate::shop::{self, Cart};

/// Changes requested of the poisoned cart, and of each neighbour.
const ROUNDS: usize = 12;
/// Enough carts that one shares the shard almost certainly.
const CARTS: usize = 4_000;

async fn new_cart(cluster: &Cluster) -> Cart {
    let shop = &cluster.nodes[0].shop;
    shop::cart_of(&shop::send(shop::new_cart(&cluster.client, shop)).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_stays_with_the_entity_that_panics() {
    let mut cluster = Cluster::demo(1, 20).await;
    let shop = cluster.nodes[0].shop.clone();
    let sku = shop::plentiful(&cluster.client, &shop, 1).await.remove(0);
    let poisoned = new_cart(&cluster).await;
    let mut neighbours = vec![new_cart(&cluster).await, new_cart(&cluster).await];
    for _ in 0..CARTS {
        let cart = new_cart(&cluster).await;
        if shard_of(&cart.id) == shard_of(&poisoned.id) {
            neighbours.push(cart);
            break;
        }
    }
    assert_eq!(neighbours.len(), 3, "no neighbour in the same shard");
    let key = shop::key();
    answer(|| shop::add(&cluster.client, &shop, &poisoned, &sku, &key)).await;

    cluster.kill(0);
    cluster.gone(0).await;
    let fail_point = format!("entity.decide=return({})", poisoned.id);
    cluster.start(0, &[("FAILPOINTS", &fail_point)]).await;
    for round in 1..=ROUNDS {
        let key = shop::key();
        let (hurt, others) = tokio::join!(
            shop::send(shop::add(&cluster.client, &shop, &poisoned, &sku, &key)),
            futures::future::join_all(neighbours.iter().map(|cart| async {
                let key = shop::key();
                let reply = shop::send(shop::add(&cluster.client, &shop, cart, &sku, &key)).await;
                reply.unwrap()
            })),
        );
        let hurt = hurt.unwrap();
        assert!(matches!(hurt.status, 500 | 503), "{hurt:?}");
        assert!(hurt.body["type"].is_string(), "{hurt:?}");
        assert!(!hurt.body.to_string().contains("entity.decide"), "{hurt:?}");
        for reply in others {
            assert_eq!(reply.status, 200, "a neighbour: {reply:?}");
            assert_eq!(shop::lines(&reply.body)[&sku], round as u64);
        }
    }
    let actors = cluster.operator(0, "/v1/actors").await;
    let carts = actors["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|kind| kind["kind"] == "cart");
    let carts = carts.unwrap();
    assert!(carts["restarts"].as_u64().unwrap() > 0, "{carts}");
    assert!(carts["crashes"].to_string().contains(&poisoned.id), "{carts}");
    println!(
        "{} restarts of the poisoned cart shown for {ROUNDS} poisonous commands",
        carts["restarts"]
    );

    cluster.kill(0);
    cluster.gone(0).await;
    cluster.start(0, &[]).await;
    let key = shop::key();
    let healed = answer(|| shop::add(&cluster.client, &shop, &poisoned, &sku, &key)).await;
    assert_eq!(shop::lines(&healed.body)[&sku], 2, "the panics changed the cart");
    cluster.audit().await;
    cluster.end().await;
}
