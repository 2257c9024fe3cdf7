//! An in-memory shop for whole checkouts: the real aggregates behind [`Services`], and a payment provider of a few
//! fields. Calls can be held back, fail, or lose their replies, and workers stop at any call.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;

use crate::gateways::payment::{Authorisation, ChargeState, GatewayError, PaymentGateway};
use crate::sagas::checkout::CheckoutLimits;
use crate::sagas::checkout::run::{Checkout, StepError};
use crate::sagas::checkout::services::Services;
use crate::sagas::sweeper;
use souk_domain::fixtures::{at, cart_id, order_id, placement, product, run, sku};
use souk_domain::order::{OrderCommand, PaymentStatus, Phase, PlacedOrder};
use souk_domain::stock::{StockCommand, StockReply};
use souk_domain::{
    Aggregate, Cart, CartCommand, CartId, FailureReason, Money, Order, OrderId, OrderReply, Payment,
    PaymentId, Sku, Stock, Timestamp,
};

/// Seconds until a reservation expires.
const RESERVATION: u64 = 30;
/// Calls of a checkout from beginning to end, failed attempts included, that no test should need.
const MANY_CALLS: usize = 1_000;

/// Refusals and deadlines of a checkout, one after another, that no test should need.
const MANY_ATTEMPTS: usize = 200;

/// The provider's name for every charge.
const REFERENCE: &str = "reference";

/// How the provider answers an authorisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answer {
    Accept,
    Decline,
    RequireAction,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// It has no effect.
    Unavailable,
    /// It takes effect, and the caller does not learn of it.
    ReplyLost,
    /// The provider refuses it, and would refuse it again.
    Refused,
}

/// The calls that can go wrong.
pub(super) const CALLS: [&str; 10] = [
    "order",
    "stock",
    "cart",
    "load_payment",
    "save_payment",
    "authorise",
    "query",
    "capture",
    "void",
    "refund",
];

/// What the provider knows under one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Charge {
    verdict: Option<ChargeState>,
    voided: bool,
    pub(super) captures: u32,
    refunds: u32,
}

impl Charge {
    fn is_held(&self) -> bool {
        matches!(self.verdict, Some(ChargeState::Authorised { .. })) && !self.voided && self.captures == 0
    }

    fn state(&self) -> ChargeState {
        match &self.verdict {
            _ if self.refunds > 0 => ChargeState::Refunded {
                reference: REFERENCE.to_owned(),
            },
            _ if self.captures > 0 => ChargeState::Captured {
                reference: REFERENCE.to_owned(),
            },
            _ if self.voided => ChargeState::Voided,
            Some(verdict) => verdict.clone(),
            None => ChargeState::Unknown,
        }
    }
}

struct State {
    now: i64,
    stocks: BTreeMap<Sku, Stock>,
    orders: BTreeMap<OrderId, Order>,
    carts: BTreeMap<CartId, Cart>,
    payments: BTreeMap<PaymentId, (Payment, u64)>,
    charges: BTreeMap<String, Charge>,
    answers: BTreeMap<OrderId, Answer>,
    /// Faults of the next calls by name.
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
    /// Calls that took effect, by name.
    made: BTreeMap<&'static str, usize>,
    /// Durable changes, by the name of the call.
    written: BTreeMap<&'static str, usize>,
    /// Calls that may be made; those after them wait.
    budget: usize,
    waiting: Vec<Waker>,
    /// The provider is no longer configured.
    unconfigured: bool,
}

/// The shop.
pub(super) struct World(Mutex<State>);

