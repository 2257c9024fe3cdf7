//! The region of a single node: ownership, limits of the node, the supervisor of the shards.

use std::collections::HashMap;

use futures::FutureExt;

use super::*;
use crate::actors::testing::{CounterCommand, Engine, LIMIT, ask, identified};
use crate::actors::{Regions, in_memory};
use crate::stores::documents::DocumentStore;
use crate::stores::documents::faulty::FaultyDocuments;
use crate::stores::documents::outbox::{INVENTORY_CONSUMERS, ORDER_CONSUMERS};
use souk_cluster::ownership::fixtures;
use souk_domain::CartCommand;
use souk_domain::fixtures::{cart_id, order_id, placement, product, sku};
use souk_domain::order::OrderCommand;
use souk_domain::stock::StockCommand;

const ID: &str = "counter";

#[tokio::test]
async fn a_kind_admits_a_limited_number_of_commands() {
    let engine = Engine::with(|limits| {
        limits.in_flight_per_kind = 1;
        limits.in_flight_background = 1;
        limits.retry_after = Duration::from_secs(7);
    })
    .await;
    let held = engine.store.hold().await;
    let admitted = engine.send(ID, identified(CounterCommand::Add(1)));
    engine.store.arrived(1).await;
    let retry_after = Duration::from_secs(7);
    assert_eq!(engine.read("another").await, Err(AskError::Busy { retry_after }));
    // Workers have a budget of their own, which is limited too.
    let added = engine.send(ID, identified(CounterCommand::Add(1)).in_background());
    let refused = engine
        .ask("another", ask(CounterCommand::Read).in_background())
        .await;
    assert_eq!(refused.unwrap_err(), AskError::Busy { retry_after });
    drop(held);
    assert!(matches!(added.await, Ok(Outcome::Reply(_))));
    assert!(matches!(admitted.await, Ok(Outcome::Reply(_))));
    assert_eq!(engine.read("another").await, Ok((0, 0)));
}

/// A stalled carts store takes the permits of carts alone: orders and stock go on, and so do the workers.
#[tokio::test]
async fn a_stalled_store_refuses_its_own_kind_only() {
    const PERMITS: usize = 4;
    let limits = RegionLimits {
        in_flight_per_kind: PERMITS,
        in_flight_background: PERMITS,
        ..in_memory::LIMITS
    };
    let carts = FaultyDocuments::new("carts").await;
    let orders = FaultyDocuments::with_consumers("orders", ORDER_CONSUMERS).await;
    let inventory = FaultyDocuments::with_consumers("inventory", INVENTORY_CONSUMERS).await;
    let stalled = Arc::clone(&carts) as Arc<dyn DocumentStore>;
    let regions = Regions::limited(stalled, orders, inventory, limits).await;
    fn ask<A: Aggregate>(command: A::Command) -> Ask<A> {
        Ask::new(command, Instant::now() + LIMIT, Arc::from("test"))
    }
    let add = || CartCommand::Add {
        sku: sku(0),
        product_id: product(0),
        quantity: 1,
    };
    let held = carts.hold().await;
    let shoppers: Vec<_> = (0..PERMITS)
        .map(|shopper| {
            let (regions, add) = (regions.clone(), add());
            tokio::spawn(async move { regions.carts.ask(cart_id(shopper).as_str(), ask(add)).await })
        })
        .collect();
    while regions.in_flight() < PERMITS {
        tokio::task::yield_now().await;
    }

    let another = cart_id(PERMITS);
    let refused = regions.carts.ask(another.as_str(), ask(CartCommand::Get)).await;
    assert!(matches!(refused, Err(AskError::Busy { .. })), "{refused:?}");
    let get = ask(CartCommand::Get).in_background();
    regions.carts.ask(another.as_str(), get).await.unwrap();
    let receive = StockCommand::Receive {
        reference: "r".to_owned(),
        quantity: 5,
    };
    regions.skus.ask(sku(0).as_str(), ask(receive)).await.unwrap();
    let place = OrderCommand::Place(Box::new(placement(1, &[1])));
    let placed = regions
        .orders
        .ask(order_id(1).as_str(), ask(place))
        .await
        .unwrap();
    assert_eq!(placed.version, 1);

    drop(held);
    for shopper in shoppers {
        shopper.await.unwrap().unwrap();
    }
    assert_eq!(regions.in_flight(), 0);
}

#[tokio::test]
async fn without_an_owner_a_command_waits_for_the_view() {
    let engine = Engine::start().await;
    engine.routing.step_down();
    let mut added = std::pin::pin!(engine.add(ID, 1));
    assert!((&mut added).now_or_never().is_none());
    fixtures::install(&engine.routing, 1);
    assert_eq!(added.await, Ok((1, 1)));
}

#[tokio::test]
async fn without_an_owner_until_the_deadline_nothing_ran() {
    let engine = Engine::start().await;
    engine.routing.step_down();
    let short = Ask {
        deadline: Instant::now() + Duration::from_millis(20),
        ..identified(CounterCommand::Add(1))
    };
    assert_eq!(engine.ask(ID, short).await.unwrap_err(), AskError::Unavailable);
    assert_eq!(engine.stored(ID).await, 0);
}

#[tokio::test]
async fn a_shard_of_another_node_is_not_started() {
    let engine = Engine::start().await;
    let (command, outcome) = engine.command(identified(CounterCommand::Add(1)));
    // Sent while the shard was this node's, and processed afterwards.
    engine.routing.step_down();
    engine.region.dispatch(shard_of(ID), ID, command);
    assert!(matches!(outcome.await, Ok(Outcome::NotOwner(None))));
    assert_eq!(engine.region.entities_by_shard(), HashMap::new());
}

#[tokio::test]
async fn a_dropped_region_loses_commands_and_says_so() {
    let engine = Engine::start().await;
    engine.add(ID, 1).await.unwrap();
    let supervisor = engine.region.context().supervisor.get().unwrap();
    supervisor.stop_and_wait(None, None).await.unwrap();
    let outcome = engine.send(ID, ask(CounterCommand::Read)).await;
    assert!(matches!(outcome, Ok(Outcome::Lost)), "{outcome:?}");
}

#[tokio::test]
async fn live_entities_are_counted_by_shard() {
    let engine = Engine::start().await;
    engine.add(ID, 1).await.unwrap();
    assert_eq!(
        engine.region.entities_by_shard(),
        HashMap::from([(shard_of(ID), 1)])
    );
    engine.hand_over(ID).await;
    assert_eq!(engine.region.entities_by_shard(), HashMap::new());
}
