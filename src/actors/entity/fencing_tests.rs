//! Two nodes that both take themselves for the owner: no acknowledged write is invisible to a later read (invariant 13).

use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::join_all;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::actors::outcome::{Ask, AskError, Outcome};
use crate::actors::testing::{Counter, CounterCommand, Engine, ask, identified};
use crate::stores::documents::faulty::Fault;
use crate::stores::documents::{Document, DocumentStore, WriteOutcome};

const ID: &str = "counter";

/// An owner whose look at the view is late, and the owner after it.
async fn owners() -> (Engine, Engine) {
    let former = Engine::start().await;
    let present = former.rival("present", 2).await;
    (former, present)
}

async fn row(engine: &Engine, id: &str) -> Document {
    engine.store.load(id).await.unwrap().unwrap()
}

/// Sends a command once; `None` where the node says that it is not the owner.
async fn once(engine: &Engine, id: &str, ask: Ask<Counter>) -> Option<(u64, u64)> {
    match engine.send(id, ask).await {
        Ok(Outcome::Reply(answer)) => Some((answer.reply, answer.version)),
        Ok(Outcome::NotOwner(None)) => None,
        outcome => panic!("{outcome:?}"),
    }
}

/// Interleaving A: the former owner writes after the new one has loaded the row.
#[tokio::test]
async fn a_former_owner_cannot_write_behind_the_new_one() {
    let (former, present) = owners().await;
    assert_eq!(former.add(ID, 1).await, Ok((1, 1)));
    former.routing.drop_lease();
    // The read is answered from a row that the former owner can't replace any more.
    assert_eq!(present.read(ID).await, Ok((1, 2)));
    let fenced = row(&present, ID).await;
    assert_eq!((fenced.version, fenced.fence), (2, 2));

    assert_eq!(once(&former, ID, identified(CounterCommand::Add(10))).await, None);
    assert_eq!(once(&former, ID, ask(CounterCommand::Read)).await, None);
    assert_eq!(present.read(ID).await, Ok((1, 2)));
    assert_eq!(row(&present, ID).await, fenced);
    // The view is looked at without waiting for the next interval.
    assert!(former.routing.suspected().now_or_never().is_some());
}

/// The same, but the former owner's write comes first: the fence conflicts, and the new owner sees it.
#[tokio::test]
async fn a_write_before_the_fence_is_seen() {
    let (former, present) = owners().await;
    former.add(ID, 1).await.unwrap();
    let held = former.store.hold().await;
    let added = former.send(ID, identified(CounterCommand::Add(10)));
    former.store.arrived(2).await;
    let read = present.send(ID, ask(CounterCommand::Read));
    former.store.arrived(3).await;
    drop(held);
    assert!(matches!(added.await, Ok(Outcome::Reply(answer)) if answer.version == 2));
    assert!(matches!(read.await, Ok(Outcome::Reply(answer)) if (answer.reply, answer.version) == (11, 3)));
    assert_eq!(row(&present, ID).await.fence, 2);
}

/// A command that changes the entity is its own fence: one write, and no version of its own for the fence.
#[tokio::test]
async fn a_change_is_its_own_fence() {
    let (former, present) = owners().await;
    former.add(ID, 1).await.unwrap();
    let conditional = Ask {
        expected_version: Some(1),
        ..identified(CounterCommand::Add(10))
    };
    let answer = present.ask(ID, conditional).await.unwrap();
    assert_eq!((answer.reply, answer.version), (11, 2));
    assert_eq!(row(&present, ID).await.fence, 2);
    assert_eq!(present.store.writes(), 2);
    // Once fenced, reads cost no write.
    assert_eq!(present.read(ID).await, Ok((11, 2)));
    assert_eq!(present.store.writes(), 2);
}

/// A take-over by itself makes no conditional request fail: the version before the fence has the same state.
#[tokio::test]
async fn a_fence_fails_no_conditional_command() {
    let (former, present) = owners().await;
    former.add(ID, 1).await.unwrap();
    assert_eq!(present.read(ID).await, Ok((1, 2)));
    let conditional = |version| Ask {
        expected_version: Some(version),
        ..identified(CounterCommand::Add(10))
    };
    assert_eq!(present.ask(ID, conditional(1)).await.unwrap().version, 3);
    for stale in [1, 2] {
        let refused = present.ask(ID, conditional(stale)).await.unwrap_err();
        assert_eq!(refused, AskError::VersionConflict { current: 3 });
    }
}

