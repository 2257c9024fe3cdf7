use super::*;
use crate::EncodedEvent;
use crate::checkout::Step;
use crate::fixtures::{at, dollars, order_id, payment_id, placement, run, step_record};

mod properties;

const QUANTITIES: &[u32] = &[2, 1];
/// When a failed order may be pruned.
const KEPT: i64 = 20;

fn place() -> OrderCommand {
    OrderCommand::Place(Box::new(placement(1, QUANTITIES)))
}

fn place_other() -> OrderCommand {
    let mut other = placement(1, QUANTITIES);
    other.fingerprint = "another".into();
    OrderCommand::Place(Box::new(other))
}

fn abandon() -> OrderCommand {
    OrderCommand::Abandon {
        reason: FailureReason::PaymentTimedOut,
    }
}

fn confirm() -> OrderCommand {
    OrderCommand::Confirm {
        payment: payment_id(1),
    }
}

fn finish(captured: bool) -> OrderCommand {
    OrderCommand::Finish {
        captured,
        steps: vec![step_record(Step::Take)],
    }
}

fn end_failed(voided: bool) -> OrderCommand {
    OrderCommand::EndFailed {
        voided,
        keep_until: at(KEPT),
        steps: vec![step_record(Step::Void)],
    }
}

fn cancel() -> OrderCommand {
    OrderCommand::Cancel {
        reason: "changed my mind".into(),
    }
}

fn end_cancelled(refunded: bool) -> OrderCommand {
    OrderCommand::EndCancelled {
        refunded,
        steps: vec![step_record(Step::Refund)],
    }
}

/// An order after these commands, each of which must be accepted.
fn after(commands: &[OrderCommand]) -> Order {
    let mut order = Order::initial("ord_1");
    for command in commands {
        assert_eq!(run(&mut order, command, at(1)).0, OrderReply::Done, "{command:?}");
    }
    order
}

fn refused(refusal: OrderRefusal) -> (OrderReply, Option<Vec<OrderEvent>>) {
    (OrderReply::Refused(refusal), None)
}

/// The events as they are stored.
fn encoded(events: Option<Vec<OrderEvent>>) -> Vec<(String, serde_json::Value)> {
    let encoded = |event| EncodedEvent::encode(&event).unwrap();
    let events = events.into_iter().flatten().map(encoded);
    events.map(|event| (event.name, event.detail)).collect()
}

#[test]
fn an_order_is_confirmed_and_finished() {
    let mut order = after(&[place()]);
    assert_eq!(order.owner(), Some("crt_1"));
    assert_eq!(order.due_at(), Some(at(1)));
    assert!(!order.settled());

    let (_, events) = run(&mut order, &confirm(), at(2));
    let expected = serde_json::json!({
        "order": "ord_1",
        "number": "S-1",
        "total": {"amount": 3570, "currency": "USD"},
        "lines": [
            {"sku": "SKU-0", "product_id": "prd_0", "quantity": 2},
            {"sku": "SKU-1", "product_id": "prd_1", "quantity": 1},
        ],
    });
    assert_eq!(
        encoded(events),
        [("order.confirmed".to_owned(), expected.clone())]
    );
    assert!(order.settled(), "what follows can't fail");

    let (_, events) = run(&mut order, &finish(true), at(3));
    assert_eq!(encoded(events), [("order.paid".to_owned(), expected)]);
    let seen = &order.placed().unwrap().progress;
    assert_eq!(
        (seen.phase.status(), seen.payment_status, seen.phase.is_finished()),
        (OrderStatus::Confirmed, PaymentStatus::Captured, true)
    );
    assert_eq!(seen.steps, [step_record(Step::Take)]);
    let told: Vec<_> = seen
        .timeline
        .iter()
        .map(|entry| (entry.at, entry.event.as_str()))
        .collect();
    assert_eq!(told, [(at(1), "placed"), (at(2), "confirmed"), (at(3), "paid")]);
    assert!(order.settled());
}

#[test]
fn placing_is_idempotent_by_fingerprint() {
    let mut order = after(&[place()]);
    assert_eq!(
        run(&mut order, &place(), at(9)),
        (OrderReply::AlreadyPlaced, None)
    );
    assert_eq!(
        run(&mut order, &place_other(), at(9)),
        refused(OrderRefusal::OtherPlacement)
    );
}

