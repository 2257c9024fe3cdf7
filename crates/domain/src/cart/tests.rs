use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::fixtures::{at, cart_id, order_id, product, run, sku, survives_rest, survives_the_wire};

/// More SKUs than a cart may have lines, so that the limit is reached.
const SKUS: usize = LINE_LIMIT + 20;

fn line(index: usize, quantity: u32) -> CartLine {
    CartLine {
        sku: sku(index),
        product_id: product(index),
        quantity,
    }
}

fn add(index: usize, quantity: u32) -> CartCommand {
    CartCommand::Add {
        sku: sku(index),
        product_id: product(index),
        quantity,
    }
}

fn set(index: usize, quantity: u32) -> CartCommand {
    CartCommand::SetQuantity {
        sku: sku(index),
        product_id: product(index),
        quantity,
    }
}

/// Runs a command that must be accepted.
fn accept(cart: &mut Cart, command: &CartCommand, at: Timestamp) {
    assert_eq!(run(cart, command, at).0, Ok(()), "{command:?}");
}

fn quantities() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0u32..20, 1 => 400u32..1_200, 1 => Just(u32::MAX)]
}

fn commands() -> impl Strategy<Value = CartCommand> {
    let index = || 0..SKUS;
    prop_oneof![
        1 => Just(CartCommand::Get),
        20 => (index(), quantities()).prop_map(|(index, quantity)| add(index, quantity)),
        6 => (index(), quantities()).prop_map(|(index, quantity)| set(index, quantity)),
        2 => index().prop_map(|index| CartCommand::Remove { sku: sku(index) }),
        2 => (0usize..8, vec((index(), quantities()), 0..8)).prop_map(|(order, lines)| CartCommand::Clear {
            order: order_id(order),
            lines: lines.into_iter().map(|(index, quantity)| (sku(index), quantity)).collect(),
        }),
        2 => (0usize..8, vec((index(), quantities()), 0..120)).prop_map(|(from, lines)| CartCommand::Receive {
            from: cart_id(from % 4),
            number: from as u64 / 4,
            lines: lines.into_iter().map(|(index, quantity)| line(index, quantity)).collect(),
        }),
    ]
}

/// The model: quantities by SKU, cleared orders and received hand-overs.
#[derive(Default)]
struct Model {
    quantities: BTreeMap<Sku, u64>,
    cleared: BTreeSet<OrderId>,
    received: BTreeSet<(CartId, u64)>,
}

impl Model {
    fn room_for(&self, sku: &Sku) -> bool {
        self.quantities.contains_key(sku) || self.quantities.len() < LINE_LIMIT
    }

    fn put(&mut self, sku: &Sku, quantity: u64) -> CartReply {
        if quantity == 0 || quantity > QUANTITY_LIMIT.into() {
            return Err(CartRefusal::QuantityOutOfRange);
        }
        if !self.room_for(sku) {
            return Err(CartRefusal::TooManyLines);
        }
        self.quantities.insert(sku.clone(), quantity);
        Ok(())
    }

    fn held(&self, sku: &Sku) -> u64 {
        self.quantities.get(sku).copied().unwrap_or(0)
    }

