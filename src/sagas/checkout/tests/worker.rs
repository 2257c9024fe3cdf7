//! Workers as actors: retries, lost replies, conflicts, crashes and cancellations.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorRef};
use tokio::task::JoinHandle;

use super::world::{Answer, Fault, World};
use crate::sagas::checkout::run::Checkout;
use crate::sagas::checkout::worker::{Run, Worker};
use souk_domain::checkout::Step;
use souk_domain::order::{FailureReason, Phase};

/// More failures than any worker sees in these tests.
const ALWAYS: usize = 10_000;
/// The clock is paused: it moves on once every worker waits for a call that is held back.
const HELD_BACK: Duration = Duration::from_millis(100);

fn shop(answer: Answer) -> Arc<World> {
    World::new(&[5, 5], &[(vec![1, 2], answer)])
}

async fn start(checkout: Checkout) -> (ActorRef<Run>, JoinHandle<()>) {
    Actor::spawn(None, Worker, checkout).await.unwrap()
}

async fn complete(world: &Arc<World>) {
    start(world.checkout(0)).await.1.await.unwrap();
}

fn assert_sold_once(world: &World) {
    assert!(
        matches!(world.phase(0), Phase::Confirmed { .. }),
        "{:?}",
        world.phase(0)
    );
    assert_eq!(world.charge(0).captures, 1);
    world.check(0).unwrap();
    world.check_stock(&[1, 2]).unwrap();
}

fn assert_nothing_sold(world: &World) {
    world.check(0).unwrap();
    world.check_stock(&[0, 0]).unwrap();
}

fn attempts(world: &World, step: Step) -> u32 {
    let steps = world.order(0).progress.steps;
    steps.iter().find(|record| record.step == step).unwrap().attempts
}

#[tokio::test(start_paused = true)]
async fn a_checkout_records_its_steps_in_order() {
    let world = shop(Answer::Accept);
    complete(&world).await;
    assert_sold_once(&world);
    let steps: Vec<Step> = world
        .order(0)
        .progress
        .steps
        .iter()
        .map(|record| record.step)
        .collect();
    assert_eq!(
        steps,
        [
            Step::Reserve,
            Step::Authorise,
            Step::Confirm,
            Step::Clear,
            Step::Take,
            Step::Capture,
            Step::Finish
        ]
    );
}