#[test]
fn an_inconsistent_placement_is_refused() {
    let spoilers: [fn(&mut Placement); 12] = [
        |p| p.id = order_id(2),
        |p| p.lines.clear(),
        |p| p.lines[1].sku = p.lines[0].sku.clone(),
        |p| p.lines[0].quantity = 0,
        |p| p.lines[0].quantity = 1_000,
        |p| p.lines[0].unit_price.amount += 1,
        |p| p.lines[0].unit_price.amount = i64::MAX,
        |p| p.lines[0].unit_price.currency = crate::Currency::parse("EUR").unwrap(),
        |p| p.subtotal.amount -= 1,
        |p| p.total.amount -= 1,
        |p| p.tax.amount = i64::MAX,
        |p| {
            p.tax.amount -= 100;
            p.total.amount -= 100;
        },
    ];
    for (index, spoil) in spoilers.iter().enumerate() {
        let mut spoilt = placement(1, QUANTITIES);
        spoil(&mut spoilt);
        let mut order = Order::initial("ord_1");
        assert_eq!(
            run(&mut order, &OrderCommand::Place(Box::new(spoilt)), at(0)),
            refused(OrderRefusal::InvalidPlacement),
            "case {index}"
        );
    }
}

#[test]
fn only_place_is_accepted_before_placement() {
    let mut order = Order::initial("ord_1");
    for command in [
        OrderCommand::Get,
        abandon(),
        OrderCommand::AwaitAction,
        confirm(),
        finish(true),
        end_failed(true),
        cancel(),
        end_cancelled(true),
    ] {
        assert_eq!(run(&mut order, &command, at(0)), refused(OrderRefusal::NotPlaced));
    }
    assert_eq!(order.view(), None);
}

#[test]
fn commands_are_refused_in_the_wrong_phase() {
    use OrderRefusal as R;
    let confirmed = [place(), confirm()];
    let abandoned = [place(), abandon()];
    let cancelling = [place(), cancel()];
    let failed = [place(), abandon(), end_failed(false)];
    let cancelled = [place(), cancel(), end_cancelled(false)];
    let other_payment = OrderCommand::Confirm {
        payment: payment_id(2),
    };
    for (before, command, refusal) in [
        (&confirmed[..], abandon(), R::Confirmed),
        (&confirmed, OrderCommand::AwaitAction, R::Confirmed),
        (&confirmed, other_payment, R::Confirmed),
        (&confirmed, end_failed(true), R::NotAllowed),
        (&confirmed, end_cancelled(true), R::NotAllowed),
        (&[place()], finish(true), R::NotAllowed),
        (&[place()], end_failed(true), R::NotAllowed),
        (&abandoned, confirm(), R::Failed),
        (&abandoned, OrderCommand::AwaitAction, R::Failed),
        (&abandoned, finish(true), R::NotAllowed),
        (&abandoned, cancel(), R::Failed),
        (&cancelling, confirm(), R::Cancelled),
        (&cancelling, abandon(), R::Cancelled),
        (&cancelling, finish(true), R::Cancelled),
        (&cancelling, end_cancelled(true), R::NotAllowed),
        (&failed, confirm(), R::Failed),
        (&failed, cancel(), R::Failed),
        (&cancelled, confirm(), R::Cancelled),
        (&cancelled, abandon(), R::Cancelled),
        (
            &[place(), confirm(), finish(true), cancel()],
            end_cancelled(false),
            R::NotRefunded,
        ),
    ] {
        let mut order = after(before);
        assert_eq!(
            run(&mut order, &command, at(9)),
            refused(refusal),
            "{command:?} after {before:?}"
        );
    }
}

#[test]
fn a_shipped_order_is_not_cancelled() {
    let mut order = after(&[place(), confirm(), finish(true)]);
    for (status, open) in [
        (FulfilmentStatus::Preparing, true),
        (FulfilmentStatus::Shipped, false),
        (FulfilmentStatus::Delivered, false),
        (FulfilmentStatus::Returned, false),
    ] {
        order.placed.as_mut().unwrap().progress.fulfilment_status = status;
        let decision = order.decide(&cancel(), at(9));
        let expected = if open {
            OrderReply::Done
        } else {
            OrderReply::Refused(OrderRefusal::Shipped(status))
        };
        assert_eq!(decision.reply, expected, "{status:?}");
    }
}

