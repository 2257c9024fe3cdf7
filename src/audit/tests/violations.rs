//! One test a check: the shop is tampered with, and exactly that violation is found.

use serde_json::json;

use super::shop::{NOW, Shop};
use crate::gateways::sandbox::reference as charge_id;
use crate::stores::documents::{DocumentStore, DocumentWrite};
use souk_cluster::view::View;
use souk_domain::PaymentId;
use souk_domain::checkout::Step;
use souk_domain::fixtures::raw_event;
use souk_domain::fixtures::{at, cart_id, order_id, sku};
use souk_domain::order::OrderCommand;
use souk_domain::payment::PaymentChange;

const SKU: &str = "sku SKU-0";
const ORDER: &str = "order ord_1";

/// The particulars of a receipt.
fn received() -> serde_json::Value {
    json!({ "quantity": 1, "reference": "r", "on_hand": 1, "available": 1 })
}

fn inventory(shop: &Shop) -> &dyn DocumentStore {
    &*shop.stores.inventory
}

async fn tamper_with_stock(shop: &Shop, change: impl FnOnce(&mut serde_json::Value)) {
    shop.tamper(inventory(shop), sku(0).as_str(), |body| {
        change(&mut body["state"])
    })
    .await;
}

async fn tamper_with_order(shop: &Shop, change: impl FnOnce(&mut serde_json::Value)) {
    let orders = &*shop.stores.orders;
    shop.tamper(orders, order_id(1).as_str(), |body| {
        change(&mut body["state"]["placed"]["progress"])
    })
    .await;
}

async fn tamper_with_payment(shop: &Shop, change: impl FnOnce(&mut serde_json::Value)) {
    shop.tamper(&*shop.stores.payments, Shop::payment_id(1).as_str(), change)
        .await;
}

async fn tamper_with_charge(shop: &Shop, change: impl FnOnce(&mut serde_json::Value)) {
    let id = charge_id(Shop::payment_id(1).as_str());
    shop.tamper(&*shop.stores.sandbox, &id, change).await;
}

async fn sold() -> Shop {
    let shop = Shop::new().await;
    shop.check_out(1, &[2]).await;
    shop.assert_clean().await;
    shop
}

async fn failed() -> Shop {
    let shop = Shop::new().await;
    shop.fail(1, &[2]).await;
    shop.assert_clean().await;
    shop
}

#[tokio::test]
async fn invariant_13_a_fence_is_ahead_of_the_view() {
    let shop = Shop::new().await;
    let view = |number| View {
        number,
        members: Vec::new(),
    };
    assert!(shop.stores.views.propose(&view(1)).await.unwrap());
    for (fence, is_ahead) in [(1, false), (2, true)] {
        let mut document = inventory(&shop).load(sku(0).as_str()).await.unwrap().unwrap();
        document.fence = fence;
        document.version += 1;
        let write = DocumentWrite {
            expected: document.version - 1,
            document,
            events: Vec::new(),
        };
        inventory(&shop).write("fenced", &[write]).await.unwrap();
        if is_ahead {
            shop.assert_only(13, SKU).await;
        } else {
            shop.assert_clean().await;
        }
    }
    assert!(shop.stores.views.propose(&view(2)).await.unwrap());
    shop.assert_clean().await;
}

#[tokio::test]
async fn invariant_1_more_is_reserved_than_is_there() {
    let shop = Shop::new().await;
    shop.place(1, &[4]).await;
    shop.reserve(1, 0, 4).await;
    // A loss that was booked past the check.
    for (lost, ledger) in [(7, -7), (11, -4)] {
        let version = inventory(&shop).version(sku(0).as_str()).await.unwrap() + 1;
        let mut body = shop.body(inventory(&shop), sku(0).as_str()).await;
        body["state"]["adjusted"] = json!(-lost);
        let detail = json!({
            "delta": ledger, "reason": "", "reference": lost.to_string(), "on_hand": 0, "available": 0
        });
        let event = raw_event("stock.adjusted", detail);
        shop.write(inventory(&shop), sku(0).as_str(), body, vec![(version, event)])
            .await;
        shop.assert_only(1, SKU).await;
    }
}