/// Beside the claim of the cart and the placement. The reply waits for both, and for the reservations, the intent, the
/// authorisation and the confirmation: six commits one after the other.
#[tokio::test(start_paused = true)]
async fn a_checkout_writes_only_what_a_crash_would_lose() {
    let world = shop(Answer::Accept);
    complete(&world).await;
    let expected = [
        // Confirmed and finished.
        ("order", 2),
        // Cleared.
        ("cart", 1),
        // Two SKUs, reserved and taken, each time at once.
        ("stock", 4),
        // Intended and captured.
        ("payment", 2),
    ];
    assert_eq!(world.written(), expected.into());
    // Authorised and captured.
    let calls = ["authorise", "capture", "query"].map(|call| world.made(call));
    assert_eq!(calls, [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_provider_is_called_again() {
    let world = shop(Answer::Accept);
    world.fail("authorise", [Fault::Unavailable; 3]);
    complete(&world).await;
    assert_sold_once(&world);
    assert_eq!(attempts(&world, Step::Authorise), 4);
}

#[tokio::test(start_paused = true)]
async fn a_lost_authorisation_is_queried() {
    let world = shop(Answer::Accept);
    world.fail("authorise", [Fault::ReplyLost]);
    world.fail("query", [Fault::Unavailable]);
    complete(&world).await;
    assert_sold_once(&world);
    assert_eq!(world.made("authorise"), 1);
}

#[tokio::test(start_paused = true)]
async fn lost_replies_have_one_effect() {
    for call in super::CALLS {
        let world = shop(Answer::Accept);
        world.fail(call, [Fault::ReplyLost; 3]);
        complete(&world).await;
        assert_sold_once(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn an_authorisation_without_an_outcome_fails() {
    let world = shop(Answer::Accept);
    world.fail("authorise", [Fault::ReplyLost]);
    world.fail("query", [Fault::Unavailable; ALWAYS]);
    let mut checkout = world.checkout(0);
    checkout.limits.payment_total = Duration::ZERO;
    start(checkout).await.1.await.unwrap();
    let reason = FailureReason::PaymentTimedOut;
    assert_eq!(world.phase(0), Phase::Failed { reason });
    assert_nothing_sold(&world);
}

#[tokio::test(start_paused = true)]
async fn a_conflicting_payment_is_read_again() {
    let world = shop(Answer::Accept);
    // Read the order, reserve two SKUs.
    world.allow(3);
    let (_, late) = start(world.checkout(0)).await;
    tokio::time::sleep(HELD_BACK).await;
    world.cancel(0);
    world.allow(usize::MAX);
    complete(&world).await;
    assert_eq!(world.phase(0), Phase::Cancelled { payment: None });
    // Its intent conflicts with the voided payment that the other worker has written.
    world.resume();
    late.await.unwrap();
    assert_eq!(world.made("authorise"), 0);
    assert_nothing_sold(&world);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_call_is_recovered() {
    for calls in 0..30 {
        let world = shop(Answer::Accept);
        world.allow(calls);
        let (worker, ended) = start(world.checkout(0)).await;
        tokio::time::sleep(HELD_BACK).await;
        worker.kill();
        ended.await.unwrap();
        world.allow(usize::MAX);
        complete(&world).await;
        assert_sold_once(&world);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retrying_worker_notices_a_cancellation() {
    let world = shop(Answer::Accept);
    world.fail("authorise", [Fault::Unavailable; ALWAYS]);
    let (_, ended) = start(world.checkout(0)).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    world.cancel(0);
    ended.await.unwrap();
    assert_eq!(world.phase(0), Phase::Cancelled { payment: None });
    assert_nothing_sold(&world);
}

#[tokio::test(start_paused = true)]
async fn a_worker_stops_while_the_shopper_has_to_act() {
    let world = shop(Answer::RequireAction);
    complete(&world).await;
    assert_eq!(world.phase(0), Phase::AwaitingAction);
    // The deadline of the fixture.
    world.sweep(600);
    complete(&world).await;
    let reason = FailureReason::DeadlinePassed;
    assert_eq!(world.phase(0), Phase::Failed { reason });
    assert_nothing_sold(&world);
}

#[tokio::test(start_paused = true)]
async fn a_declined_payment_releases_the_stock() {
    let world = shop(Answer::Decline);
    complete(&world).await;
    assert!(matches!(world.phase(0), Phase::Failed { .. }));
    assert_nothing_sold(&world);
}

/// Invariant 12: what the provider refuses is not tried for ever, and somebody hears of it.
#[tokio::test(start_paused = true)]
async fn a_refused_step_waits_for_a_decision() {
    for (call, step, is_cancelled) in [("capture", Step::Capture, false), ("refund", Step::Refund, true)] {
        let world = shop(Answer::Accept);
        if is_cancelled {
            // Read the order, reserve two SKUs, save the payment, authorise, confirm, clear, take two, capture the payment
            // and save that.
            world.allow(11);
            let (worker, ended) = start(world.checkout(0)).await;
            tokio::time::sleep(HELD_BACK).await;
            worker.kill();
            ended.await.unwrap();
            world.cancel(0);
            world.allow(usize::MAX);
        }
        world.fail(call, [Fault::Refused; 2]);
        complete(&world).await;
        let attention = world.order(0).progress.attention.unwrap();
        assert_eq!((attention.step, world.made(call)), (step, 0), "{attention:?}");
        assert!(attention.reason.contains("expired"), "{attention:?}");
        // A worker that is started all the same does nothing.
        complete(&world).await;
        assert_eq!(world.made(call), 0);
        world.retry(0);
        complete(&world).await;
        assert!(world.order(0).progress.attention.is_some(), "refused again");
        world.retry(0);
        complete(&world).await;
        assert_eq!(world.made(call), 1);
        world.check(0).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_done_by_hand_is_not_refused() {
    let world = shop(Answer::Accept);
    world.fail("capture", [Fault::ReplyLost]);
    world.fail("query", [Fault::Unavailable]);
    // After the lost reply the provider has captured the payment, and says so.
    world.fail("capture", [Fault::Refused]);
    complete(&world).await;
    assert_sold_once(&world);
}

#[tokio::test(start_paused = true)]
async fn an_unconfigured_provider_is_not_waited_for() {
    let world = shop(Answer::Accept);
    world.configure_provider(false);
    complete(&world).await;
    let reason = FailureReason::Internal;
    assert_eq!(world.phase(0), Phase::Failed { reason }, "nothing was charged");
    assert_nothing_sold(&world);

    let world = shop(Answer::Accept);
    // Read the order, reserve two SKUs, save the payment.
    world.allow(4);
    let (worker, ended) = start(world.checkout(0)).await;
    tokio::time::sleep(HELD_BACK).await;
    worker.kill();
    ended.await.unwrap();
    world.allow(usize::MAX);
    world.configure_provider(false);
    complete(&world).await;
    let attention = world.order(0).progress.attention.unwrap();
    assert_eq!(attention.step, Step::Void);
    assert!(attention.reason.contains("not configured"), "{attention:?}");
    world.configure_provider(true);
    world.retry(0);
    complete(&world).await;
    assert_nothing_sold(&world);
}

/// A call that never ends delays no cancellation.
#[tokio::test(start_paused = true)]
async fn a_cancellation_interrupts_a_call_to_the_provider() {
    let world = shop(Answer::Accept);
    // Up to the intent.
    world.allow(4);
    let mut checkout = world.checkout(0);
    checkout.limits.payment_call = Duration::from_secs(3_600);
    let cancelled = Arc::clone(&checkout.cancelled);
    let (_, ended) = start(checkout).await;
    tokio::time::sleep(HELD_BACK).await;
    world.cancel(0);
    world.allow(usize::MAX);
    cancelled.notify_one();
    tokio::time::timeout(Duration::from_secs(60), ended)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(world.phase(0), Phase::Cancelled { payment: None });
    assert_eq!(world.made("authorise"), 0);
    assert_nothing_sold(&world);
}

/// The worker dies after the provider has refunded the payment, whose capture was not recorded either.
#[tokio::test(start_paused = true)]
async fn an_unrecorded_refund_is_recognised() {
    let world = shop(Answer::Accept);
    // Up to the capture; then read the order, load the payment, query, refund.
    for calls in [10, 4] {
        world.allow(calls);
        let (worker, ended) = start(world.checkout(0)).await;
        tokio::time::sleep(HELD_BACK).await;
        worker.kill();
        ended.await.unwrap();
        world.cancel(0);
    }
    assert_eq!((world.made("capture"), world.made("refund")), (1, 1));
    world.allow(usize::MAX);
    complete(&world).await;
    assert!(
        matches!(world.phase(0), Phase::Cancelled { .. }),
        "{:?}",
        world.phase(0)
    );
    assert_nothing_sold(&world);
}
