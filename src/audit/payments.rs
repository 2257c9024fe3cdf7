//! Checks payments and the provider's charges of an order (invariants 4 and 5).

use super::Violation;
use super::orders::subject;
use super::rows;
use crate::gateways::sandbox::{Charge, Standing};
use crate::stores::documents::Document;
use souk_domain::Money;
use souk_domain::order::{Lifecycle, PaymentStatus, Phase, PlacedOrder};
use souk_domain::payment::{Payment, PaymentState};

/// The provider whose ledger is in one of our stores.
const SANDBOX: &str = "sandbox";

/// What is checked of a payment.
#[derive(Clone, Debug)]
pub(super) struct PaymentFacts {
    pub(super) id: String,
    pub(super) order: String,
    status: PaymentState,
    captured: Money,
    refunded: Money,
    /// The sum of its refunds, in minor units.
    given_back: i128,
}

impl PaymentFacts {
    pub(super) fn read(document: &Document) -> Result<Self, Violation> {
        let decode = |document: &Document| serde_json::from_str::<Payment>(&document.body);
        let payment = rows::decoded("payment", document, decode)?;
        Ok(Self {
            id: payment.id.as_str().to_owned(),
            order: payment.order.as_str().to_owned(),
            status: payment.status,
            captured: payment.captured,
            refunded: payment.refunded,
            given_back: payment
                .refunds
                .iter()
                .map(|refund| i128::from(refund.amount.amount))
                .sum(),
        })
    }

    fn was_captured(&self) -> bool {
        self.captured.amount != 0
            || matches!(
                self.status,
                PaymentState::Captured | PaymentState::PartiallyRefunded | PaymentState::Refunded
            )
    }

    /// Whether it is authorised or was captured.
    fn is_good(&self) -> bool {
        self.was_captured() || self.status == PaymentState::Authorised
    }

    /// Whether it may be authorised: that is written with the capture.
    fn may_be_good(&self) -> bool {
        self.is_good() || self.status == PaymentState::Intended
    }

    /// Whether no money is held or taken, and none can be any more.
    fn is_over(&self) -> bool {
        matches!(
            self.status,
            PaymentState::Voided | PaymentState::Declined { .. } | PaymentState::Refunded
        )
    }
}

/// What is checked of a charge at the provider.
#[derive(Clone, Debug)]
pub(super) struct ChargeFacts {
    pub(super) id: String,
    pub(super) order: Option<String>,
    standing: Standing,
    /// The sum of its refunds, in minor units.
    given_back: i128,
}

impl ChargeFacts {
    pub(super) fn read(document: &Document) -> Result<Self, Violation> {
        let decode = |document: &Document| serde_json::from_str::<Charge>(&document.body);
        let charge = rows::decoded("charge", document, decode)?;
        let given_back = charge.refunds().map(|refund| i128::from(refund.amount)).sum();
        Ok(Self {
            id: document.id.clone(),
            order: charge.order().map(ToString::to_string),
            standing: charge.standing,
            given_back,
        })
    }

    fn captured(&self) -> Option<Money> {
        match self.standing {
            Standing::Captured { amount } => Some(amount),
            _ => None,
        }
    }

    fn is_good(&self) -> bool {
        matches!(self.standing, Standing::Authorised | Standing::Captured { .. })
    }

    fn is_over(&self) -> bool {
        match &self.standing {
            // Undecided: no attempt has held money, and according to the payment there will be no other.
            Standing::Undecided { .. } | Standing::Declined { .. } | Standing::Voided => true,
            Standing::Captured { amount } => self.given_back == i128::from(amount.amount),
            Standing::Authorised | Standing::RequiresAction => false,
        }
    }

    fn as_str(&self) -> &'static str {
        match self.standing {
            Standing::Undecided { .. } => "undecided",
            Standing::Authorised => "authorised",
            Standing::RequiresAction => "waiting for the shopper",
            Standing::Declined { .. } => "declined",
            Standing::Captured { .. } => "captured",
            Standing::Voided => "voided",
        }
    }
}

/// The violations of an order's money.
pub(super) fn check(
    order: &PlacedOrder,
    payments: &[PaymentFacts],
    charges: &[ChargeFacts],
) -> Vec<Violation> {
    let mut violations = amounts(order, payments, charges);
    // A double or wrong capture would only be reported again by the order's status.
    if violations.is_empty() {
        violations.extend(standing(order, payments, charges));
    }
    violations
}

fn violation(order: &str, invariant: u8, detail: String) -> Violation {
    Violation {
        invariant,
        subject: subject(order),
        detail,
    }
}

