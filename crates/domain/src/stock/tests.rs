use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::EncodedEvent;
use crate::fixtures::{at, order_id, run, survives_rest, survives_the_wire};

fn receive(reference: &str, quantity: u32) -> StockCommand {
    StockCommand::Receive {
        reference: reference.into(),
        quantity,
    }
}

fn adjust(reference: &str, delta: i64) -> StockCommand {
    StockCommand::Adjust {
        delta,
        reason: "count".into(),
        reference: reference.into(),
    }
}

fn reserve(order: usize, quantity: u32) -> StockCommand {
    reserve_until(order, quantity, 60)
}

fn reserve_until(order: usize, quantity: u32, expires: i64) -> StockCommand {
    StockCommand::Reserve {
        order: order_id(order),
        quantity,
        expires_at: at(expires),
    }
}

fn release(order: usize) -> StockCommand {
    StockCommand::Release {
        order: order_id(order),
    }
}

fn take(order: usize) -> StockCommand {
    StockCommand::Take {
        order: order_id(order),
    }
}

fn give_back(order: usize, quantity: u32) -> StockCommand {
    StockCommand::Return {
        order: order_id(order),
        quantity,
    }
}

fn refused(refusal: StockRefusal) -> (StockReply, Option<Vec<StockEvent>>) {
    (StockReply::Refused(refusal), None)
}

const NOTHING_TO_DO: (StockReply, Option<Vec<StockEvent>>) = (StockReply::Done, None);

fn stocked(quantity: u32) -> Stock {
    let mut stock = Stock::initial("SKU-0");
    assert_eq!(
        run(&mut stock, &receive("opening", quantity), at(0)).0,
        StockReply::Done
    );
    stock
}

