//! A small shop for whole checkouts: the real aggregates, and a provider made of a few fields.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::checkout::{Step, next};
use crate::fixtures::{
    at, cart_id, dollars, instruction, order_id, payment_id, placement, product, run, sku,
};
use crate::{
    Aggregate, Cart, CartCommand, Event, FailureReason, Order, OrderCommand, OrderReply, OrderStatus,
    Payment, PaymentChange, PaymentState, PaymentStatus, PlacedOrder, Stock, StockCommand, StockRefusal,
    StockReply,
};

/// What the provider knows under one idempotency key.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Provider {
    answer: Answer,
    held: bool,
    voided: bool,
    captures: u32,
    refunds: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Answer {
    #[default]
    Yes,
    No,
    AskTheShopper,
}

/// One checkout and what belongs to it alone.
pub(super) struct Checkout {
    order: Order,
    quantities: Vec<u32>,
    cart: Cart,
    payment: Option<Payment>,
    provider: Provider,
    done: BTreeSet<Step>,
    /// What some driver has come to at some time.
    reached: BTreeSet<Step>,
}

/// The shop.
pub(super) struct World {
    stocks: Vec<Stock>,
    /// sold less returned, by SKU and order, as the ledgers tell it.
    sold: BTreeMap<(usize, String), i64>,
    checkouts: Vec<Checkout>,
    now: i64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// The next step, whole.
    Step,
    /// The next step, but the node dies before it notes anything; the next run has done nothing.
    StepThenCrash,
    /// The same, and the step comes only as far as its first effect.
    HalfAStepThenCrash,
    /// A driver that was believed dead goes on with a step that was open to it once.
    Zombie(usize),
    Cancel,
    /// The order's deadline passes.
    Deadline,
    /// Time passes, and what has expired is swept.
    Sweep,
}

impl World {
    pub(super) fn new(opening: &[u32], wishes: &[(Vec<u32>, Answer)]) -> Self {
        let stocks = opening
            .iter()
            .map(|&quantity| {
                let mut stock = Stock::initial("SKU");
                let reference = "opening".to_owned();
                run(&mut stock, &StockCommand::Receive { reference, quantity }, at(0));
                stock
            })
            .collect();
        let checkouts = wishes
            .iter()
            .enumerate()
            .map(|(index, (quantities, answer))| {
                let mut order = Order::initial(order_id(index).as_str());
                let place = OrderCommand::Place(Box::new(placement(index, quantities)));
                assert_eq!(run(&mut order, &place, at(0)).0, OrderReply::Done);
                let mut cart = Cart::initial(cart_id(index).as_str());
                for (line, &quantity) in quantities.iter().enumerate() {
                    // One more than is ordered: put in after the order was placed.
                    let command = CartCommand::Add {
                        sku: sku(line),
                        product_id: product(line),
                        quantity: quantity + 1,
                    };
                    run(&mut cart, &command, at(0)).0.unwrap();
                }
                Checkout {
                    order,
                    quantities: quantities.clone(),
                    cart,
                    payment: None,
                    provider: Provider {
                        answer: *answer,
                        ..Provider::default()
                    },
                    done: BTreeSet::new(),
                    reached: BTreeSet::new(),
                }
            })
            .collect();
        Self {
            stocks,
            sold: BTreeMap::new(),
            checkouts,
            now: 0,
        }
    }

    pub(super) fn view(&self, index: usize) -> &PlacedOrder {
        self.checkouts[index].order.placed().unwrap()
    }

    /// Sends a command to a SKU; books what its ledger tells.
    fn stock(&mut self, line: usize, command: &StockCommand) -> StockReply {
        let (reply, events) = run(&mut self.stocks[line], command, at(self.now));
        for Event { name, detail } in events.into_iter().flatten() {
            let sign = match name.as_str() {
                "stock.sold" => 1,
                "stock.returned" => -1,
                "stock.released" => continue,
                other => panic!("{other} is no part of a checkout"),
            };
            let order = detail["order"].as_str().unwrap().to_owned();
            *self.sold.entry((line, order)).or_default() += sign * detail["quantity"].as_i64().unwrap();
        }
        let level = self.stocks[line].view();
        assert_eq!(level.on_hand, level.received - level.sold, "invariant 2");
        assert!(level.reserved <= level.on_hand, "invariant 1");
        reply
    }