#[tokio::test]
async fn invariant_2_a_figure_is_not_what_the_ledger_adds_up_to() {
    for (figure, value) in [("received", 11), ("adjusted", 1), ("sold", 1)] {
        let shop = sold().await;
        tamper_with_stock(&shop, |stock| stock[figure] = json!(value)).await;
        shop.assert_only(2, SKU).await;
    }
}

#[tokio::test]
async fn invariant_2_a_finished_order_took_nothing_or_another_number() {
    let shop = Shop::new().await;
    shop.check_out_until_confirmed(1, &[2]).await;
    shop.release(1, 0).await;
    shop.capture(1, &[2]).await;
    shop.finish(1).await;
    shop.assert_only(2, ORDER).await;

    let shop = sold().await;
    shop.give_back(1, 0, 1).await;
    shop.assert_only(2, ORDER).await;
}

#[tokio::test]
async fn invariant_2_something_is_sold_to_an_order_that_was_never_placed() {
    let shop = Shop::new().await;
    shop.reserve(77, 0, 1).await;
    shop.take(77, 0).await;
    shop.assert_only(2, "order ord_77").await;
}

#[tokio::test]
async fn invariant_3_a_reservation_belongs_to_no_live_order() {
    // To one that was never placed.
    let shop = Shop::new().await;
    shop.reserve(77, 0, 1).await;
    shop.assert_only(3, "order ord_77").await;

    // To one that is finished.
    let shop = sold().await;
    tamper_with_stock(&shop, |stock| {
        stock["reservations"] = json!({ "ord_1": { "quantity": 1, "expires_at": at(NOW + 900) } });
    })
    .await;
    shop.assert_only(3, ORDER).await;

    // To one that wants another number, or none.
    let shop = Shop::new().await;
    shop.place(1, &[2]).await;
    shop.reserve(1, 0, 1).await;
    shop.assert_only(3, ORDER).await;
    shop.release(1, 0).await;
    shop.reserve(1, 1, 2).await;
    shop.assert_only(3, ORDER).await;
}

#[tokio::test]
async fn invariant_4_an_order_is_captured_twice() {
    let shop = sold().await;
    let second = PaymentId::from_suffix("1-2");
    shop.intend(second.clone(), 1, &[2]).await;
    let reference = "sbx_reference".to_owned();
    shop.paid(&second, PaymentChange::Authorised { reference }).await;
    shop.paid(&second, PaymentChange::Captured).await;
    shop.assert_only(4, ORDER).await;

    // The provider took it twice, under a key that no payment knows.
    let shop = sold().await;
    shop.authorise_at_provider("pay_unheard_of", 1, &[2]).await;
    shop.capture_at_provider("pay_unheard_of", &[2]).await;
    shop.assert_only(4, ORDER).await;
}

#[tokio::test]
async fn invariant_4_another_amount_than_the_total_is_captured() {
    let shop = sold().await;
    tamper_with_payment(&shop, |payment| payment["captured"]["amount"] = json!(1)).await;
    shop.assert_only(4, ORDER).await;

    let shop = sold().await;
    tamper_with_charge(&shop, |charge| {
        charge["standing"]["captured"]["amount"]["amount"] = json!(1)
    })
    .await;
    shop.assert_only(4, ORDER).await;

    // The order believes that it is paid.
    let shop = Shop::new().await;
    shop.check_out_until_confirmed(1, &[2]).await;
    shop.take(1, 0).await;
    shop.finish(1).await;
    shop.assert_only(4, ORDER).await;

    // The payment says so, and the provider has only set it aside.
    shop.paid(&Shop::payment_id(1), PaymentChange::Captured).await;
    shop.assert_only(4, ORDER).await;
}

