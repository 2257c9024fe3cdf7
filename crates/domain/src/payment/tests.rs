use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::Currency;
use crate::fixtures::{at, dollars, order_id, payment_id, survives_rest};

const AMOUNT: i64 = 1_000;

fn intended() -> Payment {
    Payment::intend(payment_id(1), order_id(1), 1, "sandbox", dollars(AMOUNT), at(0))
}

fn authorised() -> PaymentChange {
    PaymentChange::Authorised {
        reference: "ref".into(),
    }
}

fn requires_action() -> PaymentChange {
    PaymentChange::RequiresAction {
        reference: "ref".into(),
    }
}

fn declined() -> PaymentChange {
    PaymentChange::Declined {
        code: "no_funds".into(),
    }
}

fn refunded(key: &str, amount: i64) -> PaymentChange {
    PaymentChange::Refunded {
        key: key.into(),
        amount: dollars(amount),
    }
}

fn after(changes: &[PaymentChange]) -> Payment {
    changes.iter().fold(intended(), |payment, change| {
        payment.apply(change.clone()).unwrap().unwrap_or(payment)
    })
}

fn changes() -> impl Strategy<Value = PaymentChange> {
    prop_oneof![
        3 => Just(authorised()),
        1 => Just(requires_action()),
        1 => Just(declined()),
        3 => Just(PaymentChange::Captured),
        1 => Just(PaymentChange::Voided),
        6 => (0usize..6, prop_oneof![Just(i64::MAX), Just(i64::MIN), -2i64..500])
            .prop_map(|(key, amount)| refunded(&format!("k{key}"), amount)),
        1 => Just(PaymentChange::Refunded {
            key: "euro".into(),
            amount: Money::new(1, Currency::parse("EUR").unwrap()),
        }),
    ]
}

/// The allowed transitions, written independently of the code under test.
fn may_follow(from: &PaymentState, to: &PaymentState) -> bool {
    use PaymentState as S;
    matches!(
        (from, to),
        (
            S::Intended,
            S::Authorised | S::RequiresAction | S::Declined { .. } | S::Voided
        ) | (S::RequiresAction, S::Authorised | S::Declined { .. } | S::Voided)
            | (S::Authorised, S::Captured | S::Voided)
            | (S::Captured, S::PartiallyRefunded | S::Refunded)
            | (S::PartiallyRefunded, S::PartiallyRefunded | S::Refunded)
    )
}

proptest! {
    /// Invariant 4, for any sequence of reports of the provider.
    #[test]
    fn refunds_never_exceed_one_capture(script in vec(changes(), 1..60)) {
        let mut payment = intended();
        let mut captures = 0;
        for change in script {
            let Ok(Some(next)) = payment.apply(change.clone()) else { continue };
            prop_assert!(may_follow(&payment.status, &next.status), "{:?} to {:?}", payment.status, next.status);
            captures += usize::from(next.captured != payment.captured);
            let sum: i64 = next.refunds.iter().map(|refund| refund.amount.amount).sum();
            prop_assert_eq!(sum, next.refunded.amount);
            prop_assert!((0..=next.captured.amount).contains(&sum));
            prop_assert!(next.refunds.iter().all(|refund| refund.amount.amount > 0));
            prop_assert_eq!(
                next.status == PaymentState::Refunded,
                next.captured.amount > 0 && sum == next.captured.amount
            );
            prop_assert_eq!(next.apply(change), Ok(None), "a repetition counted");
            payment = next;
        }
        prop_assert!(captures <= 1);
        prop_assert!(payment.captured == dollars(0) || payment.captured == dollars(AMOUNT));
        survives_rest(&payment)?;
    }
}

#[test]
fn a_payment_is_captured_and_refunded() {
    let payment = after(&[authorised(), PaymentChange::Captured, refunded("a", 300)]);
    assert_eq!(payment.status, PaymentState::PartiallyRefunded);
    assert_eq!(payment.refundable(), dollars(700));
    assert_eq!(payment.reference.as_deref(), Some("ref"));
    let payment = payment.apply(refunded("b", 700)).unwrap().unwrap();
    assert_eq!(
        (payment.status, payment.refunded),
        (PaymentState::Refunded, dollars(AMOUNT))
    );
}

#[test]
fn contradicting_changes_are_refused() {
    use PaymentRefusal as R;
    let captured = [authorised(), PaymentChange::Captured];
    let refundable = dollars(AMOUNT);
    for (before, change, refusal) in [
        (&[][..], PaymentChange::Captured, R::NotAuthorised),
        (&[requires_action()], PaymentChange::Captured, R::NotAuthorised),
        (&[PaymentChange::Voided], authorised(), R::AlreadyVoided),
        (
            &[authorised(), PaymentChange::Voided],
            PaymentChange::Captured,
            R::AlreadyVoided,
        ),
        (&[declined()], authorised(), R::AlreadyDeclined),
        (&[authorised()], declined(), R::AlreadyAuthorised),
        (&captured, PaymentChange::Voided, R::AlreadyCaptured),
        (&captured, declined(), R::AlreadyCaptured),
        (&[authorised()], refunded("k", 1), R::NotCaptured),
        (
            &[authorised(), PaymentChange::Voided],
            refunded("k", 1),
            R::NotCaptured,
        ),
        (&captured, refunded("k", 0), R::InvalidAmount),
        (&captured, refunded("k", -1), R::InvalidAmount),
        (
            &captured,
            refunded("k", AMOUNT + 1),
            R::ExceedsCaptured { refundable },
        ),
    ] {
        assert_eq!(
            after(before).apply(change.clone()),
            Err(refusal),
            "{change:?} after {before:?}"
        );
    }
    let refunded_once = after(&[authorised(), PaymentChange::Captured, refunded("k", 10)]);
    assert_eq!(refunded_once.apply(refunded("k", 11)), Err(R::OtherRefund));
}

#[test]
fn outdated_messages_change_nothing() {
    for (before, late) in [
        (&[authorised(), PaymentChange::Captured][..], authorised()),
        (&[authorised()], requires_action()),
        (&[declined()], requires_action()),
        (&[PaymentChange::Voided], declined()),
        (&[declined()], PaymentChange::Voided),
    ] {
        assert_eq!(after(before).apply(late), Ok(None));
    }
}

#[test]
fn the_number_of_refunds_is_bounded() {
    let mut payment = after(&[authorised(), PaymentChange::Captured]);
    for refund in 0..REFUND_LIMIT {
        payment = payment.apply(refunded(&refund.to_string(), 1)).unwrap().unwrap();
    }
    assert_eq!(
        payment.apply(refunded("more", 1)),
        Err(PaymentRefusal::TooManyRefunds)
    );
}

#[test]
fn debug_output_omits_the_token() {
    assert!(!format!("{:?}", intended()).contains("tok_secret"));
}