    fn order(&mut self, index: usize, command: &OrderCommand) -> OrderReply {
        run(&mut self.checkouts[index].order, command, at(self.now)).0
    }

    /// A step of a checkout on every SKU, or on the first alone where the driver dies.
    fn each_line(
        &mut self,
        index: usize,
        half: bool,
        command: impl Fn(u32) -> StockCommand,
    ) -> Vec<StockReply> {
        let quantities = self.checkouts[index].quantities.clone();
        let until = if half { 1 } else { quantities.len() };
        quantities[..until]
            .iter()
            .enumerate()
            .map(|(line, &quantity)| self.stock(line, &command(quantity)))
            .collect()
    }

    /// Writes what the provider answered; a contradiction leaves the document as it is.
    fn write(&mut self, index: usize, change: PaymentChange) {
        let checkout = &mut self.checkouts[index];
        let payment = checkout.payment.take().unwrap_or_else(|| {
            let total = checkout.order.placed().unwrap().placement.total;
            Payment::intend(payment_id(index), order_id(index), 1, instruction(), total, at(0))
        });
        checkout.payment = Some(match payment.apply(change) {
            Ok(Some(next)) => next,
            Ok(None) | Err(_) => payment,
        });
    }

    /// Does a step as a worker would, whatever the order says meanwhile. With `half`, only its first effect.
    fn perform(&mut self, index: usize, step: Step, half: bool) {
        let order = order_id(index);
        let expires_at = at(self.now + 30);
        let provider = &mut self.checkouts[index].provider;
        match step {
            Step::Reserve => {
                let replies = self.each_line(index, half, |quantity| StockCommand::Reserve {
                    order: order.clone(),
                    quantity,
                    expires_at,
                });
                let short: Vec<_> = replies
                    .iter()
                    .enumerate()
                    .filter_map(|(line, reply)| match reply {
                        StockReply::Refused(StockRefusal::OutOfStock { available }) => {
                            Some((sku(line), *available))
                        }
                        _ => None,
                    })
                    .collect();
                if !short.is_empty() {
                    let reason = FailureReason::OutOfStock { skus: short };
                    self.order(index, &OrderCommand::Abandon { reason });
                }
            }
            Step::Authorise => {
                match provider.answer {
                    // A voided key holds nothing any more: the provider's tombstone.
                    _ if provider.voided => return,
                    Answer::Yes => provider.held = provider.captures == 0,
                    Answer::No => {}
                    Answer::AskTheShopper => {
                        self.order(index, &OrderCommand::AwaitAction);
                        return;
                    }
                }
                let declined = provider.answer == Answer::No;
                if half {
                    return;
                }
                if declined {
                    let code = "declined".to_owned();
                    self.write(index, PaymentChange::Declined { code: code.clone() });
                    let reason = FailureReason::PaymentDeclined { code };
                    self.order(index, &OrderCommand::Abandon { reason });
                } else {
                    let reference = "ref".to_owned();
                    self.write(index, PaymentChange::Authorised { reference });
                }
            }
            Step::Confirm => self.confirm(index),
            Step::Take => {
                self.each_line(index, half, |_| StockCommand::Take { order: order.clone() });
            }
            Step::Capture => {
                if provider.held {
                    provider.held = false;
                    provider.captures += 1;
                }
                if provider.captures > 0 && !half {
                    self.write(index, PaymentChange::Captured);
                }
            }
            Step::Clear => {
                let checkout = &mut self.checkouts[index];
                let lines = (0..checkout.quantities.len())
                    .map(|line| (sku(line), checkout.quantities[line]))
                    .collect();
                run(
                    &mut checkout.cart,
                    &CartCommand::Clear { order, lines },
                    at(self.now),
                )
                .0
                .unwrap();
            }
            Step::Finish => {
                let captured = self.payment_is(index, &PaymentState::Captured);
                let steps = Vec::new();
                self.order(index, &OrderCommand::Finish { captured, steps });
            }
            Step::Void => {
                provider.held = false;
                provider.voided = true;
                if !half {
                    self.write(index, PaymentChange::Voided);
                }
            }
            Step::Release => {
                self.each_line(index, half, |_| StockCommand::Release { order: order.clone() });
            }
            Step::EndFailed => {
                let voided = self.payment_is(index, &PaymentState::Voided);
                let steps = Vec::new();
                self.order(index, &OrderCommand::EndFailed { voided, steps });
            }
            Step::Refund => {
                if provider.captures == 0 {
                    self.perform(index, Step::Void, half);
                    return;
                }
                provider.refunds = 1;
                if !half {
                    let amount = self.view(index).placement.total;
                    let key = "cancel".to_owned();
                    self.write(index, PaymentChange::Captured);
                    self.write(index, PaymentChange::Refunded { key, amount });
                }
            }
            Step::ReturnStock => {
                self.each_line(index, half, |quantity| StockCommand::Return {
                    order: order.clone(),
                    quantity,
                });
            }
            Step::EndCancelled => {
                let refunded = self.payment_is(index, &PaymentState::Refunded);
                let steps = Vec::new();
                self.order(index, &OrderCommand::EndCancelled { refunded, steps });
            }
        }
    }