/// Nothing keeps the token once no authorisation can begin any more.
#[test]
fn the_payment_token_goes_with_the_decision() {
    let token = |order: &Order| order.placed().unwrap().placement.payment.token.clone();
    for undecided in [vec![place()], vec![place(), OrderCommand::AwaitAction]] {
        assert_eq!(token(&after(&undecided)), placement(1, QUANTITIES).payment.token);
        for decision in [abandon(), confirm(), cancel()] {
            let mut order = after(&undecided);
            assert_eq!(run(&mut order, &decision, at(2)).0, OrderReply::Done);
            assert_eq!(token(&order), "", "{decision:?}");
        }
    }
}

#[test]
fn a_failed_order_shows_its_payment() {
    let declined = OrderCommand::Abandon {
        reason: FailureReason::PaymentDeclined { code: "no".into() },
    };
    for (reason, voided, expected) in [
        (declined, true, PaymentStatus::Declined),
        (abandon(), true, PaymentStatus::Voided),
        (abandon(), false, PaymentStatus::None),
    ] {
        let order = after(&[place(), reason, end_failed(voided)]);
        assert_eq!(order.placed().unwrap().progress.payment_status, expected);
    }
}

#[test]
fn a_cancelled_order_shows_its_payment() {
    for (before, refunded, expected) in [
        (&[place()][..], false, PaymentStatus::Voided),
        (&[place(), confirm()], false, PaymentStatus::Voided),
        // Captured, but cancelled before that was recorded.
        (&[place(), confirm()], true, PaymentStatus::Refunded),
        (&[place(), confirm(), finish(true)], true, PaymentStatus::Refunded),
        (&[place(), confirm(), finish(false)], false, PaymentStatus::Voided),
    ] {
        let mut order = after(before);
        for command in [cancel(), end_cancelled(refunded)] {
            assert_eq!(run(&mut order, &command, at(9)).0, OrderReply::Done);
        }
        let seen = order.placed().unwrap();
        assert_eq!(seen.progress.payment_status, expected);
        let back = if refunded {
            seen.placement.total
        } else {
            dollars(0)
        };
        assert_eq!(seen.progress.refunded, back);
    }
}

#[test]
fn an_order_awaiting_action_is_settled_until_its_deadline() {
    let mut order = after(&[place(), OrderCommand::AwaitAction]);
    assert!(order.settled());
    assert_eq!(order.due_at(), Some(at(600)));
    run(&mut order, &abandon(), at(600));
    assert!(!order.settled());
}

#[test]
fn a_late_capture_is_recorded() {
    let mut order = after(&[place(), confirm(), finish(false)]);
    assert_eq!(
        order.placed().unwrap().progress.payment_status,
        PaymentStatus::Authorised
    );
    let (_, events) = run(&mut order, &finish(true), at(9));
    assert!(matches!(events.unwrap()[0], OrderEvent::Paid(_)));
    assert_eq!(run(&mut order, &finish(false), at(9)), (OrderReply::Done, None));
}

#[test]
fn timeline_and_step_records_are_bounded() {
    let mut order = after(&[place()]);
    let view = &mut order.placed.as_mut().unwrap().progress;
    let beginning = view.timeline[0].clone();
    view.timeline = vec![beginning.clone(); TIMELINE_LIMIT];
    view.steps = vec![step_record(Step::Reserve); STEP_RECORD_LIMIT];
    for command in [confirm(), finish(true)] {
        assert_eq!(run(&mut order, &command, at(9)).0, OrderReply::Done);
    }
    let seen = &order.placed().unwrap().progress;
    assert_eq!(
        (seen.timeline.len(), seen.steps.len()),
        (TIMELINE_LIMIT, STEP_RECORD_LIMIT)
    );
    assert_eq!(seen.timeline[0], beginning);
    assert_eq!(seen.timeline.last().unwrap().event, "paid");
    assert_eq!(seen.steps.last(), Some(&step_record(Step::Take)));
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let mut order = after(&[place()]);
    let reason = "é".repeat(REASON_LIMIT + 10);
    run(&mut order, &OrderCommand::Cancel { reason }, at(9));
    let kept = &order.placed().unwrap().progress.timeline.last().unwrap().detail;
    assert_eq!(kept.chars().count(), REASON_LIMIT);
}

#[test]
fn debug_output_hides_personal_data_and_token() {
    let shown = format!("{:?} {:?}", after(&[place()]), place());
    for private in ["private.example", "Ada", "Hidden", "tok_secret"] {
        assert!(!shown.contains(private), "{private} is shown");
    }
}

