//! Shards of test entities: activation, passivation, hand-over, limits, crashes.

use futures::FutureExt;

use super::*;
use crate::actors::outcome::{Ask, AskError, Failure};
use crate::actors::testing::{CounterCommand, Engine, LIMIT, ask, identified, neighbours};
use souk_cluster::placement::shard_of;

const ID: &str = "counter";

/// Lets the shard of this entity look for idle ones.
fn tick(engine: &Engine, id: &str) {
    let shard = &engine.region.context().shards[usize::from(shard_of(id))];
    assert!(shard.cast(ShardMessage::Tick));
}

#[tokio::test]
async fn an_idle_entity_is_passivated_and_activated_again() {
    let engine = Engine::with(|limits| limits.idle = Duration::ZERO).await;
    engine.add(ID, 1).await.unwrap();
    let actor = engine.actor(ID).unwrap();
    while engine.actor(ID).is_some() {
        tick(&engine, ID);
        tokio::task::yield_now().await;
    }
    actor.wait(None).await.unwrap();
    assert_eq!(engine.add(ID, 1).await, Ok((2, 2)));
}

#[tokio::test]
async fn an_entity_with_a_write_is_not_idle() {
    let engine = Engine::with(|limits| limits.idle = Duration::ZERO).await;
    let ids = neighbours(2);
    let held = engine.store.hold().await;
    let added = engine.send(&ids[0], identified(CounterCommand::Add(1)));
    engine.store.arrived(1).await;
    tick(&engine, &ids[0]);
    // Activated by the same shard after the tick.
    engine.read(&ids[1]).await.unwrap();
    assert!(engine.actor(&ids[0]).is_some());
    drop(held);
    assert!(matches!(added.await, Ok(Outcome::Reply(_))));
}

#[tokio::test]
async fn a_full_shard_passivates_the_longest_idle() {
    let engine = Engine::with(|limits| limits.live_entities = 4).await;
    let ids = neighbours(20);
    for id in &ids {
        engine.add(id, 1).await.unwrap();
        assert!(engine.region.context().directory.len() <= 4);
    }
    assert!(engine.actor(&ids[19]).is_some() && engine.actor(&ids[0]).is_none());
    assert_eq!(engine.add(&ids[0], 1).await, Ok((2, 2)));
}

#[tokio::test]
async fn a_hand_over_waits_for_the_write_and_releases_memory() {
    let engine = Engine::start().await;
    let held = engine.store.hold().await;
    let added = engine.send(ID, identified(CounterCommand::Add(1)));
    engine.store.arrived(1).await;
    let mut handed_over = std::pin::pin!(engine.hand_over(ID));
    assert!((&mut handed_over).now_or_never().is_none());
    while engine.actor(ID).is_some() {
        tokio::task::yield_now().await;
    }
    // While the last write is in flight, the shard takes no more.
    let late = engine.send(ID, ask(CounterCommand::Read));
    let outcome = tokio::select! {
        outcome = late => outcome,
        () = &mut handed_over => panic!("the write is in flight"),
    };
    assert!(matches!(outcome, Ok(Outcome::NotOwner(None))), "{outcome:?}");

    drop(held);
    handed_over.await;
    let outcome = added.await;
    assert!(
        matches!(&outcome, Ok(Outcome::Reply(answer)) if answer.version == 1),
        "{outcome:?}"
    );
    let context = engine.region.context();
    assert!(context.directory.is_empty());
    assert!(context.shards[usize::from(shard_of(ID))].get().is_none());
    assert_eq!(context.started_shards.load(Ordering::Relaxed), 0);
    assert_eq!(context.in_flight.total(), 0);
}

#[tokio::test]
async fn a_hand_over_answers_waiting_callers() {
    let engine = Engine::start().await;
    engine.ask(ID, identified(CounterCommand::Open)).await.unwrap();
    let waiting = engine.send(
        ID,
        Ask {
            wait_until_settled: true,
            ..ask(CounterCommand::Read)
        },
    );
    engine.flushed(ID).await;
    engine.hand_over(ID).await;
    // Its caller asks again, and finds the next owner.
    assert!(matches!(waiting.await, Ok(Outcome::Lost)));
}

#[tokio::test]
async fn an_entity_admits_a_limited_number_of_commands() {
    let engine = Engine::with(|limits| limits.in_flight_per_entity = 2).await;
    let held = engine.store.hold().await;
    let admitted = [(); 2].map(|()| engine.send(ID, identified(CounterCommand::Add(1))));
    engine.store.arrived(1).await;
    let refused = engine.add(ID, 1).await;
    assert!(matches!(refused, Err(AskError::Busy { .. })), "{refused:?}");
    drop(held);
    for outcome in futures::future::join_all(admitted).await {
        assert!(matches!(outcome, Ok(Outcome::Reply(_))), "{outcome:?}");
    }
    assert_eq!(engine.add(ID, 1).await, Ok((3, 3)));
}

#[tokio::test]
async fn a_crashed_entity_restarts_from_the_store() {
    let engine = Engine::start().await;
    engine.add(ID, 1).await.unwrap();
    let crashed = engine
        .ask(ID, identified(CounterCommand::Panic))
        .await
        .unwrap_err();
    assert_eq!(crashed, AskError::Crashed);
    assert_eq!(engine.add(ID, 1).await, Ok((2, 2)));
}

#[tokio::test]
async fn an_entity_that_keeps_crashing_is_parked() {
    let engine = Engine::with(|limits| {
        limits.crashes = 1;
        limits.parked = LIMIT;
    })
    .await;
    let ids = neighbours(2);
    for _ in 0..2 {
        let crashed = engine
            .ask(&ids[0], identified(CounterCommand::Panic))
            .await
            .unwrap_err();
        assert_eq!(crashed, AskError::Crashed);
    }
    let refused = engine.read(&ids[0]).await;
    assert!(
        matches!(refused, Err(AskError::Busy { retry_after }) if retry_after > LIMIT / 2),
        "{refused:?}"
    );
    assert_eq!(engine.read(&ids[1]).await, Ok((0, 0)));
}

#[tokio::test]
async fn a_crash_fails_the_commands_behind_it_as_lost() {
    let engine = Engine::start().await;
    let held = engine.store.hold().await;
    let before = engine.send(ID, identified(CounterCommand::Add(1)));
    engine.store.arrived(1).await;
    let panicking = engine.send(ID, identified(CounterCommand::Panic));
    let behind = engine.send(ID, ask(CounterCommand::Read));
    assert!(matches!(panicking.await, Ok(Outcome::Failed(Failure::Crashed))));
    for outcome in [before.await, behind.await] {
        assert!(matches!(outcome, Ok(Outcome::Lost)), "{outcome:?}");
    }
    drop(held);
}
