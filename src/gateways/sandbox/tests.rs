use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::join_all;
use proptest::prelude::*;

use super::SandboxGateway;
use crate::gateways::payment::{Authorisation, ChargeState, GatewayError, PaymentGateway};
use crate::stores::documents::DocumentStore;
use crate::stores::documents::faulty::{Fault, FaultyDocuments};
use souk_domain::{Currency, Money, OrderId, Timestamp};

fn clock() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn dollars(amount: i64) -> Money {
    Money::new(amount, Currency::USD)
}

fn wish(token: &str) -> Authorisation {
    Authorisation {
        key: "pay_1.1".to_owned(),
        token: token.to_owned(),
        amount: dollars(5_000),
        order: OrderId::from_suffix("1"),
    }
}

const KEY: &str = "pay_1.1";

async fn ledger() -> Arc<FaultyDocuments> {
    FaultyDocuments::new("payments").await
}

fn sandbox(ledger: &Arc<FaultyDocuments>) -> SandboxGateway {
    SandboxGateway::new(ledger.clone(), clock)
}

async fn captured(ledger: &Arc<FaultyDocuments>) -> SandboxGateway {
    let sandbox = sandbox(ledger);
    sandbox.authorise(&wish("tok_ok")).await.unwrap();
    sandbox.capture(KEY, dollars(5_000)).await.unwrap();
    sandbox
}