#[test]
fn states_have_their_names_in_json() {
    fn check<S: Lifecycle + Serialize + std::fmt::Debug>(states: &[S]) {
        for state in states {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str(), "{state:?}");
        }
    }
    use {FulfilmentStatus as F, OrderStatus as O, PaymentStatus as P};
    check(&[O::Pending, O::Confirmed, O::Completed, O::Failed, O::Cancelled]);
    check(&[
        P::None,
        P::Authorised,
        P::Captured,
        P::PartiallyRefunded,
        P::Refunded,
        P::Voided,
        P::Declined,
    ]);
    check(&[
        F::Unfulfilled,
        F::Preparing,
        F::Shipped,
        F::Delivered,
        F::Returned,
    ]);
}

#[test]
fn a_guest_order_is_claimed_by_one_account() {
    let claim = |buyer: &str| OrderCommand::Claim { buyer: buyer.into() };
    let mut order = after(&[place(), confirm(), claim("usr_1")]);
    assert_eq!(order.owner(), Some("usr_1"));
    assert_eq!(run(&mut order, &claim("usr_1"), at(3)), (OrderReply::Done, None));
    assert_eq!(
        run(&mut order, &claim("usr_2"), at(3)),
        refused(OrderRefusal::NotAGuestOrder)
    );
    // Its checkout continues under its new owner.
    assert_eq!(run(&mut order, &finish(true), at(4)).0, OrderReply::Done);
}

#[test]
fn erasure_removes_personal_data_of_a_finished_order() {
    let mut order = after(&[place(), confirm()]);
    assert_eq!(
        run(&mut order, &OrderCommand::Erase, at(2)),
        refused(OrderRefusal::Unfinished)
    );
    run(&mut order, &finish(true), at(3));
    let before = placement(1, QUANTITIES);
    assert_eq!(run(&mut order, &OrderCommand::Erase, at(4)).0, OrderReply::Done);
    let after = &order.placed().unwrap().placement;
    let shown = serde_json::to_string(order.placed().unwrap()).unwrap();
    for personal in [
        before.email.as_str(),
        before.address.name.as_str(),
        before.address.line1.as_str(),
        before.payment.token.as_str(),
    ] {
        assert!(!shown.contains(personal), "{personal} was not erased");
    }
    // What accounting needs stays.
    assert_eq!(after.address.country, before.address.country);
    assert_eq!((after.total, &after.lines), (before.total, &before.lines));
    assert_eq!(
        run(&mut order, &OrderCommand::Erase, at(5)),
        (OrderReply::Done, None)
    );
}

#[test]
fn erasure_removes_the_reason_of_a_cancellation() {
    let mut order = after(&[place(), confirm(), finish(true), cancel(), end_cancelled(true)]);
    let words = |order: &Order| {
        serde_json::to_string(order.placed().unwrap())
            .unwrap()
            .contains("changed my mind")
    };
    assert!(words(&order));
    let said = order.placed().unwrap().progress.timeline.clone();
    assert!(run(&mut order, &OrderCommand::Erase, at(6)).1.is_some());
    assert!(!words(&order));
    let times = |order: &Order| order.placed().unwrap().progress.timeline.len();
    assert_eq!(times(&order), said.len() + 1);
    // An order erased before these words counted as personal data.
    order.placed.as_mut().unwrap().progress.timeline = said;
    assert!(run(&mut order, &OrderCommand::Erase, at(7)).1.is_some());
    assert!(!words(&order));
    assert_eq!(
        run(&mut order, &OrderCommand::Erase, at(8)),
        (OrderReply::Done, None)
    );
}

/// Invariant 15: whoever takes the cart over rules out first that the order is placed later.
#[test]
fn a_forfeited_order_is_never_placed() {
    let mut order = after(&[OrderCommand::Forfeit]);
    assert_eq!(
        run(&mut order, &OrderCommand::Forfeit, at(2)),
        (OrderReply::Done, None)
    );
    assert_eq!(run(&mut order, &place(), at(3)), refused(OrderRefusal::Forfeited));
    assert_eq!(
        (order.owner(), order.due_at(), order.settled()),
        (None, None, true)
    );
    let mut order = after(&[place()]);
    assert_eq!(
        run(&mut order, &OrderCommand::Forfeit, at(2)),
        (OrderReply::Done, None)
    );
    assert!(order.view().is_some());
}