#[tokio::test]
async fn invariant_4_more_is_refunded_than_was_captured() {
    let shop = sold().await;
    tamper_with_payment(&shop, |payment| {
        let amount = json!({ "amount": 9_999, "currency": "USD" });
        payment["refunded"] = amount.clone();
        payment["refunds"] = json!([{ "key": "r", "amount": amount }]);
    })
    .await;
    shop.assert_only(4, ORDER).await;

    // The sum of the refunds is not what it says.
    let shop = sold().await;
    tamper_with_payment(&shop, |payment| payment["refunded"]["amount"] = json!(1)).await;
    shop.assert_only(4, ORDER).await;

    let shop = sold().await;
    tamper_with_charge(&shop, |charge| {
        charge["refunds"] = json!([{ "key": "r", "amount": { "amount": 9_999, "currency": "USD" } }]);
    })
    .await;
    shop.assert_only(4, ORDER).await;
}

#[tokio::test]
async fn invariant_5_an_order_is_confirmed_without_stock() {
    let shop = Shop::new().await;
    shop.place(1, &[2]).await;
    shop.authorise(1, &[2]).await;
    shop.confirm(1).await;
    shop.assert_only(5, ORDER).await;
}

#[tokio::test]
async fn invariant_5_an_order_is_confirmed_without_money() {
    let shop = Shop::new().await;
    shop.place(1, &[2]).await;
    shop.reserve(1, 0, 2).await;
    shop.confirm(1).await;
    shop.assert_only(5, ORDER).await;

    // The payment says that it is authorised, and the provider has let the money go.
    let shop = Shop::new().await;
    shop.check_out_until_confirmed(1, &[2]).await;
    shop.void_at_provider(Shop::payment_id(1).as_str()).await;
    shop.assert_only(5, ORDER).await;
}

#[tokio::test]
async fn invariant_5_a_pending_order_has_taken_stock() {
    let shop = Shop::new().await;
    shop.place(1, &[2]).await;
    shop.reserve(1, 0, 2).await;
    shop.take(1, 0).await;
    shop.assert_only(5, ORDER).await;
}

#[tokio::test]
async fn invariant_5_a_failed_order_keeps_stock() {
    let shop = failed().await;
    shop.reserve(1, 0, 2).await;
    shop.assert_only(5, ORDER).await;
    shop.take(1, 0).await;
    shop.assert_only(5, ORDER).await;
}

#[tokio::test]
async fn invariant_5_a_cancelled_order_keeps_stock_or_money() {
    let shop = sold().await;
    shop.cancel_at(1, NOW).await;
    shop.refund(1, &[2]).await;
    shop.end_cancelled(1, true).await;
    shop.assert_only(5, ORDER).await;

    let shop = sold().await;
    shop.cancel_at(1, NOW).await;
    shop.give_back(1, 0, 2).await;
    shop.paid(
        &Shop::payment_id(1),
        PaymentChange::Refunded {
            key: "cancellation".to_owned(),
            amount: souk_domain::fixtures::placement(1, &[2]).total,
        },
    )
    .await;
    shop.end_cancelled(1, true).await;
    // The provider was never asked to give it back.
    shop.assert_only(5, ORDER).await;
}

#[tokio::test]
async fn invariant_5_a_failed_order_keeps_money() {
    for status in [json!("authorised"), json!("intended"), json!("requires_action")] {
        let shop = failed().await;
        tamper_with_payment(&shop, |payment| payment["status"] = status).await;
        shop.assert_only(5, ORDER).await;
    }
    for standing in [json!("authorised"), json!("requires_action")] {
        let shop = failed().await;
        tamper_with_charge(&shop, |charge| charge["standing"] = standing).await;
        shop.assert_only(5, ORDER).await;
    }
}