    fn payment_is(&self, index: usize, state: &PaymentState) -> bool {
        self.checkouts[index]
            .payment
            .as_ref()
            .is_some_and(|payment| &payment.status == state)
    }

    fn confirm(&mut self, index: usize) {
        let before = self.view(index).progress.phase.status();
        let payment = payment_id(index);
        self.order(index, &OrderCommand::Confirm { payment });
        if before == OrderStatus::Pending
            && self.view(index).progress.phase.status() == OrderStatus::Confirmed
        {
            // Invariant 5, at the point of no return.
            let checkout = &self.checkouts[index];
            assert!(checkout.provider.held, "confirmed without money");
            for (line, quantity) in checkout.quantities.iter().enumerate() {
                let held = self.stocks[line].reservations().get(&order_id(index));
                assert_eq!(
                    held.map(|held| held.quantity),
                    Some(*quantity),
                    "confirmed without stock"
                );
            }
        }
    }

    /// Which step a driver of this run comes to now. It may fall asleep before it takes it.
    fn come_to(&mut self, index: usize) -> Option<Step> {
        let step = next(self.view(index), &self.checkouts[index].done)?;
        self.checkouts[index].reached.insert(step);
        Some(step)
    }

    fn step(&mut self, index: usize, half: bool) -> Option<Step> {
        let step = self.come_to(index)?;
        self.perform(index, step, half);
        Some(step)
    }

    /// The next step, done and noted.
    pub(super) fn advance(&mut self, index: usize) -> Option<Step> {
        let step = self.step(index, false)?;
        self.checkouts[index].done.insert(step);
        self.come_to(index);
        Some(step)
    }

    /// The driver dies; the next run has done nothing.
    pub(super) fn crash(&mut self, index: usize) {
        self.checkouts[index].done.clear();
    }

    /// How many reservations are left once all that can expire has expired and been swept.
    pub(super) fn reservations_left(&mut self) -> usize {
        self.now += 1_000;
        self.sweep();
        self.stocks.iter().map(|stock| stock.reservations().len()).sum()
    }

