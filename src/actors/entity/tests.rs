//! Entities over a store with faults: what is answered when, and what takes effect.

use futures::FutureExt;
use tokio::join;

use super::*;
use crate::actors::outcome::{AskError, Failure};
use crate::actors::region::AnyRegion;
use crate::actors::testing::{Counter, CounterCommand, Engine, ask, identified};
use crate::stores::documents::faulty::Fault;
use crate::stores::documents::{Document, DocumentStore, DocumentWrite};

const ID: &str = "counter";

#[tokio::test]
async fn the_reply_follows_the_durable_write() {
    let engine = Engine::start().await;
    let held = engine.store.hold().await;
    let mut added = engine.send(ID, identified(CounterCommand::Add(5)));
    engine.store.arrived(1).await;
    // A read that rests on the write has to wait for it too.
    let mut read = engine.send(ID, ask(CounterCommand::Read));
    engine.flushed(ID).await;
    assert!((&mut added).now_or_never().is_none() && (&mut read).now_or_never().is_none());
    assert_eq!(engine.stored(ID).await, 0);

    drop(held);
    for outcome in [added.await, read.await] {
        let Ok(Outcome::Reply(answer)) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!((answer.reply, answer.version), (5, 1));
    }
    assert_eq!(engine.stored(ID).await, 1);
}

#[tokio::test]
async fn commands_behind_a_write_share_the_next_one() {
    let engine = Engine::start().await;
    let held = engine.store.hold().await;
    let first = engine.send(ID, identified(CounterCommand::Add(1)));
    engine.store.arrived(1).await;
    let others: Vec<_> = (0..10)
        .map(|_| engine.send(ID, identified(CounterCommand::Add(1))))
        .collect();
    // The read of the last one's effect is answered with it.
    let read = engine.send(ID, ask(CounterCommand::Read));
    drop(held);
    for outcome in futures::future::join_all(others.into_iter().chain([first])).await {
        assert!(matches!(outcome, Ok(Outcome::Reply(_))), "{outcome:?}");
    }
    let read = read.await;
    assert!(
        matches!(&read, Ok(Outcome::Reply(answer)) if (answer.reply, answer.version) == (11, 11)),
        "{read:?}"
    );
    assert_eq!(engine.store.writes(), 2);
}

#[tokio::test]
async fn a_conflict_is_decided_anew_on_the_stored_state() {
    let engine = Engine::start().await;
    let rival = engine.rival("rival", 1).await;
    assert_eq!(engine.add(ID, 1).await, Ok((1, 1)));
    assert_eq!(rival.add(ID, 10).await, Ok((11, 2)));

    assert_eq!(engine.add(ID, 100).await, Ok((111, 3)));
    assert_eq!(engine.stored(ID).await, 3);
}

#[tokio::test]
async fn a_conflict_refuses_an_expected_version() {
    let engine = Engine::start().await;
    let rival = engine.rival("rival", 1).await;
    engine.add(ID, 1).await.unwrap();
    rival.add(ID, 10).await.unwrap();

    // True in this entity's memory, and not in the store.
    let conditional = Ask {
        expected_version: Some(1),
        ..identified(CounterCommand::Add(100))
    };
    let refused = engine.ask(ID, conditional).await.unwrap_err();
    assert_eq!(refused, AskError::VersionConflict { current: 2 });
    assert_eq!(engine.read(ID).await, Ok((11, 2)));
}

fn presuming(command: CounterCommand) -> Ask<Counter> {
    Ask {
        presumes_absence: true,
        ..identified(command)
    }
}

#[tokio::test]
async fn a_presumed_absence_costs_no_load() {
    let engine = Engine::start().await;
    let answer = engine.ask(ID, presuming(CounterCommand::Add(5))).await.unwrap();
    assert_eq!((answer.reply, answer.version), (5, 1));
    assert_eq!((engine.store.loads(), engine.store.writes()), (0, 1));
    assert_eq!(engine.read(ID).await, Ok((5, 1)));
}

#[tokio::test]
async fn a_wrong_presumption_is_decided_on_the_row() {
    let engine = Engine::start().await;
    let rival = engine.rival("rival", 1).await;
    assert_eq!(rival.add(ID, 10).await, Ok((10, 1)));
    let answer = engine.ask(ID, presuming(CounterCommand::Add(5))).await.unwrap();
    assert_eq!((answer.reply, answer.version), (15, 2));
}