#[test]
fn a_failed_order_is_pruned_in_time() {
    let mut order = after(&[place(), abandon(), end_failed(true)]);
    assert_eq!(order.due_at(), Some(pruning_due(at(KEPT))));
    assert!(order.due_at() > Some(NEVER) && pruning_due(at(KEPT)) < pruning_due(at(KEPT + 1)));
    let early = run(&mut order, &OrderCommand::Prune, at(KEPT - 1));
    assert_eq!(early, refused(OrderRefusal::NotAllowed));
    // What is erased before is pruned all the same.
    run(&mut order, &OrderCommand::Erase, at(KEPT - 1));
    let pruned = run(&mut order, &OrderCommand::Prune, at(KEPT));
    assert_eq!(pruned, (OrderReply::Done, Some(Vec::new())));
    assert_eq!((order.view(), order.owner(), order.due_at()), (None, None, None));
    // Nothing brings it back.
    assert_eq!(
        run(&mut order, &place(), at(30)),
        refused(OrderRefusal::Forfeited)
    );
    for late in [
        abandon(),
        end_failed(true),
        OrderCommand::Erase,
        OrderCommand::Get,
    ] {
        assert_eq!(
            run(&mut order, &late, at(30)),
            refused(OrderRefusal::NotPlaced),
            "{late:?}"
        );
    }
    assert_eq!(
        run(&mut order, &OrderCommand::Prune, at(30)),
        (OrderReply::Done, None)
    );
    for others in [
        vec![place()],
        vec![place(), abandon()],
        vec![place(), confirm(), finish(true)],
        vec![place(), cancel(), end_cancelled(false)],
    ] {
        let mut order = after(&others);
        let kept = run(&mut order, &OrderCommand::Prune, at(1_000));
        assert_eq!(kept, refused(OrderRefusal::NotAllowed));
    }
}

fn escalate(step: Step) -> OrderCommand {
    OrderCommand::Escalate {
        step,
        reason: "refused: expired".into(),
    }
}

#[test]
fn a_refused_step_waits_for_a_decision() {
    for (before, step) in [
        (vec![place(), confirm()], Step::Capture),
        (vec![place(), abandon()], Step::Void),
        (vec![place(), cancel()], Step::Void),
        (vec![place(), confirm(), cancel()], Step::Refund),
    ] {
        let mut order = after(&before);
        for other in [Step::Capture, Step::Void, Step::Refund, Step::Take] {
            if other != step {
                let late = run(&mut order, &escalate(other), at(2));
                assert_eq!(late, refused(OrderRefusal::NotAllowed), "{other:?}");
            }
        }
        assert_eq!(run(&mut order, &escalate(step), at(3)).0, OrderReply::Done);
        let progress = &order.placed().unwrap().progress;
        let attention = progress.attention.as_ref().unwrap();
        assert_eq!((attention.step, attention.since), (step, at(3)));
        assert!(!progress.has_work() && order.settled());
        assert_eq!(order.due_at(), Some(NEVER));
        assert_eq!(run(&mut order, &escalate(step), at(4)), (OrderReply::Done, None));
        assert!(run(&mut order, &OrderCommand::Retry, at(5)).1.is_some());
        assert!(order.placed().unwrap().progress.has_work());
        assert_eq!(order.due_at(), Some(at(1)));
        assert_eq!(
            run(&mut order, &OrderCommand::Retry, at(6)),
            (OrderReply::Done, None)
        );
    }
    for undecided in [vec![place()], vec![place(), confirm(), finish(true)]] {
        let mut order = after(&undecided);
        assert_eq!(
            run(&mut order, &escalate(Step::Capture), at(2)),
            refused(OrderRefusal::NotAllowed)
        );
    }
}

#[test]
fn cancelling_ends_the_wait_for_a_decision() {
    let mut order = after(&[place(), confirm(), escalate(Step::Capture), cancel()]);
    assert!(order.placed().unwrap().progress.has_work());
    assert_eq!(run(&mut order, &end_cancelled(false), at(2)).0, OrderReply::Done);
}

#[test]
fn an_order_of_the_older_form_is_read() {
    let mut row = serde_json::to_value(after(&[place(), confirm()])).unwrap();
    let fields = row.as_object_mut().unwrap();
    fields.remove("forfeited");
    fields["placed"]["placement"]
        .as_object_mut()
        .unwrap()
        .remove("cart_version");
    fields["placed"]["progress"]
        .as_object_mut()
        .unwrap()
        .remove("attention");
    let order: Order = serde_json::from_value(row).unwrap();
    assert_eq!(order.placed().unwrap().placement.cart_version, 0);
    assert!(order.placed().unwrap().progress.has_work());
}