/// Callers that wait for the entity to settle hear nothing of a row that is not fenced yet.
#[tokio::test]
async fn waiting_callers_hear_of_fenced_rows_only() {
    let (former, present) = owners().await;
    former.add(ID, 1).await.unwrap();
    let held = present.store.hold().await;
    let mut waiting = present.send(
        ID,
        Ask {
            wait_until_settled: true,
            ..ask(CounterCommand::Read)
        },
    );
    present.store.arrived(2).await;
    present.flushed(ID).await;
    assert!((&mut waiting).now_or_never().is_none());
    drop(held);
    assert!(matches!(waiting.await, Ok(Outcome::Reply(answer)) if answer.version == 2));
}

/// Interleaving B: a write whose outcome is unknown lands after its node has loaded the row again.
#[tokio::test]
async fn a_late_write_cannot_land_behind_a_read() {
    let engine = Engine::start().await;
    engine.add(ID, 1).await.unwrap();
    engine.store.inject(Fault::Late);
    // Without an id it is not decided again: its caller has to know.
    let unknown = engine.ask(ID, ask(CounterCommand::Add(10))).await.unwrap_err();
    assert_eq!(unknown, AskError::Store);
    assert_eq!(engine.read(ID).await, Ok((1, 2)));
    assert_eq!(engine.store.land().await, [WriteOutcome::Conflict]);
    assert_eq!(engine.read(ID).await, Ok((1, 2)));
    assert_eq!(engine.stored(ID).await, 2);
}

/// The same, where nobody remembers the unknown outcome: the entity has left memory meanwhile.
#[tokio::test]
async fn an_unknown_outcome_outlives_its_entity() {
    let engine = Engine::start().await;
    engine.add(ID, 1).await.unwrap();
    engine.store.inject(Fault::Late);
    engine.ask(ID, ask(CounterCommand::Add(10))).await.unwrap_err();
    engine.hand_over(ID).await;
    assert_eq!(engine.read(ID).await, Ok((1, 2)));
    assert_eq!(engine.store.land().await, [WriteOutcome::Conflict]);
    // It is settled: the next activation has nothing to fence.
    engine.hand_over(ID).await;
    assert_eq!(engine.read(ID).await, Ok((1, 2)));
}

/// A late write that has landed before the fence is seen, and a command with an id takes effect once.
#[tokio::test]
async fn a_late_write_takes_effect_once() {
    let engine = Engine::start().await;
    engine.add(ID, 1).await.unwrap();
    engine.store.inject(Fault::Late);
    assert_eq!(engine.add(ID, 10).await, Ok((11, 2)));
    assert_eq!(engine.store.land().await, [WriteOutcome::Conflict]);
    assert_eq!(engine.read(ID).await, Ok((11, 2)));
}

/// There is no row to fence: every command looks again, and the entity does not stay in memory.
#[tokio::test]
async fn absence_is_not_remembered() {
    let (former, present) = owners().await;
    assert_eq!(present.read(ID).await, Ok((0, 0)));
    let actor = present.actor(ID);
    assert_eq!(former.add(ID, 1).await, Ok((1, 1)));
    assert_eq!(present.read(ID).await, Ok((1, 2)));
    if let Some(actor) = actor {
        actor.wait(None).await.unwrap();
    }

    assert_eq!(present.read("nobody").await, Ok((0, 0)));
    while present.actor("nobody").is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(present.store.load("nobody").await.unwrap(), None);
}

/// An insert is guarded by the absence of the row and fences it.
#[tokio::test]
async fn an_insert_carries_the_fence() {
    let (former, present) = owners().await;
    let held = present.store.hold().await;
    let late = former.send(ID, identified(CounterCommand::Add(10)));
    present.store.arrived(1).await;
    let first = present.send(ID, identified(CounterCommand::Add(1)));
    present.store.arrived(2).await;
    drop(held);
    // Whichever came first, the other saw it or was refused.
    let (late, first) = (late.await.unwrap(), first.await.unwrap());
    let Outcome::Reply(first) = first else {
        panic!("{first:?}");
    };
    match late {
        Outcome::Reply(late) => assert_eq!((late.reply, first.reply), (10, 11)),
        Outcome::NotOwner(None) => assert_eq!(first.reply, 1),
        late => panic!("{late:?}"),
    }
    assert_eq!(row(&present, ID).await.fence, 2);
    assert_eq!(present.read(ID).await, Ok((first.reply, first.version)));
}

