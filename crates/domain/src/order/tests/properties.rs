//! Properties that hold for every sequence of commands.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::fixtures::{sku, survives_rest, survives_the_wire};

fn commands() -> impl Strategy<Value = OrderCommand> {
    prop_oneof![
        Just(OrderCommand::Get),
        Just(place()),
        Just(place_other()),
        Just(abandon()),
        Just(OrderCommand::Abandon {
            reason: FailureReason::PaymentDeclined { code: "no".into() }
        }),
        Just(OrderCommand::Abandon {
            reason: FailureReason::OutOfStock {
                skus: vec![(sku(0), 1)]
            }
        }),
        Just(OrderCommand::AwaitAction),
        Just(confirm()),
        Just(OrderCommand::Confirm {
            payment: payment_id(2)
        }),
        any::<bool>().prop_map(finish),
        any::<bool>().prop_map(end_failed),
        Just(cancel()),
        Just(OrderCommand::Claim {
            buyer: "usr_1".into()
        }),
        Just(OrderCommand::Erase),
        any::<bool>().prop_map(end_cancelled),
        prop::sample::select(vec![Step::Capture, Step::Void, Step::Refund]).prop_map(escalate),
        Just(OrderCommand::Retry),
        Just(OrderCommand::Forfeit),
        Just(OrderCommand::Prune),
    ]
}

/// Whether `to` is `from` or can be reached from it along the table.
fn reachable<S: Lifecycle>(from: S, to: S) -> bool {
    from == to
        || S::TRANSITIONS
            .iter()
            .any(|(start, end)| *start == from && reachable(*end, to))
}

/// What holds of every placed order at every moment. That it is never both confirmed and abandoned, say, needs no check:
/// no phase can express it.
fn check(order: &PlacedOrder) -> Result<(), TestCaseError> {
    let PlacedOrder { placement, progress } = order;
    // Invariant 5: an order that has ended holds no money.
    match progress.phase.status() {
        OrderStatus::Pending | OrderStatus::Confirmed | OrderStatus::Completed => {}
        OrderStatus::Failed => prop_assert!(matches!(
            progress.payment_status,
            PaymentStatus::None | PaymentStatus::Voided | PaymentStatus::Declined
        )),
        OrderStatus::Cancelled => prop_assert!(matches!(
            progress.payment_status,
            PaymentStatus::Voided | PaymentStatus::Refunded
        )),
    }
    let refunded = if progress.payment_status == PaymentStatus::Refunded {
        placement.total
    } else {
        dollars(0)
    };
    prop_assert_eq!(progress.refunded, refunded);
    prop_assert!(progress.timeline.len() <= TIMELINE_LIMIT && progress.steps.len() <= STEP_RECORD_LIMIT);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn states_follow_their_tables(commands in vec(commands(), 1..40)) {
        let mut state = Order::initial("ord_1");
        for (index, command) in commands.iter().enumerate() {
            let now = at(i64::try_from(index).unwrap());
            let before = state.clone();
            let (reply, change) = run(&mut state, command, now);
            prop_assert_eq!(change.is_some(), state != before);
            prop_assert!(reply == OrderReply::Done || change.is_none());
            survives_the_wire(command)?;
            survives_the_wire(&reply)?;

            if let Some(order) = state.placed() {
                check(order)?;
                let phase = &order.progress.phase;
                let is_due = !phase.is_finished() || matches!(phase, Phase::Failed { .. });
                prop_assert_eq!(state.due_at().is_some(), is_due);
                let due_unfinished = state.due_at().is_some_and(|due| due <= NEVER);
                prop_assert_eq!(due_unfinished, !phase.is_finished());
                let waits = matches!(phase, Phase::AwaitingAction | Phase::Fulfilling { .. });
                prop_assert_eq!(state.settled(), !order.progress.has_work() || waits);
            } else {
                prop_assert!(state.settled() && state.due_at().is_none());
            }
            if let (Some(old), Some(new)) = (before.placed(), state.placed()) {
                let (old, new) = (&old.progress, &new.progress);
                let (old_status, new_status) = (old.phase.status(), new.phase.status());
                prop_assert!(old_status == new_status || old_status.may_become(new_status), "invariant 6");
                // Cancelling a captured order before its capture was recorded takes two transitions in one command.
                prop_assert!(reachable(old.payment_status, new.payment_status), "invariant 6");
                prop_assert!(reachable(old.fulfilment_status, new.fulfilment_status), "invariant 6");
                let mut told = old.timeline.clone();
                if *command == OrderCommand::Erase && change.is_some() {
                    // All but the buyer's own text.
                    let own = told.iter_mut().filter(|entry| entry.event == "cancelling");
                    own.for_each(|entry| entry.detail.clear());
                }
                prop_assert!(new.timeline.starts_with(&told), "the timeline was rewritten");
                if old_status != new_status {
                    prop_assert_eq!(new.timeline.len(), old.timeline.len() + 1);
                    let name = format!("order.{}", new_status.as_str());
                    prop_assert!(encoded(change.clone()).iter().any(|(event, _)| *event == name));
                }
            }
            for (event, detail) in encoded(change.clone()) {
                let text = detail.to_string();
                for private in ["private", "Private", "Hidden", "tok_", "changed my mind"] {
                    prop_assert!(!text.contains(private), "{event} tells {private}");
                }
            }
            if change.is_some() {
                let (reply, change) = run(&mut state, command, now);
                prop_assert!(change.is_none(), "{:?} counted twice", command);
                prop_assert!(!matches!(reply, OrderReply::Refused(_)), "{:?} is refused", command);
            }
        }
        survives_the_wire(&state.view())?;
        survives_rest(&state)?;
    }

    #[test]
    fn the_confirmed_order_is_known_whatever_came_after(
        before in vec(commands(), 0..4), after in vec(commands(), 0..20)
    ) {
        let mut order = Order::initial("ord_1");
        let mut changes = usize::from(run(&mut order, &place(), at(1)).1.is_some());
        let mut confirmed = None;
        for command in before.iter().chain([&confirm()]).chain(&after) {
            let was_confirmed = confirmed.is_some();
            let changed = run(&mut order, command, at(2)).1.is_some();
            changes += usize::from(changed);
            let progress = &order.placed().unwrap().progress;
            if !was_confirmed && progress.phase.payment().is_some() {
                confirmed = Some((progress.clone(), changes));
            }
            let known = progress.when_confirmed().map(|(then, changes)| (Progress { steps: Vec::new(), ..then }, changes));
            prop_assert_eq!(&known, &confirmed);
        }
    }

    #[test]
    fn the_first_decision_stays(
        decisions in vec(prop_oneof![Just(abandon()), Just(confirm()), Just(cancel())], 2..8)
    ) {
        let mut order = after(&[place()]);
        for command in &decisions {
            run(&mut order, command, at(2));
        }
        let phase = &order.placed().unwrap().progress.phase;
        let (confirmed, abandoned) = (phase.payment().is_some(), phase.failure().is_some());
        prop_assert_eq!(confirmed, decisions[0] == confirm());
        prop_assert_eq!(abandoned, decisions[0] == abandon());
    }
}
