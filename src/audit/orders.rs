//! Checks an order against its stock, payments and charges (invariants 2, 3, 5, 6 and 12, and those of its money).

use super::payments::{self, ChargeFacts, PaymentFacts};
use super::stock::Books;
use super::{Limits, OVERDUE_REASON, Violation};
use souk_domain::order::{FulfilmentStatus, Lifecycle, PaymentStatus, Phase, PlacedOrder, Placement};
use souk_domain::{OrderId, Timestamp};

/// The stock of one SKU that an order has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding<'a> {
    sku: &'a str,
    /// How many it ordered; 0 where it has no line for it.
    ordered: u32,
    reserved: u32,
    sold: i64,
}

impl<'a> Holding<'a> {
    /// `None` where the SKU's row or ledger can't be read, which is reported separately.
    pub(super) fn new(sku: &'a str, ordered: u32, order: &str, books: Option<&Books>) -> Option<Self> {
        if books.is_some_and(|books| !books.is_readable()) {
            return None;
        }
        Some(Self {
            sku,
            ordered,
            reserved: books.map_or(0, |books| books.reserved_for(order)),
            sold: books.map_or(0, |books| books.sold_to(order)),
        })
    }

    fn is_nothing(&self) -> bool {
        self.reserved == 0 && self.sold == 0
    }

    /// The whole quantity is reserved, none is sold.
    fn is_reserved(&self) -> bool {
        self.reserved == self.ordered && self.sold == 0
    }

    /// The whole quantity is sold, none is reserved.
    fn is_sold(&self) -> bool {
        self.reserved == 0 && self.sold == i64::from(self.ordered)
    }
}

/// Everything read about an order.
pub(super) struct Facts<'a> {
    pub(super) order: &'a PlacedOrder,
    pub(super) holdings: Vec<Holding<'a>>,
    pub(super) payments: &'a [PaymentFacts],
    pub(super) charges: &'a [ChargeFacts],
    pub(super) now: Timestamp,
}

/// The invariant that is about time: a violation may only be late.
pub(super) const OVERDUE: u8 = 12;

pub(super) fn subject(order: &str) -> String {
    format!("order {order}")
}

/// The violations of an order.
pub(super) fn check(facts: &Facts<'_>, limits: &Limits) -> Vec<Violation> {
    let order = facts.order;
    let violation = |invariant, detail| Violation {
        invariant,
        subject: subject(order.placement.id.as_str()),
        detail,
    };
    if let Some(detail) = impossible(order) {
        // Nothing can be checked against an order that contradicts itself.
        return vec![violation(6, detail)];
    }
    let mut violations: Vec<Violation> = facts
        .holdings
        .iter()
        .filter_map(|holding| stock(order, holding))
        .map(|(invariant, detail)| violation(invariant, detail))
        .collect();
    violations.extend(payments::check(order, facts.payments, facts.charges));
    if let Some(detail) = overdue(order, facts.now, limits) {
        violations.push(violation(OVERDUE, detail));
    }
    violations
}

/// Invariant 15: two orders were made from the same version of a cart.
pub(super) fn same_cart(placement: &Placement, other: &OrderId) -> Violation {
    let Placement {
        cart, cart_version, ..
    } = placement;
    Violation {
        invariant: 15,
        subject: subject(placement.id.as_str()),
        detail: format!("it was made from version {cart_version} of {cart}, and so was {other}"),
    }
}

/// Invariant 6, as far as one row shows it: a combination of states that the tables do not lead to.
fn impossible(order: &PlacedOrder) -> Option<String> {
    use PaymentStatus as Money;
    let progress = &order.progress;
    let (payment, fulfilment) = (progress.payment_status, progress.fulfilment_status);
    let unfulfilled = fulfilment == FulfilmentStatus::Unfulfilled;
    let authorised = matches!(
        payment,
        Money::Authorised | Money::Captured | Money::PartiallyRefunded | Money::Refunded
    );
    let possible = match &progress.phase {
        Phase::Confirming
        | Phase::AwaitingAction
        | Phase::Failing { .. }
        | Phase::Cancelling { payment: None } => payment == Money::None && unfulfilled,
        Phase::Fulfilling { .. } | Phase::Confirmed { .. } | Phase::Cancelling { payment: Some(_) } => {
            authorised
        }
        Phase::Completed { .. } => authorised && !unfulfilled,
        Phase::Failed { .. } => {
            matches!(payment, Money::None | Money::Voided | Money::Declined) && unfulfilled
        }
        Phase::Cancelled { .. } => {
            let returned = matches!(payment, Money::Refunded | Money::Voided | Money::Declined);
            returned
                && matches!(
                    fulfilment,
                    FulfilmentStatus::Unfulfilled | FulfilmentStatus::Preparing
                )
        }
    };
    (!possible).then(|| {
        format!(
            "it is {} and {}, with its payment {} and its goods {}",
            progress.phase.status().as_str(),
            if progress.phase.is_finished() {
                "finished"
            } else {
                "unfinished"
            },
            payment.as_str(),
            fulfilment.as_str()
        )
    })
}

