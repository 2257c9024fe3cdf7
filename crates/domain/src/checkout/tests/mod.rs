//! The table against itself, and whole checkouts: several orders that compete for little stock, driven by [`next`],
//! with crashes, cancellations, deadlines and drivers that wake up late.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use world::{Action, Answer, World};

mod world;

const ALL: [Step; 13] = [
    Step::Reserve,
    Step::Authorise,
    Step::Confirm,
    Step::Take,
    Step::Capture,
    Step::Clear,
    Step::Finish,
    Step::Release,
    Step::Void,
    Step::EndFailed,
    Step::ReturnStock,
    Step::Refund,
    Step::EndCancelled,
];

#[test]
fn the_table_has_every_step_once_and_json_names_it_alike() {
    for step in ALL {
        assert_eq!(TABLE.iter().filter(|row| row.step == step).count(), 1, "{step:?}");
        assert_eq!(serde_json::to_value(step).unwrap(), step.as_str());
    }
    assert_eq!(TABLE.len(), ALL.len());
}

#[test]
fn every_way_back_undoes_whatever_may_have_been_done() {
    let undos = |path: &Path| -> BTreeSet<Step> {
        path.steps
            .iter()
            .filter_map(|step| TABLE.iter().find(|row| row.step == *step)?.undo)
            .collect()
    };
    let covers = |path: &Path, undos: BTreeSet<Step>| undos.iter().all(|undo| path.steps.contains(undo));
    assert!(covers(&FAILING, undos(&CONFIRMING)));
    assert!(covers(&CANCELLING_BEFORE_CONFIRMATION, undos(&CONFIRMING)));
    // After the confirmation Refund and ReturnStock find out themselves how far it had come.
    assert!(covers(&CANCELLING_AFTER_CONFIRMATION, undos(&FULFILLING)));
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => Just(Action::Step),
        4 => Just(Action::StepThenCrash),
        4 => Just(Action::HalfAStepThenCrash),
        6 => (0usize..ALL.len()).prop_map(Action::Zombie),
        1 => Just(Action::Cancel),
        1 => Just(Action::Deadline),
        2 => Just(Action::Sweep),
    ]
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![6 => Just(Answer::Yes), 1 => Just(Answer::No), 1 => Just(Answer::AskTheShopper)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(768))]

    #[test]
    fn every_checkout_ends_with_all_or_nothing(
        opening in vec(1u32..8, 2),
        wishes in vec((vec(1u32..4, 2), answers()), 1..4),
        script in vec((0usize..4, actions()), 0..120),
    ) {
        let mut world = World::new(&opening, &wishes);
        for (index, action) in script {
            world.act(index % wishes.len(), action);
        }
        for index in 0..wishes.len() {
            let steps = world.complete(index);
            prop_assert!(steps <= 12, "{steps} steps were needed without a mishap");
        }
        // Late drivers may have reserved again for an order that had ended: the sweep finds it (invariant 11).
        prop_assert_eq!(world.reservations_left(), 0, "invariant 3: a reservation belongs to no live order");
        for index in 0..wishes.len() {
            world.check(index)?;
            prop_assert_eq!(next(world.view(index), &BTreeSet::new()), None);
        }
    }

    #[test]
    fn without_mishap_the_steps_come_in_the_order_of_the_table(crash_after in 0usize..8) {
        let mut world = World::new(&[5, 5], &[(vec![1, 2], Answer::Yes)]);
        let mut taken = Vec::new();
        while let Some(step) = world.advance(0) {
            taken.push(step);
            if taken.len() == crash_after {
                world.crash(0);
            }
        }
        // After a crash what lies before the last decision is kept, what lies after it is repeated.
        let forward = &ALL[..7];
        let repeated = match crash_after {
            1..=2 => &forward[..crash_after],
            4..=6 => &forward[3..crash_after],
            _ => &[],
        };
        let crash_at = crash_after.min(forward.len());
        prop_assert_eq!(taken, [&forward[..crash_at], repeated, &forward[crash_at..]].concat());
        world.check(0)?;
    }
}

#[test]
fn an_order_that_waits_for_its_shopper_has_no_next_step() {
    let mut world = World::new(&[5], &[(vec![1], Answer::AskTheShopper)]);
    world.act(0, Action::Step);
    world.act(0, Action::Step);
    assert_eq!(world.view(0).progress.phase, crate::Phase::AwaitingAction);
    assert_eq!(next(world.view(0), &BTreeSet::new()), None);
    world.act(0, Action::Deadline);
    assert_eq!(next(world.view(0), &BTreeSet::new()), Some(Step::Void));
}