#[tokio::test]
async fn a_presumption_answers_nothing_by_itself() {
    for (rows, expected) in [(0, (0, 0)), (1, (10, 1))] {
        let engine = Engine::start().await;
        for _ in 0..rows {
            let rival = engine.rival("rival", 1).await;
            rival.add(ID, 10).await.unwrap();
        }
        let answer = engine.ask(ID, presuming(CounterCommand::Read)).await.unwrap();
        assert_eq!((answer.reply, answer.version), expected);
        let conditional = Ask {
            expected_version: Some(1),
            ..presuming(CounterCommand::Read)
        };
        let answer = engine.ask(ID, conditional).await;
        assert_eq!(answer.is_ok(), rows == 1, "{answer:?}");
    }
}

#[tokio::test]
async fn endless_conflicts_end_as_busy() {
    let engine = Engine::start().await;
    for _ in 0..10 {
        engine.store.inject(Fault::Conflict);
    }
    let outcome = engine.add(ID, 1).await;
    assert!(matches!(outcome, Err(AskError::Busy { .. })), "{outcome:?}");
    assert_eq!(engine.store.writes(), 9);
}

#[tokio::test]
async fn a_lost_reply_of_an_applied_write_repeats_nothing() {
    let engine = Engine::start().await;
    engine.store.inject(Fault::ReplyLost);
    assert_eq!(engine.add(ID, 1).await, Ok((1, 1)));
    assert_eq!(engine.add(ID, 1).await, Ok((2, 2)));
    assert_eq!(engine.store.writes(), 2);
}

#[tokio::test]
async fn a_lost_write_is_decided_anew_under_its_id() {
    let engine = Engine::start().await;
    engine.store.inject(Fault::RequestLost);
    assert_eq!(engine.add(ID, 1).await, Ok((1, 1)));

    // Without an id it might take effect twice: its caller has to know.
    engine.store.inject(Fault::RequestLost);
    let failed = engine.ask(ID, ask(CounterCommand::Add(1))).await.unwrap_err();
    assert_eq!(failed, AskError::Store);
    // The row is fenced against it.
    assert_eq!(engine.read(ID).await, Ok((1, 2)));
}

#[tokio::test]
async fn a_repeated_id_changes_nothing() {
    let engine = Engine::start().await;
    let command = identified(CounterCommand::Add(1));
    for _ in 0..2 {
        let answer = engine.ask(ID, command.clone()).await.unwrap();
        assert_eq!((answer.reply, answer.version), (1, 1));
        // The second time it is a new activation that remembers.
        engine.hand_over(ID).await;
    }
    assert_eq!(engine.store.writes(), 1);
}

#[tokio::test]
async fn a_failed_write_leaves_no_trace_in_memory() {
    let engine = Engine::start().await;
    engine.add(ID, 1).await.unwrap();
    engine.store.inject(Fault::Unavailable);
    assert_eq!(engine.add(ID, 10).await, Err(AskError::Store));
    assert_eq!(engine.read(ID).await, Ok((1, 1)));
    assert_eq!(engine.add(ID, 100).await, Ok((101, 2)));
}

#[tokio::test]
async fn an_unavailable_store_is_asked_again_later() {
    let engine = Engine::start().await;
    engine.store.set_available(false);
    assert_eq!(engine.read(ID).await, Err(AskError::Store));
    assert_eq!(engine.add(ID, 1).await, Err(AskError::Store));
    engine.store.set_available(true);
    assert_eq!(engine.add(ID, 1).await, Ok((1, 1)));
}

#[tokio::test]
async fn a_refused_row_fails_alone() {
    let engine = Engine::start().await;
    for id in [ID, "another"] {
        engine.add(id, 1).await.unwrap();
    }
    engine.store.refuse(ID);
    let (refused, other) = join!(engine.add(ID, 1), engine.add("another", 1));
    assert_eq!((refused, other), (Err(AskError::Store), Ok((2, 2))));
    assert_eq!(engine.read(ID).await, Ok((1, 1)));
    let description = engine.region.describe(ID).await.unwrap();
    assert_eq!(
        description.last_error.as_deref(),
        Some("the store refused the row")
    );
}