/// Pruning hides nothing: what an order that failed should have returned is found without it.
#[tokio::test]
async fn invariants_3_and_5_hold_for_a_pruned_order() {
    let shop = failed().await;
    shop.prune(1).await;
    shop.assert_clean().await;
    tamper_with_payment(&shop, |payment| payment["status"] = json!("authorised")).await;
    shop.assert_only(5, ORDER).await;
    let shop = failed().await;
    shop.prune(1).await;
    shop.reserve(1, 0, 1).await;
    shop.assert_only(3, ORDER).await;
}

#[tokio::test]
async fn invariant_5_money_is_held_for_an_order_that_was_never_placed() {
    let shop = Shop::new().await;
    shop.intend(Shop::payment_id(77), 77, &[1]).await;
    shop.assert_only(5, "order ord_77").await;
    let shop = Shop::new().await;
    shop.authorise_at_provider("pay_77-1", 77, &[1]).await;
    shop.assert_only(5, "order ord_77").await;
    shop.void_at_provider("pay_77-1").await;
    shop.assert_clean().await;
}

#[tokio::test]
async fn invariant_6_an_order_stands_where_no_way_leads() {
    for (field, value) in [
        ("phase", json!("confirming")),
        ("phase", json!({ "failed": { "reason": "internal" } })),
        ("phase", json!({ "cancelled": { "payment": null } })),
        ("payment_status", json!("none")),
        ("payment_status", json!("declined")),
    ] {
        let shop = sold().await;
        tamper_with_order(&shop, |order| order[field] = value).await;
        shop.assert_only(6, ORDER).await;
    }
}

#[tokio::test]
async fn invariant_8_a_row_does_not_decode() {
    let shop = sold().await;
    shop.cart(1).await;
    let charge = charge_id(Shop::payment_id(1).as_str());
    // One after the other, so that each is found among what is in order.
    for (store, id, subject) in [
        (
            &shop.stores.carts,
            cart_id(1).to_string(),
            "cart crt_1".to_owned(),
        ),
        (&shop.stores.inventory, sku(1).to_string(), "sku SKU-1".to_owned()),
        (&shop.stores.inventory, sku(0).to_string(), SKU.to_owned()),
        (&shop.stores.orders, order_id(1).to_string(), ORDER.to_owned()),
    ] {
        let before = shop.body(&**store, &id).await;
        shop.write(&**store, &id, json!({ "state": 7 }), Vec::new()).await;
        shop.assert_only(8, &subject).await;
        shop.write(&**store, &id, before, Vec::new()).await;
        shop.assert_clean().await;
    }
    shop.write(&*shop.stores.payments, "pay_other", json!(null), Vec::new())
        .await;
    shop.assert_only(8, "payment pay_other").await;
    shop.write(&*shop.stores.sandbox, "sbx_other", json!({}), Vec::new())
        .await;
    let both = [
        (8, "charge sbx_other".to_owned()),
        (8, "payment pay_other".to_owned()),
    ];
    assert_eq!(shop.audit_at(NOW).await, both);
    assert!(
        shop.stores.sandbox.load(&charge).await.unwrap().is_some(),
        "the charge lies where the sandbox keeps it"
    );
}

#[tokio::test]
async fn invariant_8_an_event_is_ahead_of_its_row() {
    let shop = sold().await;
    for (store, id, name, subject) in [
        (&shop.stores.orders, order_id(1).to_string(), "order.noted", ORDER),
        (&shop.stores.inventory, sku(0).to_string(), "stock.received", SKU),
    ] {
        let body = shop.body(&**store, &id).await;
        let event = raw_event(name, received());
        shop.write(&**store, &id, body, vec![(99, event)]).await;
        let found = shop.audit_at(NOW).await;
        assert!(found.contains(&(8, subject.to_owned())), "{found:?}");
    }
    assert_eq!(shop.audit_at(NOW).await.len(), 2);
}

