//! The table, and whole checkouts that compete for little stock while workers crash, are late, and calls go wrong.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::table::{self, CONFIRMING, FULFILLING};
use souk_domain::checkout::Step;
use souk_domain::fixtures::payment_id;
use souk_domain::order::{FailureReason, Phase};
use world::{Answer, CALLS, Fault, Workers, World};

mod worker;
mod world;

fn steps(phase: &Phase) -> Vec<Step> {
    table::path(phase).iter().map(|action| action.step).collect()
}

/// The paths through the table, as ARCHITECTURE.md names them.
fn paths() -> [(&'static str, Phase); 5] {
    let payment = payment_id(1);
    let reason = FailureReason::Internal;
    [
        ("confirming", Phase::Confirming),
        (
            "fulfilling",
            Phase::Fulfilling {
                payment: payment.clone(),
            },
        ),
        ("failing", Phase::Failing { reason }),
        ("cancelled before", Phase::Cancelling { payment: None }),
        (
            "cancelled after",
            Phase::Cancelling {
                payment: Some(payment),
            },
        ),
    ]
}

#[test]
fn undo_steps_run_in_reverse_order() {
    let expected = [
        vec![Step::Reserve, Step::Authorise, Step::Confirm],
        vec![Step::Clear, Step::Take, Step::Capture, Step::Finish],
        vec![Step::Void, Step::Release, Step::Unclaim, Step::EndFailed],
        vec![Step::Void, Step::Release, Step::Unclaim, Step::EndCancelled],
        vec![Step::Refund, Step::ReturnStock, Step::Unclaim, Step::EndCancelled],
    ];
    for ((name, phase), expected) in paths().into_iter().zip(expected) {
        assert_eq!(steps(&phase), expected, "{name}");
    }
}

#[test]
fn a_repeated_run_starts_after_the_last_decision() {
    let next = |phase, done: &[Step]| {
        let done: BTreeSet<Step> = done.iter().copied().collect();
        table::next(phase, &done).map(|action| action.step)
    };
    let fulfilling = Phase::Fulfilling {
        payment: payment_id(1),
    };
    assert_eq!(next(&fulfilling, &[]), Some(Step::Clear));
    assert_eq!(next(&fulfilling, &[Step::Clear, Step::Take]), Some(Step::Capture));
    // A refused decision comes again.
    let all = [Step::Clear, Step::Take, Step::Capture, Step::Finish];
    assert_eq!(next(&fulfilling, &all), Some(Step::Finish));
    assert_eq!(next(&Phase::AwaitingAction, &[]), None);
}

/// ARCHITECTURE.md shows the table; both must agree.
#[test]
fn the_documented_table_is_the_one_that_runs() {
    let document = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md"));
    let rows: Vec<Vec<&str>> = document
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let row = |name: &str| {
        let found = rows
            .iter()
            .find(|row| row[0] == name || row[0].starts_with(&format!("{name} ")));
        found.unwrap_or_else(|| panic!("no row for {name}"))
    };
    for documented in CONFIRMING.rows.iter().chain(FULFILLING.rows) {
        let undo = documented.undo.as_ref().map_or("-", |undo| undo.step.as_str());
        let name = documented
            .action
            .as_ref()
            .map_or("claim", |action| action.step.as_str());
        assert_eq!(row(name)[2], undo, "{name}");
    }
    for (name, phase) in paths() {
        let mut names: Vec<&str> = steps(&phase).into_iter().map(Step::as_str).collect();
        let decision = names.pop().unwrap();
        assert_eq!(row(name)[1..3], [names.join(", ").as_str(), decision], "{name}");
    }
}

#[derive(Clone, Debug)]
enum Action {
    /// A worker makes so many calls; the last started, or a late one.
    Advance {
        which: usize,
        calls: usize,
    },
    /// Another node starts a worker.
    Start,
    /// A worker is killed.
    Crash(usize),
    /// The next call of this name goes wrong.
    Fail(&'static str, Fault),
    /// The next call of this name is refused by the provider.
    Refuse(&'static str),
    /// Somebody has dealt with a refusal.
    Retry,
    Cancel,
    /// The order's deadline passes.
    Expire,
    Sweep,
}

fn actions() -> impl Strategy<Value = Action> {
    let fault = prop_oneof![Just(Fault::Unavailable), Just(Fault::ReplyLost)];
    prop_oneof![
        16 => (0usize..4, 1usize..6).prop_map(|(which, calls)| Action::Advance { which, calls }),
        3 => Just(Action::Start),
        3 => (0usize..4).prop_map(Action::Crash),
        3 => (prop::sample::select(CALLS.to_vec()), fault).prop_map(|(call, fault)| Action::Fail(call, fault)),
        1 => prop::sample::select(vec!["capture", "void", "refund"]).prop_map(Action::Refuse),
        1 => Just(Action::Retry),
        1 => Just(Action::Cancel),
        1 => Just(Action::Expire),
        2 => Just(Action::Sweep),
    ]
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![6 => Just(Answer::Accept), 1 => Just(Answer::Decline), 1 => Just(Answer::RequireAction)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(768))]

    #[test]
    fn every_checkout_ends_with_all_or_nothing(
        opening in vec(1u32..8, 2),
        orders in vec((vec(1u32..4, 2), answers()), 1..4),
        script in vec((0usize..4, actions()), 0..120),
    ) {
        // Time limits of the provider's calls need a runtime; no time passes in it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _entered = runtime.enter();
        let world = World::new(&opening, &orders);
        let mut workers: Vec<Workers> = (0..orders.len()).map(|index| Workers::new(&world, index)).collect();
        for (index, action) in script {
            let index = index % orders.len();
            match action {
                Action::Advance { which, calls } => workers[index].advance(which, calls),
                Action::Start => workers[index].start(),
                Action::Crash(which) => workers[index].crash(which),
                Action::Fail(call, fault) => world.fail(call, [fault]),
                Action::Refuse(call) => world.fail(call, [Fault::Refused]),
                Action::Retry => world.retry(index),
                Action::Cancel => world.cancel(index),
                Action::Expire => world.expire(index),
                Action::Sweep => world.sweep(20),
            }
        }
        workers.iter_mut().for_each(Workers::complete);
        // Late workers may have reserved again for an order that has ended (invariant 11).
        world.sweep(1_000);
        let mut sold = vec![0; opening.len()];
        for index in 0..orders.len() {
            for (sum, quantity) in sold.iter_mut().zip(world.check(index)?) {
                *sum += quantity;
            }
        }
        world.check_stock(&sold)?;
    }
}

#[test]
fn every_step_is_in_the_table() {
    let mut found: BTreeMap<Step, usize> = BTreeMap::new();
    for stage in [&CONFIRMING, &FULFILLING] {
        let rows = stage.rows.iter();
        let actions = rows.flat_map(|row| [row.action.as_ref(), row.undo.as_ref()]);
        for action in actions.flatten().chain([&stage.decision]) {
            *found.entry(action.step).or_default() += 1;
        }
    }
    assert_eq!(found.remove(&Step::Unclaim), Some(2), "in either stage");
    assert!(found.values().all(|count| *count == 1), "{found:?}");
    assert_eq!(found.len(), 11, "all others but the two that end a compensation");
    for step in found.into_keys() {
        assert_eq!(serde_json::to_value(step).unwrap(), step.as_str());
    }
}