#[tokio::test]
async fn an_unreadable_row_fails_its_own_commands() {
    let engine = Engine::start().await;
    overwrite(&engine, ID).await;
    assert_eq!(engine.add(ID, 1).await, Err(AskError::Store));
    assert_eq!(engine.stored(ID).await, 1);
    let description = engine.region.describe(ID).await.unwrap();
    assert!(description.last_error.unwrap().contains("does not decode"));
}

#[tokio::test]
async fn an_expired_command_does_not_run() {
    let engine = Engine::start().await;
    engine.read(ID).await.unwrap();
    for id in [ID, "not-loaded"] {
        let expired = Ask {
            deadline: Instant::now(),
            ..identified(CounterCommand::Add(1))
        };
        let outcome = engine.send(id, expired).await;
        assert!(matches!(outcome, Ok(Outcome::Expired)), "{outcome:?}");
        assert_eq!(engine.read(id).await, Ok((0, 0)));
    }
}

#[tokio::test]
async fn waiting_callers_hear_of_the_settled_state() {
    let engine = Engine::start().await;
    engine.ask(ID, identified(CounterCommand::Open)).await.unwrap();
    let waiting = Ask {
        wait_until_settled: true,
        ..identified(CounterCommand::Add(7))
    };
    let mut waiting = engine.send(ID, waiting);
    while engine.region.describe(ID).await.unwrap().version < 2 {}
    assert!(
        (&mut waiting).now_or_never().is_none(),
        "durable, and not settled"
    );
    let closed = engine.ask(ID, identified(CounterCommand::Close)).await;
    assert_eq!(closed.unwrap().version, 3);
    let Ok(Outcome::Reply(answer)) = waiting.await else {
        panic!("not answered");
    };
    assert_eq!((answer.reply, answer.view, answer.version), (7, 7, 3));
}

#[tokio::test]
async fn passivation_waits_for_the_write() {
    let engine = Engine::start().await;
    let held = engine.store.hold().await;
    let added = engine.send(ID, identified(CounterCommand::Add(1)));
    engine.store.arrived(1).await;
    let actor = engine.actor(ID).unwrap();
    actor.cast(EntityMessage::Passivate).unwrap();
    engine.flushed(ID).await;
    drop(held);
    let outcome = added.await;
    assert!(
        matches!(&outcome, Ok(Outcome::Reply(answer)) if answer.version == 1),
        "{outcome:?}"
    );
    actor.wait(None).await.unwrap();
    // The next activation goes on from the row.
    assert_eq!(engine.add(ID, 1).await, Ok((2, 2)));
}

#[tokio::test]
async fn a_read_without_the_lease_asks_the_store() {
    let engine = Engine::start().await;
    let rival = engine.rival("rival", 1).await;
    assert_eq!(engine.add(ID, 1).await, Ok((1, 1)));
    rival.add(ID, 10).await.unwrap();
    // While the node holds the lease, no other node writes: memory is current.
    assert_eq!(engine.read(ID).await, Ok((1, 1)));
    engine.routing.drop_lease();
    assert_eq!(engine.read(ID).await, Ok((11, 2)));
    engine.store.set_available(false);
    assert_eq!(engine.read(ID).await, Err(AskError::Store));
}

#[tokio::test]
async fn a_crash_fails_its_command_and_loses_no_other() {
    let engine = Engine::start().await;
    let held = engine.store.hold().await;
    let mut added = std::pin::pin!(engine.add(ID, 1));
    tokio::select! {
        answer = &mut added => panic!("{answer:?}"),
        () = engine.store.arrived(1) => {}
    }
    let outcome = engine.send(ID, identified(CounterCommand::Panic)).await;
    assert!(
        matches!(outcome, Ok(Outcome::Failed(Failure::Crashed))),
        "{outcome:?}"
    );
    drop(held);
    // Repeated under its id, whether the write landed before or after the new activation loaded the row.
    assert_eq!(added.await, Ok((1, 1)));
    assert_eq!(engine.read(ID).await, Ok((1, 1)));
}

/// Writes a row that no entity can decode, past all entities.
async fn overwrite(engine: &Engine, id: &str) {
    let version = engine.stored(id).await;
    let write = DocumentWrite {
        document: Document {
            id: id.to_owned(),
            shard: souk_cluster::placement::shard_of(id),
            version: version + 1,
            fence: 0,
            due_at: None,
            owner: None,
            body: "null".to_owned(),
        },
        expected: version,
        events: Vec::new(),
    };
    engine.store.write("elsewhere", &[write]).await.unwrap();
}