#[tokio::test]
async fn invariant_8_the_ledger_falls_back_or_holds_what_is_no_movement() {
    let shop = Shop::new().await;
    let mut body = shop.body(inventory(&shop), sku(0).as_str()).await;
    body["state"]["received"] = json!(12);
    for events in [vec![5], vec![4], vec![], vec![]] {
        let event = |version| (version, raw_event("stock.received", received()));
        let events = events.into_iter().map(event).collect();
        shop.write(inventory(&shop), sku(0).as_str(), body.clone(), events)
            .await;
    }
    shop.assert_only(8, SKU).await;

    let shop = Shop::new().await;
    let body = shop.body(inventory(&shop), sku(0).as_str()).await;
    let event = raw_event("stock.sold", received());
    shop.write(inventory(&shop), sku(0).as_str(), body, vec![(3, event)])
        .await;
    shop.assert_only(8, SKU).await;
}

#[tokio::test]
async fn invariant_11_a_reservation_outlives_its_order_and_a_sweep() {
    let shop = Shop::new().await;
    shop.place(1, &[2]).await;
    shop.reserve(1, 0, 2).await;
    let expired = |seconds: i64| {
        let shop = &shop;
        async move {
            tamper_with_stock(shop, |stock| {
                stock["reservations"][0][2] = json!(at(NOW - seconds))
            })
            .await;
        }
    };
    // 900 for the order, 5 for the sweep, 30 of slack.
    expired(935).await;
    shop.assert_clean().await;
    expired(936).await;
    shop.assert_only(11, SKU).await;
}

#[tokio::test]
async fn invariant_12_a_checkout_does_not_end() {
    let shop = Shop::new().await;
    shop.place(1, &[2]).await;
    shop.reserve(1, 0, 2).await;
    // The deadline lies at 600; 30 for the payment, 5 for the sweep, 30 of slack.
    assert_eq!(shop.audit_at(665).await, []);
    assert_eq!(shop.audit_at(666).await, [(12, ORDER.to_owned())]);
    // One that is confirmed in time has to end all the same.
    shop.authorise(1, &[2]).await;
    shop.confirm(1).await;
    assert_eq!(shop.audit_at(666).await, [(12, ORDER.to_owned())]);
    shop.take(1, 0).await;
    shop.capture(1, &[2]).await;
    shop.finish(1).await;
    assert_eq!(shop.audit_at(666).await, []);
}

#[tokio::test]
async fn invariant_12_an_order_waits_for_a_decision() {
    let shop = Shop::new().await;
    shop.place(1, &[2]).await;
    shop.reserve(1, 0, 2).await;
    shop.authorise(1, &[2]).await;
    shop.confirm(1).await;
    shop.take(1, 0).await;
    let refused = OrderCommand::Escalate {
        step: Step::Capture,
        reason: "expired".to_owned(),
    };
    shop.order(1, refused).await;
    shop.assert_only(12, ORDER).await;
    shop.order(1, OrderCommand::Retry).await;
    shop.assert_clean().await;
}

#[tokio::test]
async fn invariant_15_two_orders_of_one_version_of_a_cart() {
    let shop = Shop::new().await;
    shop.check_out(1, &[2]).await;
    shop.check_out(2, &[1]).await;
    shop.assert_clean().await;
    let (first, second) = (order_id(1), order_id(2));
    let cart = cart_id(1);
    shop.tamper(&*shop.stores.orders, second.as_str(), |body| {
        body["state"]["placed"]["placement"]["cart"] = json!(cart);
    })
    .await;
    shop.assert_only(15, &format!("order {second}")).await;
    // Orders of the older form do not say which version they were made from.
    for order in [first, second] {
        shop.tamper(&*shop.stores.orders, order.as_str(), |body| {
            body["state"]["placed"]["placement"]["cart_version"] = json!(0);
        })
        .await;
    }
    shop.assert_clean().await;
}