impl World {
    /// A shop with so many of each SKU, and an order and cart for each of `orders`: quantities by SKU, and the
    /// provider's answer.
    pub(super) fn new(opening: &[u32], orders: &[(Vec<u32>, Answer)]) -> Arc<Self> {
        let mut state = State {
            now: 0,
            stocks: BTreeMap::new(),
            orders: BTreeMap::new(),
            carts: BTreeMap::new(),
            payments: BTreeMap::new(),
            charges: BTreeMap::new(),
            answers: BTreeMap::new(),
            faults: BTreeMap::new(),
            made: BTreeMap::new(),
            written: BTreeMap::new(),
            budget: usize::MAX,
            waiting: Vec::new(),
            unconfigured: false,
        };
        for (index, &quantity) in opening.iter().enumerate() {
            let reference = "opening".to_owned();
            let stock = state.stock(&sku(index));
            run(stock, &StockCommand::Receive { reference, quantity }, at(0));
        }
        for (index, (quantities, answer)) in orders.iter().enumerate() {
            let place = OrderCommand::Place(Box::new(placement(index, quantities)));
            assert_eq!(state.decide(&order_id(index), &place), OrderReply::Done);
            state.answers.insert(order_id(index), *answer);
            let mut cart = Cart::initial(cart_id(index).as_str());
            for (line, &quantity) in quantities.iter().enumerate() {
                // One more than is ordered.
                let command = CartCommand::Add {
                    sku: sku(line),
                    product_id: product(line),
                    quantity: quantity + 1,
                };
                run(&mut cart, &command, at(0)).0.unwrap();
            }
            let order = order_id(index);
            run(&mut cart, &CartCommand::Claim { order }, at(0)).0.unwrap();
            state.carts.insert(cart_id(index), cart);
        }
        state.written.clear();
        Arc::new(Self(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A new run of the checkout of an order.
    pub(super) fn checkout(self: &Arc<Self>, index: usize) -> Checkout {
        let limits = CheckoutLimits {
            ask: Duration::from_secs(1),
            payment_call: Duration::from_secs(1),
            payment_total: Duration::from_secs(3_600),
            reservation: Duration::from_secs(RESERVATION),
            keep_failed: Duration::from_secs(24 * 3_600),
        };
        Checkout::new(order_id(index), Arc::clone(self) as _, limits, Arc::default())
    }

    pub(super) fn order(&self, index: usize) -> PlacedOrder {
        self.state().orders[&order_id(index)].view().unwrap()
    }

    pub(super) fn phase(&self, index: usize) -> Phase {
        self.order(index).progress.phase
    }

    pub(super) fn charge(&self, index: usize) -> Charge {
        let key = Checkout::payment_id(&self.order(index));
        let state = self.state();
        state.charges.get(key.as_str()).cloned().unwrap_or_default()
    }

    /// How often a call took effect.
    pub(super) fn made(&self, call: &'static str) -> usize {
        self.state().made.get(call).copied().unwrap_or(0)
    }

    /// How many durable changes each kind of call has made.
    pub(super) fn written(&self) -> BTreeMap<&'static str, usize> {
        self.state().written.clone()
    }

    /// Lets the next calls of this name go wrong.
    pub(super) fn fail(&self, call: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.entry(call).or_default().extend(faults);
    }

    /// Whether the provider is configured.
    pub(super) fn configure_provider(&self, is_configured: bool) {
        self.state().unconfigured = !is_configured;
    }

    /// Lets so many calls be made and holds back those after them. Calls that are held back stay so until
    /// [`Self::resume`].
    pub(super) fn allow(&self, calls: usize) {
        self.state().budget = calls;
    }

    /// Lets the calls continue that were held back.
    pub(super) fn resume(&self) {
        let waiting = std::mem::take(&mut self.state().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn cancel(&self, index: usize) {
        let reason = String::new();
        self.state()
            .decide(&order_id(index), &OrderCommand::Cancel { reason });
    }

    /// Somebody asks for another attempt at what was refused.
    pub(super) fn retry(&self, index: usize) {
        self.state().decide(&order_id(index), &OrderCommand::Retry);
    }

    /// The order's deadline passes.
    pub(super) fn expire(&self, index: usize) {
        let reason = FailureReason::DeadlinePassed;
        self.state()
            .decide(&order_id(index), &OrderCommand::Abandon { reason });
    }

    /// Lets seconds pass, and sweeps the expired reservations.
    pub(super) fn sweep(&self, seconds: i64) {
        let mut state = self.state();
        state.now += seconds;
        let until = at(state.now).plus(Duration::from_secs(RESERVATION));
        for sku in state.stocks.keys().cloned().collect::<Vec<_>>() {
            let StockReply::Overdue(orders) = state.change_stock(&sku, &StockCommand::Overdue) else {
                panic!("unexpected reply to Overdue");
            };
            for id in orders {
                let command = sweeper::judge(id.clone(), state.orders[&id].placed(), until);
                assert_eq!(state.change_stock(&sku, &command), StockReply::Done);
            }
        }
    }

    /// Makes a call: waits until it is allowed, and lets it go wrong where that was asked for.
    async fn call<T>(
        &self,
        name: &'static str,
        effect: impl FnOnce(&mut State) -> T + Send,
    ) -> Result<T, Fault> {
        let mut effect = Some(effect);
        poll_fn(|context| {
            let mut state = self.state();
            if state.budget == 0 {
                state.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
            state.budget -= 1;
            let fault = state.faults.get_mut(name).and_then(VecDeque::pop_front);
            if let Some(fault @ (Fault::Unavailable | Fault::Refused)) = fault {
                return Poll::Ready(Err(fault));
            }
            *state.made.entry(name).or_default() += 1;
            let value = effect.take().unwrap()(&mut state);
            Poll::Ready(fault.map_or(Ok(value), Err))
        })
        .await
    }

    async fn charged<T>(
        &self,
        name: &'static str,
        key: &str,
        effect: impl FnOnce(&mut Charge) -> Result<T, &'static str> + Send,
    ) -> Result<T, GatewayError> {
        let change = |state: &mut State| effect(state.charges.entry(key.to_owned()).or_default());
        match self.call(name, change).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(code)) => Err(GatewayError::Refused {
                code: code.to_owned(),
            }),
            Err(Fault::Unavailable) => Err(GatewayError::Unavailable("unavailable".into())),
            Err(Fault::ReplyLost) => Err(GatewayError::OutcomeUnknown("reply lost".into())),
            Err(Fault::Refused) => Err(GatewayError::Refused {
                code: "expired".to_owned(),
            }),
        }
    }

    /// Invariants 4, 5 and 12 of a finished checkout; what it sold of each SKU.
    pub(super) fn check(&self, index: usize) -> Result<Vec<u32>, TestCaseError> {
        let order = self.order(index);
        let payment_id = Checkout::payment_id(&order);
        let PlacedOrder { placement, progress } = order;
        let charge = self.charge(index);
        let state = self.state();
        let quantities: Vec<u32> = placement.lines.iter().map(|line| line.quantity).collect();
        prop_assert!(progress.phase.is_finished(), "invariant 12: {:?}", progress.phase);
        prop_assert!(
            charge.captures <= 1 && charge.refunds <= charge.captures,
            "invariant 4"
        );
        prop_assert!(!charge.is_held(), "money is held for a finished order");
        let confirmed = matches!(progress.phase, Phase::Confirmed { .. });
        let paid = charge.captures - charge.refunds;
        prop_assert_eq!(paid, u32::from(confirmed), "invariant 5: the money");
        let payment = state.payments.get(&payment_id);
        let cart = state.carts[&placement.cart].view();
        prop_assert_eq!(cart.claim, None, "an order that ended claims its cart");
        if confirmed {
            prop_assert_eq!(progress.payment_status, PaymentStatus::Captured);
            prop_assert_eq!(payment.unwrap().0.captured, placement.total);
            let left: Vec<u32> = cart.lines.iter().map(|line| line.quantity).collect();
            prop_assert_eq!(
                left,
                vec![1; quantities.len()],
                "exactly what was ordered left the cart"
            );
            return Ok(quantities);
        }
        if charge.captures > 0 {
            prop_assert_eq!(progress.payment_status, PaymentStatus::Refunded);
            prop_assert_eq!(progress.refunded, placement.total);
            prop_assert_eq!(payment.unwrap().0.refundable().amount, 0);
        }
        Ok(vec![0; quantities.len()])
    }

    /// Invariants 1 to 3 once every checkout has finished: `sold` of each SKU, and nothing reserved.
    pub(super) fn check_stock(&self, sold: &[u32]) -> Result<(), TestCaseError> {
        for (index, &sold) in sold.iter().enumerate() {
            let level = self.state().stocks[&sku(index)].level();
            prop_assert_eq!(level.reserved, 0, "invariant 3");
            prop_assert_eq!(level.sold, u64::from(sold), "invariant 5: the stock");
        }
        Ok(())
    }
}

impl State {
    fn stock(&mut self, sku: &Sku) -> &mut Stock {
        self.stocks
            .entry(sku.clone())
            .or_insert_with(|| Stock::initial(sku.as_str()))
    }

    fn change_stock(&mut self, sku: &Sku, command: &StockCommand) -> StockReply {
        let now = at(self.now);
        let stock = self.stock(sku);
        let (reply, change) = run(stock, command, now);
        let level = stock.level();
        assert_eq!(level.on_hand, level.received - level.sold, "invariant 2");
        assert!(level.reserved <= level.on_hand, "invariant 1");
        self.count("stock", change.is_some());
        reply
    }

    fn count(&mut self, call: &'static str, is_change: bool) {
        *self.written.entry(call).or_default() += usize::from(is_change);
    }

    fn decide(&mut self, id: &OrderId, command: &OrderCommand) -> OrderReply {
        let order = self
            .orders
            .entry(id.clone())
            .or_insert_with(|| Order::initial(id.as_str()));
        let before = order.view();
        let (reply, change) = run(order, command, at(self.now));
        let after = order.view();
        self.count("order", change.is_some());
        let is_confirmed = |view: &Option<PlacedOrder>| {
            view.as_ref()
                .is_some_and(|order| matches!(order.progress.phase, Phase::Fulfilling { .. }))
        };
        if !is_confirmed(&before) && is_confirmed(&after) {
            self.check_confirmed(&after.unwrap());
        }
        reply
    }

    /// Invariant 5 at the point of no return.
    fn check_confirmed(&self, order: &PlacedOrder) {
        let key = Checkout::payment_id(order);
        assert!(self.charges[key.as_str()].is_held(), "confirmed without money");
        for line in &order.placement.lines {
            let reserved = self.stocks[&line.sku].reservations().get(&order.placement.id);
            assert_eq!(
                reserved.map(|reservation| reservation.quantity),
                Some(line.quantity),
                "confirmed without stock"
            );
        }
    }
}

impl From<Fault> for StepError {
    fn from(fault: Fault) -> Self {
        Self::retry(format_args!("{fault:?}"))
    }
}

#[async_trait]
impl Services for World {
    fn now(&self) -> Timestamp {
        at(self.state().now)
    }

    async fn order(&self, id: &OrderId, command: OrderCommand) -> Result<Option<PlacedOrder>, StepError> {
        let decide = |state: &mut State| {
            state.decide(id, &command);
            state.orders[id].view()
        };
        Ok(self.call("order", decide).await?)
    }

    async fn stock(&self, sku: &Sku, command: StockCommand) -> Result<StockReply, StepError> {
        let change = |state: &mut State| state.change_stock(sku, &command);
        Ok(self.call("stock", change).await?)
    }

    async fn cart(&self, id: &CartId, command: CartCommand) -> Result<(), StepError> {
        let change = |state: &mut State| {
            let now = at(state.now);
            let (reply, change) = run(state.carts.get_mut(id).unwrap(), &command, now);
            reply.unwrap();
            state.count("cart", change.is_some());
        };
        Ok(self.call("cart", change).await?)
    }

    async fn load_payment(&self, id: &PaymentId) -> Result<Option<(Payment, u64)>, StepError> {
        let load = |state: &mut State| state.payments.get(id).cloned();
        Ok(self.call("load_payment", load).await?)
    }

    async fn save_payment(&self, payment: &Payment, expected: u64) -> Result<bool, StepError> {
        let save = |state: &mut State| {
            let version = state.payments.get(&payment.id).map_or(0, |(_, version)| *version);
            if version != expected {
                return false;
            }
            state
                .payments
                .insert(payment.id.clone(), (payment.clone(), version + 1));
            state.count("payment", true);
            true
        };
        Ok(self.call("save_payment", save).await?)
    }

    fn gateway(&self, _name: &str) -> Option<&dyn PaymentGateway> {
        let is_configured = !self.state().unconfigured;
        is_configured.then_some(self as &dyn PaymentGateway)
    }
}

#[async_trait]
impl PaymentGateway for World {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    async fn authorise(&self, request: &Authorisation) -> Result<ChargeState, GatewayError> {
        let answer = self.state().answers[&request.order];
        let reference = REFERENCE.to_owned();
        self.charged("authorise", &request.key, |charge| {
            if charge.voided {
                return Err("voided");
            }
            let verdict = charge.verdict.get_or_insert(match answer {
                Answer::Accept => ChargeState::Authorised { reference },
                Answer::Decline => ChargeState::Declined {
                    code: "declined".to_owned(),
                },
                Answer::RequireAction => ChargeState::RequiresAction {
                    reference,
                    url: String::new(),
                },
            });
            Ok(verdict.clone())
        })
        .await
    }

    async fn query(&self, key: &str) -> Result<ChargeState, GatewayError> {
        self.charged("query", key, |charge| Ok(charge.state())).await
    }

    async fn capture(&self, key: &str, _amount: Money) -> Result<(), GatewayError> {
        self.charged("capture", key, |charge| {
            if charge.is_held() {
                charge.captures += 1;
            }
            if charge.captures == 0 {
                Err("not_held")
            } else {
                Ok(())
            }
        })
        .await
    }

    async fn void(&self, key: &str) -> Result<(), GatewayError> {
        self.charged("void", key, |charge| {
            if charge.captures > 0 {
                return Err("captured");
            }
            charge.voided = true;
            Ok(())
        })
        .await
    }

    async fn refund(&self, key: &str, _refund_key: &str, _amount: Money) -> Result<(), GatewayError> {
        self.charged("refund", key, |charge| {
            charge.refunds = charge.captures;
            if charge.captures == 0 {
                Err("not_captured")
            } else {
                Ok(())
            }
        })
        .await
    }
}

/// The workers of one order, oldest first. All but the last are late: another node has taken over.
pub(super) struct Workers {
    world: Arc<World>,
    index: usize,
    runs: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Workers {
    pub(super) fn new(world: &Arc<World>, index: usize) -> Self {
        Self {
            world: Arc::clone(world),
            index,
            runs: Vec::new(),
        }
    }

    /// Starts a worker; those before it go on.
    pub(super) fn start(&mut self) {
        let mut checkout = self.world.checkout(self.index);
        self.runs.push(Box::pin(async move {
            loop {
                match checkout.advance().await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(_) => checkout.read_again(),
                }
            }
        }));
    }

    fn chosen(&self, which: usize) -> usize {
        which % self.runs.len()
    }

    /// Lets a worker make so many calls.
    pub(super) fn advance(&mut self, which: usize, calls: usize) {
        if self.runs.is_empty() {
            self.start();
        }
        let chosen = self.chosen(which);
        self.world.allow(calls);
        let mut context = Context::from_waker(Waker::noop());
        if self.runs[chosen].as_mut().poll(&mut context).is_ready() {
            drop(self.runs.remove(chosen));
        }
    }

    /// Kills a worker at the call that it has come to.
    pub(super) fn crash(&mut self, which: usize) {
        if !self.runs.is_empty() {
            drop(self.runs.remove(self.chosen(which)));
        }
    }

    /// Lets all workers, and a new one, come to their ends without further faults.
    pub(super) fn complete(&mut self) {
        for attempt in 0.. {
            self.start();
            self.advance(self.runs.len() - 1, MANY_CALLS);
            let progress = self.world.order(self.index).progress;
            assert!(attempt < MANY_ATTEMPTS, "it does not end: {progress:?}");
            if progress.attention.is_some() {
                self.world.retry(self.index);
            } else if progress.phase == Phase::AwaitingAction {
                self.world.expire(self.index);
            } else {
                break;
            }
        }
        while !self.runs.is_empty() {
            let before = self.runs.len();
            self.advance(0, MANY_CALLS);
            assert!(self.runs.len() < before, "a worker does not come to its end");
        }
    }
}