/// Few orders and references, so that they recur; fewer than are remembered.
fn commands() -> impl Strategy<Value = StockCommand> {
    let order = || 0usize..6;
    let quantity = || prop_oneof![6 => 1u32..6, 1 => Just(0), 1 => Just(u32::MAX)];
    let delta = prop_oneof![6 => -8i64..8, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    prop_oneof![
        1 => Just(StockCommand::Get),
        1 => Just(StockCommand::Overdue),
        4 => (0usize..20, quantity())
            .prop_map(|(reference, quantity)| receive(&format!("r{reference}"), quantity)),
        3 => (0usize..20, delta).prop_map(|(reference, delta)| adjust(&format!("r{reference}"), delta)),
        8 => (order(), quantity(), 0i64..40)
            .prop_map(|(order, quantity, expires)| reserve_until(order, quantity, expires)),
        2 => (order(), 0i64..80).prop_map(|(order, expires)| StockCommand::Extend {
            order: order_id(order),
            expires_at: at(expires),
        }),
        3 => order().prop_map(release),
        4 => order().prop_map(take),
        2 => (order(), quantity()).prop_map(|(order, quantity)| give_back(order, quantity)),
    ]
}

/// The model: totals from the ledger of movements, and the reservations.
#[derive(Default)]
struct Model {
    received: i128,
    adjusted: i128,
    sold: i128,
    reservations: BTreeMap<OrderId, (u32, Timestamp)>,
}

impl Model {
    fn add(&mut self, event: &StockEvent) {
        let after = match event {
            StockEvent::Received { quantity, after, .. } => {
                self.received += i128::from(*quantity);
                after
            }
            StockEvent::Adjusted { delta, after, .. } => {
                self.adjusted += i128::from(*delta);
                after
            }
            StockEvent::Sold { quantity, after, .. } => {
                self.sold += i128::from(*quantity);
                after
            }
            StockEvent::Returned { quantity, after, .. } => {
                self.sold -= i128::from(*quantity);
                after
            }
            StockEvent::Released { after, .. } => after,
        };
        assert_eq!(i128::from(after.on_hand), self.on_hand());
    }

    fn on_hand(&self) -> i128 {
        self.received + self.adjusted - self.sold
    }

    /// What an effective command does to the reservations.
    fn accept(&mut self, command: &StockCommand) {
        match command {
            StockCommand::Reserve {
                order,
                quantity,
                expires_at,
            } => {
                let previous = self.reservations.insert(order.clone(), (*quantity, *expires_at));
                assert_eq!(previous, None, "a reservation was replaced");
            }
            StockCommand::Extend { order, expires_at } => {
                self.reservations.get_mut(order).unwrap().1 = *expires_at;
            }
            StockCommand::Release { order }
            | StockCommand::Take { order }
            | StockCommand::Return { order, .. } => {
                self.reservations.remove(order);
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Invariants 1, 2 and 3 at every moment, against the model.
    /// One command a second, for no longer than [`TAKEN_FOR`].
    #[test]
    fn levels_follow_the_ledger(commands in vec(commands(), 1..60)) {
        let mut stock = Stock::initial("SKU-0");
        let mut model = Model::default();
        let mut moved: Vec<StockCommand> = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            let now = at(i64::try_from(index).unwrap());
            let before = stock.clone();
            let (reply, change) = run(&mut stock, command, now);
            prop_assert_eq!(change.is_some(), stock != before);
            if let Some(events) = &change {
                prop_assert_eq!(&reply, &StockReply::Done);
                events.iter().for_each(|event| model.add(event));
                model.accept(command);
                if events.iter().any(|event| !matches!(event, StockEvent::Released { .. })) {
                    moved.push(command.clone());
                }
            }

            let level = stock.view();
            let reserved: i128 = model.reservations.values().map(|(quantity, _)| i128::from(*quantity)).sum();
            prop_assert!(model.on_hand() >= reserved, "invariant 1: {:?}", level);
            prop_assert_eq!(i128::from(level.on_hand), model.on_hand(), "invariant 2");
            prop_assert_eq!(i128::from(level.reserved), reserved, "invariant 3");
            prop_assert_eq!(i128::from(level.available), model.on_hand() - reserved);
            prop_assert_eq!(level.reservations as usize, model.reservations.len());
            prop_assert_eq!(stock.due_at(), model.reservations.values().map(|(_, expires)| *expires).min());
            let overdue: BTreeSet<_> = model
                .reservations
                .iter()
                .filter(|(_, (_, expires))| *expires <= now)
                .map(|(order, _)| order.clone())
                .collect();
            let StockReply::Overdue(named) = run(&mut stock, &StockCommand::Overdue, now).0 else {
                panic!("Overdue was answered otherwise");
            };
            prop_assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), overdue);

            // Repeating an accepted command at once changes nothing.
            if change.is_some() {
                prop_assert_eq!(run(&mut stock, command, now), NOTHING_TO_DO, "{:?} counted twice", command);
            }
            survives_the_wire(command)?;
            survives_the_wire(&reply)?;
        }
        // A movement never counts twice, however late it is repeated.
        let settled = stock.view();
        for command in &moved {
            let (_, change) = run(&mut stock, command, at(1_000));
            prop_assert!(change.is_none(), "{:?} counted twice", command);
        }
        prop_assert_eq!(stock.view(), settled);
        survives_the_wire(&stock.view())?;
        survives_rest(&stock)?;
    }

    #[test]
    fn concurrent_buyers_never_oversell(opening in 0u32..40, wishes in vec(1u32..6, 1..60)) {
        let mut stock = stocked(opening + 1);
        run(&mut stock, &adjust("start", -1), at(0));
        let mut left = opening;
        for (order, &wish) in wishes.iter().enumerate() {
            let (reply, _) = run(&mut stock, &reserve(order, wish), at(1));
            if wish <= left {
                prop_assert_eq!(reply, StockReply::Done);
                left -= wish;
            } else {
                prop_assert_eq!(reply, StockReply::Refused(StockRefusal::OutOfStock { available: left }));
            }
        }
        prop_assert_eq!(stock.view().available, u64::from(left));
    }
}

#[test]
fn movements_and_releases_emit_events() {
    let mut stock = Stock::initial("SKU-0");
    let mut names = Vec::new();
    for command in [
        receive("r", 10),
        adjust("r", -1),
        reserve(1, 2),
        reserve(2, 1),
        release(2),
        take(1),
        give_back(1, 2),
    ] {
        let (reply, events) = run(&mut stock, &command, at(0));
        assert_eq!(reply, StockReply::Done);
        names.extend(
            events
                .unwrap()
                .into_iter()
                .map(|event| EncodedEvent::encode(&event).unwrap())
                .map(|event| (event.name, event.detail)),
        );
    }
    let expected = [
        (
            "stock.received",
            serde_json::json!({"quantity": 10, "reference": "r", "on_hand": 10, "available": 10}),
        ),
        (
            "stock.adjusted",
            serde_json::json!({"delta": -1, "reason": "count", "reference": "r", "on_hand": 9, "available": 9}),
        ),
        (
            "stock.released",
            serde_json::json!({"quantity": 1, "order": "ord_2", "on_hand": 9, "available": 7}),
        ),
        (
            "stock.sold",
            serde_json::json!({"quantity": 2, "order": "ord_1", "on_hand": 7, "available": 7}),
        ),
        (
            "stock.returned",
            serde_json::json!({"quantity": 2, "order": "ord_1", "on_hand": 9, "available": 9}),
        ),
    ];
    assert_eq!(names, expected.map(|(name, detail)| (name.to_owned(), detail)));
}

#[test]
fn reserving_again_changes_nothing() {
    let mut stock = stocked(10);
    run(&mut stock, &reserve_until(1, 3, 60), at(0));
    assert_eq!(run(&mut stock, &reserve_until(1, 3, 90), at(1)), NOTHING_TO_DO);
    assert_eq!(stock.due_at(), Some(at(60)));
    assert_eq!(
        run(&mut stock, &reserve(1, 4), at(1)),
        refused(StockRefusal::OutOfRange)
    );
}

#[test]
fn an_expiry_is_only_postponed() {
    let mut stock = stocked(10);
    let extend = |expires| StockCommand::Extend {
        order: order_id(1),
        expires_at: at(expires),
    };
    assert_eq!(
        run(&mut stock, &extend(90), at(0)),
        refused(StockRefusal::NotReserved)
    );
    run(&mut stock, &reserve_until(1, 3, 60), at(0));
    assert_eq!(run(&mut stock, &extend(50), at(1)), NOTHING_TO_DO);
    assert!(run(&mut stock, &extend(90), at(1)).1.is_some());
    assert_eq!(stock.due_at(), Some(at(90)));
}

#[test]
fn overdue_lists_the_oldest_first() {
    let mut stock = stocked(10);
    for (order, expires) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
        run(&mut stock, &reserve_until(order, 1, expires), at(0));
    }
    assert_eq!(
        run(&mut stock, &StockCommand::Overdue, at(30)),
        (StockReply::Overdue([2, 3, 1].map(order_id).to_vec()), None)
    );
}