/// A node that owned the shard, lost it and owns it again does not answer from what it still has in memory.
#[tokio::test]
async fn memory_of_an_earlier_tenure_is_not_used() {
    let (former, present) = owners().await;
    former.add(ID, 1).await.unwrap();
    present.add(ID, 10).await.unwrap();
    // Views 2 and 3 in quick succession; the entity has not been released yet.
    souk_cluster::ownership::fixtures::install(&former.routing, 3);
    assert_eq!(former.read(ID).await, Ok((11, 3)));
    assert_eq!(row(&former, ID).await.fence, 3);
    assert_eq!(
        once(&present, ID, identified(CounterCommand::Add(100))).await,
        None
    );
}

const ROUNDS: u64 = 200;

/// Interleavings A and B in 200 random orders: commands of both nodes at once, with lost, late and repeated answers.
/// Counters only grow, so a read is stale where it shows less than what was acknowledged before it was asked.
#[tokio::test(flavor = "multi_thread")]
async fn random_interleavings_show_no_stale_read() {
    let (former, present) = owners().await;
    former.routing.drop_lease();
    let mut random = ChaCha8Rng::seed_from_u64(13);
    for round in 0..ROUNDS {
        let id = format!("counter-{round}");
        if random.next_u32() % 4 > 0 {
            former.ask(&id, identified(CounterCommand::Add(1))).await.unwrap();
        }
        let acknowledged = AtomicU64::new(present.stored(&id).await);
        let certain = AtomicU64::new(acknowledged.load(Ordering::SeqCst));
        let attempts = AtomicU64::new(certain.load(Ordering::SeqCst));
        let commands = (0..4 + random.next_u32() % 5).map(|_| {
            let (choice, pause) = (random.next_u32(), random.next_u32() % 40);
            let engine = if choice & 1 == 0 { &former } else { &present };
            match random.next_u32() % 12 {
                0 => engine.store.inject(Fault::Late),
                1 => engine.store.inject(Fault::ReplyLost),
                2 => engine.store.inject(Fault::RequestLost),
                _ => {}
            }
            let (id, acknowledged, certain, attempts) = (&id, &acknowledged, &certain, &attempts);
            async move {
                for _ in 0..pause {
                    tokio::task::yield_now().await;
                }
                if pause % 8 == 0 {
                    engine.store.land().await;
                }
                let is_add = choice & 2 == 0;
                let command = if is_add {
                    attempts.fetch_add(1, Ordering::SeqCst);
                    identified(CounterCommand::Add(1))
                } else {
                    ask(CounterCommand::Read)
                };
                let before = acknowledged.load(Ordering::SeqCst);
                let outcome = engine.send(id, command).await;
                let Ok(Outcome::Reply(answer)) = outcome else {
                    let is_known = matches!(
                        outcome,
                        Ok(Outcome::NotOwner(None) | Outcome::Busy { .. } | Outcome::Lost)
                    );
                    assert!(is_known, "{outcome:?}");
                    return;
                };
                let least = before + u64::from(is_add);
                assert!(
                    answer.reply >= least,
                    "round {round}: {} after {least}",
                    answer.reply
                );
                acknowledged.fetch_max(answer.reply, Ordering::SeqCst);
                if is_add {
                    certain.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        join_all(commands.collect::<Vec<_>>()).await;
        present.store.clear_faults();
        present.store.land().await;
        let (last, version) = present.read(&id).await.unwrap();
        assert_eq!(version, present.stored(&id).await, "round {round}");
        let range = certain.load(Ordering::SeqCst)..=attempts.load(Ordering::SeqCst);
        assert!(range.contains(&last), "round {round}: {last} of {range:?}");
        assert!(last >= acknowledged.load(Ordering::SeqCst), "round {round}");
    }
}