    pub(super) fn act(&mut self, index: usize, action: Action) {
        match action {
            Action::Step => {
                self.advance(index);
            }
            Action::StepThenCrash | Action::HalfAStepThenCrash => {
                self.step(index, matches!(action, Action::HalfAStepThenCrash));
                self.crash(index);
            }
            Action::Zombie(which) => {
                let mut open = self.checkouts[index].reached.clone();
                open.extend([Step::Reserve, Step::Authorise]);
                if self.view(index).progress.phase.payment().is_some() {
                    open.extend([Step::Take, Step::Capture, Step::Clear]);
                }
                if let Some(&step) = open.iter().nth(which % open.len()) {
                    self.perform(index, step, false);
                }
            }
            Action::Cancel => {
                let reason = String::new();
                self.order(index, &OrderCommand::Cancel { reason });
            }
            Action::Deadline => {
                let reason = FailureReason::DeadlinePassed;
                self.order(index, &OrderCommand::Abandon { reason });
            }
            Action::Sweep => {
                self.now += 20;
                self.sweep();
            }
        }
    }

    /// Asks the order of each expired reservation: one under way extends it, one that has ended lets it go.
    fn sweep(&mut self) {
        for line in 0..self.stocks.len() {
            let StockReply::Overdue(orders) = self.stock(line, &StockCommand::Overdue) else {
                panic!("Overdue was answered otherwise");
            };
            for order in orders {
                let index = (0..self.checkouts.len())
                    .find(|&index| order_id(index) == order)
                    .unwrap();
                let expires_at = at(self.now + 30);
                let command = if self.view(index).progress.phase.is_finished() {
                    StockCommand::Release { order }
                } else {
                    StockCommand::Extend { order, expires_at }
                };
                assert_eq!(self.stock(line, &command), StockReply::Done);
            }
        }
    }

    /// Lets a checkout come to its end without further mishap; how many steps it took.
    pub(super) fn complete(&mut self, index: usize) -> usize {
        let mut steps = 0;
        while !self.view(index).progress.phase.is_finished() && steps < 50 {
            if self.advance(index).is_none() {
                self.act(index, Action::Deadline);
            }
            steps += 1;
        }
        steps
    }

    /// Invariants 4, 5 and 12 of one finished checkout.
    pub(super) fn check(&self, index: usize) -> Result<(), TestCaseError> {
        let order = self.view(index);
        let Checkout {
            provider,
            payment,
            cart,
            quantities,
            ..
        } = &self.checkouts[index];
        prop_assert!(order.progress.phase.is_finished(), "invariant 12");
        prop_assert!(
            provider.captures <= 1 && provider.refunds <= provider.captures,
            "invariant 4"
        );
        prop_assert!(!provider.held, "money is held for an order that is through");
        let kept = order.progress.phase.status() == OrderStatus::Confirmed;
        let (money, status) = (
            provider.captures - provider.refunds,
            order.progress.payment_status,
        );
        prop_assert_eq!(money, u32::from(kept), "invariant 5: the money");
        if kept {
            prop_assert_eq!(status, PaymentStatus::Captured);
            prop_assert_eq!(payment.as_ref().unwrap().captured, order.placement.total);
        }
        if provider.captures > 0 && !kept {
            prop_assert_eq!(status, PaymentStatus::Refunded);
            prop_assert_eq!(order.progress.refunded, order.placement.total);
            prop_assert_eq!(payment.as_ref().unwrap().refundable(), dollars(0));
        }
        for (line, &quantity) in quantities.iter().enumerate() {
            let sold = self
                .sold
                .get(&(line, order.placement.id.to_string()))
                .copied()
                .unwrap_or(0);
            prop_assert_eq!(
                sold,
                if kept { i64::from(quantity) } else { 0 },
                "invariant 5: the stock"
            );
            if kept {
                let left = cart
                    .view()
                    .lines
                    .iter()
                    .find(|in_cart| in_cart.sku == sku(line))
                    .unwrap()
                    .quantity;
                prop_assert_eq!(left, 1, "the cart lost more or less than was ordered");
            }
        }
        Ok(())
    }
}