fn code<T: std::fmt::Debug>(result: Result<T, GatewayError>) -> String {
    match result {
        Err(GatewayError::Refused { code }) => code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn tokens_are_authorised_or_declined_once_and_for_all() {
    for (token, declined) in [
        ("tok_ok", None),
        ("tok_declined", Some("card_declined")),
        ("tok_made_up", Some("invalid_token")),
        ("", Some("invalid_token")),
    ] {
        let ledger = ledger().await;
        let first = sandbox(&ledger).authorise(&wish(token)).await.unwrap();
        match (&first, declined) {
            (ChargeState::Authorised { reference }, None) => assert!(reference.starts_with("sbx_")),
            (ChargeState::Declined { code }, Some(expected)) => assert_eq!(code, expected),
            other => panic!("{token}: {other:?}"),
        }
        // Another process, the same ledger.
        let again = sandbox(&ledger).authorise(&wish(token)).await.unwrap();
        assert_eq!(first, again);
        assert_eq!(ledger.version(&super::reference(KEY)).await.unwrap(), 1);
        assert_eq!(sandbox(&ledger).query(KEY).await.unwrap(), first);
    }
}

#[tokio::test]
async fn a_key_stands_for_one_authorisation() {
    let sandbox = sandbox(&ledger().await);
    sandbox.authorise(&wish("tok_ok")).await.unwrap();
    let dearer = Authorisation {
        amount: dollars(5_001),
        ..wish("tok_ok")
    };
    let foreign = Authorisation {
        order: OrderId::from_suffix("2"),
        ..wish("tok_ok")
    };
    for other in [dearer, foreign, wish("tok_declined")] {
        assert_eq!(code(sandbox.authorise(&other).await), "idempotency_key_reused");
    }
    let nothing = Authorisation {
        amount: dollars(0),
        key: "pay_2.1".to_owned(),
        ..wish("tok_ok")
    };
    assert_eq!(code(sandbox.authorise(&nothing).await), "invalid_amount");
    assert_eq!(sandbox.query("pay_2.1").await.unwrap(), ChargeState::Unknown);
}

#[tokio::test]
async fn a_slow_token_takes_its_time_and_is_authorised() {
    let ledger = ledger().await;
    let sandbox = SandboxGateway {
        slow: Duration::from_millis(20),
        ..sandbox(&ledger)
    };
    assert_eq!(super::SLOW, Duration::from_secs(2));
    let start = Instant::now();
    let answer = sandbox.authorise(&wish("tok_slow")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert!(matches!(answer, ChargeState::Authorised { .. }));
}

#[tokio::test]
async fn a_slow_authorisation_loses_to_a_void_in_the_meantime() {
    let ledger = ledger().await;
    let slow = SandboxGateway {
        slow: Duration::from_millis(20),
        ..sandbox(&ledger)
    };
    let request = wish("tok_slow");
    let mut authorisation = slow.authorise(&request);
    assert!((&mut authorisation).now_or_never().is_none());
    sandbox(&ledger).void(KEY).await.unwrap();
    assert_eq!(code(authorisation.await), "voided");
    assert_eq!(slow.query(KEY).await.unwrap(), ChargeState::Voided);
}

#[tokio::test]
async fn a_timeout_token_never_answers_until_it_is_voided() {
    let sandbox = sandbox(&ledger().await);
    let request = wish("tok_timeout");
    let mut authorisation = sandbox.authorise(&request);
    for _ in 0..100 {
        assert!((&mut authorisation).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(authorisation);
    assert_eq!(sandbox.query(KEY).await.unwrap(), ChargeState::Unknown);
    sandbox.void(KEY).await.unwrap();
    assert_eq!(code(sandbox.authorise(&request).await), "voided");
}

#[tokio::test]
async fn a_lost_reply_has_charged() {
    let sandbox = sandbox(&ledger().await);
    let error = sandbox.authorise(&wish("tok_reply_lost")).await.unwrap_err();
    assert!(matches!(error, GatewayError::OutcomeUnknown(_)));
    let ChargeState::Authorised { reference } = sandbox.query(KEY).await.unwrap() else {
        panic!("not charged");
    };
    assert_eq!(
        sandbox.authorise(&wish("tok_reply_lost")).await.unwrap(),
        ChargeState::Authorised { reference }
    );
    sandbox.capture(KEY, dollars(5_000)).await.unwrap();
}

#[tokio::test]
async fn a_flaky_token_fails_twice_a_key_whichever_node_asks() {
    let ledger = ledger().await;
    for _ in 0..2 {
        let error = sandbox(&ledger).authorise(&wish("tok_flaky")).await.unwrap_err();
        assert!(matches!(error, GatewayError::Unavailable(_)));
        assert_eq!(sandbox(&ledger).query(KEY).await.unwrap(), ChargeState::Unknown);
    }
    let other = Authorisation {
        key: "pay_2.1".to_owned(),
        ..wish("tok_flaky")
    };
    assert!(sandbox(&ledger).authorise(&other).await.is_err());
    let answer = sandbox(&ledger).authorise(&wish("tok_flaky")).await.unwrap();
    assert!(matches!(answer, ChargeState::Authorised { .. }));
}

#[tokio::test]
async fn an_action_is_confirmed_or_called_off_by_the_shopper() {
    for (confirmed, expected) in [(true, None), (false, Some("action_refused"))] {
        let sandbox = sandbox(&ledger().await);
        let answer = sandbox.authorise(&wish("tok_requires_action")).await.unwrap();
        let ChargeState::RequiresAction { reference, url } = answer else {
            panic!("{answer:?}");
        };
        assert!(url.ends_with(&reference));
        assert_eq!(code(sandbox.capture(KEY, dollars(1)).await), "not_authorised");
        let state = sandbox.settle_action(KEY, confirmed).await.unwrap();
        assert_eq!(state, sandbox.query(KEY).await.unwrap());
        assert_eq!(state, sandbox.settle_action(KEY, !confirmed).await.unwrap());
        match (state, expected) {
            (ChargeState::Authorised { .. }, None) => {}
            (ChargeState::Declined { code }, Some(expected)) => assert_eq!(code, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_is_one_charge_however_many_ask_at_once() {
    let ledger = ledger().await;
    let tasks = (0..32).map(|_| {
        let sandbox = sandbox(&ledger);
        tokio::spawn(async move { sandbox.authorise(&wish("tok_ok")).await.unwrap() })
    });
    let answers: Vec<_> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(ledger.scan(None, 10).await.unwrap().len(), 1);
    let document = ledger
        .load(&super::charge::reference(KEY))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(document.version, 1);
    assert!(!document.body.contains("tok_ok"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_reply_is_lost_to_one_of_those_who_ask_at_once() {
    let ledger = ledger().await;
    let tasks = (0..32).map(|_| {
        let sandbox = sandbox(&ledger);
        tokio::spawn(async move { sandbox.authorise(&wish("tok_reply_lost")).await.is_err() })
    });
    let lost = join_all(tasks)
        .await
        .into_iter()
        .filter(|lost| *lost.as_ref().unwrap())
        .count();
    assert_eq!(lost, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refunds_that_race_stay_within_what_was_captured() {
    let ledger = ledger().await;
    captured(&ledger).await;
    let tasks = (0..32).map(|number| {
        let sandbox = sandbox(&ledger);
        tokio::spawn(async move {
            sandbox
                .refund(KEY, &format!("ref_{number}"), dollars(1_000))
                .await
                .is_ok()
        })
    });
    let given = join_all(tasks)
        .await
        .into_iter()
        .filter(|given| *given.as_ref().unwrap())
        .count();
    assert_eq!(given, 5);
    let state = sandbox(&ledger).query(KEY).await.unwrap();
    assert!(matches!(state, ChargeState::Refunded { .. }), "{state:?}");
}

#[tokio::test]
async fn a_void_before_the_authorisation_is_a_tombstone() {
    let ledger = ledger().await;
    sandbox(&ledger).void(KEY).await.unwrap();
    assert_eq!(code(sandbox(&ledger).authorise(&wish("tok_ok")).await), "voided");
    assert_eq!(
        code(sandbox(&ledger).capture(KEY, dollars(5_000)).await),
        "voided"
    );
    sandbox(&ledger).void(KEY).await.unwrap();
    assert_eq!(sandbox(&ledger).query(KEY).await.unwrap(), ChargeState::Voided);
}

#[tokio::test]
async fn what_is_voided_can_not_be_captured_and_what_is_captured_not_voided() {
    let sandbox = sandbox(&ledger().await);
    sandbox.authorise(&wish("tok_ok")).await.unwrap();
    sandbox.void(KEY).await.unwrap();
    assert_eq!(code(sandbox.capture(KEY, dollars(5_000)).await), "voided");
    let sandbox = captured(&ledger().await).await;
    assert_eq!(code(sandbox.void(KEY).await), "already_captured");
    let state = sandbox.query(KEY).await.unwrap();
    assert!(matches!(state, ChargeState::Captured { .. }), "{state:?}");
}

#[tokio::test]
async fn a_second_capture_takes_nothing() {
    let ledger = ledger().await;
    let sandbox = captured(&ledger).await;
    let writes = ledger.writes();
    sandbox.capture(KEY, dollars(5_000)).await.unwrap();
    assert_eq!(ledger.writes(), writes);
    assert_eq!(code(sandbox.capture(KEY, dollars(1)).await), "already_captured");
}

#[tokio::test]
async fn a_capture_stays_within_what_is_set_aside() {
    let sandbox = sandbox(&ledger().await);
    assert_eq!(code(sandbox.capture(KEY, dollars(1)).await), "not_authorised");
    sandbox.authorise(&wish("tok_ok")).await.unwrap();
    assert_eq!(
        code(sandbox.capture(KEY, dollars(5_001)).await),
        "amount_too_large"
    );
    assert_eq!(code(sandbox.capture(KEY, dollars(0)).await), "invalid_amount");
    let euro = Money::new(1, Currency::parse("EUR").unwrap());
    assert_eq!(code(sandbox.capture(KEY, euro).await), "currency_mismatch");
    sandbox.capture(KEY, dollars(4_000)).await.unwrap();
    assert_eq!(
        code(sandbox.refund(KEY, "ref_1", dollars(4_001)).await),
        "refund_exceeds_capture"
    );
    assert_eq!(
        code(sandbox.refund(KEY, "ref_1", euro).await),
        "currency_mismatch"
    );
}

#[tokio::test]
async fn a_refund_key_gives_back_once() {
    let sandbox = captured(&ledger().await).await;
    for _ in 0..3 {
        sandbox.refund(KEY, "ref_1", dollars(3_000)).await.unwrap();
    }
    assert_eq!(
        code(sandbox.refund(KEY, "ref_1", dollars(1)).await),
        "idempotency_key_reused"
    );
    assert_eq!(
        code(sandbox.refund(KEY, "ref_2", dollars(2_001)).await),
        "refund_exceeds_capture"
    );
    let state = sandbox.query(KEY).await.unwrap();
    assert!(matches!(state, ChargeState::Captured { .. }), "{state:?}");
    sandbox.refund(KEY, "ref_2", dollars(2_000)).await.unwrap();
    let state = sandbox.query(KEY).await.unwrap();
    assert!(matches!(state, ChargeState::Refunded { .. }), "{state:?}");
    assert_eq!(
        code(sandbox.refund("pay_unheard_of", "ref_1", dollars(1)).await),
        "not_captured"
    );
}

#[tokio::test]
async fn the_ledgers_own_failures_are_told_apart() {
    let ledger = ledger().await;
    ledger.inject(Fault::Unavailable);
    let error = sandbox(&ledger).authorise(&wish("tok_ok")).await.unwrap_err();
    assert!(matches!(error, GatewayError::Unavailable(_)));
    // The write landed and its answer was lost: what the ledger holds tells, so that the caller need not ask.
    ledger.inject(Fault::ReplyLost);
    let answer = sandbox(&ledger).authorise(&wish("tok_ok")).await.unwrap();
    assert!(matches!(answer, ChargeState::Authorised { .. }));
    // If the ledger is unavailable right after a lost reply, the outcome stays unknown.
    ledger.inject(Fault::ReplyLost);
    ledger.inject(Fault::Unavailable);
    let flaky = Authorisation {
        key: "pay_2.1".to_owned(),
        ..wish("tok_flaky")
    };
    let error = sandbox(&ledger).authorise(&flaky).await.unwrap_err();
    assert!(matches!(error, GatewayError::OutcomeUnknown(_)));
}

#[derive(Clone, Debug)]
enum Call {
    Authorise,
    Capture(i64),
    Void,
    Refund(u8, i64),
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        2 => Just(Call::Authorise),
        2 => (4_990..5_010_i64).prop_map(Call::Capture),
        1 => Just(Call::Void),
        5 => (0..6_u8, 1..3_000_i64).prop_map(|(key, amount)| Call::Refund(key, amount)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Invariant 4, and that a charge is never both voided and captured, whatever is called in whatever order.
    #[test]
    fn money_moves_at_most_once_each_way(calls in prop::collection::vec(any_call(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sandbox = sandbox(&ledger().await);
            let mut taken = None;
            let mut given = std::collections::BTreeMap::new();
            let mut voided = false;
            for call in calls {
                match call {
                    Call::Authorise => {
                        let done = sandbox.authorise(&wish("tok_ok")).await.is_ok();
                        prop_assert_eq!(done, !voided);
                    }
                    Call::Capture(amount) => {
                        if sandbox.capture(KEY, dollars(amount)).await.is_ok() {
                            prop_assert_eq!(*taken.get_or_insert(amount), amount);
                        }
                    }
                    Call::Void => voided |= sandbox.void(KEY).await.is_ok(),
                    Call::Refund(key, amount) => {
                        if sandbox.refund(KEY, &format!("ref_{key}"), dollars(amount)).await.is_ok() {
                            prop_assert_eq!(*given.entry(key).or_insert(amount), amount);
                        }
                    }
                }
                prop_assert!(given.values().sum::<i64>() <= taken.unwrap_or(0));
                prop_assert!(taken.unwrap_or(0) <= 5_000);
                prop_assert!(!(voided && taken.is_some()));
            }
            Ok(())
        })?;
    }
}