/// Invariant 4, which holds at every moment.
fn amounts(order: &PlacedOrder, payments: &[PaymentFacts], charges: &[ChargeFacts]) -> Vec<Violation> {
    let mut details = Vec::new();
    let captured: Vec<_> = payments.iter().filter(|payment| payment.was_captured()).collect();
    let taken: Vec<_> = charges
        .iter()
        .filter_map(|charge| Some((charge, charge.captured()?)))
        .collect();
    for (count, whose) in [
        (captured.len(), "payments"),
        (taken.len(), "charges at the provider"),
    ] {
        if count > 1 {
            details.push(format!("{count} {whose} were captured for it"));
        }
    }
    for payment in payments {
        let (captured, refunded) = (payment.captured.amount, payment.refunded.amount);
        if refunded > captured || payment.given_back != i128::from(refunded) {
            let (id, sum) = (&payment.id, payment.given_back);
            details.push(format!(
                "payment {id} refunded {refunded} (its refunds add up to {sum}) of {captured} captured"
            ));
        }
    }
    for (charge, amount) in &taken {
        if charge.given_back > i128::from(amount.amount) {
            let (id, back) = (&charge.id, charge.given_back);
            details.push(format!(
                "the provider refunded {back} of {} captured under {id}",
                amount.amount
            ));
        }
    }
    if let ([payment], total) = (captured.as_slice(), order.placement.total)
        && payment.captured != total
    {
        let (id, amount) = (&payment.id, payment.captured.amount);
        details.push(format!(
            "payment {id} captured {amount} of a total of {}",
            total.amount
        ));
    }
    if let ([(charge, amount)], total) = (taken.as_slice(), order.placement.total)
        && *amount != total
    {
        details.push(format!(
            "the provider captured {} of a total of {} under {}",
            amount.amount, total.amount, charge.id
        ));
    }
    details
        .into_iter()
        .map(|detail| violation(order.placement.id.as_str(), 4, detail))
        .collect()
}

/// Invariant 5 as far as it is about money.
fn standing(order: &PlacedOrder, payments: &[PaymentFacts], charges: &[ChargeFacts]) -> Vec<Violation> {
    let is_sandbox = order.placement.payment.gateway == SANDBOX;
    match &order.progress.phase {
        Phase::Fulfilling { .. } | Phase::Confirmed { .. } | Phase::Completed { .. } => {
            fulfilled(order, payments, if is_sandbox { Some(charges) } else { None })
        }
        Phase::Failed { .. } | Phase::Cancelled { .. } => {
            let why = format!("it is {}", order_status(order));
            unsettled(order.placement.id.as_str(), &why, payments, charges)
        }
        // Money may be held or not.
        Phase::Confirming | Phase::AwaitingAction | Phase::Failing { .. } | Phase::Cancelling { .. } => {
            Vec::new()
        }
    }
}

fn fulfilled(
    order: &PlacedOrder,
    payments: &[PaymentFacts],
    charges: Option<&[ChargeFacts]>,
) -> Vec<Violation> {
    let id = order.placement.id.as_str();
    let status = order_status(order);
    let is_good = match order.progress.phase {
        Phase::Fulfilling { .. } => PaymentFacts::may_be_good,
        _ => PaymentFacts::is_good,
    };
    if !payments.iter().any(is_good) {
        return vec![violation(
            id,
            5,
            format!(
                "it is {status}, and none of its {} payments is authorised or captured",
                payments.len()
            ),
        )];
    }
    if let Some(charges) = charges
        && !charges.iter().any(ChargeFacts::is_good)
    {
        return vec![violation(
            id,
            5,
            format!("it is {status}, and the provider holds nothing and has taken nothing for it"),
        )];
    }
    let says_captured = matches!(
        order.progress.payment_status,
        PaymentStatus::Captured | PaymentStatus::PartiallyRefunded | PaymentStatus::Refunded
    );
    let mut violations = Vec::new();
    let was_captured = payments.iter().any(PaymentFacts::was_captured);
    if says_captured && !was_captured {
        violations.push(violation(
            id,
            4,
            format!(
                "its payment is {}, and 0 were captured",
                order.progress.payment_status.as_str()
            ),
        ));
    } else if was_captured
        && charges.is_some_and(|charges| !charges.iter().any(|charge| charge.captured().is_some()))
    {
        violations.push(violation(
            id,
            4,
            "its payment is captured, and the provider has captured nothing".to_owned(),
        ));
    }
    violations
}

/// Money that is held or was taken for an order that was never placed.
pub(super) fn check_unknown(
    order: &str,
    payments: &[PaymentFacts],
    charges: &[ChargeFacts],
) -> Vec<Violation> {
    unsettled(order, "it was never placed", payments, charges)
}

/// Money that is held or was taken although `why`.
fn unsettled(order: &str, why: &str, payments: &[PaymentFacts], charges: &[ChargeFacts]) -> Vec<Violation> {
    let held = payments
        .iter()
        .filter(|payment| !payment.is_over())
        .map(|payment| format!("{why}, and payment {} is {}", payment.id, state(&payment.status)));
    let charged = charges.iter().filter(|charge| !charge.is_over()).map(|charge| {
        format!(
            "{why}, and its charge {} at the provider is {}",
            charge.id,
            charge.as_str()
        )
    });
    held.chain(charged)
        .map(|detail| violation(order, 5, detail))
        .collect()
}

fn order_status(order: &PlacedOrder) -> &'static str {
    order.progress.phase.status().as_str()
}

fn state(state: &PaymentState) -> &'static str {
    match state {
        PaymentState::Intended => "intended",
        PaymentState::Authorised => "authorised",
        PaymentState::RequiresAction => "waiting for the shopper",
        PaymentState::Declined { .. } => "declined",
        PaymentState::Captured => "captured",
        PaymentState::Voided => "voided",
        PaymentState::PartiallyRefunded => "partially refunded",
        PaymentState::Refunded => "refunded",
    }
}