/// What is wrong with the stock of one SKU that an order has.
fn stock(order: &PlacedOrder, holding: &Holding<'_>) -> Option<(u8, String)> {
    let Holding {
        sku,
        ordered,
        reserved,
        sold,
    } = *holding;
    if ordered == 0 {
        return stray(holding, "it did not order any");
    }
    let progress = &order.progress;
    let status = progress.phase.status().as_str();
    let has = format!("of {ordered} {sku}, {reserved} are reserved and {sold} sold");
    match &progress.phase {
        Phase::Confirming
        | Phase::AwaitingAction
        | Phase::Failing { .. }
        | Phase::Cancelling { payment: None } => {
            // Lines are reserved, and released on failure, one by one.
            if sold != 0 {
                Some((5, format!("it is {status}; {has}")))
            } else {
                (reserved != 0 && reserved != ordered).then_some((3, has))
            }
        }
        Phase::Cancelling { payment: Some(_) } => {
            let possible = holding.is_nothing() || holding.is_reserved() || holding.is_sold();
            (!possible).then(|| (5, format!("it is being cancelled; {has}")))
        }
        Phase::Fulfilling { .. } => {
            let possible = holding.is_reserved() || holding.is_sold();
            (!possible).then(|| (5, format!("it is {status}; {has}")))
        }
        Phase::Confirmed { .. } | Phase::Completed { .. } => {
            // Only an unfinished order has reservations.
            if reserved != 0 {
                return Some((3, format!("it is {status} and finished; {has}")));
            }
            let came_back = progress.fulfilment_status == FulfilmentStatus::Returned
                && (0..i64::from(ordered)).contains(&sold);
            (!holding.is_sold() && !came_back).then(|| (2, format!("it is {status} and finished; {has}")))
        }
        Phase::Failed { .. } | Phase::Cancelled { .. } => {
            (!holding.is_nothing()).then(|| (5, format!("it is {status}; {has}")))
        }
    }
}

/// Stock that no order accounts for.
fn stray(holding: &Holding<'_>, why: &str) -> Option<(u8, String)> {
    let Holding {
        sku, reserved, sold, ..
    } = holding;
    if *reserved != 0 {
        Some((3, format!("{why}, and {reserved} {sku} are reserved for it")))
    } else {
        (*sold != 0).then(|| (2, format!("{why}, and {sold} {sku} are sold to it")))
    }
}

/// Invariant 12: whether a checkout, or its undoing, should have ended by now.
fn overdue(order: &PlacedOrder, now: Timestamp, limits: &Limits) -> Option<String> {
    let PlacedOrder { placement, progress } = order;
    if progress.phase.is_finished() {
        return None;
    }
    if let Some(attention) = &progress.attention {
        return Some(format!(
            "it waits for a decision about its {} since {} ({}): deal with the reason and have it tried again, or cancel the order",
            attention.step.as_str(),
            attention.since,
            attention.reason
        ));
    }
    // It must be confirmed by its deadline; a later decision, as a cancellation, extends the time.
    let latest = progress
        .timeline
        .last()
        .map_or(progress.created_at, |entry| entry.at);
    let ends_by = placement
        .deadline
        .max(latest)
        .plus(limits.payment_total + limits.sweep + limits.slack);
    (now > ends_by).then(|| {
        format!(
            "it is {} and unfinished since {latest}; its deadline was {}; {OVERDUE_REASON}",
            progress.phase.status().as_str(),
            placement.deadline
        )
    })
}

/// Stock, payments and charges of an order that was never placed.
pub(super) fn check_unknown<'a>(
    id: &str,
    holdings: impl Iterator<Item = Holding<'a>>,
    payments: &[PaymentFacts],
    charges: &[ChargeFacts],
) -> Vec<Violation> {
    holdings
        .filter_map(|holding| stray(&holding, "it was never placed"))
        .map(|(invariant, detail)| Violation {
            invariant,
            subject: subject(id),
            detail,
        })
        .chain(payments::check_unknown(id, payments, charges))
        .collect()
}
