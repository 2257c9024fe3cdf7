//! The region of a single node: ownership, limits of the node, the supervisor of the shards.

use std::collections::HashMap;

use futures::FutureExt;

use super::*;
use crate::actors::testing::{CounterCommand, Engine, ask, identified};
use souk_cluster::ownership::fixtures;

const ID: &str = "counter";

#[tokio::test]
async fn a_node_admits_a_limited_number_of_commands() {
    let engine = Engine::with(|limits| {
        limits.in_flight_per_node = 1;
        limits.retry_after = Duration::from_secs(7);
    })
    .await;
    let held = engine.store.hold().await;
    let admitted = engine.send(ID, identified(CounterCommand::Add(1)));
    engine.store.arrived(1).await;
    let retry_after = Duration::from_secs(7);
    assert_eq!(engine.read("another").await, Err(AskError::Busy { retry_after }));
    drop(held);
    assert!(matches!(admitted.await, Ok(Outcome::Reply(_))));
    assert_eq!(engine.read("another").await, Ok((0, 0)));
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
    engine.read(ID).await.unwrap();
    assert_eq!(
        engine.region.entities_by_shard(),
        HashMap::from([(shard_of(ID), 1)])
    );
    engine.hand_over(ID).await;
    assert_eq!(engine.region.entities_by_shard(), HashMap::new());
}