    fn run(&mut self, command: &CartCommand) -> CartReply {
        match command {
            CartCommand::Get => {}
            CartCommand::Add { quantity: 0, .. } => return Err(CartRefusal::QuantityOutOfRange),
            CartCommand::Add { sku, quantity, .. } => {
                return self.put(sku, self.held(sku) + u64::from(*quantity));
            }
            CartCommand::SetQuantity { sku, quantity: 0, .. } | CartCommand::Remove { sku } => {
                self.quantities.remove(sku);
            }
            CartCommand::SetQuantity { sku, quantity, .. } => return self.put(sku, u64::from(*quantity)),
            CartCommand::Empty => self.quantities.clear(),
            CartCommand::Clear { order, lines } => {
                if self.cleared.insert(order.clone()) {
                    for (sku, quantity) in lines {
                        let left = self.held(sku).saturating_sub(u64::from(*quantity));
                        if left == 0 {
                            self.quantities.remove(sku);
                        } else {
                            self.quantities.insert(sku.clone(), left);
                        }
                    }
                }
            }
            CartCommand::Receive { from, number, lines } => {
                if self.received.insert((from.clone(), *number)) {
                    for line in lines.iter().filter(|line| line.quantity > 0) {
                        if self.room_for(&line.sku) {
                            let sum = self.held(&line.sku) + u64::from(line.quantity);
                            self.quantities
                                .insert(line.sku.clone(), sum.min(QUANTITY_LIMIT.into()));
                        }
                    }
                }
            }
            other => unreachable!("{other:?} has a test of its own"),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_cart_behaves_like_its_model(commands in vec(commands(), 1..250)) {
        let mut cart = Cart::initial("crt_1");
        let mut model = Model::default();
        for command in &commands {
            let before = cart.clone();
            let (reply, change) = run(&mut cart, command, at(0));
            prop_assert_eq!(reply, model.run(command), "{:?}", command);
            prop_assert_eq!(change.is_some(), cart != before, "a change is reported exactly where there is one");
            prop_assert!(reply.is_ok() || change.is_none());

            let view = cart.view();
            prop_assert!(view.lines.len() <= LINE_LIMIT);
            prop_assert!(view.lines.iter().all(|line| (1..=QUANTITY_LIMIT).contains(&line.quantity)));
            let shown: BTreeMap<_, _> =
                view.lines.iter().map(|line| (line.sku.clone(), u64::from(line.quantity))).collect();
            prop_assert_eq!(shown.len(), view.lines.len(), "a SKU has one line");
            prop_assert_eq!(&shown, &model.quantities);
            survives_the_wire(command)?;
        }
        survives_the_wire(&cart.view())?;
        survives_rest(&cart)?;
    }

    #[test]
    fn clear_and_receive_are_idempotent(between in vec(commands(), 0..20)) {
        // Identifiers that the random commands do not use.
        let clear = CartCommand::Clear { order: order_id(100), lines: vec![(sku(0), 2), (sku(1), 1)] };
        let merge = CartCommand::Receive { from: cart_id(100), number: 1, lines: vec![line(0, 5), line(1, 1)] };
        let mut cart = Cart::initial("crt_1");
        prop_assert!(run(&mut cart, &merge, at(0)).1.is_some());
        prop_assert!(run(&mut cart, &clear, at(0)).1.is_some());
        for command in &between {
            // May be refused.
            let _ = run(&mut cart, command, at(1)).0;
        }
        for command in [&clear, &merge] {
            prop_assert_eq!(run(&mut cart, command, at(2)), (Ok(()), None));
        }
    }
}

#[test]
fn clear_leaves_what_was_added_since_the_order() {
    let mut cart = Cart::initial("crt_1");
    for command in [add(0, 2), add(1, 1), add(0, 3)] {
        assert_eq!(run(&mut cart, &command, at(0)).0, Ok(()));
    }
    let ordered = vec![(sku(0), 2), (sku(1), 1), (sku(7), 4)];
    let clear = CartCommand::Clear {
        order: order_id(1),
        lines: ordered,
    };
    accept(&mut cart, &clear, at(1));
    assert_eq!(cart.view().lines, [line(0, 3)]);
    accept(&mut cart, &clear, at(2));
    assert_eq!(cart.view().lines, [line(0, 3)], "the same order counted twice");
}

#[test]
fn clear_is_remembered_without_matching_lines() {
    let mut cart = Cart::initial("crt_1");
    let clear = CartCommand::Clear {
        order: order_id(1),
        lines: vec![(sku(0), 1)],
    };
    accept(&mut cart, &clear, at(0));
    accept(&mut cart, &add(0, 1), at(1));
    accept(&mut cart, &clear, at(2));
    assert_eq!(cart.view().lines, [line(0, 1)]);
}

#[test]
fn a_refusal_changes_nothing() {
    let mut cart = Cart::initial("crt_1");
    accept(&mut cart, &add(0, QUANTITY_LIMIT), at(0));
    for refused in [
        add(0, 1),
        set(0, QUANTITY_LIMIT + 1),
        add(1, 0),
        add(1, QUANTITY_LIMIT + 1),
    ] {
        assert_eq!(
            run(&mut cart, &refused, at(1)),
            (Err(CartRefusal::QuantityOutOfRange), None)
        );
    }
    assert_eq!(cart.view().lines, [line(0, QUANTITY_LIMIT)]);
}

#[test]
fn the_line_limit_applies_to_new_lines() {
    let mut cart = Cart::initial("crt_1");
    for index in 0..LINE_LIMIT {
        accept(&mut cart, &add(index, 1), at(0));
    }
    assert_eq!(
        run(&mut cart, &add(LINE_LIMIT, 1), at(1)).0,
        Err(CartRefusal::TooManyLines)
    );
    assert_eq!(
        run(&mut cart, &set(LINE_LIMIT, 1), at(1)).0,
        Err(CartRefusal::TooManyLines)
    );
    assert_eq!(run(&mut cart, &add(0, 1), at(1)).0, Ok(()));
    assert_eq!(cart.view().lines[0], line(0, 2), "a line keeps its place");
}

#[test]
fn emptying_an_empty_cart_changes_nothing() {
    let mut cart = Cart::initial("crt_1");
    accept(&mut cart, &add(0, 1), at(0));
    assert!(run(&mut cart, &CartCommand::Empty, at(1)).1.is_some());
    assert!(cart.view().lines.is_empty());
    assert_eq!(run(&mut cart, &CartCommand::Empty, at(2)), (Ok(()), None));
    assert_eq!(
        run(&mut cart, &CartCommand::Remove { sku: sku(0) }, at(2)),
        (Ok(()), None)
    );
}

fn claim(order: usize) -> CartCommand {
    CartCommand::Claim {
        order: order_id(order),
    }
}

fn clear(order: usize, lines: &[(usize, u32)]) -> CartCommand {
    CartCommand::Clear {
        order: order_id(order),
        lines: lines
            .iter()
            .map(|&(index, quantity)| (sku(index), quantity))
            .collect(),
    }
}

fn claimant(cart: &Cart) -> Option<OrderId> {
    cart.view().claim.map(|claim| claim.order)
}

/// Invariant 15.
#[test]
fn one_order_claims_a_cart_at_a_time() {
    let mut cart = Cart::initial("crt_1");
    accept(&mut cart, &add(0, 2), at(0));
    accept(&mut cart, &claim(1), at(1));
    assert_eq!(
        run(&mut cart, &claim(2), at(2)),
        (Err(CartRefusal::Claimed), None)
    );
    assert_eq!(run(&mut cart, &claim(1), at(3)), (Ok(()), None), "repeated");
    let unclaim = |order| CartCommand::Unclaim {
        order: order_id(order),
    };
    assert_eq!(
        run(&mut cart, &unclaim(2), at(4)),
        (Ok(()), None),
        "another's claim stays"
    );
    accept(&mut cart, &unclaim(1), at(5));
    assert_eq!(
        cart.view().lines,
        [line(0, 2)],
        "an order that failed leaves the cart"
    );
    accept(&mut cart, &claim(2), at(6));
    assert_eq!(cart.view().claim.map(|claim| claim.since), Some(at(6)));
}

#[test]
fn clear_ends_the_claim_of_its_order() {
    let mut cart = Cart::initial("crt_1");
    accept(&mut cart, &add(0, 2), at(0));
    accept(&mut cart, &claim(1), at(0));
    accept(&mut cart, &add(0, 1), at(1));
    accept(&mut cart, &clear(1, &[(0, 2)]), at(2));
    assert_eq!((claimant(&cart), cart.view().lines), (None, vec![line(0, 1)]));
    // A late request of the same order.
    assert_eq!(run(&mut cart, &claim(1), at(3)), (Ok(()), None));
    accept(&mut cart, &claim(2), at(4));
    assert_eq!(run(&mut cart, &clear(1, &[(0, 2)]), at(5)), (Ok(()), None));
    assert_eq!(claimant(&cart), Some(order_id(2)));
}

#[test]
fn lines_are_handed_over_once() {
    let (mut guest, mut account) = (Cart::initial("crt_1"), Cart::initial("crt_2"));
    let hand_over = CartCommand::HandOver { to: cart_id(2) };
    assert_eq!(
        run(&mut guest, &hand_over, at(0)),
        (Ok(()), None),
        "an empty cart"
    );
    let receive = |from: &Cart| {
        let hand_over = from.view().hand_over.unwrap();
        CartCommand::Receive {
            from: cart_id(1),
            number: hand_over.number,
            lines: hand_over.lines,
        }
    };
    for quantity in [1, 3] {
        accept(&mut guest, &add(0, quantity), at(1));
        accept(&mut guest, &hand_over, at(2));
        assert_eq!(guest.view().lines, []);
        // What is added meanwhile is not part of it, whoever asks again.
        accept(&mut guest, &add(1, 1), at(3));
        let elsewhere = CartCommand::HandOver { to: cart_id(3) };
        assert_eq!(run(&mut guest, &elsewhere, at(4)), (Ok(()), None));
        let received = receive(&guest);
        accept(&mut account, &received, at(5));
        assert_eq!(run(&mut account, &received, at(6)), (Ok(()), None), "repeated");
        let number = guest.view().hand_over.unwrap().number;
        accept(&mut guest, &CartCommand::FinishHandOver { number }, at(7));
        assert_eq!(
            (guest.view().hand_over, guest.view().lines),
            (None, vec![line(1, 1)])
        );
        accept(&mut guest, &CartCommand::Remove { sku: sku(1) }, at(8));
    }
    assert_eq!(account.view().lines, [line(0, 4)]);
}

#[test]
fn a_claimed_cart_is_not_handed_over() {
    let mut cart = Cart::initial("crt_1");
    accept(&mut cart, &add(0, 1), at(0));
    accept(&mut cart, &claim(1), at(0));
    let hand_over = CartCommand::HandOver { to: cart_id(2) };
    assert_eq!(
        run(&mut cart, &hand_over, at(1)),
        (Err(CartRefusal::Claimed), None)
    );
}

#[test]
fn a_row_of_the_older_form_is_read() {
    let row = r#"{"currency":"USD","lines":[{"sku":"SKU-0","product_id":"prd_0","quantity":2}],
        "cleared":["ord_1"],"merged":["crt_7"]}"#;
    let mut cart: Cart = serde_json::from_str(row).unwrap();
    assert_eq!(cart.view().lines, [line(0, 2)]);
    assert_eq!(run(&mut cart, &clear(1, &[(0, 1)]), at(0)), (Ok(()), None));
    accept(&mut cart, &claim(2), at(0));
}
