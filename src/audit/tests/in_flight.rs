//! What is in order, and what is only under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::shop::{NOW, Shop};
use souk_domain::fixtures::{at, order_id};
use souk_domain::order::OrderCommand;

#[tokio::test]
async fn sound_shops_have_no_violations() {
    let shop = Shop::new().await;
    shop.assert_clean().await;
    shop.cart(1).await;
    shop.check_out(1, &[2]).await;
    shop.check_out(2, &[1, 3]).await;
    shop.fail(3, &[1, 1]).await;
    shop.check_out_and_cancel(4, &[2, 1]).await;
    shop.assert_clean().await;
}

#[tokio::test]
async fn a_checkout_in_flight_is_no_violation() {
    let quantities = [2, 1];
    let shop = Shop::new().await;
    shop.place(1, &quantities).await;
    shop.assert_clean().await;
    shop.reserve(1, 0, 2).await;
    shop.assert_clean().await;
    shop.reserve(1, 1, 1).await;
    shop.authorise(1, &quantities).await;
    shop.assert_clean().await;
    shop.confirm(1).await;
    shop.assert_clean().await;
    shop.take(1, 0).await;
    shop.assert_clean().await;
    shop.take(1, 1).await;
    shop.capture_at_provider(Shop::payment_id(1).as_str(), &quantities)
        .await;
    shop.assert_clean().await;
}

#[tokio::test]
async fn an_undo_in_flight_is_no_violation() {
    let quantities = [2, 1];
    let shop = Shop::new().await;
    shop.place(1, &quantities).await;
    shop.reserve(1, 0, 2).await;
    shop.authorise(1, &quantities).await;
    shop.abandon(1).await;
    shop.assert_clean().await;
    shop.void(1).await;
    shop.assert_clean().await;
    shop.release(1, 0).await;
    shop.assert_clean().await;

    shop.check_out(2, &quantities).await;
    // Long after its deadline: it has its time from here on.
    shop.end_failed(1).await;
    shop.cancel_at(2, 50_000).await;
    assert_eq!(shop.audit_at(50_010).await, []);
    shop.refund(2, &quantities).await;
    shop.give_back(2, 1, 1).await;
    assert_eq!(shop.audit_at(50_010).await, []);
}

/// Does something while the auditor waits for its clock.
fn meanwhile(something: impl Future<Output = ()>) {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(something));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_during_the_audit_are_no_violation() {
    let shop = Arc::new(Shop::new().await);
    shop.check_out_until_confirmed(1, &[2]).await;
    shop.place(2, &[1]).await;
    // The clock is first asked when the inventory has been read, and the orders have not.
    let (again, done) = (Arc::clone(&shop), AtomicBool::new(false));
    let found = shop
        .audit_by(Arc::new(move || {
            if !done.swap(true, Ordering::Relaxed) {
                let rest = async {
                    again.take(1, 0).await;
                    again.capture(1, &[2]).await;
                    again.finish(1).await;
                    again.reserve(2, 0, 1).await;
                    again.authorise(2, &[1]).await;
                    again.confirm(2).await;
                    again.check_out(3, &[1, 1]).await;
                };
                meanwhile(rest);
            }
            at(NOW)
        }))
        .await;
    assert_eq!(found, []);
}

/// A moving order is in flight, and one that stands still is not.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_moves_is_in_flight() {
    let shop = Arc::new(Shop::new().await);
    // Confirmed without stock; its version moves at every look.
    shop.place(1, &[1]).await;
    shop.authorise(1, &[1]).await;
    shop.confirm(1).await;
    let (mover, moves) = (Arc::clone(&shop), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&moves);
    let found = shop
        .audit_by(Arc::new(move || {
            meanwhile(mover.tamper(&*mover.stores.orders, order_id(1).as_str(), |_| {}));
            counted.fetch_add(1, Ordering::Relaxed);
            at(NOW)
        }))
        .await;
    assert_eq!(found, []);
    assert!(moves.load(Ordering::Relaxed) > 1);
    shop.assert_only(5, "order ord_1").await;
}

#[tokio::test]
async fn an_order_may_wait_until_its_deadline() {
    let shop = Shop::new().await;
    shop.place(1, &[1]).await;
    shop.reserve(1, 0, 1).await;
    shop.order(1, OrderCommand::AwaitAction).await;
    // The deadline lies at 600.
    assert_eq!(shop.audit_at(664).await, []);
    assert_eq!(shop.audit_at(666).await, [(12, "order ord_1".to_owned())]);
}