#[test]
fn a_finished_order_reserves_nothing() {
    let mut stock = stocked(10);
    run(&mut stock, &reserve(1, 3), at(0));
    run(&mut stock, &take(1), at(1));
    assert_eq!(run(&mut stock, &reserve(1, 3), at(2)), NOTHING_TO_DO);
    run(&mut stock, &give_back(1, 3), at(3));
    assert_eq!(
        run(&mut stock, &reserve(1, 3), at(4)),
        refused(StockRefusal::NotReserved)
    );
    assert_eq!((stock.view().reserved, stock.view().sold), (0, 0));
}

#[test]
fn a_return_undoes_reservation_or_sale() {
    let mut reserved = stocked(10);
    run(&mut reserved, &reserve(1, 3), at(0));
    let mut sold = reserved.clone();
    run(&mut sold, &take(1), at(1));
    for stock in [&mut reserved, &mut sold] {
        assert!(run(stock, &give_back(1, 3), at(2)).1.is_some());
        assert_eq!(run(stock, &give_back(1, 3), at(3)), NOTHING_TO_DO);
        let level = stock.view();
        assert_eq!((level.sold, level.reserved, level.available), (0, 0, 10));
    }
}

#[test]
fn a_return_never_exceeds_what_was_sold() {
    let mut stock = stocked(10);
    run(&mut stock, &reserve(1, 3), at(0));
    run(&mut stock, &take(1), at(1));
    assert_eq!(
        run(&mut stock, &give_back(2, 4), at(2)),
        refused(StockRefusal::OutOfRange)
    );
    assert_eq!(
        run(&mut stock, &give_back(2, 0), at(2)),
        refused(StockRefusal::OutOfRange)
    );
    assert_eq!(stock.view().sold, 3);
}

#[test]
fn an_adjustment_keeps_reserved_units() {
    let mut stock = stocked(10);
    run(&mut stock, &reserve(1, 4), at(0));
    for delta in [-7, -11, -i64::from(u32::MAX)] {
        assert_eq!(
            run(&mut stock, &adjust("a", delta), at(1)),
            refused(StockRefusal::BelowReserved)
        );
    }
    assert!(run(&mut stock, &adjust("a", -6), at(1)).1.is_some());
    assert_eq!(stock.view().available, 0);
}

