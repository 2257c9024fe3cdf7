//! What holds of an order whatever is asked of it in whatever order.

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
    ]
}

/// Whether `to` is `from` or can be reached from it along the table.
fn reachable<S: Lifecycle>(from: S, to: S) -> bool {
    from == to
        || S::MOVES
            .iter()
            .any(|(start, end)| *start == from && reachable(*end, to))
}

/// What holds of every placed order at every moment.
fn check(order: &OrderView) -> Result<(), TestCaseError> {
    let confirmed = order.payment_id.is_some();
    prop_assert!(
        !(confirmed && order.abandoned.is_some()),
        "both confirmed and abandoned"
    );
    prop_assert!(!(order.cancelling && order.finished));
    prop_assert!(!(order.cancelling && order.abandoned.is_some()));
    match order.status {
        OrderStatus::Pending => prop_assert!(!confirmed && !order.finished),
        OrderStatus::Confirmed | OrderStatus::Completed => prop_assert!(confirmed),
        // Invariant 5: what ended holds no money.
        OrderStatus::Failed => {
            prop_assert!(order.finished && order.abandoned.is_some());
            prop_assert!(matches!(
                order.payment_status,
                PaymentStatus::None | PaymentStatus::Voided | PaymentStatus::Declined
            ));
        }
        OrderStatus::Cancelled => {
            prop_assert!(order.finished);
            prop_assert!(matches!(
                order.payment_status,
                PaymentStatus::Voided | PaymentStatus::Refunded
            ));
        }
    }
    let refunded = if order.payment_status == PaymentStatus::Refunded {
        order.total
    } else {
        dollars(0)
    };
    prop_assert_eq!(order.refunded, refunded);
    prop_assert!(order.timeline.len() <= TIMELINE_LIMIT && order.steps.len() <= STEP_RECORD_LIMIT);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn an_order_moves_along_its_tables_and_never_two_ways(commands in vec(commands(), 1..40)) {
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
                // finished implies no due_at, and the other way round.
                prop_assert_eq!(state.due_at().is_none(), order.finished);
                prop_assert_eq!(state.settled(), order.finished || order.awaiting_action);
            } else {
                prop_assert!(state.settled() && state.due_at().is_none());
            }
            if let (Some(old), Some(new)) = (before.placed(), state.placed()) {
                prop_assert!(old.status == new.status || old.status.may_become(new.status), "invariant 6");
                // Calling off a captured order before the capture was noted takes two moves in one command.
                prop_assert!(reachable(old.payment_status, new.payment_status), "invariant 6");
                prop_assert!(reachable(old.fulfilment_status, new.fulfilment_status), "invariant 6");
                let mut told = old.timeline.clone();
                if *command == OrderCommand::Erase && change.is_some() {
                    // All but the buyer's own words.
                    let own = told.iter_mut().filter(|entry| entry.event == "cancelling");
                    own.for_each(|entry| entry.detail.clear());
                }
                prop_assert!(new.timeline.starts_with(&told), "the timeline was rewritten");
                if old.status != new.status {
                    prop_assert_eq!(new.timeline.len(), old.timeline.len() + 1);
                    let name = format!("order.{}", new.status.as_str());
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
                prop_assert_eq!(
                    run(&mut state, command, now),
                    (OrderReply::Done, None),
                    "{:?} counted twice", command
                );
            }
        }
        survives_the_wire(&state.view())?;
        survives_rest(&state)?;
    }

    #[test]
    fn of_two_drivers_that_race_to_decide_one_wins_for_good(
        decisions in vec(prop_oneof![Just(abandon()), Just(confirm()), Just(cancel())], 2..8)
    ) {
        let mut order = after(&[place()]);
        for command in &decisions {
            run(&mut order, command, at(2));
        }
        let seen = order.placed().unwrap();
        let (confirmed, abandoned) = (seen.payment_id.is_some(), seen.abandoned.is_some());
        prop_assert_eq!(confirmed, decisions[0] == confirm());
        prop_assert_eq!(abandoned, decisions[0] == abandon());
    }
}