#[test]
fn receipt_and_adjustment_may_share_a_reference() {
    let mut stock = stocked(10);
    assert!(run(&mut stock, &adjust("opening", -1), at(0)).1.is_some());
    assert_eq!(run(&mut stock, &receive("opening", 10), at(0)), NOTHING_TO_DO);
    assert_eq!(stock.view().on_hand, 9);
}

#[test]
fn values_outside_the_limits_are_refused() {
    let long = "x".repeat(REFERENCE_LIMIT + 1);
    let most = u32::try_from(ON_HAND_LIMIT).unwrap();
    let mut stock = stocked(most);
    for command in [
        receive("r", 0),
        receive("", 1),
        receive(&long, 1),
        receive("r", 1),
        adjust("a", 0),
        adjust("", -1),
        adjust("a", 1),
        adjust("a", i64::MAX),
        adjust("a", i64::MIN),
        reserve(1, 0),
        StockCommand::Adjust {
            delta: -1,
            reason: "x".repeat(REASON_LIMIT + 1),
            reference: "a".into(),
        },
    ] {
        assert_eq!(
            run(&mut stock, &command, at(0)),
            refused(StockRefusal::OutOfRange),
            "{command:?}"
        );
    }
    assert_eq!(stock.view().on_hand, ON_HAND_LIMIT);
}

#[test]
fn the_number_of_open_reservations_is_bounded() {
    let mut stock = stocked(u32::try_from(RESERVATION_LIMIT).unwrap() + 1);
    stock.reservations = (1..RESERVATION_LIMIT)
        .map(|order| {
            let reservation = Reservation {
                quantity: 1,
                expires_at: at(60),
            };
            (order_id(order), reservation)
        })
        .collect();
    assert_eq!(
        run(&mut stock, &reserve(RESERVATION_LIMIT, 1), at(0)).0,
        StockReply::Done
    );
    assert_eq!(
        run(&mut stock, &reserve(RESERVATION_LIMIT + 1, 1), at(0)),
        refused(StockRefusal::TooManyReservations)
    );
}

#[test]
fn repeated_returns_count_once() {
    let orders = 200;
    let mut stock = stocked(400);
    for order in 0..orders {
        run(&mut stock, &reserve(order, 1), at(0));
        run(&mut stock, &take(order), at(0));
    }
    for round in 0..3 {
        for order in 0..orders {
            let (reply, change) = run(&mut stock, &give_back(order, 1), at(round));
            assert_eq!(
                (reply, change.is_some()),
                (StockReply::Done, round == 0),
                "{order}"
            );
        }
    }
    assert_eq!((stock.view().sold, stock.view().available), (0, 400));
}

#[test]
fn a_recent_return_is_not_forgotten() {
    let mut stock = stocked(1);
    for order in 0..RETURN_LIMIT {
        assert!(stock.returned.remember(order_id(order).as_str(), at(0), RETURNED));
    }
    run(&mut stock, &reserve(RETURN_LIMIT, 1), at(0));
    let last = give_back(RETURN_LIMIT, 1);
    let window = i64::try_from(REPEATED_WITHIN.as_secs()).unwrap();
    assert_eq!(
        run(&mut stock, &last, at(window - 1)),
        refused(StockRefusal::TooManyReturns)
    );
    let is_known = |stock: &Stock, order| stock.returned.contains(order_id(order).as_str());
    assert!((0..RETURN_LIMIT).all(|order| is_known(&stock, order)));
    assert_eq!(run(&mut stock, &last, at(window)).0, StockReply::Done);
    assert_eq!(
        (0..RETURN_LIMIT)
            .filter(|order| !is_known(&stock, *order))
            .count(),
        1
    );
    // The row shrinks again.
    let week = i64::try_from(RETURN_KEPT.as_secs()).unwrap();
    assert!(
        stock
            .returned
            .remember(order_id(0).as_str(), at(window + week + 1), RETURNED)
    );
    assert!(!is_known(&stock, RETURN_LIMIT));
}

#[test]
fn returns_without_times_are_read() {
    let mut stock = stocked(10);
    for order in [1, 2] {
        run(&mut stock, &reserve(order, 3), at(0));
        run(&mut stock, &take(order), at(0));
    }
    run(&mut stock, &give_back(1, 3), at(0));
    let mut row = serde_json::to_value(&stock).unwrap();
    row["returned"] = serde_json::json!([order_id(1)]);
    let mut stock: Stock = serde_json::from_value(row).unwrap();
    assert_eq!(run(&mut stock, &give_back(1, 3), at(1)), NOTHING_TO_DO);
    // Another return does not displace it.
    assert_eq!(run(&mut stock, &give_back(2, 3), at(2)).0, StockReply::Done);
    assert_eq!(run(&mut stock, &give_back(1, 3), at(3)), NOTHING_TO_DO);
    assert_eq!((stock.view().sold, stock.view().available), (0, 10));
}

/// A worker that was overtaken reserves and takes again, however many orders came in between.
#[test]
fn an_order_is_not_sold_to_twice() {
    let others = 1_000;
    let mut stock = stocked(others + 10);
    run(&mut stock, &reserve(0, 3), at(0));
    run(&mut stock, &take(0), at(0));
    for order in 1..=usize::try_from(others).unwrap() {
        run(&mut stock, &reserve(order, 1), at(1));
        assert_eq!(run(&mut stock, &take(order), at(1)).0, StockReply::Done);
    }
    let late = i64::try_from(TAKEN_FOR.as_secs()).unwrap() - 1;
    assert_eq!(run(&mut stock, &reserve(0, 3), at(late)), NOTHING_TO_DO);
    assert_eq!(run(&mut stock, &take(0), at(late)), NOTHING_TO_DO);
    assert_eq!(stock.view().sold, u64::from(others) + 3);
}

#[test]
fn sales_beyond_the_window_wait() {
    let mut stock = stocked(1);
    for order in 0..TAKEN_LIMIT {
        assert!(stock.taken.remember(order_id(order).as_str(), at(0), TAKEN));
    }
    run(&mut stock, &reserve(TAKEN_LIMIT, 1), at(1));
    let last = take(TAKEN_LIMIT);
    assert_eq!(run(&mut stock, &last, at(1)), refused(StockRefusal::TooManySales));
    let after = i64::try_from(TAKEN_FOR.as_secs()).unwrap() + 1;
    assert_eq!(run(&mut stock, &last, at(after)).0, StockReply::Done);
    assert!(
        serde_json::to_string(&stock).unwrap().len() < 500,
        "the row shrinks again"
    );
}

/// Every collection at its limit, with identifiers and references as long as they may be.
#[test]
fn the_row_is_bounded() {
    let mut stock = stocked(1);
    let long = |number: usize| format!("{number:032x}");
    for number in 0..TAKEN_LIMIT {
        let text = long(number);
        assert!(stock.taken.remember(&text, at(0), TAKEN));
        if number < RETURN_LIMIT {
            assert!(stock.returned.remember(&text, at(0), RETURNED));
        }
        if number < REFERENCES {
            let reference = format!("{number:0255}");
            assert!(stock.receipts.remember(&reference, at(0), REFERENCED));
            assert!(stock.adjustments.remember(&reference, at(0), REFERENCED));
        }
        if number < RESERVATION_LIMIT {
            let reservation = Reservation {
                quantity: 999,
                expires_at: at(60),
            };
            stock
                .reservations
                .insert(&OrderId::from_suffix(text), reservation);
        }
    }
    let bytes = serde_json::to_string(&stock).unwrap().len();
    assert!(bytes < 750_000, "{bytes}");
}

#[test]
fn a_row_of_the_older_form_is_read() {
    let row = r#"{"received":20,"adjusted":0,"sold":3,
        "reservations":{"ord_1":{"quantity":2,"expires_at":1700000060000},"ord_2":{"quantity":1,"expires_at":1700000030000}},
        "taken":["ord_3"],"returned":[["ord_4",1700000000000]],"receipts":["opening"],"adjustments":[]}"#;
    let mut stock: Stock = serde_json::from_str(row).unwrap();
    assert_eq!((stock.view().reserved, stock.view().available), (3, 14));
    assert_eq!(stock.due_at(), Some(at(30)));
    for repeated in [
        reserve(1, 2),
        reserve(3, 1),
        give_back(4, 1),
        receive("opening", 5),
    ] {
        assert_eq!(run(&mut stock, &repeated, at(1)), NOTHING_TO_DO, "{repeated:?}");
    }
    let row = serde_json::to_string(&stock).unwrap();
    assert_eq!(serde_json::from_str::<Stock>(&row).unwrap(), stock);
}
